"""The tables of an evaluation: one row a case and class, one a lesion, one a failed case; as CSV."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from medseg.io.bounded.atomic import write_text
from medseg.metrics.evaluation.case import ClassScores, LesionScores
from medseg.metrics.evaluation.folders import Evaluation

__all__ = ["LESION_COLUMNS", "SCORES", "case_rows", "csv_text", "lesion_rows", "lits_rows", "score_of", "write_csv"]

SCORES = {
    "dice": "Dice",
    "jaccard": "Jaccard index",
    "voe": "volume overlap error",
    "rvd": "relative volume difference (P - R) / R",
    "rvd_lits": "RVD of the LiTS scripts (R - P) / P",
    "assd_mm": "average symmetric surface distance, mm",
    "rmsd_mm": "root mean squared surface distance, mm",
    "msd_mm": "maximum symmetric surface distance, mm",
    "hd95_mm": "95 % Hausdorff distance, mm",
    "surface_dice": "surface Dice at the tolerance",
}
"""The scores of a class of a case, with their names for people."""

_OVERLAP = ("dice", "jaccard", "voe", "rvd", "rvd_lits")


def score_of(scores: ClassScores, name: str) -> float:
    """One of ``SCORES`` of a class of a case."""
    return float(getattr(scores.overlap if name in _OVERLAP else scores, name))


LESION_COLUMNS = (
    *("case", "lesion", "class", *LesionScores._fields[1:-1]),
    *("centre_i", "centre_j", "centre_k"),
)
"""The columns of the table of lesions."""


def case_rows(found: Evaluation) -> list[dict[str, Any]]:
    """A row for every case and class."""
    rows = []
    for name, case in zip(found.names, found.scores, strict=True):
        for scores in case.classes:
            row: dict[str, Any] = {"case": name, "class": scores.name, "empty": scores.overlap.empty}
            row |= {key: score_of(scores, key) for key in SCORES}
            row |= {"prediction_ml": scores.prediction_ml, "reference_ml": scores.reference_ml}
            for suffix, counts in (("any", scores.any_overlap), ("half", scores.half_overlap)):
                values = (None,) * 3 if counts is None else tuple(counts)
                row |= dict(zip((f"found_{suffix}", f"invented_{suffix}", f"lost_{suffix}"), values, strict=True))
            rows.append(row)
    return rows


def lesion_rows(found: Evaluation) -> list[dict[str, Any]]:
    """A row for every lesion, matched one to one."""
    rows = []
    for name, case in zip(found.names, found.scores, strict=True):
        for number, lesion in enumerate(case.lesions, 1):
            row: dict[str, Any] = {"case": name, "lesion": number, "class": lesion.name}
            row |= {key: getattr(lesion, key) for key in lesion._fields[1:-1]}
            row |= dict(zip(("centre_i", "centre_j", "centre_k"), lesion.centre_voxel, strict=True))
            rows.append(row)
    return rows


def lits_rows(found: Evaluation) -> list[dict[str, Any]]:
    """A row for every case with the scores of LiTS; none unless they were asked for."""
    rows = []
    for name, case in zip(found.names, found.scores, strict=True):
        if case.lits is None:
            continue
        row: dict[str, Any] = {"case": name, "lesion_dice": case.lits.tumour.dice, "liver_dice": case.lits.liver.dice}
        row |= {f"liver_{key}": value for key, value in case.lits.liver_object._asdict().items() if key != "dice"}
        for limit, suffix in ((0.5, "half"), (0.0, "any")):
            counts = case.lits.detection[limit]
            row |= dict(zip((f"tp_{suffix}", f"fp_{suffix}", f"fn_{suffix}"), counts, strict=True))
        row |= {"burden_reference": case.lits.burden_reference, "burden_prediction": case.lits.burden_prediction}
        rows.append(row)
    return rows


def csv_text(rows: Iterable[Mapping[str, Any]], columns: Sequence[str]) -> str:
    """Rows as CSV with a header; a value that does not exist (NaN or None) is an empty cell.

    A text that a spreadsheet would take for a formula gets an apostrophe before it.

    >>> print(csv_text([{"case": "a", "dice": 0.5}, {"case": "=b", "dice": float("nan")}], ["case", "dice"]))
    case,dice
    a,0.5
    '=b,
    <BLANKLINE>
    """
    target = io.StringIO()
    writer = csv.writer(target, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows([_cell(row.get(column)) for column in columns] for row in rows)
    return target.getvalue()


def write_csv(path: str | Path, rows: Sequence[Mapping[str, Any]], columns: Sequence[str] = ()) -> Path:
    """Write rows as CSV, atomically; the columns are by default those of the first row."""
    return write_text(path, csv_text(rows, columns or (list(rows[0]) if rows else ["case"])))


def _cell(value: Any) -> str:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if isinstance(value, float):
        return f"{value:.6g}"
    text = str(value)
    return f"'{text}" if text[:1] in ("=", "+", "-", "@", "\t", "\r") and not isinstance(value, int) else text
