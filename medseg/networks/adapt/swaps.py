"""Makes the adaptive layers that `adapt` puts in the place of ordinary ones, weights and all."""

from __future__ import annotations

import itertools
from collections import OrderedDict
from typing import Any, NamedTuple

import torch
from torch import nn

from medseg.layers import QuadtreeConv, SparseDownsample
from medseg.networks.adapt.candidates import Candidate

__all__ = ["Swap", "describe", "quadtree_swap", "sparse_swap", "why_not_quadtree", "why_not_sparse"]

# With kernels that start at zero, ReLU would stand still for ever: its derivative at 0 is 0.
_START_ACT = ("leakyrelu", {"negative_slope": 0.1})


class Swap(NamedTuple):
    """The layer to put in a place, whether it has the old weights, and what to say about it."""

    layer: nn.Module
    kept: str
    note: str


def describe(module: nn.Module) -> str:
    """Short text of a layer: its type and the sizes that matter."""
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
    """Why a convolution must stay whatever is asked for."""
    if type(module) not in (nn.Conv2d, nn.Conv3d):
        return f"a {type(module).__name__} is more than a plain convolution"
    if module._forward_hooks or module._forward_pre_hooks:
        return "it has hooks, which would be lost"
    return None


def why_not_quadtree(candidate: Candidate, rounds: int) -> str | None:
    """Why a plain convolution cannot become a `QuadtreeConv`; None if it can."""
    module = candidate.module
    assert isinstance(module, nn.Conv2d | nn.Conv3d)
    side = module.kernel_size[0]
    if set(module.kernel_size) != {side} or side not in (3, 5):
        return f"kernel {_side(module.kernel_size)}; a root kernel has side 3 or 5 here"
    if module.groups != 1 or set(module.dilation) != {1}:
        return f"groups {module.groups}, dilation {_side(module.dilation)}; only 1 and 1 can be swapped"
    if not _keeps_size(module) or module.padding_mode != "zeros":
        return f"padding {_side(module.padding)} ({module.padding_mode}); only zeros that keep the size can be swapped"
    if candidate.source is not None and min(candidate.source.shape[2:]) < 4 * 2**rounds:
        size = list(candidate.source.shape[2:])
        return f"its map of {size} is too small for {rounds} rounds: blocks of the last would be under 2 voxels"
    return _unfit(module)


def why_not_sparse(candidate: Candidate) -> str | None:
    """Why a pooling or strided convolution cannot become a `SparseDownsample`; None if it can."""
    module = candidate.module
    assert candidate.source is not None
    before = candidate.source.shape
    if candidate.output_shape[2:] != tuple(s // 2 for s in before[2:]) or any(s % 2 for s in before[2:]):
        return f"it takes {list(before[2:])} to {list(candidate.output_shape[2:])}; only exact halving can be swapped"
    if isinstance(module, nn.Conv2d | nn.Conv3d):
        if not _keeps_size(module):
            return f"its kernel {_side(module.kernel_size)} without the stride would not keep the size"
        return _unfit(module)
    if getattr(module, "return_indices", False):
        return "its indices are used elsewhere"
    return None


def _keeps_size(module: nn.Conv2d | nn.Conv3d) -> bool:
    if isinstance(module.padding, str):
        return module.padding == "same" and all(k % 2 for k in module.kernel_size)
    sides = zip(module.kernel_size, module.dilation, module.padding, strict=True)
    return all(2 * p == d * (k - 1) for k, d, p in sides)


def quadtree_swap(candidate: Candidate, spatial_dims: int, options: dict[str, Any]) -> Swap:
    """A `QuadtreeConv` whose root kernel is the convolution; its rounds add nothing yet.

    In modes ``"sum"`` and ``"parallel"`` the rounds start at zero, so that the function is the old one: zero kernels
    and biases, or with a norm zero scales.

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
        raise ValueError("adapt: act 'relu' after rounds that start at zero never learns; use 'leakyrelu' or None")
    if layer.norm.kind is not None and layer.norm.scale is None:
        raise ValueError("adapt: a norm without affine cannot start at zero; use affine=True or norm=None")
    with torch.no_grad():
        for zero in (layer.weight, layer.bias) if layer.norm.scale is None else (layer.norm.scale,):
            if zero is not None:
                zero.zero_()
    return Swap(layer.train(module.training), "yes", "exact at the start: the root kernel is the old one, rounds add 0")


def sparse_swap(
    candidate: Candidate, spatial_dims: int, options: dict[str, Any], shared: SparseDownsample | None
) -> Swap:
    """A `SparseDownsample` for a pooling; for a strided convolution the same before it without its stride.

    Args:
        candidate: the layer; it must have run.
        spatial_dims: 2 or 3.
        options: arguments of `SparseDownsample` but for dimensions and channels.
        shared: the layer that another candidate with the same input has already got: both take the same patches.
    """
    module = candidate.module
    assert candidate.source is not None
    down = shared
    if down is None:
        down = SparseDownsample(spatial_dims, candidate.channels, **options).train(module.training)
        state = next(itertools.chain(module.parameters(), [candidate.source]))
        down.to(state.device, state.dtype)
    note = "takes the same patches as its neighbour; " if shared is not None else ""
    if not isinstance(module, nn.Conv2d | nn.Conv3d):
        return Swap(down, "-", note + "not the same: whole patches are kept where pooling kept maxima or means")
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
    return Swap(nn.Sequential(layers), "yes", note + "not the same: its kernel now reads the chosen patches, unstrided")
