"""``medseg::patch_gather`` and ``medseg::patch_scatter``: patches moved by an index, each the gradient of the other."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from medseg.ops._checks import check_floating, check_same_device, shape_text
from medseg.ops._load import register_op


def to_patches(x: Tensor, patch: int) -> Tensor:
    """Rows of patches ``[B, N, C * patch^d]`` of a map ``[B, C, *S]``, raster order; entries run over channel, then
    voxels.
    """
    sizes = x.shape[2:]
    d = len(sizes)
    split = x.reshape(*x.shape[:2], *[v for s in sizes for v in (s // patch, patch)])
    grid, inner = range(2, 2 + 2 * d, 2), range(3, 3 + 2 * d, 2)
    count = math.prod([s // patch for s in sizes])
    return split.permute(0, *grid, 1, *inner).reshape(x.shape[0], count, x.shape[1] * patch**d)


def from_patches(rows: Tensor, shape: tuple[int, ...], patch: int) -> Tensor:
    """Inverse of `to_patches` for a map of the given shape."""
    d = len(shape) - 2
    split = rows.reshape(shape[0], *[s // patch for s in shape[2:]], shape[1], *([patch] * d))
    axes = [v for i in range(d) for v in (1 + i, 2 + d + i)]
    return split.permute(0, 1 + d, *axes).reshape(shape)


def patch_rows(index: Tensor, width: int) -> Tensor:
    """Index ``[B, M]`` as the int64 ``[B, M, width]`` that ``gather`` and ``scatter_add`` take."""
    return index.long()[:, :, None].expand(-1, -1, width)


def patch_gather(x: Tensor, index: Tensor, patch: int, grid: Sequence[int]) -> Tensor:
    """Builds a map of chosen patches.

    Args:
        x: ``[B, C, H, W]`` or ``[B, C, D, H, W]`` of N patches of side ``patch`` in raster order; float16, bfloat16,
            float32 or float64, any strides.
        index: int32 ``[B, prod(grid)]``, which patch of x each place takes, 0 to N - 1; repeats are allowed.
        patch: side of a patch in voxels.
        grid: patches along every axis of the result.

    Returns:
        ``[B, C, *(grid * patch)]``, contiguous; its gradient is `patch_scatter`.

    Raises:
        ValueError: for shapes or devices that do not fit.
        TypeError: for dtypes that do not fit.
        RuntimeError: for an index outside of 0 to N - 1 (not checked on CUDA).

    Example:
        The first and the last of four patches, side by side:

        >>> import torch
        >>> from medseg.ops import patch_gather
        >>> x = torch.arange(16.0).reshape(1, 1, 4, 4)
        >>> patch_gather(x, torch.tensor([[0, 3]], dtype=torch.int32), patch=2, grid=(1, 2)).tolist()
        [[[[0.0, 1.0, 10.0, 11.0], [4.0, 5.0, 14.0, 15.0]]]]
    """
    _check("patch_gather", x, index, patch, grid, math.prod(grid))
    return torch.ops.medseg.patch_gather(x, index, patch, list(grid))


def patch_scatter(x: Tensor, index: Tensor, patch: int, grid: Sequence[int]) -> Tensor:
    """Puts patches at the places that an index gives; patches with the same place are added in ascending order.

    Args:
        x: ``[B, C, *S]`` of M patches in raster order, as for `patch_gather`; half precision is added in float32.
        index: int32 ``[B, M]``, the place of every patch in the result, 0 to prod(grid) - 1.
        patch: side of a patch in voxels.
        grid: patches along every axis of the result.

    Returns:
        ``[B, C, *(grid * patch)]``, contiguous, zero at places without a patch; its gradient is `patch_gather`.

    Raises:
        ValueError: for shapes or devices that do not fit.
        TypeError: for dtypes that do not fit.
        RuntimeError: for an index outside of the grid (not checked on CUDA).

    Example:
        Two patches of one voxel that go to the same place:

        >>> import torch
        >>> from medseg.ops import patch_scatter
        >>> x = torch.tensor([[[[1.0, 2.0]]]])
        >>> patch_scatter(x, torch.tensor([[3, 3]], dtype=torch.int32), patch=1, grid=(2, 2)).tolist()
        [[[[0.0, 0.0], [0.0, 3.0]]]]
    """
    own = math.prod([s // patch for s in x.shape[2:]]) if patch >= 1 else 0
    _check("patch_scatter", x, index, patch, grid, own)
    return torch.ops.medseg.patch_scatter(x, index, patch, list(grid))


def _check(op: str, x: Tensor, index: Tensor, patch: int, grid: Sequence[int], entries: int) -> None:
    check_floating(op, x=x)
    check_same_device(op, x=x, index=index)
    if x.ndim not in (4, 5):
        raise ValueError(f"{op}: x has shape {shape_text(x)}; expected [B, C, H, W] or [B, C, D, H, W]")
    if patch < 1:
        raise ValueError(f"{op}: patch is {patch}; expected at least 1")
    if any(s == 0 or s % patch for s in x.shape[2:]):
        raise ValueError(f"{op}: spatial size {list(x.shape[2:])} with patch {patch}; expected multiples of {patch}")
    if len(grid) != x.ndim - 2 or min(grid) < 1:
        raise ValueError(f"{op}: grid is {list(grid)}; expected {x.ndim - 2} numbers of at least 1")
    if index.dtype != torch.int32:
        raise TypeError(f"{op}: index is {index.dtype}; expected torch.int32")
    if tuple(index.shape) != (x.shape[0], entries):
        raise ValueError(f"{op}: index has shape {shape_text(index)}; expected [{x.shape[0]}, {entries}]")


def _target(x: Tensor, patch: int, grid: Sequence[int]) -> tuple[int, ...]:
    return (*x.shape[:2], *[g * patch for g in grid])


def reference_patch_gather(x: Tensor, index: Tensor, patch: int, grid: Sequence[int]) -> Tensor:
    """The gather in plain PyTorch."""
    rows = to_patches(x, patch)
    return from_patches(rows.gather(1, patch_rows(index, rows.shape[2])), _target(x, patch, grid), patch).contiguous()


def reference_patch_scatter(x: Tensor, index: Tensor, patch: int, grid: Sequence[int]) -> Tensor:
    """The scatter in plain PyTorch."""
    rows = to_patches(x if x.dtype == torch.float64 else x.float(), patch)
    out = rows.new_zeros(x.shape[0], math.prod(grid), rows.shape[2])
    out = out.scatter_add(1, patch_rows(index, rows.shape[2]), rows)
    return from_patches(out, _target(x, patch, grid), patch).to(x.dtype).contiguous()


def _shape(x: Tensor, index: Tensor, patch: int, grid: Sequence[int]) -> Tensor:
    return x.new_empty(_target(x, patch, grid))


def _save(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    x, index, ctx.patch, _ = inputs
    ctx.grid = [s // ctx.patch for s in x.shape[2:]]
    ctx.save_for_backward(index)


def _gather_backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    return torch.ops.medseg.patch_scatter(grad, *ctx.saved_tensors, ctx.patch, ctx.grid), None, None, None


def _scatter_backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    return torch.ops.medseg.patch_gather(grad, *ctx.saved_tensors, ctx.patch, ctx.grid), None, None, None


register_op("patch_gather(Tensor x, Tensor index, int patch, int[] grid) -> Tensor", reference_patch_gather)
register_op("patch_scatter(Tensor x, Tensor index, int patch, int[] grid) -> Tensor", reference_patch_scatter)
torch.library.register_fake("medseg::patch_gather", _shape)
torch.library.register_fake("medseg::patch_scatter", _shape)
torch.library.register_autograd("medseg::patch_gather", _gather_backward, setup_context=_save)
torch.library.register_autograd("medseg::patch_scatter", _scatter_backward, setup_context=_save)
