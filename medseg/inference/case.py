"""One CT case, from a NIfTI file or a folder with a DICOM series."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medseg.geometry import Affine, orientation_codes, spacing_of
from medseg.inference.errors import ConfigurationError, IntegrityError

__all__ = ["Case", "read_case"]

_NIFTI_SUFFIXES = (".nii.gz", ".nii")


@dataclass(frozen=True)
class Case:
    """A CT volume in memory.

    Attributes:
        name: file or folder name without suffix, for titles; it is not written into machine-readable reports.
        kind: ``"nifti"`` or ``"dicom"``.
        array: voxels ``[i, j, k]`` in the stored type, in Hounsfield units.
        affine_ras: 4 x 4, voxel to RAS mm.
        source: the NIfTI file, or the DICOM folder.
        warnings: what the reader found odd, one line each.
    """

    name: str
    kind: str
    array: NDArray[Any]
    affine_ras: Affine
    source: Path
    warnings: tuple[str, ...] = ()

    def as_nifti(self, scratch: Path) -> Path:
        """Path of the case as NIfTI: the source itself, or a file written into ``scratch`` for a DICOM series."""
        if self.kind == "nifti":
            return self.source
        from medseg.io.volumes.nifti import write_nifti

        return write_nifti(scratch / "image.nii", self.array, self.affine_ras)

    def facts(self) -> dict[str, Any]:
        """Size, geometry and value range for a report; free of names, dates, identifiers and paths."""
        return {
            "kind": self.kind,
            "shape": list(self.array.shape),
            "dtype": str(self.array.dtype),
            "spacing_mm": [round(float(s), 6) for s in spacing_of(self.affine_ras)],
            "orientation": "".join(orientation_codes(self.affine_ras)),
            "affine_ras": np.asarray(self.affine_ras).tolist(),
            "hu_min": float(np.nanmin(self.array)),
            "hu_max": float(np.nanmax(self.array)),
        }


def read_case(path: str | Path, series_uid: str | None = None) -> Case:
    """Read a case.

    Args:
        path: a NIfTI file (``.nii`` or ``.nii.gz``) or a folder that holds a CT series in DICOM.
        series_uid: SeriesInstanceUID, needed only where a folder holds several CT series.

    Raises:
        ConfigurationError: if there is nothing at ``path`` or its suffix is unknown.
        IntegrityError: one line of the reader if the data is unreadable, ambiguous or has no usable geometry.
    """
    path = Path(path)
    if not path.exists():
        raise ConfigurationError(f"{path}: no such file or folder; expected a NIfTI file or a DICOM folder")
    if series_uid and not path.is_dir():
        raise ConfigurationError(f"{path}: is a file; --series chooses among the series of a DICOM folder")
    try:
        case = _read_dicom(path, series_uid) if path.is_dir() else _read_nifti(path)
    except ValueError as error:
        raise IntegrityError(str(error)) from error
    return _checked(case)


def _read_nifti(path: Path) -> Case:
    from medseg.io.volumes.nifti import read_nifti

    suffix = next((s for s in _NIFTI_SUFFIXES if path.name.lower().endswith(s)), None)
    if suffix is None:
        raise ConfigurationError(f"{path}: expected a NIfTI file (.nii, .nii.gz) or a folder with one DICOM series")
    volume = read_nifti(path)
    return Case(path.name[: -len(suffix)], "nifti", volume.array, volume.affine_ras, path, volume.warnings)


def _read_dicom(path: Path, series_uid: str | None) -> Case:
    from medseg.io.ct.series import read_series

    series = read_series(path, series_uid)
    return Case(path.resolve().name, "dicom", series.array, series.affine_ras, path, tuple(series.warnings))


def _checked(case: Case) -> Case:
    array = case.array
    if array.dtype.kind not in "iuf":
        raise IntegrityError(f"{case.source}: voxels have type {array.dtype}, expected one number per voxel")
    if min(array.shape) < 2:
        raise IntegrityError(
            f"{case.source}: image has shape {array.shape}, expected at least 2 voxels along each axis"
        )
    if array.dtype.kind == "f" and not np.isfinite(array).any():
        raise IntegrityError(f"{case.source}: no voxel holds a finite value; expected Hounsfield units")
    return Case(**{**case.__dict__, "warnings": case.warnings + tuple(_value_warnings(array))})


def _value_warnings(array: NDArray[Any]) -> list[str]:
    found = []
    if array.dtype.kind == "f" and (bad := int(array.size - np.isfinite(array).sum())):
        found.append(f"{bad} voxels are NaN or infinite; they are left out of the HU statistics")
    lowest, highest = float(np.nanmin(array)), float(np.nanmax(array))
    if lowest > -200 or highest < 0:
        found.append(
            f"values run from {lowest:g} to {highest:g}: a CT in Hounsfield units holds air near -1000 and tissue near "
            "40, so the image may not be in HU"
        )
    return found
