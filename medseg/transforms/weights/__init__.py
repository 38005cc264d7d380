"""Transforms that compute loss weights per voxel from labels."""

from __future__ import annotations

from medseg.transforms.weights.border_weight_map import BorderWeightMap, BorderWeightMapd
from medseg.transforms.weights.sparse_annotation import (
    RandSparseAnnotationMask,
    RandSparseAnnotationMaskd,
    SparseAnnotationMask,
    SparseAnnotationMaskd,
)

__all__ = [
    "BorderWeightMap",
    "BorderWeightMapd",
    "RandSparseAnnotationMask",
    "RandSparseAnnotationMaskd",
    "SparseAnnotationMask",
    "SparseAnnotationMaskd",
]
