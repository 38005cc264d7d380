"""One CT case: from an image file (NIfTI, MetaImage, NRRD), a DICOM series, or an array in memory."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from medseg.geometry import Affine, orientation_codes, spacing_of
from medseg.inference.array_case import array_and_affine
from medseg.inference.errors import ConfigurationError, IntegrityError
from medseg.inference.input_rules import InputRules, check_values
from medseg.io.bounded.limits import check_sides
from medseg.io.volumes.assumptions import NO_ASSUMPTIONS, ImageAssumptions
from medseg.io.volumes.hounsfield import HuVerdict

if TYPE_CHECKING:
    import nibabel as nib
    import torch

    from medseg.io.ct.policy import GeometryPolicy
    from medseg.io.ct.rescale import Rescale
    from medseg.io.ct.scan import SeriesEntry, SeriesListing
    from medseg.io.ct.series import CtSeries

__all__ = ["Case", "CaseSource", "check_path", "read_case"]

CaseSource: TypeAlias = "str | os.PathLike[str] | SeriesListing | SeriesEntry | NDArray[Any] | torch.Tensor"
"""What a case can be read from: a path, a listing of series or one of its entries, or an array."""

_NIFTI_SUFFIXES = (".nii.gz", ".nii")
_EXPECTED = "an image file (.nii, .nii.gz, .mha, .mhd, .nrrd, .nhdr)"


@dataclass(frozen=True)
class Case:
    """A CT volume in memory.

    Attributes:
        name: file or folder name without suffix, for titles; it is not written into machine-readable reports. Empty for
            an array.
        kind: ``"nifti"``, ``"metaimage"``, ``"nrrd"``, ``"dicom"`` or ``"array"``.
        array: finite voxels ``[i, j, k]`` in the stored type, in Hounsfield units.
        affine_ras: 4 x 4, voxel to RAS mm.
        source: the image file, or the DICOM folder; None for an array.
        warnings: what is unusual about the data, one line each.
        header: the header of the NIfTI file, as it was read; None for other kinds.
        series: the DICOM series with the headers of its slices; None for other kinds.
        filled: number, first index and new value of voxels that were not finite; None if all were.
        verdict: whether the image can be a CT in Hounsfield units; None if nobody asked.
        assumed: what was assumed of the geometry because the user stated it, one line each.

    >>> case = read_case(np.zeros((4, 5, 6), np.int16), affine_ras=np.diag([0.8, 0.8, 2.5, 1.0]))
    >>> case.kind, case.facts()["spacing_mm"]
    ('array', [0.8, 0.8, 2.5])
    """

    name: str
    kind: str
    array: NDArray[Any]
    affine_ras: Affine
    source: Path | None
    warnings: tuple[str, ...] = ()
    header: nib.Nifti1Header | None = field(default=None, repr=False)
    series: CtSeries | None = field(default=None, repr=False)
    filled: Mapping[str, Any] | None = None
    verdict: HuVerdict | None = field(default=None, repr=False)
    assumed: tuple[str, ...] = ()

    @property
    def file(self) -> Path | None:
        """The NIfTI file with these voxels on this grid; None where only memory holds them."""
        return self.source if self.kind == "nifti" and self.filled is None and not self.assumed else None

    def as_nifti(self, scratch: Path) -> Path:
        """Path of the case as NIfTI: the file itself, or one written into ``scratch`` where there is none."""
        if self.file is not None:
            return self.file
        from medseg.io.volumes.nifti import write_nifti

        return write_nifti(scratch / "image.nii", self.array, self.affine_ras)

    def facts(self) -> dict[str, Any]:
        """Size, geometry and values for a report; free of names, dates, identifiers and paths."""
        return {
            "kind": self.kind,
            "shape": list(self.array.shape),
            "dtype": str(self.array.dtype),
            "spacing_mm": [round(float(s), 6) for s in spacing_of(self.affine_ras)],
            "orientation": "".join(orientation_codes(self.affine_ras)),
            "affine_ras": np.asarray(self.affine_ras).tolist(),
            "hu_min": float(self.array.min()),
            "hu_max": float(self.array.max()),
            "nonfinite": None if self.filled is None else dict(self.filled),
            "hounsfield": None if self.verdict is None else self.verdict.record(),
            "assumed": [*self.assumed, *self._assumed_rescale()],
            **({} if self.series is None or not self.series.repairs else self.series.repair_record()),
        }

    def _assumed_rescale(self) -> list[str]:
        """The statement about slices without rescaling, as the series' warnings have it."""
        if self.series is None or not self.series.facts.get("assumed_rescale"):
            return []
        return [line for line in self.series.warnings if "as stated (--assume-rescale)" in line]


