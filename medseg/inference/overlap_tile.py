"""Overlap-tile inference: whole images without seams, by networks without padding, whose output is smaller."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import torch
from monai.data import MetaTensor
from monai.inferers import Inferer, SlidingWindowInferer
from torch import Tensor, nn

__all__ = ["OverlapTileInferer", "inferer_for", "overlap_tile_inference"]

Size = int | Sequence[int]
Predictor = Callable[..., Tensor]


def overlap_tile_inference(
    inputs: Tensor,
    tile_size: Size,
    predictor: Predictor,
    multiple: Size = 16,
    batch_size: int = 1,
    device: torch.device | str | None = None,
    sw_device: torch.device | str | None = None,
    *args: Any,
    **kwargs: Any,
) -> Tensor:
    """Segment an image of any size, tile by tile, with a network whose output is smaller than its input.

    The result of a tile lies in the middle of the tile and depends on nothing outside the tile, so the results are
    joined without blending. Beyond its border the image is mirrored (the border voxel is not repeated). The output
    equals what the network would compute from the whole mirrored image at once, up to rounding. Source: Ronneberger,
    Fischer and Brox, U-Net, 2015, figure 2.

    This requires that tiles start at multiples of ``multiple``: in a network that halves its maps, a tile with another
    start would pool other voxels together. It does not hold for a normalisation that uses statistics of the tile
    (instance norm, or batch norm in training).

    Args:
        inputs: ``[B, C, *S]``.
        tile_size: side of an input tile along each axis; a size that the network accepts, such as 572 for `UNet2015`.
        predictor: the network, or any function of tiles ``[N, C, *tile_size]`` to ``[N, K, *smaller]``. Its method
            ``output_size`` gives the smaller size; a predictor without this method is called once more to measure it.
        multiple: factor by which the lowest level of the network is smaller than the input, or a multiple of it.
        batch_size: tiles in one call, for each image of the batch.
        device: device of the output; None: that of the inputs.
        sw_device: device of the predictor; None: that of the inputs.
        args: further arguments of the predictor.
        kwargs: further arguments of the predictor.

    Returns:
        ``[B, K, *S]``; MetaTensor in, MetaTensor out.

    Raises:
        ValueError: if the predictor's output is as large as the tile (such networks need a sliding window), is not
            centred in it, or is smaller than ``multiple``.

    >>> import torch
    >>> network = torch.nn.Conv2d(1, 3, kernel_size=5)  # without padding: 4 pixels smaller along each axis
    >>> overlap_tile_inference(torch.rand(1, 1, 50, 70), tile_size=36, predictor=network).shape
    torch.Size([1, 3, 50, 70])
    """
    dims = inputs.ndim - 2
    if dims not in (2, 3):
        raise ValueError(f"overlap_tile_inference: inputs have shape {list(inputs.shape)}; expected [B, C, *S]")
    tile, steps = _sides("tile_size", tile_size, dims), _sides("multiple", multiple, dims)
    if batch_size < 1:
        raise ValueError(f"overlap_tile_inference: batch_size is {batch_size}; expected at least 1")
    image = inputs.as_tensor() if isinstance(inputs, MetaTensor) else inputs
    size = tuple(image.shape[2:])
    sw_device, device = sw_device or image.device, device or image.device
    first = _Tiles(image, tile, (0,) * dims).take((0,) * dims).to(sw_device)
    result = _result_size(predictor, first, args, kwargs)
    margins = _margins(tile, result)
    strides = _strides(result, steps)
    starts = [range(0, max(1, s - r + t), t) for s, r, t in zip(size, result, strides, strict=True)]
    tiles = _Tiles(image, tile, margins)
    whole: Tensor | None = None
    positions = list(itertools.product(*starts))
    for at in range(0, len(positions), batch_size):
        chunk = positions[at : at + batch_size]
        found = predictor(torch.cat([tiles.take(p) for p in chunk]).to(sw_device), *args, **kwargs)
        if tuple(found.shape[2:]) != result:
            raise ValueError(
                f"overlap_tile_inference: a tile gave a result of size {list(found.shape[2:])}, another {list(result)}"
            )
        if whole is None:
            whole = torch.empty(image.shape[0], found.shape[1], *size, dtype=found.dtype, device=device)
        for position, part in zip(chunk, found.to(device).split(image.shape[0]), strict=True):
            _put(whole, part, position)
    assert whole is not None
    return MetaTensor(whole).copy_meta_from(inputs) if isinstance(inputs, MetaTensor) else whole


class OverlapTileInferer(Inferer):
    """`overlap_tile_inference` as one of MONAI's inferers, for engines and bundles.

    Args:
        tile_size: see `overlap_tile_inference`.
        multiple: see `overlap_tile_inference`.
        batch_size: see `overlap_tile_inference`.
        device: see `overlap_tile_inference`.
        sw_device: see `overlap_tile_inference`.

    >>> import torch
    >>> inferer = OverlapTileInferer(tile_size=36, batch_size=4)
    >>> inferer(torch.rand(1, 1, 50, 70), torch.nn.Conv2d(1, 3, kernel_size=5)).shape
    torch.Size([1, 3, 50, 70])
    """

    def __init__(
        self,
        tile_size: Size,
        multiple: Size = 16,
        batch_size: int = 1,
        device: torch.device | str | None = None,
        sw_device: torch.device | str | None = None,
    ) -> None:
        self.tile_size, self.multiple, self.batch_size = tile_size, multiple, batch_size
        self.device, self.sw_device = device, sw_device

    def __call__(self, inputs: Tensor, network: Predictor, *args: Any, **kwargs: Any) -> Tensor:
        """Segment a batch of images.

        Args:
            inputs: ``[B, C, *S]`` of any size.
            network: see ``predictor`` of `overlap_tile_inference`.
            args: further arguments of the network.
            kwargs: further arguments of the network.

        Returns:
            ``[B, K, *S]``.
        """
        return overlap_tile_inference(
            inputs,
            self.tile_size,
            network,
            self.multiple,
            self.batch_size,
            self.device,
            self.sw_device,
            *args,
            **kwargs,
        )


def inferer_for(network: nn.Module, roi_size: Size, batch_size: int = 1, **options: Any) -> Inferer:
    """The inferer for whole images: overlapping tiles for a network without padding, else MONAI's sliding window.

    Args:
        network: its method ``output_size``, if it has one, gives the size of its output.
        roi_size: size of the windows that the network runs on.
        batch_size: windows in one call.
        options: options of `OverlapTileInferer` or of `monai.inferers.SlidingWindowInferer`, whichever is returned.

    Raises:
        ValueError: for a size that the network does not accept.

    >>> import torch
    >>> type(inferer_for(torch.nn.Conv2d(1, 3, kernel_size=3, padding=1), roi_size=(32, 32))).__name__
    'SlidingWindowInferer'
    """
    output_size = getattr(network, "output_size", None)
    if output_size is not None:
        dims = len(roi_size) if isinstance(roi_size, Sequence) else network.plug.spatial_dims
        sides = _sides("roi_size", roi_size, dims)
        if tuple(output_size(sides)) != sides:
            return OverlapTileInferer(sides, batch_size=batch_size, **options)
    return SlidingWindowInferer(roi_size, batch_size, **{"mode": "gaussian", **options})


class _Tiles:
    """Cuts tiles from an image that is mirrored beyond its borders."""

    def __init__(self, image: Tensor, tile: tuple[int, ...], margins: tuple[int, ...]) -> None:
        self.image, self.tile, self.margins = image, tile, margins

    def take(self, position: tuple[int, ...]) -> Tensor:
        """The tile whose result starts at this position."""
        x = self.image
        for axis, (start, side, margin) in enumerate(zip(position, self.tile, self.margins, strict=True), start=2):
            x = x.index_select(axis, _mirrored(start - margin, side, x.shape[axis]).to(x.device))
        return x


def _mirrored(start: int, length: int, size: int) -> Tensor:
    """Voxel indices of start ... start + length - 1 on an axis of ``size`` voxels that is mirrored at both ends."""
    period = max(1, 2 * (size - 1))
    place = torch.arange(start, start + length) % period
    return torch.minimum(place, period - place)


def _put(whole: Tensor, part: Tensor, position: tuple[int, ...]) -> None:
    """Write the result of a tile, without the part that lies outside the image."""
    for axis, start in enumerate(position, start=2):
        length = min(part.shape[axis], whole.shape[axis] - start)
        whole, part = whole.narrow(axis, start, length), part.narrow(axis, 0, length)
    whole.copy_(part)


def _result_size(predictor: Predictor, tile: Tensor, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[int, ...]:
    output_size = getattr(predictor, "output_size", None)
    if output_size is not None:
        return tuple(output_size(tuple(tile.shape[2:])))
    found = predictor(tile, *args, **kwargs)
    if not isinstance(found, Tensor) or found.ndim != tile.ndim:
        what = list(found.shape) if isinstance(found, Tensor) else type(found).__name__
        raise ValueError(f"overlap_tile_inference: the predictor returned {what}; expected one map [B, K, *S]")
    return tuple(found.shape[2:])


def _margins(tile: tuple[int, ...], result: tuple[int, ...]) -> tuple[int, ...]:
    lost = [t - r for t, r in zip(tile, result, strict=True)]
    if not any(lost):
        raise ValueError(
            f"overlap_tile_inference: a tile of size {list(tile)} gives a result of the same size; expected a network "
            "without padding (such as UNet2015 with padding='valid'), or use monai.inferers.SlidingWindowInferer"
        )
    if any(v < 0 or v % 2 for v in lost):
        raise ValueError(
            f"overlap_tile_inference: a tile of size {list(tile)} gives a result of size {list(result)}; expected one "
            "that is smaller by an even number along each axis, so that it lies in the tile's middle"
        )
    return tuple(v // 2 for v in lost)


def _strides(result: tuple[int, ...], multiples: tuple[int, ...]) -> tuple[int, ...]:
    if any(r < m for r, m in zip(result, multiples, strict=True)):
        raise ValueError(
            f"overlap_tile_inference: a tile's result has size {list(result)}, multiple is {list(multiples)}; "
            "expected a result of at least that size: choose a larger tile_size"
        )
    return tuple(r // m * m for r, m in zip(result, multiples, strict=True))


def _sides(name: str, size: Size, dims: int) -> tuple[int, ...]:
    sides = (size,) * dims if isinstance(size, int) else tuple(size)
    if len(sides) != dims or any(s < 1 for s in sides):
        raise ValueError(f"overlap_tile_inference: {name} is {size}; expected one number from 1, or {dims} of them")
    return sides
