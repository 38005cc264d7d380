"""A loss that is not finite stops the training before its step, with epoch, cases and the weights that are kept."""

from __future__ import annotations

import logging
import math
from pathlib import Path

import pytest
import torch
from monai.data import MetaTensor
from torch import Tensor

from medseg.training.finite_loss import case_names
from tests.training._trainer import Run, case, mean_of_output


class LossThatFails:
    """The mean of the output, but another value in one call."""

    def __init__(self, value: float, call: int) -> None:
        self.value, self.call, self.calls = value, call, 0

    def __call__(self, output: Tensor, label: Tensor) -> Tensor:
        self.calls += 1
        return mean_of_output(output, label) * (self.value if self.calls == self.call else 1.0)


def stopped(run: Run) -> str:
    run.trainer.logger.setLevel(logging.CRITICAL)
    with pytest.raises(ValueError, match="the loss is") as caught:
        run()
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_epoch_cases_and_the_weights_of_the_epoch_before_are_named(tmp_path: Path, value: float) -> None:
    run = Run(tmp_path, epochs=9, interval=9, loss=LossThatFails(value, call=6))
    line = stopped(run)
    assert line.startswith("epoch 3, iteration 6 (cases: b.nii): the loss is ")
    assert "lower learning_rate or look at these cases" in line
    assert line.endswith(f"; last weights (epoch 2): {tmp_path}/last.pt")


def test_no_step_is_made_with_such_a_loss(tmp_path: Path) -> None:
    run = Run(tmp_path, epochs=9, loss=LossThatFails(math.nan, call=6))
    stopped(run)
    assert torch.isfinite(run.network.slope).all()
    expected = torch.tensor([-1.0, 1.0]) - 5 * 0.1 * 0.5  # five steps; half of the mean belongs to each slope
    torch.testing.assert_close(run.network.slope.detach(), expected)


def test_weights_of_the_last_whole_epoch_stay_on_the_disk(tmp_path: Path) -> None:
    stopped(Run(tmp_path, epochs=9, loss=LossThatFails(math.nan, call=6)))
    kept = torch.load(tmp_path / "last.pt", weights_only=True)["slope"]
    torch.testing.assert_close(kept, torch.tensor([-1.0, 1.0]) - 4 * 0.1 * 0.5)


def test_a_first_epoch_that_fails_leaves_nothing_and_says_so(tmp_path: Path) -> None:
    (tmp_path / "model.pt").write_bytes(b"old")
    line = stopped(Run(tmp_path, loss=LossThatFails(math.nan, call=1)))
    assert line.endswith("; no epoch was finished, so there are no weights of this run")
    assert [path.name for path in tmp_path.iterdir()] == ["model.earlier-1.pt"], "an old file does not look new"


def test_one_voxel_that_is_not_finite_is_traced_to_its_case(tmp_path: Path) -> None:
    spoiled = case("spoiled.nii")
    spoiled["image"][0, 2, 2] = math.nan
    assert "(cases: spoiled.nii)" in stopped(Run(tmp_path, training=[case("a.nii"), spoiled]))


def test_names_of_the_cases_of_a_batch() -> None:
    several = MetaTensor(torch.zeros(3, 1, 2, 2), meta={"filename_or_obj": ["a", "b", "a"]})
    assert case_names({"image": several}) == ["a", "b"]
    assert case_names({"image": MetaTensor(torch.zeros(1, 2, 2), meta={"filename_or_obj": "c"})}) == ["c"]
    assert case_names({"image": torch.zeros(1, 1)}) == case_names({}) == case_names([torch.zeros(1)]) == []
