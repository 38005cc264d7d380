"""The channels of a result are in the order of the list that was asked for, in every transform that takes a list."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from medseg.ops.local_glcm import FEATURES
from medseg.transforms import (
    ClickPatches,
    ClickPatchesd,
    Gabor,
    Gabord,
    GuideMap,
    GuideMapd,
    LocalGLCM,
    LocalGLCMd,
    LocalStatistics,
    LocalStatisticsd,
    MultiWindow,
    MultiWindowd,
    RandMultiWindow,
    RandMultiWindowd,
    RegionGLCM,
    RegionGLCMd,
    RegionHistogram,
    RegionHistogramd,
)

IMAGE = np.random.default_rng(0).integers(-150, 250, (2, 12, 12)).astype(np.float32)
LABEL = np.tile(np.array([1, 1, 2, 3], np.uint8), (1, 12, 3))
PROMPTS = np.array([[1, 3.0, 4.0, 0, 0], [0, 8.0, 9.0, 0, 0]])
SAMPLE = {"image": IMAGE, "label": LABEL, "prompts": PROMPTS}

# The entries of the list, the array form and the dictionary form for a list, and the further item they take.
CASES: dict[str, tuple[list[Any], Callable[[Any], Any], Callable[[Any], Any], tuple[str, ...]]] = {
    "LocalGLCM": (
        ["entropy", "contrast", "asm", "correlation"],
        lambda v: LocalGLCM(5, features=v),
        lambda v: LocalGLCMd("image", 5, features=v, postfix="_out"),
        (),
    ),
    "RegionGLCM": (
        ["entropy", "contrast", "asm", "correlation"],
        lambda v: RegionGLCM(features=v, labels=[1]),
        lambda v: RegionGLCMd("image", "label", features=v, labels=[1], postfix="_out"),
        ("label",),
    ),
    "RegionGLCM-labels": (
        [3, (1, 2), 1],
        lambda v: RegionGLCM(features="contrast", labels=v),
        lambda v: RegionGLCMd("image", "label", features="contrast", labels=v, postfix="_out"),
        ("label",),
    ),
    "RegionHistogram-labels": (
        [3, (1, 2), 1],
        lambda v: RegionHistogram(4, labels=v),
        lambda v: RegionHistogramd("image", "label", 4, labels=v, postfix="_out"),
        ("label",),
    ),
    "LocalStatistics": (
        ["std", "mean", "kurtosis"],
        lambda v: LocalStatistics(5, v),
        lambda v: LocalStatisticsd("image", 5, v, postfix="_out"),
        (),
    ),
    "Gabor-outputs": (
        ["real", "magnitude", "imag"],
        lambda v: Gabor((0.2,), 1, outputs=v),
        lambda v: Gabord("image", (0.2,), 1, outputs=v, postfix="_out"),
        (),
    ),
    "Gabor-frequencies": (
        [0.3, 0.1, 0.2],
        lambda v: Gabor(v, 1),
        lambda v: Gabord("image", v, 1, postfix="_out"),
        (),
    ),
    "Gabor-orientations": (
        [90.0, 0.0, 45.0],
        lambda v: Gabor((0.2,), v),
        lambda v: Gabord("image", (0.2,), v, postfix="_out"),
        (),
    ),
    "GuideMap": (
        ["bg", "fg"],
        lambda v: GuideMap("gauss", 2.0, channels=v),
        lambda v: GuideMapd("image", "prompts", "gauss", 2.0, channels=v, postfix="_out"),
        ("prompts",),
    ),
    "ClickPatches": (
        [8, 4, 6],
        lambda v: ClickPatches(v, 4),
        lambda v: ClickPatchesd("image", "prompts", v, 4, postfix="_out"),
        ("prompts",),
    ),
    "MultiWindow": (["lung", "liver", (40, 80)], MultiWindow, lambda v: MultiWindowd("image", v), ()),
    "RandMultiWindow": (
        ["lung", "liver", (40, 80)],
        lambda v: RandMultiWindow(v, prob=0.0),
        lambda v: RandMultiWindowd("image", v, prob=0.0),
        (),
    ),
}
# Where a channel of the image or a region comes first, its entries are spread over the result.
PER_IMAGE_CHANNEL = {"LocalGLCM", "RegionGLCM", "LocalStatistics", *(n for n in CASES if n.startswith("Gabor"))}


def by_entry(name: str, found: Any, entries: int) -> np.ndarray:
    """The part of a result that belongs to every entry of the list."""
    array = np.asarray(found)
    if name == "RegionGLCM":  # (1, C * F)
        array = array[0]
    if name in PER_IMAGE_CHANNEL:
        return array.reshape(len(IMAGE), entries, *array.shape[1:]).swapaxes(0, 1)
    return array.reshape(entries, len(array) // entries, *array.shape[1:])


def run(name: str, values: Any) -> np.ndarray:
    _, make, make_dictionary, second = CASES[name]
    found = make(values)(IMAGE, *(SAMPLE[item] for item in second))
    result = make_dictionary(values)(SAMPLE)
    np.testing.assert_array_equal(result.get("image_out", result["image"]), found)
    return by_entry(name, found, len(values))


@pytest.mark.parametrize("name", CASES)
def test_channels_follow_the_request(name: str) -> None:
    values = CASES[name][0]
    expected = np.stack([run(name, [value])[0] for value in values])
    assert not any(np.array_equal(expected[0], other) for other in expected[1:])
    for order in (values, values[::-1], values[1:] + values[:1], tuple(values)):
        found = run(name, order)
        for value, part in zip(order, found, strict=True):
            np.testing.assert_allclose(part, expected[values.index(value)], rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("name", ["LocalGLCM", "RegionGLCM"])
def test_every_order_of_the_features_is_kept(name: str) -> None:
    random = np.random.default_rng(0)
    whole = run(name, list(FEATURES))
    for _ in range(5):
        order = random.permutation(len(FEATURES))
        np.testing.assert_array_equal(run(name, [FEATURES[i] for i in order]), whole[order])


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("form", [1, 2], ids=["array", "dictionary"])
def test_a_set_has_no_order_and_is_refused(name: str, form: int) -> None:
    with pytest.raises(
        ValueError, match="is a set, which has no order, expected a list: the channels are in its order"
    ):
        CASES[name][form](set(CASES[name][0]))
