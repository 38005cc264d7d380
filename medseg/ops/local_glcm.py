"""``medseg::local_glcm``: features of the grey-level co-occurrence matrix of the window around every voxel.

A pair of voxels (p, p + offset) counts in a window if both lie in it, in the image and in the mask. The matrix is
symmetric and divided by its sum. Six features are functions of sums over pairs: no matrix is built for them, grey
levels may be any numbers, and they are differentiable in the image. The other four (asm, energy, entropy,
max_probability) need counts of pairs of whole levels, which change by the pairs that enter and leave as a window
moves, so that their cost does not depend on the number of levels; they have no gradient. A window without a pair has
the value 0, and a window of a constant grey level has correlation 1. The results do not depend on the number of
threads. Results on CUDA differ from those on the CPU only by rounding; the counts are the same. On CUDA the counters of
up to 221 levels fit into shared memory; more levels are slower.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor

from medseg.ops._checks import no_second_derivative
from medseg.ops._codes import FEATURES, MAX_LEVELS
from medseg.ops._glcm_features import LINEAR, chosen_features, feature_bits, linear_features, matrix_features
from medseg.ops._load import register_op
from medseg.ops._windows import check_window, full_mask, window_sum


def local_glcm(
    x: Tensor,
    window: int | Sequence[int],
    offsets: Sequence[Sequence[int]],
    levels: int,
    features: Iterable[str] = FEATURES,
    mask: Tensor | None = None,
    mean: bool = True,
) -> Tensor:
    """Maps of texture features.

    Args:
        x: ``[B, C, H, W]`` or ``[B, C, D, H, W]`` of grey levels; float32 or float64, 16-bit types are computed in
            float32. The counted features take the nearest whole level in 0..levels - 1, the others the values as they
            are. A voxel that is not finite does not count.
        window: odd side of the window in voxels, for all axes or for each; at most 32767 voxels.
        offsets: steps in voxels from the first voxel of a pair to the second, one number an axis, each shorter than
            the window.
        levels: number of grey levels, 2 to 1024.
        features: names from ``FEATURES``; the maps come in the order of ``FEATURES``.
        mask: bool ``[B, C, *S]`` or ``[B, 1, *S]``, the voxels that count; None for all.
        mean: True gives the mean over the offsets that have a pair in the window, False gives maps for every offset.

    Returns:
        ``[B, C * A * F, *S]``, channel before offset before feature (A = 1 with ``mean``); float32, or float64 for
        float64 x.

    Raises:
        ValueError: for a shape, window, offset, feature or mask that does not fit.
        TypeError: for a dtype that does not fit.
        RuntimeError: on a second derivative.

    Example:
        The contrast of a checkerboard of levels 0 and 1:

        >>> import torch
        >>> from medseg.ops import local_glcm
        >>> x = torch.tensor([[[[0.0, 1.0, 0.0], [1.0, 0.0, 1.0], [0.0, 1.0, 0.0]]]])
        >>> maps = local_glcm(x, window=3, offsets=[(0, 1)], levels=2, features=["contrast"])
        >>> maps[0, 0, 1].tolist()
        [1.0, 1.0, 1.0]
    """
    sides = check_window("local_glcm", x, mask, window)
    steps = [[int(v) for v in offset] for offset in offsets]
    for step in steps:
        fits = len(step) == len(sides) and all(abs(v) < w for v, w in zip(step, sides, strict=True))
        if not fits or not any(step):
            raise ValueError(
                f"local_glcm: offset is {step}; expected {len(sides)} steps, not all 0, shorter than window {sides}"
            )
    if not steps:
        raise ValueError("local_glcm: there are no offsets; expected at least one")
    if not 2 <= levels <= MAX_LEVELS:
        raise ValueError(f"local_glcm: levels is {levels}; expected 2 to {MAX_LEVELS}")
    bits = feature_bits("local_glcm", features)
    if x.dtype != torch.float64:
        x = x.float()
    flat = [v for step in steps for v in step]
    return torch.ops.medseg.local_glcm(x, full_mask(x, mask), sides, flat, levels, bits, mean)


def _split(flat: list[int], dims: int) -> list[list[int]]:
    return [flat[i : i + dims] for i in range(0, len(flat), dims)]


def _pair(x: Tensor, offset: list[int]) -> tuple[Tensor, Tensor]:
    """First and second voxels of all pairs of an offset that lie in the image."""
    sizes = list(zip(offset, x.shape[-len(offset) :], strict=True))
    first = tuple(slice(max(0, -v), s - max(0, v)) for v, s in sizes)
    second = tuple(slice(max(0, v), s - max(0, -v)) for v, s in sizes)
    rest = (slice(None),) * (x.ndim - len(offset))
    return x[rest + first], x[rest + second]


def _to_anchor(pairs: Tensor, size: Sequence[int], offset: list[int]) -> Tensor:
    """Values of pairs on the grid of the image, at the place of the first voxel, zero elsewhere."""
    widths = [v for o in reversed(offset) for v in (max(0, -o), max(0, o))]
    padded = torch.nn.functional.pad(pairs, widths)
    assert list(padded.shape[-len(offset) :]) == list(size)
    return padded


def _offset_features(
    x: Tensor, valid: Tensor, window: list[int], offset: list[int], levels: int, names: list[str]
) -> tuple[Tensor, Tensor]:
    """Features ``[F, B, C, *S]`` of one offset, and the number of pairs in every window, float64."""
    size = x.shape[2:]
    spans = [(-(w // 2) + max(0, -o), w // 2 - max(0, o)) for w, o in zip(window, offset, strict=True)]
    if any(abs(o) >= s for o, s in zip(offset, size, strict=True)):
        return x.new_zeros(len(names), *x.shape, dtype=torch.float64), torch.zeros_like(x, dtype=torch.float64)

    def sums(values: Tensor) -> Tensor:
        return window_sum(_to_anchor(values, size, offset), spans)

    both = torch.logical_and(*_pair(valid, offset)).double()
    count = sums(both)
    a, b = _pair(torch.where(valid, x.double() - levels // 2, 0.0), offset)
    d, t = a - b, a + b
    found = linear_features(
        [sums(both * v) for v in (d.abs(), d**2, 1 / (1 + d**2))], [sums(both * t**k) for k in (1, 2, 3, 4)], count
    )
    if any(f not in LINEAR for f in names):
        whole = torch.where(valid, (x.detach().double() + 0.5).floor().clamp(0, levels - 1), 0.0).long()
        low, high = _pair(whole, offset)
        cells = torch.cat([low * levels + high, high * levels + low], dim=1).reshape(low.shape[0], 2, *low.shape[1:])
        planes = both.new_zeros(low.shape[0], levels**2, *low.shape[1:])
        for cell in cells.unbind(1):
            planes = planes.scatter_add(1, cell[:, None], both[:, None])
        matrix = sums(planes).movedim(1, -1).unflatten(-1, (levels, levels))
        found |= matrix_features(matrix)
    return torch.stack([found[f] for f in names]), count


def reference_local_glcm(
    x: Tensor, mask: Tensor | None, window: list[int], offsets: list[int], levels: int, features: int, mean: bool
) -> Tensor:
    """The op in plain PyTorch; the counted features build every window's matrix, so they are for small images."""
    valid = x.isfinite() if mask is None else x.isfinite() & mask
    names = chosen_features(features)
    parts = [_offset_features(x, valid, window, o, levels, names) for o in _split(offsets, x.ndim - 2)]
    if mean:
        seen = torch.stack([count > 0 for _, count in parts]).sum(0).clamp(min=1)
        stacked = torch.stack([part for part, _ in parts]).sum(0)[None] / seen
    else:
        stacked = torch.stack([part for part, _ in parts])
    return stacked.movedim((2, 3), (0, 1)).flatten(1, 3).to(x.dtype).contiguous()


