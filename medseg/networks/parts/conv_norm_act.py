"""A convolution with its normalisation and activation, by MONAI's names."""

from __future__ import annotations

from monai.networks.layers.factories import Act, split_args
from monai.networks.layers.utils import get_norm_layer
from torch import nn

from medseg.layers.named import Named
from medseg.networks.parts.planned import PlannedSequential

__all__ = ["activation", "conv_norm_act"]

_IN_PLACE = ("relu", "relu6", "leakyrelu", "hardswish")


def activation(act: Named, inplace: bool = False) -> nn.Module:
    """MONAI's activation layer.

    Args:
        act: its name, or a pair of it and arguments; "" for none.
        inplace: let those that can write over their input, which must not be needed for its own gradient.
    """
    if act == "":
        return nn.Identity()
    name, options = split_args(act)
    over = {"inplace": True} if inplace and name.lower() in _IN_PLACE else {}
    return Act[name](**{**over, **options})


def conv_norm_act(
    conv: nn.Module, channels: int, spatial_dims: int, norm: Named, act: Named | None
) -> PlannedSequential:
    """A convolution, its normalisation, and its activation; a plan reaches the convolution if it takes one.

    Args:
        conv: what convolves.
        channels: channels of its result.
        spatial_dims: 2 or 3.
        norm: normalisation as MONAI names it; "" for none.
        act: activation as MONAI names it; None for no third layer.
    """
    layers = [conv, get_norm_layer(norm, spatial_dims, channels)]
    # A normalisation does not keep its result for the backward pass; a bare convolution op may.
    return PlannedSequential(*layers, *([] if act is None else [activation(act, inplace=bool(norm))]))
