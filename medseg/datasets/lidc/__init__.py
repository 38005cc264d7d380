"""LIDC-IDRI: readings from XML or from the annotation database, nodules, masks and consensus."""

from __future__ import annotations

from medseg.datasets.lidc.clusters import cluster_annotations
from medseg.datasets.lidc.consensus import Nodule, build_nodules, consensus_mask, dice
from medseg.datasets.lidc.database import database_path, read_database, slice_positions
from medseg.datasets.lidc.masks import annotation_mask
from medseg.datasets.lidc.records import RATING_RANGES, Annotation, Contour, PointMark, Reading
from medseg.datasets.lidc.xml import find_reading, read_xml

__all__ = [
    "RATING_RANGES",
    "Annotation",
    "Contour",
    "Nodule",
    "PointMark",
    "Reading",
    "annotation_mask",
    "build_nodules",
    "cluster_annotations",
    "consensus_mask",
    "database_path",
    "dice",
    "find_reading",
    "read_database",
    "read_xml",
    "slice_positions",
]
