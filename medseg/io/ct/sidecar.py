"""The JSON file beside a converted CT series: only listed facts, no name of a patient or file, no date."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medseg.geometry import orientation_codes, spacing_of
from medseg.io.ct.series import CtSeries
from medseg.io.privacy.names import HiddenNames, is_kernel_name, shown_uid

__all__ = ["CONVERTER_VERSION", "SIDECAR_KEYS", "series_names", "series_sidecar", "voxel_sha256"]

CONVERTER_VERSION = "4"

SIDECAR_KEYS = (
    *("converter", "shape", "axes", "dtype", "unit", "hu_range", "spacing_mm", "orientation", "affine_ras"),
    *("slice_positions_mm", "slice_thickness_recorded_mm", "kernel", "modality", "kvp", "gantry_tilt_degrees_recorded"),
    *("transfer_syntax", "decoder", "rescale", "padding_rule", "series_instance_uid", "sop_instance_uids"),
    *(
        "frame_numbers",
        "repairs",
        "repair_policy",
        "source_sop_instance_uids",
        "left_out",
        "ignored_files",
        "warnings",
        "voxel_sha256",
    ),
    "assumed_rescale",
)
"""All keys that are written of a series; nothing else of a header is ever copied."""


def voxel_sha256(array: NDArray[Any]) -> str:
    """SHA-256 of the voxels as little-endian bytes, first array axis fastest (the order inside a NIfTI file)."""
    data = np.asarray(array)
    little = data.astype(data.dtype.newbyteorder("<"), copy=False)
    return hashlib.sha256(little.tobytes(order="F")).hexdigest()


def series_sidecar(series: CtSeries) -> dict[str, Any]:
    """The facts about a series that are kept with its voxels, ready for JSON.

    Only the keys named here are written: no patient, study, date, institution, device or free-text field. UIDs of the
    series and of its slices are kept because results cannot be sent back to DICOM without them; anyone
    who has the original files can link them to the patient.
    """
    import medseg

    names = series_names(series)
    facts = dict(series.facts)
    kernel = [part for part in facts.pop("kernel") if is_kernel_name(part)]
    thickness = facts.pop("slice_thickness_mm")
    return {
        "converter": {"name": "medseg data_prep.convert", "version": CONVERTER_VERSION, "medseg": medseg.__version__},
        "shape": list(series.array.shape),
        "axes": "[i = column, j = row, k = slice along the normal]",
        "dtype": str(series.array.dtype),
        "unit": "HU",
        "hu_range": [int(series.array.min()), int(series.array.max())],
        "spacing_mm": [round(float(value), 9) for value in spacing_of(series.affine_ras)],
        "orientation": "".join(orientation_codes(series.affine_ras)),
        "affine_ras": series.affine_ras.tolist(),
        "slice_positions_mm": [round(position, 6) for position in series.positions_mm],
        "slice_thickness_recorded_mm": thickness,
        "kernel": kernel,
        **facts,
        "series_instance_uid": shown_uid(series.series_uid),
        "sop_instance_uids": [shown_uid(uid) for uid in series.sop_instance_uids],
        "frame_numbers": list(series.frame_numbers),
        **series.repair_record(),
        "source_sop_instance_uids": [[shown_uid(uid) for uid in uids] for uids in series.source_sop_instance_uids],
        "left_out": [names.label(path) for path, _ in series.left_out],
        "ignored_files": series.ignored_files,
        "warnings": [names.hide(line) for line in series.warnings],
        "voxel_sha256": voxel_sha256(series.array),
    }


def series_names(series: CtSeries) -> HiddenNames:
    """Replacements for the file names of a series in messages and files."""
    return HiddenNames({} if series.folder is None else {"IN": series.folder})
