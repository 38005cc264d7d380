"""Placements of sparse downsampling by name."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from medseg.layers import SparseDownsample, default_patch, make_poolings, parse_placement


@pytest.mark.parametrize(
    ("placement", "stages"),
    [
        ("max-sd-sd-max", ["max", "sd", "sd", "max"]),
        ("4sd", ["sd"] * 4),
        ("6sd", ["sd"] * 6),
        ("max-2sd-avg", ["max", "sd", "sd", "avg"]),
    ],
)
def test_placements_name_the_pooling_of_every_stage(placement: str, stages: list[str]) -> None:
    assert parse_placement(placement) == stages


@pytest.mark.parametrize(("side", "patch"), [(128, 8), (64, 8), (32, 8), (16, 4), (8, 2), (4, 1), (2, 1), (20, 5)])
def test_default_patches_leave_at_least_four_per_axis_where_they_can(side: int, patch: int) -> None:
    assert default_patch([side, side]) == patch


def test_poolings_halve_stage_by_stage() -> None:
    pools = make_poolings("max-sd-sd-max", 2, [4, 8, 16, 32], 64, slope=0.05)
    assert [type(p) for p in pools] == [nn.MaxPool2d, SparseDownsample, SparseDownsample, nn.MaxPool2d]
    assert [(p.channels, p.patch, p.slope) for p in pools[1:3]] == [(8, 8, 0.05), (16, 4, 0.05)]
    size = 64
    for pool, channels in zip(pools, (4, 8, 16, 32), strict=True):
        size //= 2
        assert pool(torch.zeros(1, channels, 2 * size, 2 * size)).shape == (1, channels, size, size)


def test_three_dimensions_and_given_patches() -> None:
    pools = make_poolings("4sd", 3, [2] * 4, (32, 32, 16), patch=[4, 4, 2, 1])
    x = torch.randn(1, 2, 32, 32, 16)
    for pool in pools:
        x = pool(x)
    assert x.shape == (1, 2, 2, 2, 1)
    assert [p.patch for p in pools] == [4, 4, 2, 1]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: parse_placement("max-median"), "'median' is unknown; expected max, avg or sd, as in 'max-2sd-max'"),
        (lambda: make_poolings("4sd", 2, [1, 2], 64), "has 4 stages; found 2 channels"),
        (lambda: make_poolings("4max", 2, [1] * 4, 20), r"size \[5, 5\] at stage 3 cannot be halved"),
        (lambda: default_patch([7, 8]), r"spatial size \[7, 8\]; expected even sides"),
    ],
)
def test_what_does_not_fit_is_named(call, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()