def read_case(
    case: CaseSource,
    series_uid: str | None = None,
    *,
    affine_ras: ArrayLike | None = None,
    policy: GeometryPolicy | None = None,
    rules: InputRules | None = None,
    assume: ImageAssumptions = NO_ASSUMPTIONS,
    assume_rescale: Rescale | None = None,
) -> Case:
    """Read a case. A DICOM folder is scanned once; a listing that was made before is not scanned again.

    Args:
        case: an image file: NIfTI (``.nii``, ``.nii.gz``), MetaImage (``.mha``, ``.mhd``) or NRRD (``.nrrd``,
            ``.nhdr``); a folder that holds a CT series in DICOM; what `medseg.io.ct.scan.list_series` found, or one of
            its ``series``; or an array or tensor in Hounsfield units, ``[x, y, z]`` or ``[1, x, y, z]``.
        series_uid: SeriesInstanceUID, needed only where a folder holds several CT series.
        affine_ras: 4 x 4, voxel to RAS mm: required for an array, refused for everything that brings its own affine.
        policy: how an irregular DICOM series is repaired; None refuses it.
        rules: what is done with voxels that are not finite, and with an image that can hardly be a CT in Hounsfield
            units; by default the former are refused, and the latter is a warning.
        assume: what the user states where the header of an image file leaves its geometry open.
        assume_rescale: slope and intercept of the slices of a DICOM series that have none, if the user states them.

    Raises:
        ConfigurationError: if there is nothing at the path, its suffix is unknown, or an argument does not belong to
            this kind of case.
        IntegrityError: in the words of the reader, if the data are unreadable, ambiguous or have no usable geometry, or
            if the rules refuse the values.

    >>> case = read_case(np.zeros((4, 5, 6), np.int16), affine_ras=np.eye(4))
    >>> case.array.shape
    (4, 5, 6)
    """
    from medseg.io.ct.scan import SeriesEntry, SeriesListing

    is_array = not isinstance(case, str | os.PathLike | SeriesListing | SeriesEntry)
    if not is_array and affine_ras is not None:
        raise ConfigurationError("affine_ras: the case is not an array and brings its own affine; leave affine_ras out")
    if is_array and series_uid is not None:
        raise ConfigurationError("series_uid: the case is an array; only a DICOM folder holds series to choose from")
    if is_array and policy is not None:
        raise ConfigurationError("policy: the case is an array; only the slices of a DICOM series can be repaired")
    try:
        if isinstance(case, str | os.PathLike):
            found = _read_path(Path(case), series_uid, policy, assume, assume_rescale)
        elif isinstance(case, SeriesListing | SeriesEntry):
            found = _read_listed(case, series_uid, policy, assume_rescale)
        else:
            found = Case("", "array", *array_and_affine(case, affine_ras), None)
        return _checked(found, InputRules() if rules is None else rules)
    except ValueError as error:
        raise IntegrityError(str(error)) from error


def check_path(path: Path) -> None:
    """Refuse a path at which nothing is.

    Raises:
        ConfigurationError: in one line that says what is expected there.
    """
    if not path.exists():
        raise ConfigurationError(f"{path}: no such file or folder; expected {_EXPECTED} or a DICOM folder")


