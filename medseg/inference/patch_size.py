"""Sizes of patches that a network can take, known before it runs."""

from __future__ import annotations

import contextlib
import copy
import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from medseg.io.bounded.errors import DataError

__all__ = ["check_roi_size", "size_multiple"]

_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
# Steps, and the odd number that makes a size of each which is no multiple of a larger step, nor of 3.
_PROBED = {1: 97, 2: 49, 4: 25, 8: 13, 16: 7, 32: 5, 64: 5, 128: 5}
_INSTANCE_NORMS = (nn.InstanceNorm1d, nn.InstanceNorm2d, nn.InstanceNorm3d)


def size_multiple(network: nn.Module) -> tuple[int, ...] | None:
    """What the sides of a network's input must be multiples of, along each axis.

    It is the product of the strides of a network that names them, such as MONAI's ``UNet``. Any other network is asked:
    a copy of it without memory (on torch's device "meta") gets images of several sizes, and the smallest power of two
    whose multiples pass is the answer. Nothing is computed, and the network is left as it is.

    Args:
        network: of one image argument.

    Returns:
        One number for each axis; None for a network that names no strides and that does not run in this way, about
        which nothing is known.

    >>> from monai.networks.nets import SegResNet, UNet
    >>> size_multiple(UNet(3, 1, 2, channels=(4, 8, 8), strides=(2, (2, 2, 1))))
    (4, 4, 2)
    >>> size_multiple(SegResNet(spatial_dims=2, in_channels=1, out_channels=2))
    (8, 8)
    """
    strides, dims = getattr(network, "strides", None), getattr(network, "dimensions", None)
    if not isinstance(strides, Sequence) or not isinstance(dims, int):
        return _measured_multiple(network)
    sides = [(stride,) * dims if isinstance(stride, int) else tuple(stride) for stride in strides]
    return tuple(math.prod(side[axis] for side in sides) for axis in range(dims))


class _Probe:
    """A copy of a network without memory, which says whether and how it takes sizes."""

    def __init__(self, network: nn.Module) -> None:
        # Of a network around another one, the first convolution need not be the one that takes the image.
        conv = next((part for part in network.modules() if isinstance(part, _CONVOLUTIONS)), None)
        channels = getattr(network, "in_channels", None if conv is None else conv.in_channels)
        axes = getattr(network, "spatial_dims", None if conv is None else len(conv.kernel_size))
        self.channels, self.axes = (number if isinstance(number, int) else 0 for number in (channels, axes))
        self.copy: nn.Module | None = None
        empty = {id(t): _without_memory(t) for t in (*network.parameters(), *network.buffers())}
        if self.channels and self.axes:
            # The memo hands out the empty tensors instead of copies: the copy needs no memory.
            with contextlib.suppress(RuntimeError, TypeError):
                self.copy = copy.deepcopy(network, empty).eval()

    def result(self, sides: Sequence[int]) -> Any:
        """What the network returns for a patch of this size; None if it does not take it."""
        if self.copy is None or len(sides) != self.axes:
            return None
        try:
            with torch.no_grad():
                return self.copy(torch.empty(1, self.channels, *sides, device="meta"))
        except Exception:  # networks refuse sizes by errors of every kind; one that always fails stays unknown
            return None

    def leaves_one_value(self, sides: Sequence[int], batch: int) -> bool:
        """Whether a normalisation refuses a batch of such patches in training."""
        if self.copy is None or len(sides) != self.axes:
            return False
        try:
            with torch.no_grad():
                self.copy.train()(torch.empty(batch, self.channels, *sides, device="meta"))
        except ValueError as error:
            return str(error).startswith("Expected more than 1 ") or "too few for normalisation" in str(error)
        except Exception:  # as in `result`
            return False
        finally:
            self.copy.eval()
        return False

    def runs(self, sides: Sequence[int]) -> bool:
        return self.result(sides) is not None


