"""The two forms of the focal mean squared error: known values, direction of the weights, limits."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from medseg.losses import FocalL2Loss


def samples(*errors: float) -> tuple[Tensor, Tensor]:
    """Predictions and targets with the given mean squared errors."""
    target = torch.rand(len(errors), 2, 3, 4, dtype=torch.float64)
    return target + torch.tensor(errors, dtype=torch.float64).sqrt().reshape(-1, 1, 1, 1), target


@pytest.mark.parametrize(("error", "expected"), [(0.1, 47.761), (0.8, 3.588)])
def test_the_printed_form_weighs_small_errors_up(error: float, expected: float) -> None:
    assert FocalL2Loss("printed")(*samples(error)).item() == pytest.approx(expected, abs=5e-4)


@pytest.mark.parametrize(("error", "expected"), [(0.1, 0.1**3 / 0.81), (0.9, 0.9), (0.45, 0.45 / 4)])
def test_the_hard_form_weighs_large_errors_up(error: float, expected: float) -> None:
    assert FocalL2Loss()(*samples(error)).item() == pytest.approx(expected)


@pytest.mark.parametrize("form", ["hard", "printed"])
def test_each_sample_has_its_own_weight(form: str) -> None:
    loss = FocalL2Loss(form)
    each = [loss(*samples(error)).item() for error in (0.2, 0.5)]
    assert loss(*samples(0.2, 0.5)).item() == pytest.approx(sum(each) / 2)


@pytest.mark.parametrize("form", ["hard", "printed"])
def test_without_focus_it_is_the_mean_squared_error(form: str) -> None:
    found, expected = FocalL2Loss(form, gamma=0), torch.nn.functional.mse_loss(*samples(0.2, 0.5))
    assert found(*samples(0.2, 0.5)).item() == pytest.approx(expected.item())


@pytest.mark.parametrize("form", ["hard", "printed"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("error", [0.0, 1.0, 50.0])
def test_stays_finite_at_the_limits(form: str, dtype: torch.dtype, error: float) -> None:
    prediction, target = (v.to(dtype) for v in samples(error))
    prediction.requires_grad_()
    loss = FocalL2Loss(form)(prediction, target)
    loss.backward()
    assert loss.isfinite()
    assert prediction.grad.isfinite().all()


@pytest.mark.parametrize("form", ["hard", "printed"])
def test_gradient_is_exact(form: str) -> None:
    prediction, target = samples(0.2, 0.5)
    assert torch.autograd.gradcheck(lambda x: FocalL2Loss(form)(x, target), (prediction.requires_grad_(),))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"form": "soft"}, "form is 'soft'; expected 'hard' or 'printed'"),
        ({"d_max": 1.0}, "d_max is 1.0; expected a number between 0 and 1"),
        ({"d_max": 0.0}, "d_max is 0.0"),
        ({"gamma": -1}, "gamma is -1; expected a number from 0"),
    ],
)
def test_options_out_of_range_are_named(options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        FocalL2Loss(**options)


def test_different_shapes_are_named() -> None:
    with pytest.raises(ValueError, match=r"input has shape \[1, 2\], target \[1, 3\]"):
        FocalL2Loss()(torch.zeros(1, 2), torch.zeros(1, 3))
