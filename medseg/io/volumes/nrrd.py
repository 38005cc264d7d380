"""NRRD images: bounded reading with the space that the header names, and writing."""

from __future__ import annotations

import gzip
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from medseg.geometry import Affine, flip_lps_ras
from medseg.io.bounded.atomic import atomic_path
from medseg.io.bounded.errors import DataError, UnreadableFileError
from medseg.io.bounded.limits import ReadLimits, check_geometry
from medseg.io.bounded.voxel_data import GZIP, read_deflated, read_raw, storable
from medseg.io.volumes.assumptions import NO_ASSUMPTIONS, ImageAssumptions
from medseg.io.volumes.nrrd_header import NrrdHeader, read_nrrd_header

__all__ = ["NrrdSpace", "NrrdVolume", "read_layers", "read_nrrd", "read_nrrd_voxels", "write_nrrd"]

NrrdSpace = Literal["LPS", "RAS"]
"""The world frame in which a file is written; readers get the same points from either."""

_SPACE_NAMES = {"LPS": "left-posterior-superior", "RAS": "right-anterior-superior"}
_TYPE_NAMES = {
    "int8": "signed char",
    "uint8": "unsigned char",
    "int16": "short",
    "uint16": "unsigned short",
    "int32": "int",
    "uint32": "unsigned int",
    "float32": "float",
}


class NrrdVolume(NamedTuple):
    """A 3-D NRRD image in memory.

    Attributes:
        array: voxels ``[i, j, k]`` in the file's own order, native byte order.
        affine_ras: 4 x 4, voxel to RAS mm.
        header: the checked header.
    """

    array: NDArray[Any]
    affine_ras: Affine
    header: NrrdHeader

    @property
    def warnings(self) -> tuple[str, ...]:
        """Unusual findings that are no reason to refuse the file, one line each."""
        return self.header.warnings


def read_nrrd(
    path: str | Path, limits: ReadLimits | None = None, assume: ImageAssumptions = NO_ASSUMPTIONS
) -> NrrdVolume:
    """Read a 3-D NRRD image; values keep the stored type. A list axis of length one is dropped.

    Args:
        path: ``.nrrd`` (also a ``.seg.nrrd`` of one layer, which gives its label map) or ``.nhdr``.
        limits: the budget, by default :meth:`ReadLimits.from_environment`.
        assume: what the user states where the header names no space.

    Raises:
        DataError: as :func:`medseg.io.volumes.nrrd_header.read_nrrd_header`; for several layers; for voxel data that
            are cut off or damaged.
    """
    header = read_nrrd_header(path, limits, assume)
    return NrrdVolume(read_nrrd_voxels(path, header), header.affine_ras, header)


def read_nrrd_voxels(path: str | Path, header: NrrdHeader) -> NDArray[Any]:
    """The voxels ``[i, j, k]`` that a checked header of one layer declares.

    Raises:
        DataError: for several layers, and for voxel data that are cut off or damaged.
    """
    if header.layers != 1:
        raise DataError(
            f"{path}: {header.layers} layers, expected one volume; read the segments with "
            "medseg.io.results.seg_nrrd.read_seg_nrrd"
        )
    return read_layers(header)[0]


def read_layers(header: NrrdHeader) -> NDArray[Any]:
    """All voxels that a checked header declares, as ``[layer, i, j, k]``; one layer if there is no list axis.

    Raises:
        DataError: if the voxel data are cut off or damaged, or do not fit into memory.
    """
    sizes = list(header.shape)
    if header.list_axis is not None:
        sizes.insert(header.list_axis, header.layers)
    try:
        if header.compressed:
            array = read_deflated(header.data_file, header.offset, header.stored_bytes, sizes, header.dtype, GZIP)
        else:
            array = read_raw(header.data_file, header.offset, sizes, header.dtype)
    except OSError as error:
        raise UnreadableFileError(f"{header.data_file}: voxel data cannot be read ({error.strerror})") from error
    return array[None] if header.list_axis is None else np.moveaxis(array, header.list_axis, 0)


def write_nrrd(
    path: str | Path, array: ArrayLike, affine_ras: ArrayLike, space: NrrdSpace = "LPS", compress: bool = True
) -> Path:
    """Write a 3-D array as NRRD, atomically, header and voxels in one file.

    Args:
        path: target, ``.nrrd``.
        array: voxels ``[i, j, k]``; bool is written as uint8, int64 as int32, float64 as float32.
        affine_ras: 4 x 4, voxel to RAS mm.
        space: the frame of the numbers in the file: "LPS" (as ITK writes) or "RAS".
        compress: gzip the voxels.

    Raises:
        ValueError: for another suffix or space, or an array that is not 3-D.
    """
    path = Path(path)
    if path.suffix.lower() != ".nrrd":
        raise ValueError(f"{path}: expected a name that ends in .nrrd")
    data = storable(array)
    lines = geometry_lines(check_geometry(path, affine_ras), data.shape, space)
    return write_attached(path, data, lines, compress)


def geometry_lines(affine_ras: Affine, shape: Sequence[int], space: NrrdSpace, layers: int | None = None) -> list[str]:
    """The header lines of axes and geometry; ``layers`` adds a list axis in front (the fastest in the file)."""
    if space not in get_args(NrrdSpace):
        raise ValueError(f"space is {space!r}, expected 'LPS' or 'RAS'")
    affine = flip_lps_ras(affine_ras) if space == "LPS" else affine_ras
    first = [] if layers is None else [layers]
    return [
        f"dimension: {3 + len(first)}",
        f"space: {_SPACE_NAMES[space]}",
        f"sizes: {' '.join(str(n) for n in [*first, *shape])}",
        f"space directions: {'none ' if first else ''}{' '.join(_vector(column) for column in affine[:3, :3].T)}",
        f"kinds: {'list ' if first else ''}domain domain domain",
        f"space origin: {_vector(affine[:3, 3])}",
    ]


def write_attached(path: Path, data: NDArray[Any], lines: Sequence[str], compress: bool) -> Path:
    """Write header lines and voxels (first axis fastest) into one file, atomically."""
    header = [
        "NRRD0004",
        f"type: {_TYPE_NAMES[data.dtype.name]}",
        f"encoding: {'gzip' if compress else 'raw'}",
        "endian: little",
        *lines,
    ]
    voxels = data.astype(data.dtype.newbyteorder("<"), copy=False).tobytes(order="F")
    with atomic_path(path) as temporary, temporary.open("wb") as stream:
        stream.write(("\n".join(header) + "\n\n").encode("utf-8"))
        stream.write(gzip.compress(voxels, 2, mtime=0) if compress else voxels)
    return path


def _vector(values: ArrayLike) -> str:
    """Shortest decimal numbers that read back exactly; 0.0 is added to turn -0.0 into 0.0."""
    return f"({','.join(repr(float(value) + 0.0) for value in np.asarray(values, dtype=np.float64))})"
