"""NIfTI headers, checked field by field before any voxel is read."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple

import numpy as np
from numpy.typing import NDArray

from medseg.geometry import Affine, corner_displacement_mm, spacing_of
from medseg.io.bounded.errors import DataError, UnreadableFileError
from medseg.io.bounded.limits import ReadLimits, check_geometry, file_size, oblique_axes_warning, spacing_text
from medseg.io.bounded.voxel_data import GZIP, Inflater, one_line
from medseg.io.volumes.assumptions import NO_ASSUMPTIONS, ImageAssumptions

if TYPE_CHECKING:
    import nibabel as nib

__all__ = ["NiftiHeader", "geometry_warnings", "header_block", "is_gzip", "read_nifti_header"]

_SIZES = {348: b"n+1", 540: b"n+2"}
_TYPES = {
    2: "uint8",
    4: "int16",
    8: "int32",
    16: "float32",
    64: "float64",
    256: "int8",
    512: "uint16",
    768: "uint32",
    1024: "int64",
    1280: "uint64",
}
_OTHER_TYPES = {1: "1-bit binary", 32: "complex64", 128: "RGB24", 1536: "float128", 1792: "complex128", 2304: "RGBA32"}
_MAX_OFFSET = 64 * 1024 * 1024  # header extensions are skipped, up to this size
# A qform's quaternion is float32: near a half turn it is uncertain by some 7e-4 radians, a third of a millimetre in CT.
_FORMS_DIFFER_MM = 0.5


class NiftiHeader(NamedTuple):
    """What a NIfTI header says, checked.

    Attributes:
        shape: the three lengths.
        dtype: stored type with its byte order.
        affine_ras: 4 x 4, voxel to RAS mm.
        slope: factor of the stored values.
        inter: constant that is added to the scaled values.
        offset: first byte of the voxels in the uncompressed file.
        compressed: whether the file is deflated.
        header: the nibabel header without its extensions, changed where the user's statements replace it.
        assumed: what was assumed because the user stated it, one line each.
    """

    shape: tuple[int, int, int]
    dtype: np.dtype[Any]
    affine_ras: Affine
    slope: float
    inter: float
    offset: int
    compressed: bool
    header: nib.Nifti1Header
    assumed: tuple[str, ...] = ()

    @property
    def scaled(self) -> bool:
        """Whether the values differ from the stored ones."""
        return self.slope != 1 or self.inter != 0


def read_nifti_header(
    path: str | Path, limits: ReadLimits | None = None, assume: ImageAssumptions = NO_ASSUMPTIONS
) -> NiftiHeader:
    """Read and check the header of a 3-D NIfTI-1 or NIfTI-2 file (``.nii``, ``.nii.gz``); no voxel is read.

    Args:
        path: the file.
        limits: the budget, by default :meth:`ReadLimits.from_environment`.
        assume: what the user states where the header gives no orientation, or a negative spacing.

    Raises:
        DataError: one line naming the file if it is missing, not a NIfTI image, not 3-D, has no orientation (sform and
            qform codes both 0), unusable geometry, other units than millimetres, an unknown type, more voxels than the
            budget allows or than the file can hold.
    """
    path = Path(path)
    if not path.is_file():
        raise DataError(f"{path}: no such file; expected a NIfTI image (.nii or .nii.gz)")
    if not path.name.lower().endswith((".nii", ".nii.gz")):
        raise DataError(f"{path}: expected a NIfTI image whose name ends in .nii or .nii.gz")
    compressed = is_gzip(path)
    header = header_block(path)
    shape = _shape(path, header)
    dtype = _stored_type(path, header)
    limits = limits or ReadLimits.from_environment()
    limits.check_shape(path, shape, dtype.itemsize)
    offset = _offset(path, header)
    stored = file_size(path)
    limits.check_size(path, shape, dtype.itemsize, stored - (0 if compressed else offset), compressed)
    assumed = _fill_in(path, header, assume)
    affine = _affine(path, header)
    slope, inter = _scaling(path, header, dtype)
    return NiftiHeader(shape, dtype, affine, slope, inter, offset, compressed, header, assumed)


def is_gzip(path: Path) -> bool:
    """Whether the file is compressed, by its first bytes; a name that says otherwise is an error.

    Raises:
        DataError: if name and contents disagree, or the file cannot be opened.
    """
    try:
        with path.open("rb") as stream:
            found = stream.read(2) == b"\x1f\x8b"
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from error
    named = path.name.lower().endswith(".gz")
    if found and not named:
        raise DataError(f"{path}: not a readable NIfTI image (gzip inside); rename it to {path.name}.gz")
    if named and not found:
        raise DataError(f"{path}: not a readable NIfTI image (no gzip inside); expected .nii or .nii.gz")
    return found


def geometry_warnings(header: nib.Nifti1Header, shape: Sequence[int], affine_ras: Affine) -> Iterator[str]:
    """Unusual geometry that is no reason to refuse the file, one line each.

    The sform is used where it has a code, otherwise the qform, whose spacing is pixdim. A sform that contradicts the
    qform or pixdim is named with both figures.

    Args:
        header: a header that :func:`read_nifti_header` accepted.
        shape: the three lengths.
        affine_ras: the affine that is used.
    """
    sform, sform_code = header.get_sform(coded=True)
    qform, qform_code = header.get_qform(coded=True)
    if sform_code and qform_code:
        shift = corner_displacement_mm(sform, qform, shape)
        if shift > _FORMS_DIFFER_MM:
            yield (
                f"sform and qform put the corners up to {shift:.3f} mm apart (spacing {spacing_text(sform)} and "
                f"{spacing_text(qform)} mm); the sform is used, other programs may use the qform"
            )
    elif sform_code:
        yield from _spacing_warning(sform, np.abs(header["pixdim"][1:4].astype(np.float64)), shape)
    oblique = oblique_axes_warning(affine_ras)
    if oblique:
        yield oblique


def _spacing_warning(sform: Affine, pixdim: NDArray[np.float64], shape: Sequence[int]) -> Iterator[str]:
    """The sform's spacing against pixdim, which no qform supports."""
    spacing = spacing_of(sform)
    if _differs(sform, pixdim, shape):
        factor = float(np.prod(spacing) / np.prod(pixdim))
        stated = " x ".join(f"{value:.4g}" for value in pixdim)
        yield (
            f"the sform has a spacing of {spacing_text(sform)} mm, pixdim says {stated} mm (volumes differ by a factor "
            f"of {max(factor, 1 / factor):.3g}) and there is no qform; the sform is used, other programs may use "
            "pixdim; if pixdim is right, say so with --spacing-from pixdim"
        )


