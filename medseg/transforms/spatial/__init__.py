"""Transforms of grids, and of points between the world and a grid."""

from __future__ import annotations

from medseg.transforms.spatial.check_alignment import AlignmentPolicy, CheckAlignment, CheckAlignmentd
from medseg.transforms.spatial.points import VoxelToWorld, VoxelToWorldd, WorldToVoxel, WorldToVoxeld

__all__ = [
    "AlignmentPolicy",
    "CheckAlignment",
    "CheckAlignmentd",
    "VoxelToWorld",
    "VoxelToWorldd",
    "WorldToVoxel",
    "WorldToVoxeld",
]
