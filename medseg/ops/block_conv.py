"""``medseg::block_conv``: a convolution of the active tiles of a map only.

The map is covered by a raster of equal tiles, and a list names the active ones. Inside them the result equals that of
the dense convolution (stride 1, zero padding of half a kernel), which reads neighbours in inactive tiles too. Elsewhere
nothing is computed. With m the indicator of the active voxels and W the kernel, y = m (W * x + b), so for a gradient g

    dx = W^T * (m g)        dW = sum over active voxels u of g(u) x(u + .)        db = sum over active voxels of g

where W^T is the transposed convolution. With ``zero_halo`` every tile is convolved on its own, as a small image.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from medseg.ops._checks import check_floating, check_same_device, no_second_derivative, shape_text
from medseg.ops._load import register_op
from medseg.ops.tiles import check_index, gather_tiles, scatter_tiles, tile_raster

_KERNELS = (1, 3, 5)


def block_conv(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    index: Tensor,
    tile: int | Sequence[int],
    *,
    zero_halo: bool = False,
    packed: bool = True,
    grid: Sequence[int] | None = None,
) -> Tensor:
    """Convolves the active tiles of a map.

    Tile numbers run over (batch, \\*grid), last axis fastest, as in `medseg.ops.tiles.gather_tiles`; tiles at the far
    border may stick out of the map or lie outside of it. float16 and bfloat16 are accumulated in float32. Under
    autocast x, weight and bias are cast to autocast's dtype, as for a convolution. The result is the same to
    the last bit for every number of threads. Second derivatives raise an error.

    Args:
        x: ``[B, Ci, H, W]`` or ``[B, Ci, D, H, W]``, any strides; contiguous and channels-last are fast.
        weight: ``[Co, Ci, k, k]`` or ``[Co, Ci, k, k, k]``, k = 1, 3 or 5, in the dtype of x.
        bias: ``[Co]`` or None.
        index: int32 ``[A]``, numbers of the active tiles, each at most once; -1 is skipped.
        tile: side of a tile in voxels, one number or one per axis.
        zero_halo: read 0 instead of the neighbours outside a tile.
        packed: True gives the tiles, False the map.
        grid: tiles per axis; None for the smallest number that covers the map.

    Returns:
        With ``packed`` the tiles ``[A, Co, *tile]``, in which rows of -1 and positions outside the map are 0. Otherwise
        the map ``[B, Co, *S]``, 0 outside the active tiles. Channels-last if x is.

    Raises:
        ValueError: for shapes or devices that do not fit.
        TypeError: for dtypes that do not fit.
        RuntimeError: for a tile number out of range or named twice (only on the CPU; on CUDA the list is not checked).

    Example:
        The last of four 2 x 2 tiles of a 4 x 4 map:

        >>> import torch
        >>> from medseg.ops import block_conv
        >>> x = torch.arange(16.0).reshape(1, 1, 4, 4)
        >>> index = torch.tensor([3], dtype=torch.int32)
        >>> block_conv(x, torch.ones(1, 1, 3, 3), None, index, tile=2).tolist()
        [[[[90.0, 63.0], [72.0, 50.0]]]]
    """
    x, weight, bias = _autocast(x, weight, bias)
    sides, counts = check_block_conv(x, weight, bias, index, tile, grid)
    return torch.ops.medseg.block_conv(x, weight, bias, index, sides, zero_halo, packed, counts)


def _autocast(x: Tensor, weight: Tensor, bias: Tensor | None) -> tuple[Tensor, Tensor, Tensor | None]:
    kind = x.device.type
    if kind not in ("cpu", "cuda") or not torch.is_autocast_enabled(kind) or x.dtype == torch.float64:
        return x, weight, bias
    dtype = torch.get_autocast_dtype(kind)
    return x.to(dtype), weight.to(dtype), None if bias is None else bias.to(dtype)


def check_block_conv(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    index: Tensor,
    tile: int | Sequence[int],
    grid: Sequence[int] | None = None,
) -> tuple[list[int], list[int]]:
    """Raises unless the tensors fit together; returns the sides of a tile and the tiles per axis."""
    others = {"weight": weight} | ({} if bias is None else {"bias": bias})
    check_floating("block_conv", x=x, **others)
    check_same_device("block_conv", x=x, index=index, **others)
    if x.ndim not in (4, 5):
        raise ValueError(f"block_conv: x has shape {shape_text(x)}; expected [B, C, H, W] or [B, C, D, H, W]")
    if 0 in x.shape[1:]:
        raise ValueError(f"block_conv: x has shape {shape_text(x)}; expected at least one channel and one voxel")
    k = weight.shape[-1]
    kernel = [k] * (x.ndim - 2)
    if k not in _KERNELS or list(weight.shape[1:]) != [x.shape[1], *kernel] or weight.shape[0] == 0:
        raise ValueError(
            f"block_conv: weight has shape {shape_text(weight)}; expected [Co, {x.shape[1]}, "
            f"{', '.join('k' * len(kernel))}] with k = 1, 3 or 5"
        )
    if bias is not None and tuple(bias.shape) != (weight.shape[0],):
        raise ValueError(f"block_conv: bias has shape {shape_text(bias)}; expected [{weight.shape[0]}]")
    for name, t in others.items():
        if t.dtype != x.dtype:
            raise TypeError(f"block_conv: {name} is {t.dtype}; expected {x.dtype}, the dtype of x")
    check_index("block_conv", index)
    return tile_raster("block_conv", x.shape[2:], tile, grid)


def _conv(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    function = torch.nn.functional.conv2d if x.ndim == 4 else torch.nn.functional.conv3d
    return function(x, weight, bias, padding=weight.shape[-1] // 2)


def _wide(t: Tensor | None) -> Tensor | None:
    """Half precision is computed in float32."""
    return t if t is None or t.dtype == torch.float64 else t.float()


def _inside(x: Tensor, index: Tensor, tile: Sequence[int], grid: Sequence[int]) -> Tensor:
    """1 at the voxels of the tiles that lie inside the map, ``[A, 1, *tile]``."""
    return gather_tiles(x.new_ones(x.shape[0], 1, *x.shape[2:]), index, tile, grid)


def _as_x(t: Tensor, x: Tensor) -> Tensor:
    """The tensor in the memory format of x, like the result of the compiled op."""
    if not channels_last(x):
        return t.contiguous()
    return t.contiguous(memory_format=torch.channels_last if t.ndim == 4 else torch.channels_last_3d)


def channels_last(x: Tensor) -> bool:
    """Whether the channel is the innermost axis of x."""
    return x.shape[1] > 1 and x.stride(1) == 1


def reference_block_conv(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    index: Tensor,
    tile: Sequence[int],
    zero_halo: bool = False,
    packed: bool = True,
    grid: Sequence[int] = (),
) -> Tensor:
    """The op in plain PyTorch: the dense convolution, of which the active tiles are kept."""
    with torch.autocast(x.device.type, enabled=False):
        tile, grid = tile_raster("block_conv", x.shape[2:], tile, grid)
        wide = x if x.dtype == torch.float64 else x.float()
        w = weight if weight.dtype == torch.float64 else weight.float()
        if zero_halo:
            tiles = _conv(gather_tiles(wide, index, tile, grid), w, _wide(bias)) * _inside(wide, index, tile, grid)
        else:
            tiles = gather_tiles(_conv(wide, w, _wide(bias)), index, tile, grid)
        shape = (x.shape[0], weight.shape[0], *x.shape[2:])
        return _as_x((tiles if packed else scatter_tiles(tiles, index, shape, grid)).to(x.dtype), x)


def reference_block_conv_backward(
    grad: Tensor,
    x: Tensor,
    weight: Tensor,
    index: Tensor,
    tile: Sequence[int],
    zero_halo: bool,
    packed: bool,
    need_x: bool,
    need_weight: bool,
    need_bias: bool,
    grid: Sequence[int] = (),
) -> tuple[Tensor, Tensor, Tensor]:
    """The gradient in plain PyTorch: the dense convolution's, of the gradient at the active voxels."""
    with torch.autocast(x.device.type, enabled=False):
        tile, grid = tile_raster("block_conv", x.shape[2:], tile, grid)
        dtype = torch.float64 if x.dtype == torch.float64 else torch.float32
        x_in, g, w = x.to(dtype), grad.to(dtype), weight.to(dtype)
        tiles = (g if packed else gather_tiles(g, index, tile, grid)) * _inside(x_in, index, tile, grid)
        shape = (x.shape[0], weight.shape[0], *x.shape[2:])
        inputs = gather_tiles(x_in, index, tile, grid) if zero_halo else x_in
        outputs = tiles if zero_halo else scatter_tiles(tiles, index, shape, grid)
        d = x.ndim - 2
        dx, dw, _ = torch.ops.aten.convolution_backward(
            outputs, inputs, w, None, [1] * d, [w.shape[-1] // 2] * d, [1] * d, False, [0] * d, 1, [True, True, False]
        )
        if zero_halo:
            dx = scatter_tiles(dx, index, tuple(x.shape), grid)
        db = tiles.sum([0, *range(2, x.ndim)])
        return (
            _as_x(dx.to(x.dtype), x) if need_x else x.new_zeros(0),
            dw.to(x.dtype).contiguous() if need_weight else x.new_zeros(0),
            db.to(x.dtype) if need_bias else x.new_zeros(0),
        )


def _empty(x: Tensor, shape: Sequence[int]) -> Tensor:
    last = torch.channels_last if len(shape) == 4 else torch.channels_last_3d
    chosen = last if channels_last(x) else torch.contiguous_format
    return torch.empty(shape, dtype=x.dtype, device=x.device, memory_format=chosen)


def _shape(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    index: Tensor,
    tile: Sequence[int],
    zero_halo: bool = False,
    packed: bool = True,
    grid: Sequence[int] = (),
) -> Tensor:
    check_block_conv(x, weight, bias, index, tile, grid)
    sizes = (index.shape[0], weight.shape[0], *tile) if packed else (x.shape[0], weight.shape[0], *x.shape[2:])
    return _empty(x, sizes)


def _backward_shape(
    grad: Tensor,
    x: Tensor,
    weight: Tensor,
    index: Tensor,
    tile: Sequence[int],
    zero_halo: bool,
    packed: bool,
    need_x: bool,
    need_weight: bool,
    need_bias: bool,
    grid: Sequence[int] = (),
) -> tuple[Tensor, Tensor, Tensor]:
    return (
        _empty(x, x.shape) if need_x else x.new_empty(0),
        x.new_empty(weight.shape if need_weight else (0,)),
        x.new_empty(weight.shape[0] if need_bias else 0),
    )


def _save(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    x, weight, _, index, ctx.tile, ctx.zero_halo, ctx.packed, ctx.grid = inputs
    ctx.save_for_backward(x, weight, index)


def _backward(ctx: Any, grad: Tensor | None) -> tuple[Tensor | None, ...]:
    if grad is None:
        return (None,) * 8
    need_x, need_weight, need_bias = ctx.needs_input_grad[:3]
    dx, dweight, dbias = torch.ops.medseg.block_conv_backward(
        grad,
        *ctx.saved_tensors,
        ctx.tile,
        ctx.zero_halo,
        ctx.packed,
        need_x,
        need_weight,
        need_bias,
        ctx.grid,
    )
    return (
        dx if need_x else None,
        dweight if need_weight else None,
        dbias if need_bias else None,
        *(None,) * 5,
    )


register_op(
    "block_conv(Tensor x, Tensor weight, Tensor? bias, Tensor index, int[] tile, bool zero_halo=False, "
    "bool packed=True, int[] grid=[]) -> Tensor",
    reference_block_conv,
)
register_op(
    "block_conv_backward(Tensor grad, Tensor x, Tensor weight, Tensor index, int[] tile, bool zero_halo, bool packed, "
    "bool need_x, bool need_weight, bool need_bias, int[] grid=[]) -> (Tensor dx, Tensor dweight, Tensor dbias)",
    reference_block_conv_backward,
)
torch.library.register_fake("medseg::block_conv", _shape)
torch.library.register_fake("medseg::block_conv_backward", _backward_shape)
torch.library.register_autograd("medseg::block_conv", _backward, setup_context=_save)
torch.library.register_autograd("medseg::block_conv_backward", lambda ctx, *grads: no_second_derivative("block_conv"))
