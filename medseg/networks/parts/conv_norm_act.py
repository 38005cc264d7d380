"""A convolution with normalisation and activation, given by MONAI's names."""

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
        act: its name, or a pair of the name and arguments; "" for no activation.
        inplace: whether activations that can overwrite their input do so; the gradient must not need the input.
    """
    if act == "":
        return nn.Identity()
    name, options = split_args(act)
    over = {"inplace": True} if inplace and name.lower() in _IN_PLACE else {}
    return Act[name](**{**over, **options})


def conv_norm_act(
    conv: nn.Module, channels: int, spatial_dims: int, norm: Named, act: Named | None
) -> PlannedSequential:
    """A convolution, a normalisation and an activation; a plan is passed to the convolution if it takes one.

    Args:
        conv: the convolution.
        channels: channels of its result.
        spatial_dims: 2 or 3.
        norm: normalisation, as MONAI names it; "" for none.
        act: activation, as MONAI names it; None for no third layer.
    """
    layers = [conv, get_norm_layer(norm, spatial_dims, channels)]
    # A normalisation does not need its result in the backward pass; a convolution op may need it.
    return PlannedSequential(*layers, *([] if act is None else [activation(act, inplace=bool(norm))]))
