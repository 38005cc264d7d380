"""Every public layer with the table of unusual tensors: the result of float32, or one line of the package's own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import medseg.layers
import medseg.layers.guidance
from medseg.layers import (
    ChannelAttention,
    DenseConvRounds,
    GlobalConv,
    LearnedEvaluator,
    PositionAttention,
    QuadtreeConv,
    SharedPatchEvaluator,
    SlotPatchEvaluator,
    SparseDownsample,
    SparseUpsample,
    patch_l1,
)
from medseg.layers.guidance import (
    DensityModulator,
    Guidance,
    PatchModulator,
    SpatialGuide,
    guide_pyramid,
)
from medseg.partition import PlanSettings, Quadtree
from tests._hostile import UNUSUAL, assert_right_or_refused

IMAGE = (8 * torch.rand(2, 4, 16, 16, generator=torch.Generator().manual_seed(0))).round()
TREE = Quadtree.from_image(IMAGE, rounds=2, root=2)


def made(make: Callable[[], nn.Module]) -> nn.Module:
    torch.manual_seed(0)
    return make().eval()


def layer(make: Callable[[], nn.Module]) -> Callable[[Tensor], Any]:
    return lambda x: made(make)(x)


def evaluator(make: Callable[[], nn.Module]) -> Callable[[Tensor], Any]:
    return lambda x: made(make)(x, 4)


def up(x: Tensor) -> Tensor:
    index = SparseDownsample(2, 4, patch=2, return_index=True).eval()(torch.zeros(2, 4, 32, 32))[1]
    return SparseUpsample(2)(x, index)


# Each layer as a function of its map [B, 4, 16, 16] alone.
LAYERS: dict[str, Callable[[Tensor], Any]] = {
    "ChannelAttention": layer(ChannelAttention),
    "QuadtreeConv, plan": lambda x: made(lambda: QuadtreeConv(2, 4, 4, rounds=2))(x, TREE),
    "DenseConvRounds": layer(lambda: DenseConvRounds(2, 4, 4, rounds=2)),
    "GlobalConv": layer(lambda: GlobalConv(2, 4, 4, 3)),
    "LearnedEvaluator": layer(lambda: LearnedEvaluator(2, 4, PlanSettings(rounds=2, root=2, budget=(0.5, 0.5)))),
    "PositionAttention": layer(lambda: PositionAttention(2, 4, 2)),
    "QuadtreeConv": layer(lambda: QuadtreeConv(2, 4, 4, rounds=2, root=2, budget=(0.5, 0.5))),
    "SharedPatchEvaluator": evaluator(lambda: SharedPatchEvaluator(2, 4)),
    "SlotPatchEvaluator": evaluator(lambda: SlotPatchEvaluator(2, 4)),
    "SparseDownsample": layer(lambda: SparseDownsample(2, 4, patch=2)),
    "SparseUpsample": up,
    "patch_l1": lambda x: patch_l1(x, 4),
    "DensityModulator": lambda x: made(lambda: DensityModulator([4], signals=4, bins=16))(
        Guidance(appearance=x[:, :, 0] if x.ndim == 4 and x.shape[2] else x)
    ),
    "PatchModulator": lambda x: made(lambda: PatchModulator(2, [4], signals=4))(Guidance(appearance=x)),
    "guide_pyramid": lambda x: guide_pyramid(x, [(1, 1)]),
    "SpatialGuide": lambda x: made(lambda: SpatialGuide(2, [4], [(0, 0)], guide_channels=4))(Guidance(spatial=x), x),
}
PARTS = {"ActiveNorm", "ConvRounds", "inner"}  # of the layers above: they take no map of their own
WITHOUT_MAP = {
    *PARTS,
    "EvaluatedPlan",
    "Guidance",
    "Modulation",
    "PatchIndex",
    "Selection",
    "default_patch",
    "make_poolings",
    "parse_placement",
}


def test_every_public_layer_is_here() -> None:
    public = {*medseg.layers.__all__, *medseg.layers.guidance.__all__}
    assert {name.split(",")[0] for name in LAYERS} | WITHOUT_MAP == public


@pytest.mark.parametrize("kind", UNUSUAL)
@pytest.mark.parametrize("name", LAYERS)
def test_an_unusual_map_gives_the_result_of_float32_or_one_line(name: str, kind: str) -> None:
    with torch.no_grad():
        assert_right_or_refused(LAYERS[name], UNUSUAL[kind](IMAGE))
