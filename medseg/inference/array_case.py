"""CT volumes that are in memory already: NumPy arrays, torch tensors and MONAI's MetaTensor."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from medseg.geometry import Affine
from medseg.inference.errors import ConfigurationError

__all__ = ["array_and_affine"]


def array_and_affine(values: Any, affine_ras: ArrayLike | None = None) -> tuple[NDArray[Any], Affine]:
    """The voxels ``[x, y, z]`` and their affine.

    Args:
        values: array or tensor ``[x, y, z]``, or ``[1, x, y, z]`` with one channel, of real numbers. float64 and
            float16 become float32, int64 becomes int32; other types are kept, and nothing is copied without need.
        affine_ras: 4 x 4, voxel to RAS mm; a MetaTensor brings its own.

    Raises:
        ConfigurationError: for a value that is not an array, other shapes, or an affine that is missing or given twice.
        ValueError: for values that are not real numbers, or an affine that cannot be the grid of a scan.

    >>> array, affine = array_and_affine(np.zeros((1, 4, 5, 6)), np.diag([2.0, 2.0, 3.0, 1.0]))
    >>> array.shape, array.dtype
    ((4, 5, 6), dtype('float32'))
    """
    from medseg.io.bounded.errors import DataError
    from medseg.io.bounded.limits import check_geometry
    from medseg.io.bounded.voxel_data import storable

    own = _own_affine(values)
    if own is not None and affine_ras is not None:
        raise ConfigurationError(
            "affine_ras: the MetaTensor brings its own affine; leave affine_ras out, or give the plain tensor "
            "(as_tensor()) with another affine"
        )
    if own is None and affine_ras is None:
        raise ConfigurationError("array: its affine is missing; give affine_ras, 4 x 4, voxel to RAS mm")
    array = _as_numpy(values)
    if array.ndim == 4 and array.shape[0] == 1:
        array = array[0]
    if array.ndim != 3:
        raise ConfigurationError(
            f"array: its shape is {array.shape}, expected three axes [x, y, z], or four with one channel first"
        )
    affine = np.asarray(affine_ras if own is None else own)
    if array.dtype == np.bool_:
        raise ValueError("array: voxels have type bool, expected Hounsfield units")
    if affine.shape != (4, 4):
        raise ConfigurationError(f"affine_ras: its shape is {affine.shape}, expected 4 x 4, voxel to RAS mm")
    try:
        return storable(array), check_geometry("array", affine, "affine_ras")
    except DataError:
        raise
    except ValueError as error:
        raise ValueError(f"array: {error}") from None


def _own_affine(values: Any) -> NDArray[Any] | None:
    """The affine of a MetaTensor in RAS mm, None for anything else."""
    monai_data = sys.modules.get("monai.data")
    if monai_data is None or not isinstance(values, monai_data.MetaTensor):
        return None
    affine = np.asarray(values.affine.detach().cpu().numpy(), dtype=np.float64)
    # MONAI's readers give RAS unless they were told otherwise; the header says which.
    if str(values.meta.get("space", "RAS")).upper().endswith("LPS"):
        affine = np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine
    return affine


def _as_numpy(values: Any) -> NDArray[Any]:
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(values, torch.Tensor):
        values = values.detach().cpu()
        values = values.float() if values.dtype == torch.bfloat16 else values
        return np.asarray(values.numpy())
    if not isinstance(values, np.ndarray):
        raise ConfigurationError(
            f"case is a {type(values).__name__}, expected the path of an image file or a DICOM folder, a listing of "
            "series, or an array [x, y, z] with affine_ras"
        )
    return values
