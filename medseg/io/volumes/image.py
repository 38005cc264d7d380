"""Volumes of any supported file format, chosen by the name's ending: NIfTI, MetaImage, NRRD."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from medseg.geometry import Affine
from medseg.io.bounded.errors import DataError
from medseg.io.bounded.limits import ReadLimits
from medseg.io.volumes.assumptions import NO_ASSUMPTIONS, ImageAssumptions

__all__ = ["IMAGE_SUFFIXES", "Image", "ImageInfo", "image_suffix", "read_image", "read_image_info", "write_image"]

IMAGE_SUFFIXES = (".nii.gz", ".nii", ".mha", ".mhd", ".seg.nrrd", ".nrrd", ".nhdr")
"""Endings of the names of image files; an ending that contains another one comes first."""

_NIFTI, _METAIMAGE, _NRRD = (".nii.gz", ".nii"), (".mha", ".mhd"), (".seg.nrrd", ".nrrd", ".nhdr")


class ImageInfo(NamedTuple):
    """What the header of an image file says, without its voxels.

    Attributes:
        path: the file.
        format: "nifti", "metaimage" or "nrrd".
        shape: the three lengths.
        dtype: type of the values as they are read, native byte order.
        affine_ras: 4 x 4, voxel to RAS mm.
        warnings: unusual geometry that is no reason to refuse the file, one line each.
        header: the format's own header: a NiftiHeader, MetaImageHeader or NrrdHeader. Its free text may name a patient.
        assumed: those of the warnings that say what was assumed because the user stated it: a copy of the file lacks
            it, a file written anew has it.
    """

    path: Path
    format: str
    shape: tuple[int, int, int]
    dtype: np.dtype[Any]
    affine_ras: Affine
    warnings: tuple[str, ...]
    header: Any
    assumed: tuple[str, ...] = ()


class Image(NamedTuple):
    """A volume in memory.

    Attributes:
        array: voxels ``[i, j, k]`` in the file's own order, native byte order.
        affine_ras: 4 x 4, voxel to RAS mm.
        info: what the header says.

    Example:
        >>> import tempfile
        >>> import numpy as np
        >>> from medseg.io import read_image, write_image
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = write_image(f"{folder}/ct.mha", np.zeros((4, 3, 2), np.int16), np.diag([0.7, 0.7, 2.5, 1]))
        ...     array, affine_ras, info = read_image(path)
        >>> array.shape, affine_ras[2, 2].item(), info.format
        ((4, 3, 2), 2.5, 'metaimage')
    """

    array: NDArray[Any]
    affine_ras: Affine
    info: ImageInfo


def image_suffix(path: str | Path) -> str:
    """The ending by which the format is chosen, in lower case, such as ``".nii.gz"``.

    Raises:
        DataError: if the name has no known ending.
    """
    name = Path(path).name.lower()
    for suffix in IMAGE_SUFFIXES:
        if name.endswith(suffix):
            return suffix
    raise DataError(f"{path}: unknown kind of image file, expected a name that ends in {', '.join(IMAGE_SUFFIXES)}")


def read_image_info(
    path: str | Path, limits: ReadLimits | None = None, assume: ImageAssumptions = NO_ASSUMPTIONS
) -> ImageInfo:
    """Read and check the header of an image file; no voxel is read.

    Args:
        path: a file whose name ends in one of ``IMAGE_SUFFIXES``.
        limits: the budget, by default :meth:`ReadLimits.from_environment`.
        assume: what the user states where the header leaves the geometry open.

    Raises:
        DataError: one line naming the file, the value found, the value expected and the fix.
    """
    path = Path(path)
    suffix = image_suffix(path)
    if suffix in _NIFTI:
        from medseg.io.volumes.nifti_header import geometry_warnings, read_nifti_header

        nifti = read_nifti_header(path, limits, assume)
        dtype = np.dtype(np.float32) if nifti.scaled else nifti.dtype.newbyteorder("=")
        warnings = (*nifti.assumed, *geometry_warnings(nifti.header, nifti.shape, nifti.affine_ras))
        return ImageInfo(path, "nifti", nifti.shape, dtype, nifti.affine_ras, warnings, nifti, nifti.assumed)
    if suffix in _METAIMAGE:
        from medseg.io.volumes.metaimage_header import read_metaimage_header

        meta = read_metaimage_header(path, limits)
        native = meta.dtype.newbyteorder("=")
        return ImageInfo(path, "metaimage", meta.shape, native, meta.affine_ras, meta.warnings, meta)
    from medseg.io.volumes.nrrd_header import read_nrrd_header

    nrrd = read_nrrd_header(path, limits, assume)
    native = nrrd.dtype.newbyteorder("=")
    return ImageInfo(path, "nrrd", nrrd.shape, native, nrrd.affine_ras, nrrd.warnings, nrrd, nrrd.assumed)


def read_image(path: str | Path, limits: ReadLimits | None = None, assume: ImageAssumptions = NO_ASSUMPTIONS) -> Image:
    """Read a 3-D image file; values keep the stored type unless a NIfTI header scales them (then float32).

    Nothing is flipped or re-ordered: the affine says where every voxel lies, whatever the format.

    Args:
        path: a file whose name ends in one of ``IMAGE_SUFFIXES``.
        limits: the budget, by default :meth:`ReadLimits.from_environment`.
        assume: what the user states where the header leaves the geometry open.

    Raises:
        DataError: one line naming the file, the value found, the value expected and the fix.

    Example:
        >>> import tempfile
        >>> import numpy as np
        >>> from medseg.io import read_image, write_image
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = write_image(f"{folder}/ct.nrrd", np.full((4, 3, 2), -1000), np.diag([0.7, 0.7, 2.5, 1]))
        ...     image = read_image(path)
        >>> image.array.dtype.name, image.array.shape, image.affine_ras.diagonal().tolist()
        ('int32', (4, 3, 2), [0.7, 0.7, 2.5, 1.0])
    """
    info = read_image_info(path, limits, assume)
    if info.format == "nifti":
        from medseg.io.volumes.nifti import read_nifti_voxels

        array = read_nifti_voxels(info.path, info.header)
    elif info.format == "metaimage":
        from medseg.io.volumes.metaimage import read_metaimage_voxels

        array = read_metaimage_voxels(info.header)
    else:
        from medseg.io.volumes.nrrd import read_nrrd_voxels

        array = read_nrrd_voxels(info.path, info.header)
    return Image(array, info.affine_ras, info)


def write_image(path: str | Path, array: ArrayLike, affine_ras: ArrayLike) -> Path:
    """Write a 3-D array in the format that the name's ending asks for, atomically.

    Args:
        path: target, ending in one of ``IMAGE_SUFFIXES`` except ``.seg.nrrd`` and ``.nhdr``; missing folders are made.
        array: voxels ``[i, j, k]``; bool is written as uint8, int64 as int32, float64 as float32.
        affine_ras: 4 x 4, voxel to RAS mm.

    Raises:
        ValueError: for another ending, an array that is not 3-D, or an affine that cannot be the grid of a scan.

    Example:
        >>> import tempfile
        >>> import numpy as np
        >>> from medseg.io import write_image
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = write_image(f"{folder}/mask.nii.gz", np.zeros((4, 3, 2), bool), np.eye(4))
        ...     path.name, path.is_file()
        ('mask.nii.gz', True)
    """
    suffix = image_suffix(path)
    if suffix in _NIFTI:
        from medseg.io.volumes.nifti import write_nifti

        return write_nifti(path, array, affine_ras)
    if suffix in _METAIMAGE:
        from medseg.io.volumes.metaimage import write_metaimage

        return write_metaimage(path, array, affine_ras)
    if suffix == ".nrrd":
        from medseg.io.volumes.nrrd import write_nrrd

        return write_nrrd(path, array, affine_ras)
    raise ValueError(
        f"{path}: {suffix} is not written here; use .nrrd, or medseg.io.results.seg_nrrd for named segments"
    )
