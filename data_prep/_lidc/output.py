"""The files of one converted LIDC-IDRI case."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from data_prep._options.pseudonyms import SeriesPseudonyms
from data_prep.convert import write_series
from medseg.datasets.lidc.consensus import Nodule, equivalent_diameter_mm
from medseg.datasets.lidc.malignancy import MalignancyPolicy, malignancy_scores
from medseg.datasets.lidc.policy import BORDER_TEXTS, NodulePolicy
from medseg.datasets.lidc.records import RATING_RANGES, Reading
from medseg.geometry import Affine, flip_lps_ras, spacing_of, voxel_volume_ml, world_to_voxel
from medseg.io.bounded.atomic import write_json
from medseg.io.ct.series import CtSeries
from medseg.io.ct.sidecar import series_names
from medseg.io.volumes.nifti import write_nifti

__all__ = ["LidcCase", "policy_record", "write_case"]

_DIAMETER = "sphere of equal volume, mean over the readers"


@dataclass(frozen=True, eq=False)
class LidcCase:
    """One case before it is written.

    Attributes:
        reading: what the readers drew.
        nodules: on the grid below.
        affine_ras: 4 x 4, voxel to RAS mm.
        shape: columns, rows, slices.
        warnings: one line each.
        series: the CT; None if there is none, and then x and y are measured from the first pixel.
        missing_z_mm: slices that the CT lacks.
        refused: nodules that cannot be used, with the reason; see `data_prep._lidc.checks.NoduleVerdict`.
        left_out: names of nodules that were not wanted.
    """

    reading: Reading
    nodules: tuple[Nodule, ...]
    affine_ras: Affine
    shape: tuple[int, int, int]
    warnings: list[str]
    series: CtSeries | None = None
    missing_z_mm: tuple[float, ...] = ()
    refused: tuple[dict[str, Any], ...] = ()
    left_out: tuple[str, ...] = ()


def write_case(
    folder: Path,
    name: str,
    case: LidcCase,
    policy: NodulePolicy,
    malignancy: MalignancyPolicy,
    pseudonyms: SeriesPseudonyms | None = None,
) -> str:
    """Write all files of a case into a folder and return a short table for the terminal."""
    if case.series is not None:
        write_series(case.series, folder / "ct.nii.gz", pseudonyms)
        write_json(folder / "dataset.json", _dataset(name, policy, case))
    else:
        write_json(folder / "grid.json", _grid(case))
    readers = sorted({*range(1, case.reading.readers + 1), *(r for nodule in case.nodules for r in nodule.masks)})
    overlaps = _write_masks(folder, case, readers)
    records = [_nodule_record(nodule, case, policy, malignancy) for nodule in case.nodules]
    write_json(folder / "nodules.json", records)
    summary = _summary(case, records, [*case.warnings, *overlaps], readers)
    write_json(folder / "summary.json", {**summary, "policy": policy_record(policy, malignancy)})
    return _table(records, case)


def _write_masks(folder: Path, case: LidcCase, readers: Sequence[int]) -> list[str]:
    overlaps = []
    for reader in readers:
        parts = [(n, n.masks[reader]) for n in case.nodules if reader in n.masks]
        labels, doubly = _paint(case.shape, parts)
        write_nifti(folder / f"reader_{reader}.nii.gz", labels, case.affine_ras)
        if doubly:
            overlaps.append(f"reader {reader}: {doubly} voxels lie in two nodules; the lower nodule_id keeps them")
    labels, _ = _paint(case.shape, [(n, n.consensus) for n in case.nodules])
    write_nifti(folder / "nodule_labels.nii.gz", labels, case.affine_ras)
    write_nifti(folder / "consensus.nii.gz", (labels > 0).astype(np.uint8), case.affine_ras)
    return overlaps


def _grid(case: LidcCase) -> dict[str, Any]:
    return {
        "series_instance_uid": case.reading.series_uid,
        "shape": list(case.shape),
        "spacing_mm": [round(float(value), 6) for value in spacing_of(case.affine_ras)],
        "affine_ras": case.affine_ras.tolist(),
        "origin_in_plane": "unknown: the annotation database does not record it; the first pixel's centre is put at "
        "x = y = 0 mm, so the masks fit the CT's 512 x 512 pixels but not its x and y in mm",
        "origin_z": "as recorded, z of ImagePositionPatient of the first slice",
        "directions": "assumed: columns run to the left, rows to the back; the annotation database records none",
    }


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
    nodule: Nodule, case: LidcCase, policy: NodulePolicy, malignancy: MalignancyPolicy
) -> dict[str, Any]:
    affine, known = case.affine_ras, case.series is not None
    centroids = [nodule.centroid_ras(reader, affine) for reader in nodule.masks]
    readers = [
        _reader_record(nodule, reader, centre, case) for reader, centre in zip(nodule.masks, centroids, strict=True)
    ]
    centre_ras = np.mean(centroids, axis=0)
    ratings = {key: [record["ratings"].get(key) for record in readers] for key in RATING_RANGES}
    return {
        "nodule_id": nodule.nodule_id,
        "centre_lps_mm": _rounded(flip_lps_ras(centre_ras)) if known else None,
        "centre_ras_mm": _rounded(centre_ras) if known else None,
        "centre_voxel": _rounded(world_to_voxel(centre_ras, affine, "RAS")),
        "centre_definition": "mean of the readers' mask centroids",
        "diameter_mm": round(float(np.mean([record["diameter_mm"] for record in readers])), 3),
        "diameter_definition": _DIAMETER,
        "readers": readers,
        "ratings": ratings,
        "malignancy": _malignancy_record(nodule, malignancy),
        "policy": policy_record(policy, malignancy),
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


def policy_record(policy: NodulePolicy, malignancy: MalignancyPolicy) -> dict[str, str]:
    """The choices behind the nodules and their labels, for the outputs."""
    return {**policy.describe(), "malignancy": malignancy.describe(), "malignancy_labels": "0 benign, 1 malignant"}


def _reader_record(nodule: Nodule, reader: int, centroid_ras: NDArray[np.float64], case: LidcCase) -> dict[str, Any]:
    affine, known = case.affine_ras, case.series is not None
    voxels = int(nodule.masks[reader].sum())
    annotations = nodule.annotations[reader]
    return {
        "reader": reader,
        "source_ids": [annotation.nodule_id for annotation in annotations],
        "voxels": voxels,
        "volume_ml": round(voxels * voxel_volume_ml(affine), 6),
        "diameter_mm": round(equivalent_diameter_mm(voxels, affine), 3),
        "centroid_lps_mm": _rounded(flip_lps_ras(centroid_ras)) if known else None,
        "centroid_ras_mm": _rounded(centroid_ras) if known else None,
        "centroid_voxel": _rounded(world_to_voxel(centroid_ras, affine, "RAS")),
        "ratings": dict(annotations[0].ratings),
    }


def _rounded(values: NDArray[np.float64]) -> list[float]:
    return [round(float(value), 6) for value in values]


def _summary(
    case: LidcCase, records: Sequence[dict[str, Any]], warnings: Sequence[str], readers: Sequence[int]
) -> dict[str, Any]:
    dice = [value for record in records for value in record["pairwise_dice"].values()]
    return {
        "series_instance_uid": case.reading.series_uid,
        "annotations": case.reading.source,
        "ct": case.series is not None,
        "slices": case.shape[2],
        "missing_slices_z_mm": list(case.missing_z_mm),
        "left_out_files": [series_names(case.series).label(path) for path, _ in case.series.left_out]
        if case.series is not None
        else [],
        "readers": [
            {
                "reader": reader,
                "nodules": [nodule.nodule_id for nodule in case.nodules if reader in nodule.masks],
                "voxels": sum(int(nodule.masks[reader].sum()) for nodule in case.nodules if reader in nodule.masks),
            }
            for reader in readers
        ],
        "nodules": len(case.nodules),
        "pairwise_dice_range": [min(dice), max(dice)] if dice else None,
        "refused": list(case.refused),
        "left_out": list(case.left_out),
        "points": [asdict(point) for point in case.reading.points],
        "warnings": list(warnings),
    }


def _dataset(name: str, policy: NodulePolicy, case: LidcCase) -> dict[str, Any]:
    gone = [*(row["name"] for row in case.refused), *case.left_out]
    absent = f" Not in the label, where they count as background: {', '.join(gone)}." if gone else ""
    rows = [{"image": "ct.nii.gz", "label": "consensus.nii.gz"}]
    return {
        "name": name,
        "description": "One LIDC-IDRI case. Training and validation are this same case, so figures do not generalise. "
        f"Label: consensus, {policy.consensus.describe()}; border {policy.border}.{absent}",
        "licence": "LIDC-IDRI, CC BY 3.0",
        "modality": {"0": "CT"},
        "labels": {"0": "background", "1": "nodule"},
        "numTraining": 1,
        "numTest": 0,
        "training": rows,
        "validation": rows,
        "test": [],
    }


def _table(records: Sequence[dict[str, Any]], case: LidcCase) -> str:
    kind = "CT" if case.series is not None else "no CT"
    lines = [f"{kind}: {' x '.join(str(n) for n in case.shape)} voxels, {len(records)} nodule(s)"]
    lines.append(
        "nodule  readers  voxels by reader            consensus  diameter mm  Dice            "
        + ("centre LPS mm" if case.series is not None else "centre voxel")
    )
    for record in records:
        voxels = " / ".join(str(item["voxels"]) for item in record["readers"])
        dice = list(record["pairwise_dice"].values())
        span = f"{min(dice):.3f}-{max(dice):.3f}" if dice else "-"
        centre = ", ".join(f"{value:.2f}" for value in record["centre_lps_mm"] or record["centre_voxel"])
        lines.append(
            f"{record['nodule_id']:>6}  {len(record['readers']):>7}  {voxels:<27} {record['consensus_voxels']:>9}  "
            f"{record['diameter_mm']:>11.2f}  {span:<14}  ({centre})"
        )
    return "\n".join(lines)
