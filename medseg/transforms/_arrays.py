"""Arrays of every layout and type as the tensors and NumPy arrays that the transforms compute with."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from monai.data import get_track_meta
from monai.utils import convert_to_tensor
from numpy.typing import NDArray
from torch import Tensor

__all__ = ["numpy_array", "plain_tensor", "tracked_tensor", "usual_array", "widened"]


def usual_array(data: Any, what: str) -> NDArray[Any]:
    """Numbers as an array in the byte order of the machine and without negative strides, which torch cannot take.

    Args:
        data: an array, or nested lists of numbers as JSON gives them.
        what: name of the data for the message.

    Raises:
        ValueError: for anything but real numbers.
    """
    try:
        array = np.asarray(data)
    except ValueError:
        raise ValueError(f"{what} is a list of rows of different lengths, expected an array of numbers") from None
    if array.dtype.kind not in "biuf":
        found = f"an array of {array.dtype}" if isinstance(data, np.ndarray) else f"a {type(data).__name__}"
        raise ValueError(f"{what} is {found}, expected an array or tensor of real numbers")
    if array.dtype.kind == "f" and array.dtype.itemsize > 8:
        array = array.astype(np.float64)
    if not array.dtype.isnative:
        array = array.astype(array.dtype.newbyteorder("="))
    # A negative stride can also be left at an axis of length 1, where NumPy itself ignores it.
    return array.copy(order="C") if any(stride < 0 for stride in array.strides) else array


def tracked_tensor(data: Any, what: str = "image") -> Any:
    """Data as the tensor that MONAI's transforms give: a MetaTensor while metadata are tracked.

    Raises:
        ValueError: for anything but real numbers.
    """
    if not isinstance(data, Tensor):
        data = usual_array(data, what)
    elif data.is_complex():
        raise ValueError(f"{what} is a tensor of {data.dtype}, expected real numbers")
    return convert_to_tensor(data, track_meta=get_track_meta())


def plain_tensor(data: Any, what: str = "image") -> Tensor:
    """Data as a tensor without metadata.

    Raises:
        ValueError: for anything but real numbers.
    """
    tensor: Tensor = convert_to_tensor(tracked_tensor(data, what), track_meta=False)
    return tensor


def numpy_array(data: Any, what: str = "image") -> NDArray[Any]:
    """Data as a contiguous NumPy array; bfloat16, which NumPy does not have, becomes float32.

    Raises:
        ValueError: for anything but real numbers.
    """
    if isinstance(data, Tensor):
        plain = plain_tensor(data, what).detach().cpu()
        return np.ascontiguousarray((plain.float() if plain.dtype == torch.bfloat16 else plain).numpy())
    array = usual_array(data, what)
    return np.ascontiguousarray(array) if array.ndim else array


def widened(tensor: Any) -> Any:
    """A tensor in float32, or in float64 if it is: the type in which transforms compute."""
    return tensor if tensor.dtype == torch.float64 else tensor.float()