def _differs(sform: Affine, pixdim: NDArray[np.float64], shape: Sequence[int]) -> bool:
    """True if two statements of the spacing put the last voxel more than half a millimetre apart."""
    # Of sheared axes some programs write the distance of the planes instead.
    planes = 1 / np.linalg.norm(np.linalg.inv(np.asarray(sform, dtype=np.float64)[:3, :3]), axis=1)
    off = np.minimum(np.abs(spacing_of(sform) - pixdim), np.abs(planes - pixdim))
    return float(np.max(off * np.maximum(np.subtract(shape, 1), 1))) > _FORMS_DIFFER_MM


def header_block(path: str | Path) -> nib.Nifti1Header:
    """The header as it is stored, unchecked and without extensions: a Nifti1Header or a Nifti2Header.

    Raises:
        DataError: if the file has none.
    """
    import nibabel as nib

    path = Path(path)
    compressed = is_gzip(path)
    with path.open("rb") as stream:
        try:
            block = _first_bytes(path, stream, compressed)
        except (UnreadableFileError, OSError) as error:
            raise DataError(f"{path}: not a readable NIfTI image ({one_line(error)})") from error
    for order in "<>":
        size = int.from_bytes(block[:4], "little" if order == "<" else "big")
        if size in _SIZES and len(block) >= size:
            kind = nib.Nifti1Header if size == 348 else nib.Nifti2Header
            header = kind(block[:size], endianness=order, check=False)
            if bytes(header["magic"].tobytes()[:3]) == _SIZES[size]:
                return header
    raise DataError(
        f"{path}: not a readable NIfTI image (no NIfTI-1 or NIfTI-2 header in its {len(block)} first bytes); expected "
        ".nii or .nii.gz"
    )


