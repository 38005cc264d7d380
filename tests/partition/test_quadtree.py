"""Quadtree and Octree: blocks, leaves, costs, cover and pictures."""

from __future__ import annotations

import math

import matplotlib
import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from torch import Tensor

from medseg.partition import Octree, PlanSettings, Quadtree, block_layout, make_plan

matplotlib.use("Agg")


def image(size: tuple[int, ...], batch: int = 1, seed: int = 0) -> Tensor:
    return torch.rand(batch, 1, *size, generator=torch.Generator().manual_seed(seed))


def paint(boxes: Tensor, batch: int, size: tuple[int, ...]) -> Tensor:
    """How often each voxel lies in a box."""
    dims, count = len(size), torch.zeros(batch, *size, dtype=torch.int64)
    for box in boxes.tolist():
        count[(box[0], *(slice(a, b) for a, b in zip(box[1 : 1 + dims], box[1 + dims :], strict=True)))] += 1
    return count


@pytest.mark.parametrize("threshold", [None, 0.3], ids=["budget", "threshold"])
@pytest.mark.parametrize("size", [(64, 64), (61, 35), (24, 40, 33)], ids=str)
class TestBoxes:
    def test_leaves_tile_the_image_exactly_once(self, size: tuple[int, ...], threshold: float | None) -> None:
        kind = Quadtree if len(size) == 2 else Octree
        boxes, rounds = kind.from_image(image(size, 2), threshold=threshold).leaves()
        assert (paint(boxes, 2, size) == 1).all()
        assert rounds.min() >= 1 and rounds.max() <= 3

    def test_blocks_of_a_round_cover_its_set_once(self, size: tuple[int, ...], threshold: float | None) -> None:
        kind = Quadtree if len(size) == 2 else Octree
        tree = kind.from_image(image(size, 2), threshold=threshold)
        for r, mask in enumerate(tree.masks(), start=1):
            assert torch.equal(paint(tree.blocks(r), 2, size), mask.long())
        assert (paint(tree.blocks(0), 2, size) == 1).all()


def test_block_sides_halve_from_round_to_round() -> None:
    tree = Quadtree.from_image(image((64, 64)), rounds=3, root=2)
    for r in range(4):
        boxes = tree.blocks(r)
        assert (boxes[:, 3:] - boxes[:, 1:3] == 32 >> r).all()


def test_the_default_root_keeps_tiles_at_least_8_voxels_wide() -> None:
    assert (Quadtree.from_image(image((512, 256))).root, Quadtree.from_image(image((512, 256))).tile) == (
        (8, 4),
        (8, 8),
    )
    assert Quadtree.from_image(image((64, 100))).root == (2, 2)
    whole = Quadtree.from_image(image((64, 64)), root=1)
    assert whole.blocks(0).tolist() == [[0, 0, 0, 64, 64]]


def test_budget_one_keeps_everything_and_costs_the_dense_stack() -> None:
    tree = Quadtree.from_image(image((61, 35)), budget=(1.0, 1.0, 1.0))
    assert tree.active_fraction == [1.0, 1.0, 1.0]
    macs = tree.macs(16)
    assert macs.active == macs.dense == 3 * 61 * 35 * 9 * 16 * 16


def test_macs_count_the_voxels_of_the_image_inside_the_sets() -> None:
    tree = Quadtree.from_image(image((61, 35), 2))
    voxels = int(tree.masks().sum())
    assert tree.macs(8, kernel_size=5) == (voxels * 25 * 64, 3 * 2 * 61 * 35 * 25 * 64, voxels / (6 * 61 * 35))


def test_cost_grows_with_the_budget() -> None:
    costs = [Quadtree.from_image(image((96, 96)), budget=(b, b / 2, b / 4)).macs(4).active for b in (0.1, 0.3, 0.6, 1)]
    assert costs == sorted(costs)
    assert len(set(costs)) == 4


def test_cost_falls_with_the_threshold() -> None:
    costs = [Quadtree.from_image(image((96, 96)), threshold=t).macs(4).active for t in (0.0, 0.35, 0.4, 9.0)]
    assert costs == sorted(costs, reverse=True)
    assert costs[-1] == 0 < costs[-2] < costs[0]


def test_a_sample_does_not_depend_on_its_batch() -> None:
    x = image((48, 48), 4)
    together = make_plan(x, PlanSettings()).mask
    for b in range(4):
        assert torch.equal(make_plan(x[b : b + 1], PlanSettings()).mask[:, 0], together[:, b])


def test_shifting_by_a_root_block_shifts_the_plan_away_from_the_border() -> None:
    x = torch.zeros(1, 1, 128, 128)
    x[..., 40:90, 40:90] = image((50, 50))  # two root blocks away from every border
    settings = PlanSettings(rounds=3, root=8, budget=(0.2, 0.1, 0.05))
    before = make_plan(x, settings).mask
    after = make_plan(x.roll((16, -16), (2, 3)), settings).mask
    tiles = before.shape[-1] // 8
    assert torch.equal(after, before.roll((tiles, -tiles), (2, 3)))


