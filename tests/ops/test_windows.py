"""Sums over windows that do not have to contain their own position, against a loop, and their derivatives."""

from __future__ import annotations

import itertools

import pytest
import torch

from medseg.ops._windows import window_sum

SPANS = [[(-1, 1), (-2, 2)], [(-3, -1), (1, 4)], [(2, 9), (0, 0)], [(-9, 9), (4, 3)], [(7, 9), (-1, 1)]]


@pytest.mark.parametrize("spans", SPANS)
def test_windows_are_cut_at_the_border(spans: list[tuple[int, int]]) -> None:
    x = torch.randn(2, 6, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    found = window_sum(x.mT.contiguous().mT, spans)
    for row, column in itertools.product(range(6), range(5)):
        (top, bottom), (left, right) = spans
        inside = [(i, j) for i in range(row + top, row + bottom + 1) for j in range(column + left, column + right + 1)]
        parts = [x[:, i, j] for i, j in inside if 0 <= i < 6 and 0 <= j < 5]
        torch.testing.assert_close(found[:, row, column], sum(parts, torch.zeros(2, dtype=torch.float64)))


@pytest.mark.parametrize("spans", SPANS)
def test_both_derivatives_are_exact(spans: list[tuple[int, int]]) -> None:
    x = torch.randn(6, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(1)).requires_grad_()
    assert torch.autograd.gradcheck(lambda t: window_sum(t, spans), (x,))
    assert torch.autograd.gradgradcheck(lambda t: window_sum(t * t, spans), (x,))
