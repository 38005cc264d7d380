"""Affines, frames, grids, boxes, contours and label values in pure NumPy: no torch, no files."""

from __future__ import annotations

from medseg.geometry.affine import (
    Affine,
    apply_affine,
    corner_displacement_mm,
    direction_of,
    flip_lps_ras,
    make_affine,
    orientation_codes,
    spacing_of,
    voxel_volume_ml,
)
from medseg.geometry.alignment import Alignment, AlignmentKind, compare_grids
from medseg.geometry.axis_resampling import AxisMap, AxisNeighbours, axis_map, axis_neighbours
from medseg.geometry.boxes import VoxelBox, WorldBox, box_to_voxel, box_to_world
from medseg.geometry.decompose import AffineParts, Grid, decompose, straight_grid
from medseg.geometry.frames import WorldFrame, voxel_to_world, world_affine, world_to_voxel
from medseg.geometry.label_values import (
    check_whole_labels,
    component_sizes,
    component_sizes_of_points,
    components_of_points,
    foreground_box,
    label_counts,
)
from medseg.geometry.orientation import CodeConvention, codes_to_direction, direction_to_codes, switch_code_convention
from medseg.geometry.planar import SliceContour, contour_to_slice, contour_to_world, fill_contour

__all__ = [
    "Affine",
    "AffineParts",
    "Alignment",
    "AlignmentKind",
    "AxisMap",
    "AxisNeighbours",
    "CodeConvention",
    "Grid",
    "SliceContour",
    "VoxelBox",
    "WorldBox",
    "WorldFrame",
    "apply_affine",
    "axis_map",
    "axis_neighbours",
    "box_to_voxel",
    "box_to_world",
    "check_whole_labels",
    "codes_to_direction",
    "compare_grids",
    "component_sizes",
    "component_sizes_of_points",
    "components_of_points",
    "contour_to_slice",
    "contour_to_world",
    "corner_displacement_mm",
    "decompose",
    "direction_of",
    "direction_to_codes",
    "fill_contour",
    "flip_lps_ras",
    "foreground_box",
    "label_counts",
    "make_affine",
    "orientation_codes",
    "spacing_of",
    "straight_grid",
    "switch_code_convention",
    "voxel_to_world",
    "voxel_volume_ml",
    "world_affine",
    "world_to_voxel",
]
