"""LIDC-IDRI: readings from XML or from the annotation database, nodules, masks and consensus."""

from __future__ import annotations

from medseg.datasets.lidc.clusters import cluster_annotations
from medseg.datasets.lidc.consensus import Nodule, build_nodules, dice, nodules_on_slices
from medseg.datasets.lidc.consensus_rules import ConsensusRule, consensus_mask, staple_mask
from medseg.datasets.lidc.crops import NoduleSlice, ShapeCase, crop_mask, labelled_shapes, largest_slice
from medseg.datasets.lidc.database import Scan, database_path, read_all_scans, read_database, read_scan, slice_positions
from medseg.datasets.lidc.grid import annotation_grid
from medseg.datasets.lidc.labels import LabelledNodule, labelled_nodules
from medseg.datasets.lidc.malignancy import MalignancyPolicy, malignancy_scores
from medseg.datasets.lidc.masks import annotation_mask
from medseg.datasets.lidc.policy import NodulePolicy
from medseg.datasets.lidc.pylidc_clusters import cluster_like_pylidc
from medseg.datasets.lidc.records import RATING_RANGES, Annotation, Contour, PointMark, Reading
from medseg.datasets.lidc.volume_crops import crop_nodule_mask, crop_volume
from medseg.datasets.lidc.xml import find_reading, read_xml

__all__ = [
    "RATING_RANGES",
    "Annotation",
    "ConsensusRule",
    "Contour",
    "LabelledNodule",
    "MalignancyPolicy",
    "Nodule",
    "NodulePolicy",
    "NoduleSlice",
    "PointMark",
    "Reading",
    "Scan",
    "ShapeCase",
    "annotation_grid",
    "annotation_mask",
    "build_nodules",
    "cluster_annotations",
    "cluster_like_pylidc",
    "consensus_mask",
    "crop_mask",
    "crop_nodule_mask",
    "crop_volume",
    "database_path",
    "dice",
    "find_reading",
    "labelled_nodules",
    "labelled_shapes",
    "largest_slice",
    "malignancy_scores",
    "nodules_on_slices",
    "read_all_scans",
    "read_database",
    "read_scan",
    "read_xml",
    "slice_positions",
    "staple_mask",
]