def _measured_multiple(network: nn.Module) -> tuple[int, ...] | None:
    probe = _Probe(network)
    if probe.copy is None:
        return None
    axes, runs = probe.axes, probe.runs
    common = next((step for step in _PROBED if runs([step * _PROBED[step]] * axes)), None)
    if common is None:
        return None
    fitting = common * _PROBED[common]
    found = []
    for axis in range(axes):
        sizes = ([step * odd if a == axis else fitting for a in range(axes)] for step, odd in _PROBED.items())
        found.append(next(step for step, size in zip(_PROBED, sizes, strict=True) if runs(size)))
    # A network that needs another rule, such as "12 more than a multiple of 16", may take a probed size by chance.
    sure = all(runs([step * (_PROBED[step] + more) for step in found]) for more in (2, 4, 3))
    return tuple(found) if sure else None


def _without_memory(tensor: torch.Tensor) -> torch.Tensor:
    empty = torch.empty_like(tensor, device="meta")
    return nn.Parameter(empty, requires_grad=False) if isinstance(tensor, nn.Parameter) else empty


def check_roi_size(roi_size: Sequence[int], network: nn.Module, batch: int | None = None) -> None:
    """Refuse patches that the network cannot take, before anything is read or trained.

    Args:
        roi_size: voxels of a patch along each axis.
        network: what it is for; see :func:`size_multiple`. For a network about which nothing is known, nothing is
            refused.
        batch: for training, patches in a batch: normalisations need more than one value for each channel there. None:
            the network is not trained.

    Raises:
        DataError: one line with the size found, the multiple that the network needs, and sizes near by that fit; or
            with the size of the network's result, if it is another one than that of the patch; or with a larger size if
            too few values are left for a normalisation.

    >>> from monai.networks.nets import UNet
    >>> unet = UNet(3, 1, 2, channels=(4, 8, 8, 16, 16), strides=(2, 2, 2, 2))
    >>> check_roi_size([192, 192, 160], unet)
    >>> check_roi_size([200, 200, 160], unet)
    Traceback (most recent call last):
        ...
    medseg.io.bounded.errors.DataError: roi_size is [200, 200, 160]; expected multiples of [16, 16, 16] ...
    """
    multiple = size_multiple(network)
    size = list(roi_size) if isinstance(roi_size, Sequence) else [roi_size]
    if multiple is None:
        _check_result_size(size, network)
        _check_normalisations(size, network, batch)
        return
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
    _check_result_size(size, network)
    _check_normalisations(size, network, batch)


def _check_result_size(size: list[int], network: nn.Module) -> None:
    """Refuse a patch whose result has another size, such as that of convolutions without padding."""
    result = _Probe(network).result(size) if all(isinstance(side, int) and side > 0 for side in size) else None
    found = list(result.shape[2:]) if isinstance(result, torch.Tensor) else size
    if len(found) == len(size) and found != size:
        raise DataError(
            f"roi_size is {size}, and the network's result has the size {found}; expected one size, as labels and "
            "windows have: pad its convolutions (networks of medseg: padding='same')"
        )


def _check_normalisations(size: list[int], network: nn.Module, batch: int | None) -> None:
    """Refuse patches of which one value for each channel is left where training normalises."""
    if batch is None or not all(isinstance(side, int) and side > 0 for side in size):
        return
    probe = _Probe(network)
    if not probe.leaves_one_value(size, batch):
        return
    larger = ([side * 2**k for side in size[:axes]] + size[axes:] for k in (1, 2) for axes in range(1, len(size) + 1))
    fits = next((sides for sides in larger if not probe.leaves_one_value(sides, batch)), None)
    raise DataError(
        f"roi_size is {size} and a training batch has {batch} patch{'es' if batch > 1 else ''}: one value for each "
        "channel is left at the network's lowest level, too few for its normalisation; use "
        + ("" if fits is None else f"at least {fits}, or ")
        + "more patches in a batch (batch_size, patches_per_image)"
    )
