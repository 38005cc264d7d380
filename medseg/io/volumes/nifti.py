"""NIfTI images with exact geometry."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from medseg.geometry import Affine, corner_displacement_mm
from medseg.io.bounded.atomic import atomic_path
from medseg.io.bounded.deflate import gzip_writer
from medseg.io.bounded.errors import UnreadableFileError
from medseg.io.bounded.limits import ReadLimits, check_geometry, file_size
from medseg.io.bounded.voxel_data import Inflater, bytes_of, empty_volume, in_native_order, one_line, read_raw, storable
from medseg.io.volumes.assumptions import NO_ASSUMPTIONS, ImageAssumptions
from medseg.io.volumes.nifti_header import NiftiHeader, geometry_warnings, header_block, read_nifti_header

if TYPE_CHECKING:
    import nibabel as nib

__all__ = [
    "NiftiVolume",
    "find_nifti",
    "plain_header",
    "read_nifti",
    "read_nifti_voxels",
    "write_nifti",
    "write_nifti_like",
]

_SLACK = 4096  # up to so many bytes after the last voxel are accepted as padding


class NiftiVolume(NamedTuple):
    """A 3-D NIfTI image in memory.

    Attributes:
        array: voxels ``[i, j, k]`` in the file's own order.
        affine_ras: 4 x 4 affine, voxel to RAS mm.
        header: the nibabel header, for writing results on the same grid.
        assumed: what was assumed because the user stated it, one line each.

    Example:
        >>> import tempfile
        >>> import numpy as np
        >>> from medseg.io import read_nifti, write_image
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = write_image(f"{folder}/ct.nii.gz", np.zeros((4, 3, 2), np.int16), np.eye(4))
        ...     array, affine_ras, header, _ = read_nifti(path)
        >>> array.shape, affine_ras.shape, header.get_xyzt_units()[0]
        ((4, 3, 2), (4, 4), 'mm')
    """

    array: NDArray[Any]
    affine_ras: Affine
    header: nib.Nifti1Header
    assumed: tuple[str, ...] = ()

    @property
    def warnings(self) -> tuple[str, ...]:
        """Unusual geometry that is no reason to refuse the file, and what was assumed, one line each."""
        return (*self.assumed, *geometry_warnings(self.header, self.array.shape, self.affine_ras))


def find_nifti(folder: str | Path) -> list[str]:
    """Paths of the NIfTI files directly in a folder, sorted by name.

    Raises:
        ValueError: one line naming the folder if it is missing or holds no ``.nii`` or ``.nii.gz`` file, so that a
            mistyped folder is not mistaken for a finished one.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise ValueError(f"{folder}: no such folder; expected one with NIfTI files (.nii or .nii.gz)")
    found = [path for path in folder.iterdir() if path.is_file() and path.name.lower().endswith((".nii", ".nii.gz"))]
    if not found:
        raise ValueError(f"{folder}: no NIfTI file (.nii or .nii.gz) in this folder; folders below are not searched")
    return sorted(str(path) for path in found)


def read_nifti(
    path: str | Path, limits: ReadLimits | None = None, assume: ImageAssumptions = NO_ASSUMPTIONS
) -> NiftiVolume:
    """Read a 3-D NIfTI file; values keep the stored type unless the header scales them (then float32).

    The header is checked, and its size compared with the file's and with a budget, before memory is asked for.

    Args:
        path: ``.nii`` or ``.nii.gz``, NIfTI-1 or NIfTI-2.
        limits: the budget, by default :meth:`medseg.io.bounded.limits.ReadLimits.from_environment`.
        assume: what the user states where the header gives no orientation, or a negative spacing.

    Raises:
        DataError: one line naming the file if it is missing, unreadable, damaged, too large, not 3-D, has no
            orientation (sform and qform codes both 0), unusable geometry or units other than millimetres.

    Example:
        >>> import tempfile
        >>> import numpy as np
        >>> from medseg.io import read_nifti, write_image
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = write_image(f"{folder}/ct.nii.gz", np.full((4, 3, 2), 40, np.int16), np.diag([0.7, 0.7, 2.5, 1]))
        ...     volume = read_nifti(path)
        >>> volume.array.shape, volume.array.max().item(), volume.warnings
        ((4, 3, 2), 40, ())
    """
    path = Path(path)
    facts = read_nifti_header(path, limits, assume)
    return NiftiVolume(read_nifti_voxels(path, facts), facts.affine_ras, facts.header, facts.assumed)


def read_nifti_voxels(path: Path, facts: NiftiHeader) -> NDArray[Any]:
    """The voxels ``[i, j, k]`` that a checked header declares, scaled as it says.

    Raises:
        DataError: if the voxel data are cut off, damaged, more than declared, or do not fit into memory.
    """
    try:
        stored = _deflated(path, facts) if facts.compressed else _plain(path, facts)
    except OSError as error:
        raise UnreadableFileError(f"{path}: voxel data cannot be read ({one_line(error)})") from error
    return _scaled(path, stored, facts)


def _plain(path: Path, facts: NiftiHeader) -> NDArray[Any]:
    surplus = file_size(path) - facts.offset - math.prod(facts.shape) * facts.dtype.itemsize
    if surplus > _SLACK:
        raise UnreadableFileError(
            f"{path}: {surplus} bytes follow the {facts.shape} voxels of {facts.dtype.name} that the header declares; "
            "header and voxels contradict each other"
        )
    return read_raw(path, facts.offset, facts.shape, facts.dtype)