def reference_local_glcm_backward(
    grad: Tensor,
    x: Tensor,
    mask: Tensor | None,
    window: list[int],
    offsets: list[int],
    levels: int,
    features: int,
    mean: bool,
) -> Tensor:
    """The gradient in plain PyTorch: autograd of the reference's linear features."""
    names = chosen_features(features)
    linear = feature_bits("local_glcm", [f for f in names if f in LINEAR])
    kept = [i for i, f in enumerate(names) if f in LINEAR]
    groups = grad.unflatten(1, (-1, len(names)))[:, :, kept].flatten(1, 2)
    with torch.enable_grad():
        leaf = x.detach().requires_grad_()
        out = reference_local_glcm(leaf, mask, window, offsets, levels, linear, mean)
        return torch.autograd.grad(out, leaf, groups)[0]


def _shape(
    x: Tensor, mask: Tensor | None, window: list[int], offsets: list[int], levels: int, features: int, mean: bool
) -> Tensor:
    groups = 1 if mean else len(offsets) // (x.ndim - 2)
    return x.new_empty((x.shape[0], x.shape[1] * groups * features.bit_count(), *x.shape[2:]))


def _backward_shape(
    grad: Tensor,
    x: Tensor,
    mask: Tensor | None,
    window: list[int],
    offsets: list[int],
    levels: int,
    features: int,
    mean: bool,
) -> Tensor:
    return x.new_empty(x.shape)


def _save(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    x, mask, *ctx.options = inputs
    ctx.save_for_backward(x, mask)


def _backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    x, mask = ctx.saved_tensors
    if not any(f in LINEAR for f in chosen_features(ctx.options[3])):
        return (None,) * 7
    dx = torch.ops.medseg.local_glcm_backward(grad, x, mask, *ctx.options)
    return dx, None, None, None, None, None, None


register_op(
    "local_glcm(Tensor x, Tensor? mask, int[] window, int[] offsets, int levels, int features, bool mean) -> Tensor",
    reference_local_glcm,
)
register_op(
    "local_glcm_backward(Tensor grad, Tensor x, Tensor? mask, int[] window, int[] offsets, int levels, int features, "
    "bool mean) -> Tensor",
    reference_local_glcm_backward,
)
torch.library.register_fake("medseg::local_glcm", _shape)
torch.library.register_fake("medseg::local_glcm_backward", _backward_shape)
torch.library.register_autograd("medseg::local_glcm", _backward, setup_context=_save)
torch.library.register_autograd("medseg::local_glcm_backward", lambda ctx, *grads: no_second_derivative("local_glcm"))

__all__ = ["FEATURES", "LINEAR", "MAX_LEVELS", "local_glcm", "reference_local_glcm", "reference_local_glcm_backward"]
