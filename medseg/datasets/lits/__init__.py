"""LiTS: liver and tumour CT as distributed, its known faults, and their repair with a record."""

from __future__ import annotations

from medseg.datasets.lits.body import BodyCheck, check_body
from medseg.datasets.lits.cases import LitsCase, find_cases, lits_number
from medseg.datasets.lits.evidence import AlignmentEvidence, measure_alignment
from medseg.datasets.lits.geometry import LIVER_LITRES, GridRepair, repair_grid
from medseg.datasets.lits.issues import KnownIssue, known_issues, table_version
from medseg.datasets.lits.label import place_label
from medseg.datasets.lits.overlap import refuse_shared_patients, source_of
from medseg.datasets.lits.prepare import PreparedCase, prepare_case
from medseg.datasets.lits.tumours import TumourCount, count_tumours

__all__ = [
    "LIVER_LITRES",
    "AlignmentEvidence",
    "BodyCheck",
    "GridRepair",
    "KnownIssue",
    "LitsCase",
    "PreparedCase",
    "TumourCount",
    "check_body",
    "count_tumours",
    "find_cases",
    "known_issues",
    "lits_number",
    "measure_alignment",
    "place_label",
    "prepare_case",
    "refuse_shared_patients",
    "repair_grid",
    "source_of",
    "table_version",
]
