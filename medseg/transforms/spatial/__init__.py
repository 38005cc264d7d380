"""Transforms of grids, and of points between world coordinates and a grid."""

from __future__ import annotations

from medseg.transforms.spatial.check_alignment import AlignmentPolicy, CheckAlignment, CheckAlignmentd
from medseg.transforms.spatial.check_header import CheckHeader, CheckHeaderd
from medseg.transforms.spatial.elastic_deform import ElasticDeform, ElasticDeformd
from medseg.transforms.spatial.elastic_field import ElasticField
from medseg.transforms.spatial.elastic_settings import ELASTIC_PRESETS, ElasticSettings
from medseg.transforms.spatial.points import VoxelToWorld, VoxelToWorldd, WorldToVoxel, WorldToVoxeld
from medseg.transforms.spatial.rand_elastic_deform import RandElasticDeform, RandElasticDeformd
from medseg.transforms.spatial.separable_spacing import SeparableSpacing, SeparableSpacingd

__all__ = [
    "ELASTIC_PRESETS",
    "AlignmentPolicy",
    "CheckAlignment",
    "CheckAlignmentd",
    "CheckHeader",
    "CheckHeaderd",
    "ElasticDeform",
    "ElasticDeformd",
    "ElasticField",
    "ElasticSettings",
    "RandElasticDeform",
    "RandElasticDeformd",
    "SeparableSpacing",
    "SeparableSpacingd",
    "VoxelToWorld",
    "VoxelToWorldd",
    "WorldToVoxel",
    "WorldToVoxeld",
]