def _first_bytes(path: Path, stream: BinaryIO, compressed: bool) -> bytes:
    return Inflater(path, stream, GZIP).read(544) if compressed else stream.read(544)


def _shape(path: Path, header: nib.Nifti1Header) -> tuple[int, int, int]:
    axes = int(header["dim"][0])
    if not 1 <= axes <= 7:
        raise DataError(f"{path}: not a readable NIfTI image (dim[0] is {axes}, expected 3); the header is damaged")
    lengths = tuple(int(n) for n in header["dim"][1 : axes + 1])
    shape = lengths[:3] + tuple(n for n in lengths[3:] if n != 1)
    if len(shape) != 3:
        raise DataError(f"{path}: image has shape {lengths}, expected three axes; split it into 3-D volumes first")
    return shape


def _stored_type(path: Path, header: nib.Nifti1Header) -> np.dtype[Any]:
    code = int(header["datatype"])
    if code not in _TYPES:
        name = _OTHER_TYPES.get(code, "unknown")
        raise DataError(f"{path}: datatype is {code} ({name}), expected whole or real numbers of 8 to 64 bits")
    dtype = np.dtype(_TYPES[code]).newbyteorder(header.endianness)
    bits = int(header["bitpix"])
    if bits != dtype.itemsize * 8:
        raise DataError(f"{path}: bitpix is {bits}, but datatype {code} ({dtype.name}) has {dtype.itemsize * 8} bits")
    return dtype


def _offset(path: Path, header: nib.Nifti1Header) -> int:
    first = {348: 352, 540: 544}[int(header["sizeof_hdr"])]
    offset = float(header["vox_offset"])
    if offset == 0:
        return first
    if not (first <= offset <= _MAX_OFFSET and offset.is_integer()):
        raise DataError(
            f"{path}: vox_offset is {offset:g}, expected a whole number from {first} to {_MAX_OFFSET}; the header is "
            "damaged"
        )
    return int(offset)


def _fill_in(path: Path, header: nib.Nifti1Header, assume: ImageAssumptions) -> tuple[str, ...]:
    """Put what the user states into a header that says nothing of the orientation or negates a spacing, and say so."""
    notes = []
    spacing = [float(value) for value in header["pixdim"][1:4]]
    if assume.ignore_pixdim_sign and min(spacing) < 0:
        header["pixdim"][1:4] = np.abs(header["pixdim"][1:4])
        used = "the sform gives the geometry" if int(header["sform_code"]) else "their absolute values are used"
        shown = ", ".join(f"{value:g}" for value in spacing)
        notes.append(f"pixdim is {shown} mm: signs ignored as stated (--ignore-pixdim-sign), {used}")
    if assume.space is not None and int(header["sform_code"]) == 0 and int(header["qform_code"]) == 0:
        _check_spacing(path, header)
        header.set_sform(assume.along_axes(header["pixdim"][1:4]), code=1)
        axes = f"axes run along {assume.space} as stated (--assume-space), from 0 mm on"
        notes.append(f"sform and qform codes are both 0: {axes}")
    if assume.spacing_from == "pixdim" and int(header["sform_code"]):
        notes += _take_pixdim(path, header)
    return tuple(notes)


def _take_pixdim(path: Path, header: nib.Nifti1Header) -> list[str]:
    """Give the sform's columns the lengths that pixdim states, where they differ."""
    _check_spacing(path, header)
    sform = check_geometry(path, _sform(header), "sform")
    pixdim = header["pixdim"][1:4].astype(np.float64)
    if not _differs(sform, pixdim, header["dim"][1:4]):
        return []
    before = spacing_text(sform)
    sform[:3, :3] *= pixdim / spacing_of(sform)
    header.set_sform(sform, code=int(header["sform_code"]))
    return [f"the sform has a spacing of {before} mm: {spacing_text(sform)} mm of pixdim used (--spacing-from pixdim)"]


