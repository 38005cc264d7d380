"""Partitions of an image into blocks that adaptive layers work on: Quadtree and Octree, and what decides about them."""

from __future__ import annotations

from medseg.partition.layout import BlockLayout, block_layout
from medseg.partition.make import make_plan, plan_and_scores, plan_from_scores
from medseg.partition.plan import BlockPlan
from medseg.partition.settings import PlanSettings, default_budget

__all__ = [
    "BlockLayout",
    "BlockPlan",
    "PlanSettings",
    "block_layout",
    "default_budget",
    "make_plan",
    "plan_and_scores",
    "plan_from_scores",
]
