"""Synthetic volumes and header files written by hand, for the tests of image readers."""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medseg.geometry import make_affine

SHAPE = (5, 6, 7)
SPOT = (2, 5, 3)


def voxels(dtype: Any = np.int16) -> NDArray[Any]:
    """Another value for each voxel, also negative where the type has such; the first axis is the fastest."""
    values = np.arange(np.prod(SHAPE)).reshape(SHAPE, order="F")
    return (values - (0 if np.dtype(dtype).kind == "u" else 100)).astype(dtype)


def oblique_affine(codes: str = "PSR") -> NDArray[np.float64]:
    """Permuted and flipped axes, turned about two world axes."""
    a, b = np.deg2rad(11), np.deg2rad(-23)
    turn, nod = np.eye(4), np.eye(4)
    turn[:2, :2] = [[np.cos(a), -np.sin(a)], [np.sin(a), np.cos(a)]]
    nod[1:3, 1:3] = [[np.cos(b), -np.sin(b)], [np.sin(b), np.cos(b)]]
    return turn @ nod @ make_affine((0.8, 2.5, 1.3), (-31.0, 12.0, 55.0), codes)


def meta_header(**changes: str | None) -> str:
    """A MetaImage header of ``voxels()`` with identity geometry; None leaves a line out."""
    lines = {
        "ObjectType": "Image",
        "NDims": "3",
        "BinaryData": "True",
        "BinaryDataByteOrderMSB": "False",
        "CompressedData": "False",
        "TransformMatrix": "1 0 0 0 1 0 0 0 1",
        "Offset": "0 0 0",
        "ElementSpacing": "1 1 1",
        "DimSize": "5 6 7",
        "ElementType": "MET_SHORT",
        **changes,
    }
    data_file = lines.pop("ElementDataFile", "LOCAL")
    text = "".join(f"{key} = {value}\n" for key, value in lines.items() if value is not None)
    return text + (f"ElementDataFile = {data_file}\n" if data_file is not None else "")


def write_meta(path: Path, data: bytes | None = None, **changes: str | None) -> Path:
    """A ``.mha`` by hand: header, then the raw voxels or the bytes given."""
    raw = voxels().tobytes(order="F") if data is None else data
    path.write_bytes(meta_header(**changes).encode("latin-1") + raw)
    return path


def deflated() -> bytes:
    """``voxels()`` as a zlib stream."""
    return zlib.compress(voxels().tobytes(order="F"))


def nrrd_header(**changes: str | None) -> str:
    """A NRRD header of ``voxels()`` with identity geometry in RAS; ``_`` in names stands for a space."""
    lines = {
        "type": "short",
        "dimension": "3",
        "space": "right-anterior-superior",
        "sizes": "5 6 7",
        "space directions": "(1,0,0) (0,1,0) (0,0,1)",
        "kinds": "domain domain domain",
        "endian": "little",
        "encoding": "raw",
        "space origin": "(0,0,0)",
        **{name.replace("_", " "): value for name, value in changes.items()},
    }
    text = "".join(f"{name}: {value}\n" for name, value in lines.items() if value is not None)
    return f"NRRD0004\n# made by a test\n{text}\n"


def write_nrrd_text(path: Path, data: bytes | None = None, **changes: str | None) -> Path:
    """A ``.nrrd`` by hand: header, then the raw voxels or the bytes given."""
    raw = voxels().tobytes(order="F") if data is None else data
    path.write_bytes(nrrd_header(**changes).encode() + raw)
    return path
