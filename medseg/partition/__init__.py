"""Partitions of an image into blocks that adaptive layers work on: Quadtree and Octree, and what decides about them."""

from __future__ import annotations

from medseg.partition.costs import Macs, active_fractions, active_voxels, count_macs, target_cover, voxel_masks
from medseg.partition.explore import candidate_blocks, explore_tiles, kept_blocks
from medseg.partition.layout import BlockLayout, block_layout
from medseg.partition.make import make_plan, plan_and_scores, plan_from_scores
from medseg.partition.plan import BlockPlan
from medseg.partition.quadtree import Octree, Quadtree
from medseg.partition.settings import PlanSettings, default_budget

__all__ = [
    "BlockLayout",
    "BlockPlan",
    "Macs",
    "Octree",
    "PlanSettings",
    "Quadtree",
    "active_fractions",
    "active_voxels",
    "block_layout",
    "candidate_blocks",
    "count_macs",
    "default_budget",
    "explore_tiles",
    "kept_blocks",
    "make_plan",
    "plan_and_scores",
    "plan_from_scores",
    "target_cover",
    "voxel_masks",
]
