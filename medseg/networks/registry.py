"""The registry of networks: a list of all names, and one function that builds any of them."""

from __future__ import annotations

import difflib
import fnmatch
import inspect
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

from torch import nn

__all__ = ["create", "list_networks", "register"]

Factory = TypeVar("Factory", bound=Callable[..., nn.Module])
_NETWORKS: dict[str, Callable[..., nn.Module]] = {}
_WITHOUT: dict[str, Mapping[str, str]] = {}


def register(name: str, without: Mapping[str, str] | None = None) -> Callable[[Factory], Factory]:
    """Adds a class, or a function that returns a network, to the registry.

        @register("my_net")
        class MyNet(nn.Module): ...

    Args:
        name: lower case letters, digits and underscores; it must be unique.
        without: for arguments that most networks have and this one does not have (``down``, ``conv``), the reason.
            `create` shows it to users who give such an argument.

    Returns:
        A decorator that returns its argument.

    Raises:
        ValueError: if the name is used already or has another form.

    Example:
        >>> register("unet2015")(UNet2015) is UNet2015  # the same class may be registered again
        True
        >>> register("unet2015")(VNet)
        Traceback (most recent call last):
            ...
        ValueError: register: the name 'unet2015' is already used for UNet2015; choose another name
    """
    if not name.isidentifier() or name != name.lower():
        raise ValueError(f"register: name is {name!r}; expected lower case letters, digits and underscores")

    def enter(factory: Factory) -> Factory:
        known = _NETWORKS.get(name)
        if known is not None and known is not factory:
            raise ValueError(f"register: the name {name!r} is already used for {_title(known)}; choose another name")
        _NETWORKS[name] = factory
        if known is None or without is not None:
            _WITHOUT[name] = dict(without or {})
        return factory

    return enter


def list_networks(pattern: str = "*") -> list[str]:
    """Names of the registered networks in alphabetical order.

    Args:
        pattern: glob pattern of the names, such as ``"mobilenet*"``.

    Example:
        >>> list_networks("unet*")
        ['unet2015', 'unet3d2016']
    """
    return sorted(fnmatch.filter(_NETWORKS, pattern))


def create(name: str, **arguments: Any) -> nn.Module:
    """Builds a network by its name.

    Args:
        name: one of `list_networks`.
        arguments: arguments of the network, all by keyword; every network takes ``spatial_dims``, ``in_channels`` and
            ``out_channels``.

    Raises:
        ValueError: for an unknown name, an unknown argument or a missing argument. The message names similar names
            that exist.

    Example:
        >>> net = create("unet2015", spatial_dims=2, in_channels=1, out_channels=2, channels=(4, 8), padding="same")
        >>> net(torch.randn(1, 1, 16, 16)).shape
        torch.Size([1, 2, 16, 16])
    """
    factory = _NETWORKS.get(name)
    if factory is None:
        raise ValueError(f"network {name!r} is unknown; {_nearest(str(name), _NETWORKS)}")
    signature = inspect.signature(factory)
    takes = {p.name: p for p in signature.parameters.values()}
    if not any(p.kind is p.VAR_KEYWORD for p in takes.values()):
        unknown = next((key for key in arguments if key not in takes), None)
        if unknown is not None and unknown in _WITHOUT[name]:
            raise ValueError(f"network {name!r} does not take {unknown!r}: {_WITHOUT[name][unknown]}")
        if unknown is not None:
            raise ValueError(f"network {name!r} has no argument {unknown!r}; {_nearest(unknown, takes)}")
    missing = [
        p.name
        for p in takes.values()
        if p.default is p.empty and p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL) and p.name not in arguments
    ]
    if missing:
        raise ValueError(f"network {name!r} needs {', '.join(missing)}; it is {_title(factory)}{signature}")
    return factory(**arguments)


def _nearest(word: str, known: Iterable[str]) -> str:
    names = sorted(known)
    near = difflib.get_close_matches(word.lower(), names, n=3, cutoff=0.5)
    return f"did you mean {' or '.join(map(repr, near))}?" if near else f"expected one of {', '.join(names)}"


def _title(factory: Callable[..., nn.Module]) -> str:
    inner = getattr(factory, "func", factory)  # of a functools.partial
    return getattr(inner, "__qualname__", repr(inner))
