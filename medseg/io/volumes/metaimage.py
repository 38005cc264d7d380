"""MetaImage files (.mha, .mhd with .raw or .zraw): a bounded reader and a writer.

LUNA16 and many older CT data sets use this format.
"""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from medseg.geometry import Affine, decompose, direction_of, flip_lps_ras, orientation_codes, spacing_of
from medseg.geometry.slice_stack import TILT_TOLERANCE_DEG
from medseg.io.bounded.atomic import atomic_path
from medseg.io.bounded.errors import UnreadableFileError
from medseg.io.bounded.limits import ReadLimits, check_geometry
from medseg.io.bounded.voxel_data import read_deflated, read_raw, storable
from medseg.io.volumes.metaimage_header import ELEMENT_TYPES, MetaImageHeader, read_metaimage_header

__all__ = ["MetaImageVolume", "read_metaimage", "read_metaimage_voxels", "write_metaimage"]


class MetaImageVolume(NamedTuple):
    """A 3-D MetaImage in memory.

    Attributes:
        array: voxels ``[i, j, k]`` in the file's own order, native byte order.
        affine_ras: 4 x 4, voxel to RAS mm.
        header: the checked header.
    """

    array: NDArray[Any]
    affine_ras: Affine
    header: MetaImageHeader

    @property
    def warnings(self) -> tuple[str, ...]:
        """Unusual findings that are no reason to refuse the file, one line each."""
        return self.header.warnings


def read_metaimage(path: str | Path, limits: ReadLimits | None = None) -> MetaImageVolume:
    """Read a 3-D MetaImage file; values keep the stored type.

    Args:
        path: ``.mha`` or ``.mhd``.
        limits: the budget, by default :meth:`ReadLimits.from_environment`.

    Raises:
        DataError: as :func:`medseg.io.volumes.metaimage_header.read_metaimage_header`; for voxel data that are cut off
            or damaged.
    """
    header = read_metaimage_header(path, limits)
    return MetaImageVolume(read_metaimage_voxels(header), header.affine_ras, header)


def read_metaimage_voxels(header: MetaImageHeader) -> NDArray[Any]:
    """The voxels ``[i, j, k]`` that a checked header declares.

    Raises:
        DataError: if the voxel data are cut off, damaged, more than declared, or do not fit into memory.
    """
    try:
        if header.compressed:
            return read_deflated(header.data_file, header.offset, header.stored_bytes, header.shape, header.dtype)
        return read_raw(header.data_file, header.offset, header.shape, header.dtype)
    except OSError as error:
        raise UnreadableFileError(f"{header.data_file}: voxel data cannot be read ({error.strerror})") from error


def write_metaimage(path: str | Path, array: ArrayLike, affine_ras: ArrayLike, compress: bool = True) -> Path:
    """Write a 3-D array as MetaImage, atomically; ``.mhd`` gets a data file of the same stem beside it.

    An earlier ``.mhd`` is removed before its data file is replaced, so header and voxels never contradict each other.

    Args:
        path: target, ``.mha`` or ``.mhd``.
        array: voxels ``[i, j, k]``; bool is written as uint8, int64 as int32, float64 as float32.
        affine_ras: 4 x 4, voxel to RAS mm, with perpendicular axes.
        compress: deflate the voxels.

    Raises:
        ValueError: for another suffix, an array that is not 3-D, or axes that are not perpendicular, which the format
            cannot hold for other programs.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix not in (".mha", ".mhd"):
        raise ValueError(f"{path}: expected a name that ends in .mha or .mhd")
    data = storable(array)
    affine = check_geometry(path, affine_ras)
    shear = decompose(affine).shear_deg
    if shear > TILT_TOLERANCE_DEG:
        raise ValueError(f"{path}: the axes are {shear:.2f} degrees off perpendicular, which MetaImage cannot hold")
    voxels = data.astype(data.dtype.newbyteorder("<"), copy=False).tobytes(order="F")
    voxels = zlib.compress(voxels, 2) if compress else voxels
    if suffix == ".mha":
        header = _header_text(data, affine, len(voxels) if compress else None, "LOCAL")
        with atomic_path(path) as temporary:
            temporary.write_bytes(header.encode("ascii") + voxels)
        return path
    data_file = path.with_suffix(".zraw" if compress else ".raw")
    header = _header_text(data, affine, len(voxels) if compress else None, data_file.name)
    path.unlink(missing_ok=True)
    with atomic_path(data_file) as temporary:
        temporary.write_bytes(voxels)
    with atomic_path(path) as temporary:
        temporary.write_text(header, encoding="utf-8")
    return path


def _header_text(data: NDArray[Any], affine_ras: Affine, compressed_size: int | None, data_file: str) -> str:
    lps = flip_lps_ras(affine_ras)
    direction = direction_of(lps)
    element = next(name for name, kind in ELEMENT_TYPES.items() if np.dtype(kind) == data.dtype)
    lines = {
        "ObjectType": "Image",
        "NDims": "3",
        "BinaryData": "True",
        "BinaryDataByteOrderMSB": "False",
        "CompressedData": str(compressed_size is not None),
        **({} if compressed_size is None else {"CompressedDataSize": str(compressed_size)}),
        "TransformMatrix": _plain(direction.T.ravel()),
        "Offset": _plain(lps[:3, 3]),
        "CenterOfRotation": "0 0 0",
        "AnatomicalOrientation": "".join(orientation_codes(affine_ras, "from")),
        "ElementSpacing": _plain(spacing_of(lps)),
        "DimSize": " ".join(str(n) for n in data.shape),
        "ElementType": element,
        "ElementDataFile": data_file,
    }
    return "".join(f"{key} = {value}\n" for key, value in lines.items())


def _plain(values: ArrayLike) -> str:
    """Shortest decimal numbers that read back exactly; 0.0 is added to turn -0.0 into 0.0."""
    return " ".join(repr(float(value) + 0.0) for value in np.asarray(values, dtype=np.float64))