class TestSpacing:
    def test_long_axes_are_split_first(self) -> None:
        tree = Octree.from_image(image((20, 64, 64)), root=2, spacing=(5.0, 0.8, 0.8))
        assert tree.layout.grids == ((4, 2, 2), (8, 4, 4), (16, 8, 8))
        sides = [t * h for t, h in zip((20 / 16, 8, 8), (5.0, 0.8, 0.8), strict=True)]
        assert max(sides) / min(sides) < math.sqrt(2) + 1e-9

    def test_cubes_are_split_along_every_axis(self) -> None:
        layout = block_layout((64, 64, 64), PlanSettings(rounds=2, root=2, spacing=(1.0, 1.0, 1.0)))
        assert layout.grids == ((4, 4, 4), (8, 8, 8))

    def test_an_affine_gives_the_spacing(self) -> None:
        affine = np.diag([0.8, 0.8, 5.0, 1.0])
        x = MetaTensor(image((32, 32, 20)), affine=affine)
        tree = Octree.from_image(x)
        assert tree.settings.spacing == pytest.approx((0.8, 0.8, 5.0))
        plain = Octree.from_image(x.as_tensor(), spacing=(0.8, 0.8, 5.0))
        assert all(torch.equal(a, b) for a, b in zip(tree.plan, plain.plan, strict=True))
        assert type(tree.plan.mask) is Tensor

    def test_a_slice_takes_the_spacing_of_its_own_axes(self) -> None:
        x = MetaTensor(image((32, 32)), affine=np.diag([0.5, 0.7, 5.0, 1.0]))
        assert Quadtree.from_image(x).settings.spacing == pytest.approx((0.5, 0.7))


def test_an_oracle_covers_the_target_at_a_small_cost() -> None:
    target = torch.zeros(1, 1, 128, 128)
    target[..., 70:79, 33:41] = 1
    oracle = Quadtree.from_scores(target, budget=(0.1, 0.05, 0.03))
    assert oracle.cover(target) == [1.0, 1.0, 1.0]
    assert oracle.active_fraction[-1] <= 0.03
    random = [
        Quadtree.from_image(target, metric="random", generator=torch.Generator().manual_seed(s)).cover(target)[-1]
        for s in range(20)
    ]
    assert 0 <= np.mean(random) < 0.5
    assert math.isnan(oracle.cover(torch.zeros_like(target))[0])


def test_the_gradient_finds_a_spot_in_noise() -> None:
    x = 0.02 * image((128, 128))
    x[..., 50:58, 90:98] += 1
    target = torch.zeros_like(x)
    target[..., 50:58, 90:98] = 1
    assert Quadtree.from_image(x).cover(target) == [1.0, 1.0, 1.0]


def test_random_plans_repeat_under_a_seed() -> None:
    def draw(seed: int) -> Tensor:
        generator = torch.Generator().manual_seed(seed)
        return Quadtree.from_image(image((64, 64)), metric="random", generator=generator).plan.mask

    assert torch.equal(draw(1), draw(1))
    assert not torch.equal(draw(1), draw(2))


class TestPlot:
    def test_frames_lie_on_the_borders_of_the_kept_blocks(self) -> None:
        target = torch.zeros(1, 1, 32, 32)
        target[..., 10, 21] = 1
        tree = Quadtree.from_scores(target, rounds=2, root=2, threshold=0.5)
        axes = tree.plot(target)
        assert len(axes.images) == 1
        kept = axes.collections[-1].get_paths()
        assert [p.get_extents().extents.tolist() for p in kept] == [[19.5, 7.5, 23.5, 11.5]]
        assert sum(len(c.get_paths()) for c in axes.collections[:-1]) == len(tree.leaves()[0])

    def test_a_plane_of_a_volume_shows_the_blocks_it_cuts(self) -> None:
        target = torch.zeros(1, 1, 16, 32, 32)
        target[..., 3, 10, 21] = 1
        tree = Octree.from_scores(target, rounds=2, root=2, threshold=0.5)
        assert len(tree.plot(target, axis=0, position=3).collections[-1].get_paths()) == 1
        assert len(tree.plot(target, axis=0, position=9).collections[-1].get_paths()) == 0


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda: PlanSettings(budget=(0.2, 0.5, 0.1)), "it grows"),
        (lambda: PlanSettings(budget=(0.5, 0.2)), "expected 3 shares"),
        (lambda: PlanSettings(budget=(1.5, 0.2, 0.1)), "above 0, up to 1"),
        (lambda: PlanSettings(threshold=(0.5,)), "expected one number, or 3"),
        (lambda: PlanSettings(rounds=9), "expected 1 to 8"),
        (lambda: PlanSettings(metric="sobel"), "expected one of gradient"),
        (lambda: PlanSettings(root=0), "at least 1 block"),
        (lambda: Quadtree.from_image(image((8, 8, 8))), "Quadtree for 2, Octree for 3"),
        (lambda: Quadtree.from_image(image((8, 8)), rounds=4), "less than a voxel each"),
        (lambda: Quadtree.from_image(image((64, 64)), root=(2, 2, 2)), "one number per axis"),
        (lambda: Quadtree.from_image(image((64, 64))).blocks(4), r"expected 0 \(roots\) to 3"),
        (lambda: Quadtree.from_image(image((64, 64))).cover(image((64, 64), 2)), r"expected \[1, C, \*S\]"),
        (lambda: Quadtree.from_image(image((64, 64))).plot(sample=1), "expected 0 to 0"),
    ],
)
def test_bad_input_is_one_clear_line(call, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        call()
