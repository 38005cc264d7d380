"""NRRD headers, parsed strictly and checked before any voxel is read.

medseg parses the header itself, because it decides how much memory is allocated: its limits must be checked before a
library reads the file. Only headers that place a volume in the patient without doubt are accepted: a named space (LPS
or RAS, or one that the user states where the header has none), three spatial axes with direction vectors, at most one
list axis (``none``).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from medseg.geometry import Affine, flip_lps_ras
from medseg.io.bounded.errors import DataError, UnreadableFileError
from medseg.io.bounded.limits import ReadLimits, check_geometry, file_size, oblique_axes_warning
from medseg.io.bounded.text_header import data_file_beside, number, read_header_lines, whole_numbers
from medseg.io.privacy.names import shown
from medseg.io.volumes.assumptions import NO_ASSUMPTIONS, ImageAssumptions

__all__ = ["NrrdHeader", "read_nrrd_header"]

_MAX_LINE = 256 * 1024
_MAX_HEADER = 4 * 1024 * 1024  # the header of a segmentation with hundreds of segments takes some 100 KiB
_MAX_AXES = 5
_SPACING_FRACTION = 1e-3
_TYPES = {
    "int8": ("signed char", "int8", "int8_t"),
    "uint8": ("uchar", "unsigned char", "uint8", "uint8_t"),
    "int16": ("short", "short int", "signed short", "signed short int", "int16", "int16_t"),
    "uint16": ("ushort", "unsigned short", "unsigned short int", "uint16", "uint16_t"),
    "int32": ("int", "signed int", "int32", "int32_t"),
    "uint32": ("uint", "unsigned int", "uint32", "uint32_t"),
    "int64": ("longlong", "long long", "long long int", "signed long long", "signed long long int", "int64", "int64_t"),
    "uint64": ("ulonglong", "unsigned long long", "unsigned long long int", "uint64", "uint64_t"),
    "float32": ("float",),
    "float64": ("double",),
}
_TYPE_OF = {alias: name for name, aliases in _TYPES.items() for alias in aliases}
_SPACES = {"left-posterior-superior": "LPS", "lps": "LPS", "right-anterior-superior": "RAS", "ras": "RAS"}
_NO_ORIENTATION = frozenset(
    f"{start}{end}" for start in ("scanner-xyz", "3d-right-handed", "3d-left-handed") for end in ("", "-time")
)
_ENCODINGS = {"raw": "raw", "gzip": "gzip", "gz": "gzip"}
_GEOMETRY_FIELDS = {"space", "space dimension", "space units", "space origin", "space directions", "measurement frame"}
_AXIS_FIELDS = {"kinds", "sizes", "spacings", "thicknesses", "centers", "centerings", "labels", "units", "axis mins"}
_DATA_FIELDS = {"type", "endian", "encoding", "data file", "line skip", "byte skip", "block size", "content", "number"}
_RANGE_FIELDS = {"dimension", "min", "max", "old min", "old max", "sample units", "axis maxs"}
_FIELDS = _GEOMETRY_FIELDS | _AXIS_FIELDS | _DATA_FIELDS | _RANGE_FIELDS
# These may be written as one word.
_JOINED = {
    name.replace(" ", ""): name
    for name in _FIELDS
    if name.split()[0] in ("block", "data", "line", "byte", "old", "axis", "sample")
}
_VECTOR = re.compile(r"none|\([^()]{0,200}\)")


class NrrdHeader(NamedTuple):
    """What a NRRD header says, checked.

    Attributes:
        shape: lengths of the three spatial axes in file order.
        dtype: stored type with its byte order.
        affine_ras: 4 x 4, voxel to RAS mm.
        space: "LPS" or "RAS", as the file has it.
        list_axis: position of the list axis among all axes, None for a plain volume.
        layers: length of the list axis, 1 if there is none.
        data_file: the file that holds the voxels; the header's own unless it names another.
        offset: first byte of the voxels in it.
        stored_bytes: bytes that the file has for them.
        compressed: whether they are deflated (gzip).
        key_values: the ``key:=value`` pairs, as text; they may name a patient.
        warnings: unusual findings that are no reason to refuse the file, one line each.
        assumed: those of them that say what was assumed because the user stated it.
    """

    shape: tuple[int, int, int]
    dtype: np.dtype[Any]
    affine_ras: Affine
    space: str
    list_axis: int | None
    layers: int
    data_file: Path
    offset: int
    stored_bytes: int
    compressed: bool
    key_values: dict[str, str]
    warnings: tuple[str, ...]
    assumed: tuple[str, ...] = ()


def read_nrrd_header(
    path: str | Path, limits: ReadLimits | None = None, assume: ImageAssumptions = NO_ASSUMPTIONS
) -> NrrdHeader:
    """Read and check the header of a NRRD file; no voxel is read.

    Args:
        path: ``.nrrd`` (also ``.seg.nrrd``) or ``.nhdr``.
        limits: the budget, by default :meth:`ReadLimits.from_environment`.
        assume: what the user states where the header names no space.

    Raises:
        DataError: one line naming the file and the field: not a NRRD file, unknown or repeated fields, a space other
            than LPS and RAS, other axes than three spatial ones and one list, unusable geometry, an unknown type or
            encoding, a data file that is missing, a list or in another folder, more voxels than the budget allows or
            than the file can hold.
    """
    path = Path(path)
    if not path.is_file():
        raise DataError(f"{path}: no such file; expected a NRRD image (.nrrd or .nhdr)")
    try:
        with path.open("rb") as stream:
            lines = read_header_lines(path, stream, _MAX_LINE, _MAX_HEADER, None)
            end = stream.tell()
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from error
    fields, key_values = _fields(path, lines)
    assumed = _fill_in(path, fields, assume)
    sizes, list_axis = _axes(path, fields)
    encoding = _need(path, fields, "encoding").lower()
    if encoding not in _ENCODINGS:
        raise DataError(f"{path}: encoding is {encoding[:40]!r}, expected raw or gzip; write the file with one of them")
    dtype = _stored_type(path, fields)
    limits = limits or ReadLimits.from_environment()
    size = limits.check_shape(path, sizes, dtype.itemsize)
    affine, space = _geometry(path, fields, list_axis)
    compressed = _ENCODINGS[encoding] == "gzip"
    data_file, offset, stored = _place(path, fields, end, size, compressed)
    limits.check_size(data_file, sizes, dtype.itemsize, stored, compressed)
    if not compressed and stored != size:
        raise UnreadableFileError(
            f"{data_file}: {stored} bytes of voxels, but the header declares {sizes} of {dtype.name} = {size} bytes"
        )
    i, j, k = (n for axis, n in enumerate(sizes) if axis != list_axis)
    oblique = oblique_axes_warning(affine)
    return NrrdHeader(
        shape=(i, j, k),
        dtype=dtype,
        affine_ras=affine,
        space=space,
        list_axis=list_axis,
        layers=1 if list_axis is None else sizes[list_axis],
        data_file=data_file,
        offset=offset,
        stored_bytes=stored,
        compressed=compressed,
        key_values=key_values,
        warnings=(*assumed, *([oblique] if oblique else [])),
        assumed=assumed,
    )


def _fields(path: Path, lines: list[str]) -> tuple[dict[str, str], dict[str, str]]:
    """Fields (``name: value``) and key-value pairs (``key:=value``)."""
    if not lines or not re.fullmatch(r"NRRD000[1-5]", lines[0]):
        raise DataError(f"{path}: the first line is not NRRD0001 to NRRD0005: not a NRRD file, or it is damaged")
    fields: dict[str, str] = {}
    pairs: dict[str, str] = {}
    for line in lines[1:]:
        if line.startswith("#"):
            continue
        found = re.match(r"([^:]{1,200}):(=?)(.*)", line)
        if not found:
            raise DataError(f"{path}: a header line, {shown(line)}, is not 'field: value'; the header is damaged")
        name, equals, value = found.groups()
        name = name if equals else _JOINED.get(name.strip().lower(), name.strip().lower())
        if not equals and name not in _FIELDS:
            raise DataError(f"{path}: the header has a field that NRRD does not define, {shown(name)}; damaged?")
        target = pairs if equals else fields
        if name in target:
            raise DataError(f"{path}: {name[:80]} is given twice; keep one")
        target[name] = value.strip()
    return fields, pairs


def _need(path: Path, fields: Mapping[str, str], name: str) -> str:
    if name not in fields:
        raise DataError(f"{path}: the header has no {name}, which a volume needs")
    return fields[name]


def _vectors(path: Path, fields: Mapping[str, str], axes: int) -> list[tuple[float, ...] | None]:
    text = _need(path, fields, "space directions")
    items = _VECTOR.findall(text) if len(text) <= 2000 else []
    if len(items) != axes or "".join(items) != re.sub(r"\s+(?=[(n])|\s+$", "", text):
        raise DataError(f"{path}: space directions is {text[:120]!r}, expected {axes} vectors (x,y,z) or none")
    return [None if item == "none" else _vector(path, "space directions", item) for item in items]


def _vector(path: Path, name: str, text: str) -> tuple[float, ...]:
    items = text.strip()[1:-1].split(",") if re.fullmatch(r"\([^()]*\)", text.strip()) else []
    if len(items) != 3:
        raise DataError(f"{path}: {name} holds {text[:60]!r}, expected a vector (x,y,z)")
    return tuple(number(path, name, item.strip()) for item in items)


def _axes(path: Path, fields: Mapping[str, str]) -> tuple[tuple[int, ...], int | None]:
    """Lengths of all axes and the position of the list axis."""
    (axes,) = whole_numbers(path, "dimension", _need(path, fields, "dimension"), 1)
    if not 1 <= axes <= _MAX_AXES:
        raise DataError(f"{path}: dimension is {axes}, expected 3, or 4 with a list of layers")
    sizes = whole_numbers(path, "sizes", _need(path, fields, "sizes"), axes)
    _space(path, fields)
    lists = [axis for axis, vector in enumerate(_vectors(path, fields, axes)) if vector is None]
    if axes - len(lists) != 3 or len(lists) > 1:
        raise DataError(
            f"{path}: {axes - len(lists)} spatial axes and {len(lists)} without direction in an image of {sizes}, "
            "expected three spatial axes and at most one list"
        )
    kinds = fields.get("kinds", "").split()
    if kinds and len(kinds) != axes:
        raise DataError(f"{path}: kinds names {len(kinds)} axes, expected {axes}")
    for axis, kind in enumerate(kinds):
        wanted = ("list", "???", "none", "vector") if axis in lists else ("domain", "space", "???", "none")
        if kind.lower() not in wanted:
            raise DataError(f"{path}: axis {axis} is of kind {kind[:30]!r}, expected {' or '.join(wanted[:2])}")
    return sizes, lists[0] if lists else None


def _fill_in(path: Path, fields: dict[str, str], assume: ImageAssumptions) -> tuple[str, ...]:
    """Put what the user states into the fields that say nothing of the orientation, and say so."""
    stated = " ".join(fields.get("space", "").lower().split())
    if (stated and stated not in _NO_ORIENTATION) or assume.space is None:
        return ()
    known = f"space is {stated}, which is no orientation" if stated else "the header names no space"
    fields["space"] = assume.space
    if "space directions" in fields:
        return (f"{known}; {assume.space} as stated (--assume-space)",)
    spacings = _need(path, fields, "spacings").split()
    if len(spacings) != 3:
        raise DataError(f"{path}: spacings are given for {len(spacings)} axes, expected 3 where directions are absent")
    vectors = [["0"] * axis + [text] + ["0"] * (2 - axis) for axis, text in enumerate(spacings)]
    fields["space directions"] = " ".join(f"({','.join(vector)})" for vector in vectors)
    del fields["spacings"]
    where = "" if "space origin" in fields else ", from 0 mm on"
    fields.setdefault("space origin", "(0,0,0)")
    return (f"{known} and no directions; axes run along {assume.space} as stated (--assume-space){where}",)


def _space(path: Path, fields: Mapping[str, str]) -> str:
    text = fields.get("space")
    state = "if the orientation is known, state it with --assume-space LPS or --assume-space RAS"
    if text is None:
        raise DataError(
            f"{path}: the header names no space, so the orientation is unknown; expected LPS or RAS; {state}"
        )
    if text.lower() not in _SPACES:
        fix = f"; {state}" if " ".join(text.lower().split()) in _NO_ORIENTATION else ""
        raise DataError(
            f"{path}: space is {text[:40]!r}, expected left-posterior-superior (LPS) or right-anterior-superior "
            f"(RAS){fix}"
        )
    return _SPACES[text.lower()]


def _geometry(path: Path, fields: Mapping[str, str], list_axis: int | None) -> tuple[Affine, str]:
    space = _space(path, fields)
    units = re.findall(r'"([^"]*)"', fields.get("space units", ""))
    if any(unit not in ("mm", "") for unit in units):
        raise DataError(f"{path}: space units are {units}, expected mm; rewrite the header in millimetres")
    axes = 3 if list_axis is None else 4
    affine = np.eye(4)
    vectors = _vectors(path, fields, axes)
    columns = [vector for vector in vectors if vector is not None]
    _refuse_other_spacings(path, fields, vectors)
    affine[:3, :3] = np.array(columns).T
    affine[:3, 3] = _vector(path, "space origin", _need(path, fields, "space origin"))
    affine = flip_lps_ras(affine) if space == "LPS" else affine
    return check_geometry(path, affine, "space directions and origin"), space


def _refuse_other_spacings(path: Path, fields: Mapping[str, str], vectors: Sequence[tuple[float, ...] | None]) -> None:
    """NRRD allows one of the two; where both are there, they must agree, because nothing tells which is right."""
    texts = fields.get("spacings", "").split()
    if not texts:
        return
    if len(texts) != len(vectors):
        raise DataError(f"{path}: spacings are given for {len(texts)} axes, expected {len(vectors)}; remove the line")
    stated_mm = [None if text.lower() == "nan" else abs(number(path, "spacings", text)) for text in texts]
    for stated, vector in zip(stated_mm, vectors, strict=True):
        if stated is None or vector is None:
            continue
        found = float(np.linalg.norm(vector))
        if abs(stated - found) > _SPACING_FRACTION * found:
            lengths = " x ".join("none" if v is None else f"{np.linalg.norm(v):.4g}" for v in vectors)
            given = " x ".join(item[:20] for item in texts)
            raise DataError(
                f"{path}: both spacings and space directions are given, and they disagree: {given} and {lengths} mm; "
                "NRRD forbids both, remove the line that is wrong"
            )


def _stored_type(path: Path, fields: Mapping[str, str]) -> np.dtype[Any]:
    name = " ".join(_need(path, fields, "type").lower().split())
    if name not in _TYPE_OF:
        raise DataError(f"{path}: type is {name[:40]!r}, expected whole or real numbers of 8 to 64 bits")
    dtype = np.dtype(_TYPE_OF[name])
    if dtype.itemsize == 1:
        return dtype
    endian = _need(path, fields, "endian").lower()
    if endian not in ("little", "big"):
        raise DataError(f"{path}: endian is {endian[:20]!r}, expected little or big")
    return dtype.newbyteorder("<" if endian == "little" else ">")


def _place(path: Path, fields: Mapping[str, str], end: int, size: int, compressed: bool) -> tuple[Path, int, int]:
    """Data file, first byte and number of bytes of the voxels."""
    detached = "data file" in fields
    data_file = data_file_beside(path, "data file", fields["data file"]) if detached else path
    for name in ("line skip", "byte skip"):
        (skip,) = whole_numbers(path, name, fields.get(name, "0"), 1)
        if skip != 0 and not (name == "byte skip" and skip > 0 and detached and not compressed):
            raise DataError(f"{path}: {name} is {skip}, expected 0 (or bytes to skip in a raw file of its own)")
    offset = skip if detached else end
    return data_file, offset, file_size(data_file) - offset