def _read_path(
    path: Path,
    series_uid: str | None,
    policy: GeometryPolicy | None,
    assume: ImageAssumptions,
    assume_rescale: Rescale | None,
) -> Case:
    check_path(path)
    if not path.is_dir():
        if policy is not None:
            raise ConfigurationError(
                f"{path}: is a file; policy (--on-tilt, --on-gap ...) repairs the slices of a DICOM series"
            )
        return _read_file(path, series_uid, assume)
    from medseg.io.ct.scan import list_series

    return _read_listed(list_series(path), series_uid, policy, assume_rescale)


def _read_file(path: Path, series_uid: str | None, assume: ImageAssumptions) -> Case:
    from medseg.io.volumes.image import IMAGE_SUFFIXES, read_image

    if series_uid:
        raise ConfigurationError(f"{path}: is a file; series_uid (--series) chooses among the series of a DICOM folder")
    suffix = next((s for s in IMAGE_SUFFIXES if path.name.lower().endswith(s)), None)
    if suffix is None:
        raise ConfigurationError(f"{path}: expected {_EXPECTED} or a folder with one DICOM series")
    if suffix == ".seg.nrrd":
        raise ConfigurationError(f"{path}: is a segmentation (.seg.nrrd); expected the CT itself, {_EXPECTED}")
    name = path.name[: -len(suffix)]
    if suffix in _NIFTI_SUFFIXES:
        return _read_nifti(path, name, assume)
    array, affine, info = read_image(path, assume=assume)
    return Case(name, info.format, array, affine, path, info.warnings, assumed=info.assumed)


def _read_nifti(path: Path, name: str, assume: ImageAssumptions) -> Case:
    from medseg.io.volumes.nifti import read_nifti

    volume = read_nifti(path, assume=assume)
    if volume.assumed:  # the file's own header is not to be used
        return Case(name, "nifti", volume.array, volume.affine_ras, path, volume.warnings, assumed=volume.assumed)
    return Case(name, "nifti", volume.array, volume.affine_ras, path, volume.warnings, header=volume.header)


def _read_listed(
    listed: SeriesListing | SeriesEntry,
    series_uid: str | None,
    policy: GeometryPolicy | None,
    assume_rescale: Rescale | None,
) -> Case:
    from medseg.io.ct.scan import SeriesEntry, choose_series
    from medseg.io.ct.series import REFUSE, only_part, read_entry

    if isinstance(listed, SeriesEntry):
        listing = _listing_of(listed)
        if series_uid not in (None, listed.uid, listed.name):
            raise ConfigurationError(f"series_uid: the case is one series, {listed}; leave series_uid out")
        entry = choose_series(listing, listed.name)
    else:
        listing, entry = listed, choose_series(listed, series_uid)
    parts = read_entry(listing, entry, policy=REFUSE if policy is None else policy, assume_rescale=assume_rescale)
    series = only_part(listing.folder, parts)
    name, warnings = listing.folder.resolve().name, tuple(series.warnings)
    return Case(name, "dicom", series.array, series.affine_ras, listing.folder, warnings, series=series)


def _listing_of(entry: SeriesEntry) -> SeriesListing:
    """A listing that holds this series alone, in the folder that holds all of its files."""
    from medseg.io.ct.scan import SeriesListing

    folder = Path(os.path.commonpath([header.path.parent for header in entry.headers]))
    return SeriesListing(folder, (entry,), 0, 0, ())


def _checked(case: Case, rules: InputRules) -> Case:
    array, where = case.array, case.source or "array"
    if array.dtype.kind not in "iuf":
        raise IntegrityError(f"{where}: voxels have type {array.dtype}, expected one number per voxel")
    check_sides(where, array.shape)
    values = check_values(array, where, rules)
    filled = None if values.filled is None else values.filled.record(rules.fill_value)
    warnings = (*case.warnings, *values.warnings)
    return replace(case, array=values.array, warnings=warnings, filled=filled, verdict=values.verdict)
