"""How layers are named in arguments: MONAI's form, a name or a pair of a name and the layer's arguments."""

from __future__ import annotations

from typing import Any, TypeAlias

from monai.networks.layers.factories import Act, Norm, split_args
from monai.networks.layers.utils import get_dropout_layer, get_norm_layer
from torch import nn

__all__ = ["Dropout", "Named", "dropout_layer", "named_act", "named_norm", "split_named"]

Named: TypeAlias = str | tuple[str, dict[str, Any]]
"""A layer: ``"relu"``, or ``("leakyrelu", {"negative_slope": 0.1})``."""

Dropout: TypeAlias = Named | float | None
"""A dropout layer: its probability, its name, or a pair of its name and its arguments; None for no dropout."""


def split_named(owner: str, argument: str, named: Named) -> tuple[str, dict[str, Any]]:
    """Splits ``name`` or ``(name, {arguments})`` into the name in lower case and a copy of the arguments.

    Args:
        owner: name of the network, layer or function, for the message.
        argument: name of its argument, for the message.
        named: the value of the argument.

    Raises:
        ValueError: if the value has another form.
    """
    try:
        name, options = split_args(named)
    except (TypeError, ValueError):
        name, options = None, {}
    if not isinstance(name, str):
        raise ValueError(f"{owner}: {argument} is {named!r}; expected a name, or a pair (name, {{arguments}})")
    return name.lower(), dict(options)


def named_act(owner: str, argument: str, named: Named) -> nn.Module:
    """The activation of MONAI with this name.

    Raises:
        ValueError: one line for a name that MONAI does not have, with those that it has.
    """
    name, options = split_named(owner, argument, named)
    _known(owner, argument, name, Act.names)
    layer: nn.Module = Act[name](**options)
    return layer


def named_norm(owner: str, argument: str, named: Named, spatial_dims: int, channels: int) -> nn.Module:
    """The normalisation of MONAI with this name, for maps of ``channels`` channels.

    Raises:
        ValueError: one line for a name that MONAI does not have, with those that it has.
    """
    name, options = split_named(owner, argument, named)
    _known(owner, argument, name, Norm.names)
    layer: nn.Module = get_norm_layer((name, options), spatial_dims, channels)
    return layer


def _known(owner: str, argument: str, name: str, names: tuple[str, ...]) -> None:
    if name.upper() not in names:
        raise ValueError(f"{owner}: {argument} is {name!r}; expected one of {', '.join(sorted(names)).lower()}")


def dropout_layer(dropout: Dropout, axes: int = 1) -> nn.Module:
    """The dropout layer, or an identity for None and for probability 0.

    Args:
        dropout: probability, name, or pair of name and arguments; None for no dropout.
        axes: 1 drops single values, 2 and 3 drop whole channels of maps with that many spatial axes.
    """
    return get_dropout_layer(dropout, axes) if dropout else nn.Identity()
