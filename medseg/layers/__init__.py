"""Adaptive layers as `torch.nn` modules."""

from __future__ import annotations

from medseg.layers import factories as _factories  # noqa: F401
from medseg.layers.block_evaluator import EvaluatedPlan, LearnedEvaluator
from medseg.layers.patch_evaluator import SharedPatchEvaluator, SlotPatchEvaluator, patch_l1
from medseg.layers.presets import default_patch, make_poolings, parse_placement
from medseg.layers.sparse_downsample import PatchIndex, Selection, SparseDownsample
from medseg.layers.sparse_upsample import SparseUpsample

__all__ = [
    "EvaluatedPlan",
    "LearnedEvaluator",
    "PatchIndex",
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
