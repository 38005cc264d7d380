"""Sizes of patches that a network can take, known before it runs."""

from __future__ import annotations

import math
from collections.abc import Sequence

from torch import nn

from medseg.io.bounded.errors import DataError

__all__ = ["check_roi_size", "size_multiple"]

_INSTANCE_NORMS = (nn.InstanceNorm1d, nn.InstanceNorm2d, nn.InstanceNorm3d)


def size_multiple(network: nn.Module) -> tuple[int, ...] | None:
    """What the sides of a network's input must be multiples of: the product of its strides along each axis.

    Args:
        network: a network with the attributes ``strides`` and ``dimensions``, such as MONAI's ``UNet``.

    Returns:
        One number for each axis; None for a network without these attributes, about which nothing is known.

    >>> from monai.networks.nets import UNet
    >>> size_multiple(UNet(3, 1, 2, channels=(4, 8, 8), strides=(2, (2, 2, 1))))
    (4, 4, 2)
    """
    strides, dims = getattr(network, "strides", None), getattr(network, "dimensions", None)
    if not isinstance(strides, Sequence) or not isinstance(dims, int):
        return None
    sides = [(stride,) * dims if isinstance(stride, int) else tuple(stride) for stride in strides]
    return tuple(math.prod(side[axis] for side in sides) for axis in range(dims))


def check_roi_size(roi_size: Sequence[int], network: nn.Module) -> None:
    """Refuse patches that the network cannot take, before anything is read or trained.

    Args:
        roi_size: voxels of a patch along each axis.
        network: what it is for; see :func:`size_multiple`. For a network about which nothing is known, nothing is
            refused.

    Raises:
        DataError: one line with the size found, the multiple that the network needs, and sizes near by that fit.

    >>> from monai.networks.nets import UNet
    >>> unet = UNet(3, 1, 2, channels=(4, 8, 8, 16, 16), strides=(2, 2, 2, 2))
    >>> check_roi_size([192, 192, 160], unet)
    >>> check_roi_size([200, 200, 160], unet)
    Traceback (most recent call last):
        ...
    medseg.io.bounded.errors.DataError: roi_size is [200, 200, 160]; expected multiples of [16, 16, 16] ...
    """
    multiple = size_multiple(network)
    if multiple is None:
        return
    size = list(roi_size) if isinstance(roi_size, Sequence) else [roi_size]
    if len(size) != len(multiple) or not all(isinstance(side, int) and side > 0 for side in size):
        raise DataError(f"roi_size is {size}; expected {len(multiple)} whole numbers above 0, one for each axis")
    if any(side % step for side, step in zip(size, multiple, strict=True)):
        lower = [max(side // step, 1) * step for side, step in zip(size, multiple, strict=True)]
        upper = [math.ceil(side / step) * step for side, step in zip(size, multiple, strict=True)]
        near = " or ".join(str(sides) for sides in ([lower] if lower == upper else [lower, upper]))
        raise DataError(
            f"roi_size is {size}; expected multiples of {list(multiple)} (the product of the network's strides), such "
            f"as {near}"
        )
    if size == list(multiple) and any(isinstance(part, _INSTANCE_NORMS) for part in network.modules()):
        larger = [2 * size[0], *size[1:]]
        raise DataError(
            f"roi_size is {size}: a single voxel is left at the network's lowest level, where instance normalisation "
            f"needs more; use at least {larger}"
        )
