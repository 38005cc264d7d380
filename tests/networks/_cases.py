"""A small version of every registered network, for the tests that run over all names."""

from __future__ import annotations

import inspect
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from medseg.networks import create, list_networks

SMALL_MOBILE = {"alpha": 0.25}


class Case(NamedTuple):
    """How a network is made small, and what it does.

    Attributes:
        arguments: beside dimensions and channels.
        side: of a square or cubic image.
        channels: of the image.
        kind: ``"segment"``: classes for every voxel; ``"classify"``: one set of them.
        aside: starts of the names of parameters that only other results than `forward`'s use.
        adaptive_levels: levels of quadtree convolutions that its image allows.
    """

    arguments: dict[str, Any]
    side: int = 32
    channels: int = 1
    kind: str = "segment"
    aside: tuple[str, ...] = ()
    adaptive_levels: int = 3


CASES: dict[str, Case] = {
    "adaptive_unet": Case({"channels": (4, 6, 8), "rounds": 1, "root": 2}),
    "ahnet": Case({"layers": (1, 1, 1, 1), "width": 4, "growth": 4}),
    "danet": Case({"layers": (1, 1, 1, 1), "width": 4}),
    # No spatial branch: it refuses sparse halvings, which the menu tries.
    "guided_unet": Case({"channels": (4, 6, 8), "appearance": ("fc", {"bins": 10, "widths": (8, 8)}), "spatial": None}),
    "lidc_cnn": Case({"channels": (4, 4, 6, 6)}, kind="classify"),
    "lraspp": Case({"encoder": ("mobilenet_v3_small", SMALL_MOBILE), "inter_channels": 8}),
    "mcgcn": Case({"layers": (1, 1, 1, 1), "width": 4}, channels=3),
    "mobilenet_unet": Case({"channels": (4, 4, 6, 6, 8), **SMALL_MOBILE}),
    "mobilenet_v1": Case(SMALL_MOBILE, kind="classify"),
    "mobilenet_v2": Case(SMALL_MOBILE, kind="classify"),
    "mobilenet_v3_large": Case(SMALL_MOBILE, kind="classify"),
    "mobilenet_v3_small": Case(SMALL_MOBILE, kind="classify"),
    "pnet": Case({"channels": 4}, side=16, adaptive_levels=1),
    "rnet": Case({"channels": 4}, side=16, channels=4, adaptive_levels=1),
    "unet2015": Case({"channels": (4, 6, 8), "padding": "same"}),
    "unet3d2016": Case({"channels": (4, 6, 8)}),
    "vnet": Case({"channels": (4, 6, 8)}),
    "vnet_monai": Case({}, side=16),
}
CLASSES = 3


def missing_cases() -> list[str]:
    """Registered names that nobody has given a case."""
    return sorted(set(list_networks()) - set(CASES))


def arguments_of(name: str) -> set[str]:
    """Names of the arguments that a network can take."""
    factory = type(small(name)).__init__
    return set(inspect.signature(factory).parameters)


def small(name: str, dims: int = 2, **more: Any) -> nn.Module:
    """The small network, the same weights each time."""
    case = CASES[name]
    with torch.random.fork_rng():
        torch.manual_seed(0)
        shape = {"spatial_dims": dims, "in_channels": case.channels, "out_channels": CLASSES}
        return create(name, **{**shape, **case.arguments, **more})


def image(name: str, dims: int = 2, batch: int = 2, side: int | None = None) -> Tensor:
    """An image for it, the same each time."""
    case = CASES[name]
    sides = (side or case.side,) * dims
    return torch.randn(batch, case.channels, *sides, generator=torch.Generator().manual_seed(1))


def result_shape(name: str, x: Tensor) -> tuple[int, ...]:
    """Shape of the result for x."""
    return (x.shape[0], CLASSES, *(x.shape[2:] if CASES[name].kind == "segment" else ()))
