"""RandGuideDropout: guides and the density vector are left out together."""

from __future__ import annotations

import numpy as np
import pytest

from medseg.transforms import RandGuideDropout, RandGuideDropoutd
from tests.transforms._menu import MenuCase, RandomMenu

GUIDE = np.arange(24, dtype=np.float32).reshape(2, 3, 4) + 1


class TestRandGuideDropout(RandomMenu):
    case = MenuCase(
        array=lambda: RandGuideDropout(0.5, null=0.5),
        dictionary=lambda: RandGuideDropoutd("image", 0.5, null=0.5),
        data={"image": GUIDE},
        expected=None,
        errors=(
            (lambda: RandGuideDropout(1.5), "prob is 1.5, expected a probability from 0 to 1"),
            (lambda: RandGuideDropoutd("image", 0.5, -0.1), "prob_each is -0.1, expected a probability"),
            (lambda: RandGuideDropout(null=np.nan), "null is nan, expected a number"),
            (lambda: RandGuideDropoutd("image", null=np.inf), "null is inf, expected numbers"),
            (lambda: RandGuideDropoutd(["a", "b"], null=(0.0, 1.0, 2.0)), "2"),
            (lambda: RandGuideDropout()(np.ones((1, 2, 2), np.int64)), "guide is torch.int64, expected floating"),
            (lambda: RandGuideDropoutd("a", guided_key="a")({"a": GUIDE}), "item 'a' exists already, expected a new"),
        ),
    )


def states(transform: RandGuideDropoutd, count: int) -> np.ndarray:
    """Per sample and key, whether the guide was dropped; checks that a drop is whole and a keep untouched."""
    sample = {"map": GUIDE, "density": np.linspace(1, 2, 10), "other": GUIDE}
    seen = []
    for _ in range(count):
        result = transform(sample)
        assert result["other"] is GUIDE
        row = []
        for key, null in (("map", 0.5), ("density", -1.0)):
            values = np.asarray(result[key])
            row.append(bool((values == null).all()))
            np.testing.assert_array_equal(values, np.full_like(values, null) if row[-1] else sample[key])
        if "guided" in result:
            assert result["guided"] is (not all(row))
        seen.append(row)
    return np.array(seen)


def test_all_guides_and_the_density_vector_fall_together() -> None:
    transform = RandGuideDropoutd(["map", "density"], 0.3, null=(0.5, -1.0), guided_key="guided").set_random_state(0)
    dropped = states(transform, 2000)
    assert (dropped[:, 0] == dropped[:, 1]).all()
    assert abs(dropped[:, 0].mean() - 0.3) < 0.04  # four standard deviations


def test_single_guides_fall_on_their_own_with_the_second_probability() -> None:
    transform = RandGuideDropoutd(["map", "density"], 0.2, 0.25, (0.5, -1.0), "guided").set_random_state(1)
    dropped = states(transform, 2000)
    both, one = dropped.all(axis=1).mean(), (dropped[:, 0] ^ dropped[:, 1]).mean()
    assert abs(both - (0.2 + 0.8 * 0.0625)) < 0.04
    assert abs(one - 0.8 * 2 * 0.25 * 0.75) < 0.05


@pytest.mark.parametrize(("prob", "expected"), [(0.0, False), (1.0, True)])
def test_certain_probabilities_are_certain(prob: float, expected: bool) -> None:
    assert (states(RandGuideDropoutd(["map", "density"], prob, null=(0.5, -1.0)), 50) == expected).all()