def _deflated(path: Path, facts: NiftiHeader) -> NDArray[Any]:
    with path.open("rb") as stream:
        inflater = Inflater(path, stream)
        inflater.skip(facts.offset)
        array = empty_volume(path, facts.shape, facts.dtype)
        target = bytes_of(array)
        found = inflater.readinto(target)
        if found < target.size:
            raise UnreadableFileError(
                f"{path}: voxel data cannot be read (the header declares {target.size} bytes of voxels, the stream has "
                f"{found}); the file may be cut off"
            )
        inflater.finish(_SLACK)
    return in_native_order(array)


def _scaled(path: Path, stored: NDArray[Any], facts: NiftiHeader) -> NDArray[Any]:
    if not facts.scaled:
        return stored
    result = empty_volume(path, facts.shape, np.float32)
    with np.errstate(over="ignore", invalid="ignore"):
        for k in range(facts.shape[2]):  # slice by slice: float64 for the whole volume would be most of the memory
            result[..., k] = stored[..., k] * np.float64(facts.slope) + facts.inter
    return result


def write_nifti(path: str | Path, array: ArrayLike, affine_ras: ArrayLike, description: str = "") -> Path:
    """Write a 3-D array as NIfTI atomically: sform and qform both set, code 1 (scanner), unit mm.

    Args:
        path: target file, ``.nii`` or ``.nii.gz``.
        array: voxels ``[i, j, k]``, an array or a tensor; bool is written as uint8, int64 as int32, all floating types
            as float32.
        affine_ras: 4 x 4, voxel to RAS mm.
        description: header text, at most 79 characters.

    Raises:
        ValueError: for an affine that cannot be the grid of a scan, or an array that is not three axes of real numbers.
    """
    import nibabel as nib

    affine = check_geometry(path, affine_ras)
    data = storable(array)
    header = plain_header(data.shape, affine, data.dtype)
    header["descrip"] = description.encode()[:79]
    image = nib.Nifti1Image(data, header.get_best_affine(), header=header)
    _save(image, path)
    return Path(path)


def _save(image: nib.Nifti1Image, path: str | Path) -> None:
    """Write atomically; by `nibabel.save`, but for compressed files, which ISA-L writes faster."""
    import nibabel as nib

    with atomic_path(path) as temporary:
        if Path(path).name.lower().endswith(".nii.gz"):
            with gzip_writer(temporary) as stream:
                image.to_stream(stream)
        else:
            nib.save(image, temporary)


def plain_header(shape: Sequence[int], affine_ras: ArrayLike, dtype: DTypeLike = np.uint8) -> nib.Nifti1Header:
    """A header for a grid: sform and qform both set, code 1 (scanner), unit mm.

    Args:
        shape: voxels along the three axes.
        affine_ras: 4 x 4, voxel to RAS mm.
        dtype: stored type of the voxels.
    """
    import nibabel as nib

    # A single zero stands for all voxels: only shape and type are looked at.
    image = nib.Nifti1Image(np.broadcast_to(np.zeros((), dtype), tuple(shape)), np.asarray(affine_ras, np.float64))
    image.set_sform(image.affine, code=1)
    image.set_qform(image.affine, code=1)
    image.header.set_xyzt_units("mm")
    return image.header


def write_nifti_like(
    path: str | Path, array: ArrayLike, source: str | Path | nib.Nifti1Header, slope: float = 1.0
) -> Path:
    """Write an array on the grid of another NIfTI file: shape, sform, qform, codes and units are copied bit for bit.

    Free text (``descrip``, ``aux_file``, ``db_name``, ``intent_name``) and header extensions are not copied: they can
    name a patient, and they describe another image.

    Args:
        path: target file, ``.nii`` or ``.nii.gz``.
        array: voxels ``[i, j, k]``, or ``[i, j, k, n]`` for several values a voxel, stored as by `write_nifti`.
        source: the other file, or its header as `read_nifti` returns it (it is not changed).
        slope: readers multiply the stored numbers by it.

    Raises:
        ValueError: if the array's first three axes differ from the source's.
    """
    import nibabel as nib

    if isinstance(source, str | Path):
        header, where = header_block(source), source
    else:
        header, where = source.copy(), path
    grid, affine = tuple(header.get_data_shape()[:3]), header.get_best_affine()
    values = np.asarray(array)
    several = values.ndim == 4 and values.shape[3] > 0
    data = np.stack([storable(values[..., n]) for n in range(values.shape[3])], -1) if several else storable(array)
    if tuple(data.shape[:3]) != grid:
        raise ValueError(f"{where}: grid is {grid}, but the result has shape {tuple(data.shape)}")
    header.set_data_dtype(data.dtype)
    header.set_slope_inter(1.0, 0.0)
    header["cal_min"], header["cal_max"] = 0.0, 0.0
    for text in ("descrip", "aux_file", "db_name", "intent_name"):
        if text in header:  # NIfTI-2 has no db_name
            header[text] = b""
    kind = nib.Nifti2Image if isinstance(header, nib.Nifti2Header) else nib.Nifti1Image
    # nibabel rewrites sform and qform only if the affine given differs from the header's own: here it never does.
    image = kind(data, affine, header=header)
    if slope != 1.0:
        image.header.set_slope_inter(slope, 0.0)  # only here: an image does not take it over from a header
    if corner_displacement_mm(image.affine, affine, grid) != 0.0:
        raise ValueError(f"{where}: its geometry could not be copied exactly")
    _save(image, path)
    return Path(path)
