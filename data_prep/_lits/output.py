"""The files of a converted LiTS: one case after the other, then what describes all of them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from medseg.datasets.fingerprint import CaseFingerprint, case_fingerprint, dataset_fingerprint
from medseg.datasets.fingerprint_figure import draw_fingerprint
from medseg.datasets.lits import PreparedCase, source_of, table_version
from medseg.datasets.splits import grouped_folds
from medseg.io.bounded.atomic import write_json
from medseg.io.bounded.errors import DataError
from medseg.io.volumes.nifti import write_nifti

__all__ = ["FoldPlan", "LitsWriter"]

_LABELS = {0: "background", 1: "liver", 2: "tumour"}
_FOREGROUND = {1: "liver", 2: "tumour"}


class FoldPlan(NamedTuple):
    """How labelled cases are divided into folds of nearly equal shares of cases without tumour.

    Attributes:
        number: number of folds.
        seed: seed of the division.
        validation: fold that becomes the validation list; None: all cases stay in the training list.
    """

    number: int
    seed: int
    validation: int | None


class LitsWriter:
    """Writes prepared cases into a folder and keeps what the data set's own files need.

    Args:
        folder: where to write.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.records: list[dict[str, Any]] = []
        self.fingerprints: list[CaseFingerprint] = []

    def add(self, case: PreparedCase) -> None:
        """Write image, label and record of one case."""
        write_nifti(self.folder / "images" / f"{case.name}.nii.gz", case.image, case.affine_ras)
        if case.label is not None:
            write_nifti(self.folder / "labels" / f"{case.name}.nii.gz", case.label, case.affine_ras)
            self.fingerprints.append(case_fingerprint(case.name, case.image, case.label, case.affine_ras))
        write_json(self.folder / "images" / f"{case.name}.json", case.record)
        self.records.append(case.record)

    def finish(self, name: str, refused: Sequence[dict[str, str]], plan: FoldPlan) -> dict[str, Any]:
        """Write dataset.json, report.json and the fingerprint, and return the report.

        Raises:
            DataError: if a validation fold was asked for and there are too few cases for the folds.
        """
        report = {
            "issues_table_version": table_version(),
            "written": [_row(record) for record in self.records],
            "refused": list(refused),
            "tumour_free": [record["case"] for record in self.records if record.get("tumour_voxels") == 0],
            "warnings": [line for record in self.records for line in record["warnings"]],
            "notes": [line for record in self.records for line in record["notes"]],
        }
        write_json(self.folder / "dataset.json", _dataset_json(name, self.records, refused, plan))
        write_json(self.folder / "report.json", report)
        if self.fingerprints:
            write_json(self.folder / "fingerprint.json", dataset_fingerprint(self.fingerprints, _FOREGROUND))
            draw_fingerprint(self.folder / "fingerprint.png", self.fingerprints, _FOREGROUND, name)
        return report


def _row(record: dict[str, Any]) -> dict[str, Any]:
    changes = [change["rule"] for change in record["changes"]]
    placement = record["label_placement"]
    if placement and placement["grids"] == "reordered" and placement["placed_by"] == "world":
        changes.append("label_reordered")
    squeezed = record["squeezed_from"] or (placement and placement["squeezed_from"])
    return {
        "case": record["case"],
        "spacing_mm": record["spacing_mm"],
        "orientation": record["orientation"],
        "shape": record["shape"],
        "liver_litres": record.get("liver_litres"),
        "tumours": record["tumours"]["number"] if "tumours" in record else None,
        "changes": changes + (["squeeze"] if squeezed else []),
    }


def _dataset_json(
    name: str, records: Sequence[dict[str, Any]], refused: Sequence[dict[str, str]], plan: FoldPlan
) -> dict[str, Any]:
    items = _labelled_items([record for record in records if record["label_source"]], plan)
    validation = [item for item in items if plan.validation is not None and item["fold"] == plan.validation]
    training = [item for item in items if item not in validation]
    test = [record["case"] for record in records if not record["label_source"]]
    return {
        "name": name,
        "description": "LiTS: CT of the liver with tumours. Volumes 28 to 47 are 3D-IRCADb-01, and MSD Task03 is the "
        "same collection: neither is an external test set.",
        "modality": {"0": "CT"},
        "labels": {str(value): label for value, label in _LABELS.items()},
        "numTraining": len(training),
        "numTest": len(test),
        "training": training,
        "validation": validation,
        "test": [f"images/{case}.nii.gz" for case in test],
        "provenance": {
            "issues_table_version": table_version(),
            "unverified": sorted(
                record["case"] for record in records if any(not change["verified"] for change in record["changes"])
            ),
            "refused": [row["case"] for row in refused],
            "tumour_free": [record["case"] for record in records if record.get("tumour_voxels") == 0],
        },
    }


def _labelled_items(records: Sequence[dict[str, Any]], plan: FoldPlan) -> list[dict[str, Any]]:
    """The items of the labelled cases; with fold numbers if there are enough cases for the folds."""
    items: list[dict[str, Any]] = [
        {
            "image": f"images/{record['case']}.nii.gz",
            "label": f"labels/{record['case']}.nii.gz",
            "patient": _patient(record["case"]),
        }
        for record in records
    ]
    if len(items) < plan.number:
        if plan.validation is not None:
            raise DataError(
                f"{len(items)} labelled case(s) cannot be divided into {plan.number} folds; give fewer --folds, or no "
                "--validation-fold"
            )
        return items
    with_tumour = [int(record["tumour_voxels"] > 0) for record in records]
    folds = grouped_folds([item["patient"] for item in items], with_tumour, plan.number, plan.seed)
    for number, members in enumerate(folds):
        for index in members:
            items[index]["fold"] = number
    return items


def _patient(case: str) -> str:
    """Every LiTS volume is taken for a patient of its own: the collection says nothing else."""
    source = source_of(case)
    return f"{source.collection} {source.number}"
