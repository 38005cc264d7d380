"""The files of one converted LIDC-IDRI case."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from data_prep.convert import write_series
from medseg.datasets.lidc.consensus import Nodule, equivalent_diameter_mm
from medseg.datasets.lidc.malignancy import MalignancyPolicy, malignancy_scores
from medseg.datasets.lidc.policy import BORDER_TEXTS, NodulePolicy
from medseg.datasets.lidc.records import RATING_RANGES, Reading
from medseg.geometry import Affine, flip_lps_ras, voxel_volume_ml
from medseg.io.atomic import write_json
from medseg.io.dicom_series import CtSeries
from medseg.io.nifti import write_nifti

__all__ = ["write_case"]

_DIAMETER = "sphere of equal volume, mean over the readers"


def write_case(
    folder: Path,
    name: str,
    series: CtSeries,
    reading: Reading,
    nodules: Sequence[Nodule],
    policy: NodulePolicy,
    malignancy: MalignancyPolicy,
    warnings: Sequence[str],
    missing_z_mm: Sequence[float],
) -> str:
    """Write all files of a case into a folder and return a short table for the terminal."""
    affine, shape = series.affine_ras, series.array.shape
    write_series(series, folder / "ct.nii.gz")
    readers = sorted({*range(1, reading.readers + 1), *(reader for nodule in nodules for reader in nodule.masks)})
    overlaps = []
    for reader in readers:
        parts = [(n, n.masks[reader]) for n in nodules if reader in n.masks]
        labels, doubly = _paint(shape, parts)
        write_nifti(folder / f"reader_{reader}.nii.gz", labels, affine)
        if doubly:
            overlaps.append(f"reader {reader}: {doubly} voxels lie in two nodules; the lower nodule_id keeps them")
    labels, _ = _paint(shape, [(n, n.consensus) for n in nodules])
    write_nifti(folder / "nodule_labels.nii.gz", labels, affine)
    write_nifti(folder / "consensus.nii.gz", (labels > 0).astype(np.uint8), affine)
    records = [_nodule_record(nodule, affine, policy, malignancy) for nodule in nodules]
    write_json(folder / "nodules.json", records)
    summary = _summary(series, reading, nodules, records, [*warnings, *overlaps], missing_z_mm, readers)
    summary = {**summary, "policy": _policy(policy, malignancy)}
    write_json(folder / "summary.json", summary)
    write_json(folder / "dataset.json", _dataset(name, policy))
    return _table(records, series)


def _paint(
    shape: tuple[int, ...], parts: Sequence[tuple[Nodule, NDArray[np.bool_]]]
) -> tuple[NDArray[np.unsignedinteger[Any]], int]:
    largest = max((nodule.nodule_id for nodule, _ in parts), default=0)
    labels = np.zeros(shape, dtype=np.uint8 if largest < 256 else np.uint16, order="F")
    doubly = 0
    for nodule, mask in parts:
        view = labels[nodule.box()]
        doubly += int((mask & (view > 0)).sum())
        view[mask & (view == 0)] = nodule.nodule_id
    return labels, doubly


def _nodule_record(
    nodule: Nodule, affine: Affine, policy: NodulePolicy, malignancy: MalignancyPolicy
) -> dict[str, Any]:
    readers = [_reader_record(nodule, reader, affine) for reader in nodule.masks]
    centre_ras = np.mean([record["centroid_ras_mm"] for record in readers], axis=0)
    ratings = {key: [record["ratings"].get(key) for record in readers] for key in RATING_RANGES}
    return {
        "nodule_id": nodule.nodule_id,
        "centre_lps_mm": _rounded(flip_lps_ras(centre_ras)),
        "centre_ras_mm": _rounded(centre_ras),
        "centre_definition": "mean of the readers' mask centroids",
        "diameter_mm": round(float(np.mean([record["diameter_mm"] for record in readers])), 3),
        "diameter_definition": _DIAMETER,
        "readers": readers,
        "ratings": ratings,
        "malignancy": _malignancy_record(nodule, malignancy),
        "policy": _policy(policy, malignancy),
        "border_convention": policy.border,
        "border_definition": BORDER_TEXTS[policy.border],
        "consensus_definition": policy.consensus.describe(),
        "consensus_voxels": int(nodule.consensus.sum()),
        "consensus_volume_ml": round(int(nodule.consensus.sum()) * voxel_volume_ml(affine), 6),
        "pairwise_dice": {f"{a}-{b}": round(value, 6) for (a, b), value in nodule.pairwise_dice().items()},
    }


def _malignancy_record(nodule: Nodule, policy: MalignancyPolicy) -> dict[str, Any]:
    scores = malignancy_scores(nodule)
    return {
        "scores": scores,
        "joined": round(policy.joined(scores), 6) if scores else None,
        "label": policy.label(scores),
    }


def _policy(policy: NodulePolicy, malignancy: MalignancyPolicy) -> dict[str, str]:
    return {**policy.describe(), "malignancy": malignancy.describe(), "malignancy_labels": "0 benign, 1 malignant"}


def _reader_record(nodule: Nodule, reader: int, affine: Affine) -> dict[str, Any]:
    voxels = int(nodule.masks[reader].sum())
    centroid = nodule.centroid_ras(reader, affine)
    annotations = nodule.annotations[reader]
    return {
        "reader": reader,
        "source_ids": [annotation.nodule_id for annotation in annotations],
        "voxels": voxels,
        "volume_ml": round(voxels * voxel_volume_ml(affine), 6),
        "diameter_mm": round(equivalent_diameter_mm(voxels, affine), 3),
        "centroid_lps_mm": _rounded(flip_lps_ras(centroid)),
        "centroid_ras_mm": _rounded(centroid),
        "ratings": dict(annotations[0].ratings),
    }


def _rounded(values: NDArray[np.float64]) -> list[float]:
    return [round(float(value), 6) for value in values]


def _summary(
    series: CtSeries,
    reading: Reading,
    nodules: Sequence[Nodule],
    records: Sequence[dict[str, Any]],
    warnings: Sequence[str],
    missing_z_mm: Sequence[float],
    readers: Sequence[int],
) -> dict[str, Any]:
    dice = [value for record in records for value in record["pairwise_dice"].values()]
    return {
        "series_instance_uid": series.series_uid,
        "annotations": reading.source,
        "slices": series.array.shape[2],
        "missing_slices_z_mm": list(missing_z_mm),
        "left_out_files": [path.name for path, _ in series.left_out],
        "readers": [
            {
                "reader": reader,
                "nodules": [nodule.nodule_id for nodule in nodules if reader in nodule.masks],
                "voxels": sum(int(nodule.masks[reader].sum()) for nodule in nodules if reader in nodule.masks),
            }
            for reader in readers
        ],
        "nodules": len(nodules),
        "pairwise_dice_range": [min(dice), max(dice)] if dice else None,
        "points": [asdict(point) for point in reading.points],
        "warnings": list(warnings),
    }


def _dataset(name: str, policy: NodulePolicy) -> dict[str, Any]:
    rows = [{"image": "ct.nii.gz", "label": "consensus.nii.gz"}]
    return {
        "name": name,
        "description": "One LIDC-IDRI case. Training and validation are this same case, so figures do not generalise. "
        f"Label: consensus, {policy.consensus.describe()}; border {policy.border}.",
        "licence": "LIDC-IDRI, CC BY 3.0",
        "modality": {"0": "CT"},
        "labels": {"0": "background", "1": "nodule"},
        "numTraining": 1,
        "numTest": 0,
        "training": rows,
        "validation": rows,
        "test": [],
    }


def _table(records: Sequence[dict[str, Any]], series: CtSeries) -> str:
    lines = [f"CT: {' x '.join(str(n) for n in series.array.shape)} voxels, {len(records)} nodule(s)"]
    lines.append("nodule  readers  voxels by reader            consensus  diameter mm  Dice            centre LPS mm")
    for record in records:
        voxels = " / ".join(str(item["voxels"]) for item in record["readers"])
        dice = list(record["pairwise_dice"].values())
        span = f"{min(dice):.3f}-{max(dice):.3f}" if dice else "-"
        centre = ", ".join(f"{value:.2f}" for value in record["centre_lps_mm"])
        lines.append(
            f"{record['nodule_id']:>6}  {len(record['readers']):>7}  {voxels:<27} {record['consensus_voxels']:>9}  "
            f"{record['diameter_mm']:>11.2f}  {span:<14}  ({centre})"
        )
    return "\n".join(lines)