def _check_spacing(path: Path, header: nib.Nifti1Header) -> None:
    spacing = header["pixdim"][1:4]
    if np.isfinite(spacing).all() and spacing.min() > 0:
        return
    shown = ", ".join(f"{value:g}" for value in spacing)
    only_sign = np.isfinite(spacing).all() and np.all(spacing != 0)
    fix = "if the sign means nothing, state it with --ignore-pixdim-sign" if only_sign else "correct the header"
    raise DataError(f"{path}: pixdim (spacing) is {shown}, expected three positive numbers of mm; {fix}")


def _affine(path: Path, header: nib.Nifti1Header) -> Affine:
    """The affine that is used, after both forms and the spacing field were checked."""
    sform_code, qform_code = int(header["sform_code"]), int(header["qform_code"])
    if sform_code == 0 and qform_code == 0:
        raise DataError(
            f"{path}: sform and qform codes are both 0, so the orientation is unknown; set one of them, or if "
            "the orientation is known, state it with --assume-space LPS or --assume-space RAS"
        )
    for name, code in (("sform_code", sform_code), ("qform_code", qform_code)):
        if not 0 <= code <= 5:
            raise DataError(f"{path}: {name} is {code}, expected 0 to 5; the header is damaged")
    try:
        unit = header.get_xyzt_units()[0]
    except KeyError:
        unit = f"code {int(header['xyzt_units']) % 8}"
    if unit not in ("mm", "unknown"):
        raise DataError(f"{path}: spatial unit is {unit}, expected mm; rewrite the header in millimetres")
    _check_spacing(path, header)
    affine = check_geometry(path, _sform(header), "sform") if sform_code else None
    if qform_code:
        qform = check_geometry(path, _qform(path, header), "qform")
        affine = qform if affine is None else affine
    assert affine is not None  # one of the codes is set
    return affine


def _sform(header: nib.Nifti1Header) -> NDArray[np.float64]:
    return np.asarray(header.get_sform(), dtype=np.float64)


def _qform(path: Path, header: nib.Nifti1Header) -> NDArray[np.float64]:
    qfac = float(header["pixdim"][0])
    if qfac == 0:
        header["pixdim"][0] = 1  # as the standard reads it
    elif abs(qfac) != 1:
        raise DataError(f"{path}: qfac (pixdim[0]) is {qfac:g}, expected 1 or -1; the header is damaged")
    quaternion = [float(header[f"quatern_{name}"]) for name in "bcd"]
    if not np.isfinite(quaternion).all():
        raise DataError(f"{path}: the qform's quaternion is {quaternion}, expected three finite numbers")
    try:
        return np.asarray(header.get_qform(), dtype=np.float64)
    except ValueError as error:
        raise DataError(
            f"{path}: the qform's quaternion {quaternion} is not a rotation ({one_line(error)}); the header is damaged"
        ) from error


def _scaling(path: Path, header: nib.Nifti1Header, dtype: np.dtype[Any]) -> tuple[float, float]:
    """Slope and intercept; a slope of 0 means no scaling (NIfTI standard), and so does NaN."""
    slope, inter = float(header["scl_slope"]), float(header["scl_inter"])
    if slope == 0 or not np.isfinite(slope):
        return 1.0, 0.0
    if not np.isfinite(inter):
        raise DataError(f"{path}: scl_slope is {slope:g} but scl_inter is {inter}, expected a finite number")
    if dtype.kind in "iu":
        range_ = np.iinfo(dtype)
        largest = max(abs(int(range_.min)), int(range_.max)) * abs(slope) + abs(inter)
        if largest > float(np.finfo(np.float32).max):
            raise DataError(f"{path}: scl_slope {slope:g} and scl_inter {inter:g} give values beyond float32")
    return slope, inter
