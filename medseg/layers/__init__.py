"""Adaptive layers as `torch.nn` modules; `medseg.layers.guidance` has the layers of guided networks."""

from __future__ import annotations

from medseg.layers import factories as _factories  # noqa: F401
from medseg.layers.active_norm import ActiveNorm
from medseg.layers.attention import ChannelAttention, PositionAttention
from medseg.layers.block_evaluator import EvaluatedPlan, LearnedEvaluator
from medseg.layers.conv_rounds import ConvRounds, DenseConvRounds
from medseg.layers.default_patch import default_patch
from medseg.layers.global_conv import GlobalConv
from medseg.layers.patch_evaluator import SharedPatchEvaluator, SlotPatchEvaluator, patch_l1
from medseg.layers.presets import make_poolings, parse_placement
from medseg.layers.quadtree_conv import QuadtreeConv
from medseg.layers.sparse_downsample import PatchIndex, Selection, SparseDownsample
from medseg.layers.sparse_upsample import SparseUpsample

__all__ = [
    "ActiveNorm",
    "ChannelAttention",
    "ConvRounds",
    "DenseConvRounds",
    "EvaluatedPlan",
    "GlobalConv",
    "LearnedEvaluator",
    "PatchIndex",
    "PositionAttention",
    "QuadtreeConv",
    "Selection",
    "SharedPatchEvaluator",
    "SlotPatchEvaluator",
    "SparseDownsample",
    "SparseUpsample",
    "default_patch",
    "make_poolings",
    "parse_placement",
    "patch_l1",
]
