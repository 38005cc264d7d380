"""Calls the emulated kernels with torch CPU tensors, and the cases that compare them with plain PyTorch in float64."""

from __future__ import annotations

import ctypes
import math
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from medseg.ops.patch_select import reference_patch_select_backward
from medseg.ops.score_argmax import reference_score_argmax, reference_score_argmax_backward

ORDERS = {"forward": 0, "reversed": 1, "random": 2}
TOLERANCE = {torch.float32: 1e-4, torch.float64: 1e-12}


def pointer(t: Tensor) -> ctypes.c_void_p:
    """Where the elements of a tensor begin."""
    return ctypes.c_void_p(t.data_ptr())


def longs(values: Sequence[int]) -> ctypes.Array[ctypes.c_int64]:
    """An array of int64 for C."""
    return (ctypes.c_int64 * len(values))(*values)


def _five(values: tuple[int, ...], filler: int) -> list[int]:
    """[batch, channel, z, y, x] of a 2-D or 3-D map's shape or strides."""
    return [*values[:2], *([filler] if len(values) == 4 else []), *values[2:]]


class Emulation:
    """The emulated library; every call runs the kernel sequence of the launcher."""

    def __init__(self, path: Path) -> None:
        self.path = str(path)
        self.library = ctypes.CDLL(str(path))

    def set_order(self, order: str) -> None:
        """Order of threads between barriers, and of blocks: forward, reversed or random."""
        self.library.emu_order(ORDERS[order])

    def _run(self, name: str, dtype: torch.dtype, *arguments: object) -> None:
        getattr(self.library, f"emu_{name}_{'f64' if dtype == torch.float64 else 'f32'}")(*arguments)

    def score_argmax(self, keys: Tensor, queries: Tensor) -> tuple[Tensor, Tensor]:
        """The forward op; keys and queries contiguous."""
        sizes = [*keys.shape[:2], queries.shape[-2], keys.shape[2], int(queries.ndim == 2)]
        score = keys.new_empty(keys.shape[0], queries.shape[-2])
        index = torch.empty(score.shape, dtype=torch.int32)
        self._run("score_argmax", keys.dtype, longs(sizes), *map(pointer, (keys, queries, index, score)))
        return index, score

    def score_argmax_backward(
        self, grad: Tensor, keys: Tensor, queries: Tensor, index: Tensor
    ) -> tuple[Tensor, Tensor]:
        """The backward op."""
        sizes = [*keys.shape[:2], queries.shape[-2], keys.shape[2], int(queries.ndim == 2)]
        dkeys, dqueries = torch.empty_like(keys), torch.empty_like(queries)
        tensors = (grad, keys, queries, index, dkeys, dqueries)
        self._run("score_argmax_backward", keys.dtype, longs(sizes), *map(pointer, tensors))
        return dkeys, dqueries

    def copy_patches(self, x: Tensor, index: Tensor, patch: int) -> Tensor:
        """The copy of the forward op."""
        out = x.new_empty(*x.shape[:2], *(s // 2 for s in x.shape[2:]))
        shape, strides = longs(_five(x.shape, 1)), longs(_five(x.stride(), 0))
        function = getattr(self.library, f"emu_copy_patches_{8 * x.element_size()}")
        function(shape, strides, ctypes.c_int64(patch), ctypes.c_int64(x.ndim == 4), *map(pointer, (x, index, out)))
        return out

    def patch_select_backward(
        self,
        grad: Tensor,
        x: Tensor,
        keys: Tensor,
        queries: Tensor,
        index: Tensor,
        patch: int,
        slope: float,
        max_grad: bool,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """The backward op; x and grad may have any strides."""
        outputs = (torch.empty(x.shape, dtype=x.dtype), torch.empty_like(keys), torch.empty_like(queries))
        self._run(
            "patch_select_backward",
            x.dtype,
            longs(_five(x.shape, 1)),
            longs(_five(x.stride(), 0)),
            longs(_five(grad.stride(), 0)),
            *(ctypes.c_int64(v) for v in (patch, int(x.ndim == 4), keys.shape[2])),
            ctypes.c_double(slope),
            ctypes.c_int64(max_grad),
            *map(pointer, (grad, x, keys, queries, index, *outputs)),
        )
        return outputs

    def planted_bug(self, x: Tensor) -> Tensor:
        """Block sums by the kernel that lacks a barrier; x holds a multiple of 256 values."""
        out = x.new_empty(x.numel() // 256)
        self.library.emu_planted_bug(pointer(x), pointer(out), ctypes.c_int64(out.numel()))
        return out


SCORE_SHAPES = [(1, 1, 1, 1, True), (2, 70, 33, 3, True), (1, 600, 10, 17, True), (2, 65, 5, 24, False)]
SELECT_SHAPES = [(1, 1, 8, 8), (2, 5, 12, 8), (1, 17, 4, 4, 8), (1, 3, 72, 64)]


def error(found: Tensor, expected: Tensor) -> float:
    """Largest difference, relative to the largest value if that exceeds 1; inf for NaN."""
    return ((found.double() - expected).abs().max() / expected.abs().max().clamp(min=1)).nan_to_num(nan=math.inf).item()


def compare_scores(emulation: Emulation, shape: tuple[int, int, int, int, bool], dtype: torch.dtype) -> float:
    """Largest relative error of score_argmax, forward and backward; inf if an index differs."""
    batch, n, m, r, shared = shape
    generator = torch.Generator().manual_seed(n * m + r)
    keys = torch.randn(batch, n, r, generator=generator, dtype=dtype)
    queries = torch.randn(*(() if shared else (batch,)), m, r, generator=generator, dtype=dtype)
    grad = torch.randn(batch, m, generator=generator, dtype=dtype)
    index, score = emulation.score_argmax(keys, queries)
    expected_index, expected = reference_score_argmax(keys.double(), queries.double())
    if not torch.equal(index, expected_index):
        return float("inf")
    gradients = emulation.score_argmax_backward(grad, keys, queries, index)
    wanted = reference_score_argmax_backward(grad.double(), keys.double(), queries.double(), index)
    return max(error(score, expected), *(error(a, b) for a, b in zip(gradients, wanted, strict=True)))


def compare_selection(emulation: Emulation, shape: tuple[int, ...], dtype: torch.dtype, max_grad: bool) -> float:
    """Largest relative error of the backward pass of patch_select on channels-last input; inf if the copy differs."""
    patch, rank = 2, 5
    generator = torch.Generator().manual_seed(sum(shape))
    layout = torch.channels_last if len(shape) == 4 else torch.channels_last_3d
    x = torch.randn(shape, generator=generator, dtype=dtype).contiguous(memory_format=layout)
    patches = int(torch.tensor([s // patch for s in shape[2:]]).prod())
    slots = patches >> (len(shape) - 2)
    keys = torch.randn(shape[0], patches, rank, generator=generator, dtype=dtype)
    queries = torch.randn(slots, rank, generator=generator, dtype=dtype)
    index, _ = reference_score_argmax(keys, queries)
    out = emulation.copy_patches(x, index, patch)
    grad = torch.randn(out.shape, generator=generator, dtype=dtype)
    found = emulation.patch_select_backward(grad, x, keys, queries, index, patch, 0.1, max_grad)
    doubles = (t.double() for t in (grad, x, keys, queries))
    wanted = reference_patch_select_backward(*doubles, index, patch, 0.1, max_grad, True, True)
    expected_out = torch.ops.medseg.patch_select(x, keys, queries, patch, 0.1, max_grad)[0]
    if not torch.equal(out, expected_out):
        return float("inf")
    return max(error(a, b) for a, b in zip(found, wanted, strict=True))
