"""Strict parsing of MetaImage headers (.mha, .mhd): fields, types, geometry and where the voxels lie.

The header is never given to ITK, whose parser has known memory faults. World coordinates are LPS (as in ITK):
position = Offset + sum over axes of index x ElementSpacing x the axis' triple in TransformMatrix. CenterOfRotation is
not used. AnatomicalOrientation repeats the orientation as letters of the sides *from* which the axes run; it is only
compared.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from medseg.geometry import Affine, flip_lps_ras, orientation_codes
from medseg.io.bounded.errors import DataError, UnreadableFileError
from medseg.io.bounded.limits import ReadLimits, check_geometry, file_size, oblique_axes_warning
from medseg.io.bounded.text_header import data_file_beside, numbers, read_header_lines, whole_numbers
from medseg.io.privacy.names import shown

__all__ = ["ELEMENT_TYPES", "MetaImageHeader", "read_metaimage_header"]

_MAX_LINE = 8 * 1024
_MAX_HEADER = 64 * 1024
_SIZE_FRACTION = 1e-3
_UNIT_LENGTH = 1e-3  # how far a direction triple may be from length 1, as it is often written with few digits
ELEMENT_TYPES = {
    "MET_CHAR": "int8",
    "MET_UCHAR": "uint8",
    "MET_SHORT": "int16",
    "MET_USHORT": "uint16",
    "MET_INT": "int32",
    "MET_UINT": "uint32",
    "MET_LONG": "int32",
    "MET_ULONG": "uint32",
    "MET_LONG_LONG": "int64",
    "MET_ULONG_LONG": "uint64",
    "MET_FLOAT": "float32",
    "MET_DOUBLE": "float64",
}
"""NumPy type of every ElementType that holds one number."""

_SYNONYMS = {
    "Origin": "Offset",
    "Position": "Offset",
    "Orientation": "TransformMatrix",
    "Rotation": "TransformMatrix",
    "BinaryDataByteOrderMSB": "ElementByteOrderMSB",
}


class MetaImageHeader(NamedTuple):
    """What a MetaImage header says, checked.

    Attributes:
        shape: the three lengths.
        dtype: stored type with its byte order.
        affine_ras: 4 x 4, voxel to RAS mm.
        data_file: the file that holds the voxels, which is the header's own for ``ElementDataFile = LOCAL``.
        offset: first byte of the voxels in it.
        stored_bytes: bytes that the file has for them.
        compressed: whether they are deflated.
        fields: all lines of the header by key, as text; they may name a patient.
        warnings: unusual findings that are no reason to refuse the file, one line each.
    """

    shape: tuple[int, int, int]
    dtype: np.dtype[Any]
    affine_ras: Affine
    data_file: Path
    offset: int
    stored_bytes: int
    compressed: bool
    fields: dict[str, str]
    warnings: tuple[str, ...]


def read_metaimage_header(path: str | Path, limits: ReadLimits | None = None) -> MetaImageHeader:
    """Read and check the header of a 3-D MetaImage file; no voxel is read.

    Args:
        path: ``.mha`` or ``.mhd``.
        limits: the budget, by default :meth:`ReadLimits.from_environment`.

    Raises:
        DataError: one line naming the file and the field: not a MetaImage, not 3-D, several channels, text voxels, an
            unknown type, unusable geometry, a data file that is missing, a list or in another folder, more voxels than
            the budget allows or than the file can hold.
    """
    path = Path(path)
    if not path.is_file():
        raise DataError(f"{path}: no such file; expected a MetaImage (.mha or .mhd)")
    try:
        with path.open("rb") as stream:
            lines = read_header_lines(path, stream, _MAX_LINE, _MAX_HEADER, "ElementDataFile")
            end = stream.tell()
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from error
    fields = _fields(path, lines)
    shape = _shape(path, fields)
    dtype = _stored_type(path, fields)
    limits = limits or ReadLimits.from_environment()
    size = limits.check_shape(path, shape, dtype.itemsize)
    affine, warnings = _geometry(path, fields)
    compressed = _flag(path, fields, "CompressedData", False)
    data_file, offset, stored = _place(path, fields, end, size, compressed)
    limits.check_size(data_file, shape, dtype.itemsize, stored, compressed)
    if not compressed and stored != size:
        raise UnreadableFileError(
            f"{data_file}: {stored} bytes of voxels, but the header declares {shape} of {dtype.name} = {size} bytes"
        )
    return MetaImageHeader(shape, dtype, affine, data_file, offset, stored, compressed, fields, tuple(warnings))


def _fields(path: Path, lines: list[str]) -> dict[str, str]:
    fields: dict[str, str] = {}
    for line in lines:
        if not line:
            continue
        key, equals, value = (part.strip() for part in line.partition("="))
        if not equals or not key or len(key) > 80 or not key.isprintable():
            raise DataError(
                f"{path}: a header line, {shown(line)}, is not 'Key = Value'; this is not a MetaImage, or it is damaged"
            )
        key = _SYNONYMS.get(key, key)
        if fields.setdefault(key, value) != value:
            raise DataError(f"{path}: {key} is given twice, as {shown(fields[key])} and {shown(value)}")
    if fields.get("ObjectType") != "Image":
        raise DataError(f"{path}: ObjectType is {fields.get('ObjectType')!r}, expected Image; this is not a MetaImage")
    return fields


def _need(path: Path, fields: Mapping[str, str], key: str) -> str:
    if key not in fields:
        raise DataError(f"{path}: the header has no {key}, which a 3-D MetaImage needs")
    return fields[key]


def _shape(path: Path, fields: Mapping[str, str]) -> tuple[int, int, int]:
    (axes,) = whole_numbers(path, "NDims", _need(path, fields, "NDims"), 1)
    if axes != 3:
        raise DataError(f"{path}: NDims is {axes}, expected 3; split the image into 3-D volumes first")
    (channels,) = whole_numbers(path, "ElementNumberOfChannels", fields.get("ElementNumberOfChannels", "1"), 1)
    if channels != 1:
        raise DataError(f"{path}: ElementNumberOfChannels is {channels}, expected 1 number a voxel")
    i, j, k = whole_numbers(path, "DimSize", _need(path, fields, "DimSize"), 3)
    return i, j, k


def _stored_type(path: Path, fields: Mapping[str, str]) -> np.dtype[Any]:
    name = _need(path, fields, "ElementType")
    if name not in ELEMENT_TYPES:
        raise DataError(f"{path}: ElementType is {name[:40]!r}, expected one of {', '.join(ELEMENT_TYPES)}")
    if not _flag(path, fields, "BinaryData", True):
        raise DataError(f"{path}: BinaryData is False (voxels as text), expected True; write it in binary form")
    big = _flag(path, fields, "ElementByteOrderMSB", False)
    return np.dtype(ELEMENT_TYPES[name]).newbyteorder(">" if big else "<")


def _flag(path: Path, fields: Mapping[str, str], key: str, default: bool) -> bool:
    value = fields.get(key)
    if value is None:
        return default
    if value.lower() not in ("true", "false"):
        raise DataError(f"{path}: {key} is {value[:40]!r}, expected True or False")
    return value.lower() == "true"


def _geometry(path: Path, fields: Mapping[str, str]) -> tuple[Affine, list[str]]:
    """The affine in RAS and warnings about it."""
    key = "ElementSpacing" if "ElementSpacing" in fields else "ElementSize"
    spacing = np.array(numbers(path, key, _need(path, fields, key), 3))
    if spacing.min() <= 0:
        raise DataError(f"{path}: {key} is {fields[key]!r}, expected three positive numbers of mm")
    offset = numbers(path, "Offset", _need(path, fields, "Offset"), 3)
    triples = np.array(numbers(path, "TransformMatrix", _need(path, fields, "TransformMatrix"), 9)).reshape(3, 3)
    lengths = np.linalg.norm(triples, axis=1)
    if np.abs(lengths - 1).max() > _UNIT_LENGTH:
        raise DataError(f"{path}: TransformMatrix has triples of length {lengths.tolist()}, expected length 1 each")
    affine = np.eye(4)
    # One triple for each image axis: the rows here are the columns of the direction matrix.
    affine[:3, :3] = triples.T * spacing
    affine[:3, 3] = offset
    affine = check_geometry(path, flip_lps_ras(affine), "TransformMatrix")
    return affine, _oddities(path, fields, affine)


def _oddities(path: Path, fields: Mapping[str, str], affine: Affine) -> list[str]:
    found = [line for line in [oblique_axes_warning(affine), _other_size(path, fields)] if line]
    named = fields.get("AnatomicalOrientation", "")
    derived = "".join(orientation_codes(affine, "from"))
    if named.strip("?") and named.upper() != derived:
        found.append(f"AnatomicalOrientation says {named[:8]!r}, but TransformMatrix gives {derived}, which is used")
    if any(numbers(path, "CenterOfRotation", fields.get("CenterOfRotation", "0 0 0"), 3)):
        found.append("CenterOfRotation is not 0 0 0; as in ITK it does not enter the geometry")
    return found


def _other_size(path: Path, fields: Mapping[str, str]) -> str | None:
    """ElementSize is what a voxel covers, ElementSpacing the distance of voxels: the grid is made of the latter."""
    if not {"ElementSize", "ElementSpacing"} <= fields.keys():
        return None
    size, spacing = (np.abs(numbers(path, key, fields[key], 3)) for key in ("ElementSize", "ElementSpacing"))
    if np.allclose(size, spacing, rtol=_SIZE_FRACTION, atol=0):
        return None
    first, second = (" x ".join(f"{value:.4g}" for value in values) for values in (size, spacing))
    return f"ElementSize is {first} mm, but ElementSpacing is {second} mm; ElementSpacing is used"


def _place(path: Path, fields: Mapping[str, str], end: int, size: int, compressed: bool) -> tuple[Path, int, int]:
    """Data file, first byte and number of bytes of the voxels."""
    name = fields["ElementDataFile"]
    local = name.upper() == "LOCAL"
    data_file = path if local else data_file_beside(path, "ElementDataFile", name)
    total = file_size(data_file)
    (skip,) = whole_numbers(path, "HeaderSize", fields.get("HeaderSize", "0"), 1)
    if skip < -1 or (skip != 0 and (local or compressed)):
        raise DataError(
            f"{path}: HeaderSize is {skip}, expected 0 (or, for a raw file of its own, its header's length)"
        )
    if skip == -1:
        skip = max(total - size, 0)
    offset = end if local else skip
    stored = total - offset
    if "CompressedDataSize" in fields and compressed:
        (declared,) = whole_numbers(path, "CompressedDataSize", fields["CompressedDataSize"], 1)
        if declared != stored:
            raise UnreadableFileError(
                f"{data_file}: {stored} bytes of compressed voxels, but CompressedDataSize is {declared}; the file may "
                "be cut off"
            )
    return data_file, offset, stored
