"""Makes the adaptive layers by which `adapt` replaces ordinary ones, with their weights."""

from __future__ import annotations

import itertools
from collections import OrderedDict
from typing import Any, NamedTuple

import torch
from torch import nn

from medseg.layers import QuadtreeConv, SparseDownsample
from medseg.networks.adapt.candidates import Candidate

__all__ = ["Swap", "describe", "quadtree_swap", "sparse_swap", "why_not_quadtree", "why_not_sparse"]

# With kernels that are initially zero, ReLU would never learn: its derivative at 0 is 0.
_START_ACT = ("leakyrelu", {"negative_slope": 0.1})


class Swap(NamedTuple):
    """The new layer, whether it has the old weights, and a note for the report."""

    layer: nn.Module
    kept: str
    note: str


def describe(module: nn.Module) -> str:
    """Short description of a layer: its type and its main sizes."""
    name = type(module).__name__
    if isinstance(module, nn.Conv2d | nn.Conv3d):
        stride = "" if set(module.stride) == {1} else f", stride {_side(module.stride)}"
        return f"{name}({module.in_channels}, {module.out_channels}, {_side(module.kernel_size)}{stride})"
    if isinstance(module, QuadtreeConv):
        return f"{name}({module.in_channels}, {module.out_channels}, {module.kernel_size}, rounds {module.rounds})"
    if isinstance(module, SparseDownsample):
        return f"{name}(patch {module.patch})"
    if isinstance(module, nn.Sequential):
        return " + ".join(describe(child) for child in module)
    return f"{name}({_side(module.kernel_size)})"


def _side(sizes: Any) -> str:
    sides = {*sizes} if isinstance(sizes, tuple) else {sizes}
    return str(sides.pop()) if len(sides) == 1 else "x".join(map(str, sizes))


def _unfit(module: nn.Module) -> str | None:
    """Why a convolution can never be replaced; None if it can."""
    if type(module) not in (nn.Conv2d, nn.Conv3d):
        return f"a {type(module).__name__} is not a plain convolution"
    if module._forward_hooks or module._forward_pre_hooks:
        return "it has hooks, which a new layer would not have"
    return None


def why_not_quadtree(candidate: Candidate, rounds: int) -> str | None:
    """Why a plain convolution cannot become a `QuadtreeConv`; None if it can."""
    module = candidate.module
    assert isinstance(module, nn.Conv2d | nn.Conv3d)
    side = module.kernel_size[0]
    if set(module.kernel_size) != {side} or side not in (3, 5):
        return f"kernel {_side(module.kernel_size)}; expected side 3 or 5"
    if module.groups != 1 or set(module.dilation) != {1}:
        return f"groups {module.groups}, dilation {_side(module.dilation)}; only 1 and 1 can be swapped"
    if not _keeps_size(module) or module.padding_mode != "zeros":
        return f"padding {_side(module.padding)} ({module.padding_mode}); only zeros that keep the size can be swapped"
    if candidate.source is not None and min(candidate.source.shape[2:]) < 4 * 2**rounds:
        size = list(candidate.source.shape[2:])
        return f"its map of size {size} is too small for {rounds} rounds: the last blocks would be less than 2 voxels"
    return _unfit(module)


def why_not_sparse(candidate: Candidate) -> str | None:
    """Why a pooling or strided convolution cannot become a `SparseDownsample`; None if it can."""
    module = candidate.module
    assert candidate.source is not None
    before = candidate.source.shape
    if candidate.output_shape[2:] != tuple(s // 2 for s in before[2:]) or any(s % 2 for s in before[2:]):
        after = list(candidate.output_shape[2:])
        return f"it changes size {list(before[2:])} to {after}; only exact halving can be swapped"
    if isinstance(module, nn.Conv2d | nn.Conv3d):
        if not _keeps_size(module):
            return f"without the stride, its kernel {_side(module.kernel_size)} would not keep the size"
        return _unfit(module)
    if getattr(module, "return_indices", False):
        return "its indices are used by another layer"
    return None


def _keeps_size(module: nn.Conv2d | nn.Conv3d) -> bool:
    if isinstance(module.padding, str):
        return module.padding == "same" and all(k % 2 for k in module.kernel_size)
    sides = zip(module.kernel_size, module.dilation, module.padding, strict=True)
    return all(2 * p == d * (k - 1) for k, d, p in sides)


def quadtree_swap(candidate: Candidate, spatial_dims: int, options: dict[str, Any]) -> Swap:
    """A `QuadtreeConv` with the convolution as root kernel, and rounds that initially add zero.

    In modes ``"sum"`` and ``"parallel"`` the rounds are initially zero (kernels and biases, or with a norm its scales),
    so the function is the same.

    Raises:
        ValueError: for options with which the rounds would never learn.
    """
    module = candidate.module
    assert isinstance(module, nn.Conv2d | nn.Conv3d)
    side = module.kernel_size[0]
    settings: dict[str, Any] = {"act": _START_ACT, "bias": module.bias is not None, **options}
    settings.setdefault("kernel_size", side)
    layer = QuadtreeConv(spatial_dims, module.in_channels, module.out_channels, root_kernel=side, **settings)
    assert layer.root_conv is not None
    layer.to(module.weight.device, module.weight.dtype)
    layer.root_conv.weight, layer.root_conv.bias = module.weight, module.bias
    if layer.mode == "replace":
        return Swap(layer.train(module.training), "yes", "not the same at the start: new rounds replace its result")
    if layer.activation == "relu":
        raise ValueError("adapt: with act 'relu', rounds that are initially zero never learn; use 'leakyrelu' or None")
    if layer.norm.kind is not None and layer.norm.scale is None:
        raise ValueError("adapt: a norm without affine cannot be initially zero; use affine=True or norm=None")
    with torch.no_grad():
        for zero in (layer.weight, layer.bias) if layer.norm.scale is None else (layer.norm.scale,):
            if zero is not None:
                zero.zero_()
    return Swap(layer.train(module.training), "yes", "exact at the start: the root kernel is the old one, rounds add 0")


def sparse_swap(
    candidate: Candidate, spatial_dims: int, options: dict[str, Any], shared: SparseDownsample | None
) -> Swap:
    """A `SparseDownsample` for a pooling; for a strided convolution, one followed by the convolution without stride.

    Args:
        candidate: the layer; it must have been called.
        spatial_dims: 2 or 3.
        options: arguments of `SparseDownsample` except dimensions and channels.
        shared: the `SparseDownsample` of another candidate with the same input, so that both use the same patches.
    """
    module = candidate.module
    assert candidate.source is not None
    down = shared
    if down is None:
        down = SparseDownsample(spatial_dims, candidate.channels, **options).train(module.training)
        state = next(itertools.chain(module.parameters(), [candidate.source]))
        down.to(state.device, state.dtype)
    note = "keeps the same patches as the other branch; " if shared is not None else ""
    if not isinstance(module, nn.Conv2d | nn.Conv3d):
        return Swap(down, "-", note + "not the same: it keeps whole patches instead of maxima or means")
    plain = type(module)(
        module.in_channels,
        module.out_channels,
        module.kernel_size,
        padding=module.padding,
        dilation=module.dilation,
        groups=module.groups,
        bias=module.bias is not None,
        padding_mode=module.padding_mode,
        device="meta",
    )
    plain.weight, plain.bias = module.weight, module.bias
    layers = OrderedDict(down=down, conv=plain.train(module.training))
    return Swap(
        nn.Sequential(layers), "yes", note + "not the same: its kernel now reads the selected patches, without stride"
    )
