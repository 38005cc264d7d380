"""MC-GCN: published counts, weights from a file, a decoder in which every parameter works."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from medseg.networks import MCGCN, slice_triplets
from tests.networks._counting import count_parameters, on_meta

SMALL: dict[str, Any] = {"layers": (1, 1, 1, 1), "width": 4, "kernel_size": 3}


@pytest.mark.parametrize(
    ("classes", "project", "count"),
    [
        (1, False, 23_576_758),
        (1, True, 23_576_773),
        (2, False, 23_629_536),
        (2, True, 23_629_551),
        (3, False, 23_682_814),
        (3, True, 23_682_829),
    ],
)
def test_parameters_are_the_published_ones(classes: int, project: bool, count: int) -> None:
    assert count_parameters(on_meta(lambda: MCGCN(2, 3, classes, project=project))) == count


def test_triplets_are_a_slice_between_its_neighbours() -> None:
    volume = torch.arange(2.0 * 2 * 4).view(2, 2, 1, 1, 4) + 1
    triplets = slice_triplets(volume)
    assert triplets.shape == (8, 6, 1, 1)
    assert triplets[0].flatten().tolist() == [0, 1, 2, 0, 5, 6]
    assert triplets[2].flatten().tolist() == [2, 3, 4, 6, 7, 8]
    assert triplets[7].flatten().tolist() == [11, 12, 0, 15, 16, 0]
    with pytest.raises(ValueError, match=r"volume has shape \[1, 2, 3\]; expected \[B, C, H, W, D\]"):
        slice_triplets(torch.zeros(1, 2, 3))


def test_loads_its_encoder_from_a_file_and_says_what_it_used(tmp_path: Path) -> None:
    parent, path = MCGCN(2, 3, 2, **SMALL), tmp_path / "resnet.pt"
    torch.save({**parent.encoder.state_dict(), "fc.bias": torch.zeros(3)}, path)
    child = MCGCN(2, 3, 4, pretrained=path, **SMALL)
    assert child.loaded is not None and child.loaded.unused == ["fc.bias"] and not child.loaded.fresh
    x = torch.randn(1, 3, 32, 32)
    for ours, theirs in zip(child.eval().encode(x), parent.eval().encode(x), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=0)
    assert MCGCN(2, 3, 2, **SMALL).loaded is None


def test_scores_every_level() -> None:
    net = MCGCN(2, 3, 2, **SMALL).eval()
    x, changed = torch.randn(1, 3, 64, 64), []
    with torch.no_grad():
        before = net(x)
        for score in net.score:
            for branch in score.branches:
                branch[-1].bias.add_(1)
            after = net(x)
            changed.append(float((after - before).abs().max()))
            before = after
    assert len(changed) == 5 and min(changed) > 1e-3


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"down": "max"},
        {"down": ("sparse", {"fill": "neighbours"})},
        {"conv": ("quadtree", {"rounds": 1, "root": 2, "levels": 3})},
        {"project": True, "act": "leakyrelu"},
    ],
    ids=["paper", "max", "sparse", "quadtree", "project"],
)
def test_learns_with_every_parameter(dims: int, options: dict[str, Any]) -> None:
    net = MCGCN(dims, 3, 2, **SMALL, **options)
    side = 64 if dims == 2 else 32
    out = net(torch.randn(2, 3, *(side,) * dims))
    assert out.shape == (2, 2, *(side,) * dims)
    out.square().mean().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in net.parameters())


def test_takes_any_size() -> None:
    assert MCGCN(2, 3, 2, **SMALL).eval()(torch.randn(1, 3, 37, 50)).shape == (1, 2, 37, 50)


def test_sizes_that_sparse_halvings_cannot_take_are_named() -> None:
    net = MCGCN(2, 3, 2, **SMALL, down="sparse")
    with pytest.raises(ValueError, match=r"MCGCN: image of size \[48, 64\]; expected multiples of 32"):
        net(torch.randn(1, 3, 48, 64))
    with pytest.raises(ValueError, match=r"expected \[B, 3, H, W\]"):
        net(torch.randn(1, 1, 64, 64))
