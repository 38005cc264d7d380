"""Cubes around the nodules of one LIDC-IDRI case, as files for classification."""

from __future__ import annotations

from pathlib import Path

from data_prep._lidc.output import LidcCase, policy_record
from medseg.datasets.lidc.malignancy import MalignancyPolicy, malignancy_scores
from medseg.datasets.lidc.policy import NodulePolicy
from medseg.datasets.lidc.volume_crops import AIR_HU, crop_nodule_mask, crop_volume, nodule_centre_ras
from medseg.io.bounded.atomic import write_json
from medseg.io.volumes.nifti import write_nifti

__all__ = ["write_crops"]


def write_crops(
    folder: Path,
    case: LidcCase,
    policy: NodulePolicy,
    malignancy: MalignancyPolicy,
    side_mm: float,
    spacing_mm: float,
) -> str:
    """Write ``crops/nodule_N_ct.nii.gz``, ``crops/nodule_N_mask.nii.gz`` and ``crops.json``; return a line about them.

    Raises:
        ValueError: if the case has no CT.
    """
    if case.series is None:
        raise ValueError("crops need the CT, but this case has none")
    rows = []
    for nodule in case.nodules:
        centre = nodule_centre_ras(nodule, case.affine_ras)
        image = crop_volume(case.series.array, case.affine_ras, centre, side_mm, spacing_mm)
        mask = crop_nodule_mask(nodule, case.affine_ras, centre, side_mm, spacing_mm)
        names = {kind: f"crops/nodule_{nodule.nodule_id}_{kind}.nii.gz" for kind in ("ct", "mask")}
        write_nifti(folder / names["ct"], image.array, image.affine_ras)
        write_nifti(folder / names["mask"], mask.array, mask.affine_ras)
        label = malignancy.label(malignancy_scores(nodule))
        if image.outside_fraction > 0:
            share = f"{image.outside_fraction:.1%}"
            case.warnings.append(f"nodule {nodule.nodule_id}: {share} of its crop lies outside the CT, set to {AIR_HU}")
        rows.append(
            {
                "image": names["ct"],
                "mask": names["mask"],
                "nodule_id": nodule.nodule_id,
                "label": label,
                "mask_voxels": int(mask.array.sum()),
                "outside_fraction": round(image.outside_fraction, 6),
            }
        )
    header = {
        "series_instance_uid": case.reading.series_uid,
        "side_mm": side_mm,
        "spacing_mm": spacing_mm,
        "centre": "mean of the readers' mask centroids",
        "interpolation": "CT linear, mask nearest",
        "outside_hu": AIR_HU,
        "labels": "0 benign, 1 malignant, null: no label under the policy",
        "policy": policy_record(policy, malignancy),
    }
    write_json(folder / "crops.json", {**header, "nodules": rows})
    labelled = sum(row["label"] is not None for row in rows)
    return f"crops: {len(rows)} cube(s) of {side_mm:g} mm at {spacing_mm:g} mm, {labelled} with a label"
