"""SparsityLoss: the literal form against float64, the stable form, and how it is collected from a network."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from medseg.layers import SparseDownsample, patch_l1
from medseg.losses import SparsityLoss, collect_patch_norms


def rectify(x: float, eps: float) -> float:
    return 1 - x / eps if x < eps else -0.01 * x + 0.01 * eps


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_literal_form_is_exp_of_minus_the_sum(dtype: torch.dtype) -> None:
    norms = torch.tensor([[0.1, 0.5, 2.0], [0.0, 0.6, 9.0]], dtype=dtype)
    rows = [math.exp(-sum(rectify(x, 0.6) for x in row)) for row in norms.tolist()]
    found = SparsityLoss(reduction="paper", weight=1.0)(norms)
    assert found.dtype == dtype
    assert found.item() == pytest.approx(sum(rows) / 2, rel=1e-6)


def test_the_stable_form_is_minus_the_mean() -> None:
    norms = torch.tensor([[0.1, 0.5, 2.0, 0.6]])
    expected = -sum(rectify(x, 0.6) for x in norms[0].tolist()) / 4
    assert SparsityLoss(weight=0.03)(norms).item() == pytest.approx(0.03 * expected, rel=1e-5)


@pytest.mark.parametrize("level", [0.0, 50.0, 1e6])
def test_thousands_of_patches_stay_finite_in_the_literal_form(level: float) -> None:
    value = SparsityLoss(reduction="paper", weight=1.0)(torch.full((2, 4096), level))
    assert torch.isfinite(value)
    assert value > 0


def test_weak_patches_are_pushed_down_and_strong_ones_slightly_up() -> None:
    norms = torch.tensor([[0.1, 5.0]]).requires_grad_()
    SparsityLoss(eps=0.5, weight=1.0)(norms).backward()
    torch.testing.assert_close(norms.grad, torch.tensor([[1 / 0.5 / 2, 0.01 / 2]]))


@pytest.mark.parametrize("reduction", ["mean", "paper"])
def test_gradients_are_exact_away_from_the_corner(reduction: str) -> None:
    norms = torch.tensor([[0.1, 0.3, 0.9], [0.2, 0.8, 1.5]], dtype=torch.float64).requires_grad_()
    assert torch.autograd.gradcheck(SparsityLoss(reduction=reduction), (norms,))


def test_layers_count_alike() -> None:
    loss, first, second = SparsityLoss(), torch.rand(2, 16), torch.rand(2, 4)
    torch.testing.assert_close(loss([first, second]), (loss(first) + loss(second)) / 2)


def test_a_network_keeps_the_norms_of_its_layers() -> None:
    network = nn.Sequential(
        nn.Conv2d(1, 3, 1), SparseDownsample(2, 3, 4, keep_norms="mean"), SparseDownsample(2, 3, 2, keep_norms="sum")
    )
    with pytest.raises(ValueError, match="has not run yet; call the network first"):
        collect_patch_norms(network)
    x = torch.randn(2, 1, 16, 16)
    network(x)
    norms = collect_patch_norms(network)
    assert [n.shape for n in norms] == [(2, 16), (2, 16)]
    torch.testing.assert_close(norms[0], patch_l1(network[0](x), 4))
    SparsityLoss()(norms).backward()
    assert network[0].weight.grad.any()


def test_nothing_to_collect_is_an_error() -> None:
    with pytest.raises(ValueError, match="no SparseDownsample keeps norms; build it with keep_norms='mean'"):
        collect_patch_norms(nn.Sequential(SparseDownsample(2, 3, 4)))
    with pytest.raises(ValueError, match="no norms; expected"):
        SparsityLoss()([])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"eps": 0.0}, "eps is 0.0; expected more than 0"),
        ({"reduction": "sum"}, "reduction is 'sum'; expected 'mean' or"),
    ],
)
def test_options_that_do_not_exist_are_named(options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SparsityLoss(**options)
