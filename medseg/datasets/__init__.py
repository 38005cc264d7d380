"""Data sets: public collections as they are distributed, synthetic phantoms with known truth, folds and fingerprints.

`medseg.datasets.lidc`, `medseg.datasets.lits` and `medseg.datasets.phantom` hold what belongs to one collection. Every
name is imported when it is first used: importing this package loads no other library.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from medseg._lazy import lazy_exports

if TYPE_CHECKING:
    from medseg.datasets import lidc, lits, phantom
    from medseg.datasets.data_list import read_data_list
    from medseg.datasets.fingerprint import CaseFingerprint, case_fingerprint, dataset_fingerprint
    from medseg.datasets.fingerprint_figure import draw_fingerprint
    from medseg.datasets.fold_file import FoldCase, audit_folds, fold_table, read_folds, write_folds
    from medseg.datasets.label_merge import Island, LabelLayer, MergedLabel, merge_labels, parse_value_map
    from medseg.datasets.luna16 import (
        Candidate,
        Finding,
        Match,
        findings_to_voxels,
        match_findings,
        read_candidates,
        read_findings,
    )
    from medseg.datasets.medmnist import MedMNISTPart, read_medmnist
    from medseg.datasets.sparse import SparseLabel, array_axes, choose_slices, sparsify
    from medseg.datasets.splits import grouped_folds

__all__ = [
    "Candidate",
    "CaseFingerprint",
    "Finding",
    "FoldCase",
    "Island",
    "LabelLayer",
    "Match",
    "MedMNISTPart",
    "MergedLabel",
    "SparseLabel",
    "array_axes",
    "audit_folds",
    "case_fingerprint",
    "choose_slices",
    "dataset_fingerprint",
    "draw_fingerprint",
    "findings_to_voxels",
    "fold_table",
    "grouped_folds",
    "lidc",
    "lits",
    "match_findings",
    "merge_labels",
    "parse_value_map",
    "phantom",
    "read_candidates",
    "read_data_list",
    "read_findings",
    "read_folds",
    "read_medmnist",
    "sparsify",
    "write_folds",
]

__getattr__, __dir__ = lazy_exports(
    __name__,
    {
        "data_list": ("read_data_list",),
        "fingerprint": ("CaseFingerprint", "case_fingerprint", "dataset_fingerprint"),
        "fingerprint_figure": ("draw_fingerprint",),
        "fold_file": ("FoldCase", "audit_folds", "fold_table", "read_folds", "write_folds"),
        "label_merge": ("Island", "LabelLayer", "MergedLabel", "merge_labels", "parse_value_map"),
        "luna16": (
            "Candidate",
            "Finding",
            "Match",
            "findings_to_voxels",
            "match_findings",
            "read_candidates",
            "read_findings",
        ),
        "medmnist": ("MedMNISTPart", "read_medmnist"),
        "sparse": ("SparseLabel", "array_axes", "choose_slices", "sparsify"),
        "splits": ("grouped_folds",),
    },
    submodules=("lidc", "lits", "phantom"),
)
