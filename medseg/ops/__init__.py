"""Compiled ops with plain PyTorch references. Importing this package loads the compiled library where it is built."""

from __future__ import annotations

import medseg.ops.patch_select_slots  # noqa: F401  (registers the op that serves patch_select)
from medseg.ops._load import compiled, last_backend, status
from medseg.ops.block_conv import block_conv
from medseg.ops.bspline_warp import bspline_warp
from medseg.ops.geodesic_distance import geodesic_distance
from medseg.ops.local_glcm import local_glcm
from medseg.ops.local_histogram import local_histogram
from medseg.ops.patch_gather import patch_gather, patch_scatter
from medseg.ops.patch_select import patch_select
from medseg.ops.patch_select_shared import patch_select_shared
from medseg.ops.quadtree_conv import quadtree_conv
from medseg.ops.quadtree_plan import quadtree_plan, quadtree_select
from medseg.ops.score_argmax import score_argmax
from medseg.ops.tiles import gather_tiles, scatter_tiles

__all__ = [
    "block_conv",
    "bspline_warp",
    "compiled",
    "gather_tiles",
    "geodesic_distance",
    "last_backend",
    "local_glcm",
    "local_histogram",
    "patch_gather",
    "patch_scatter",
    "patch_select",
    "patch_select_shared",
    "quadtree_conv",
    "quadtree_plan",
    "quadtree_select",
    "scatter_tiles",
    "score_argmax",
    "status",
]
