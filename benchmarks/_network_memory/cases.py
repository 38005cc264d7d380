"""Which network segments a whole volume in which way."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from medseg.layers.guidance import Guidance
from medseg.networks import create

CLASSES, BINS = 2, 100
VOLUME = (512, 512, 100)
Predictor = Callable[[Tensor], Tensor]


class Case(NamedTuple):
    """One row.

    Attributes:
        name: in the registry.
        way: ``"slices"``, ``"triplets"`` (slices with their two neighbours as channels), ``"tiles"`` (overlapping
            tiles of every slice, for convolutions without padding) or ``"windows"`` (MONAI's sliding window).
        window: sides of what the network sees at a time.
        channels: of what it sees.
        arguments: of the network, beside dimensions and channels.
        label: what tells it from other rows of the same network.
        needs_gib: memory that must be free to begin.
    """

    name: str
    way: str
    window: tuple[int, ...] = VOLUME[:2]
    channels: int = 1
    arguments: dict[str, Any] = {}
    label: str = ""
    needs_gib: float = 4

    @property
    def title(self) -> str:
        """Name and label."""
        return f"{self.name} {self.label}".strip()


CUBE = (96, 96, 96)
CASES = (
    Case("adaptive_unet", "slices", label="2-D"),
    Case("adaptive_unet", "windows", CUBE, arguments={"root": 3}, label="3-D"),
    Case("ahnet", "windows", (512, 512, 32), label="slabs"),
    Case("ahnet", "windows", VOLUME, label="whole", needs_gib=14),
    Case("danet", "slices"),
    Case("guided_unet", "triplets", channels=3),
    Case("lraspp", "slices"),
    Case("mcgcn", "triplets", channels=3),
    Case("mobilenet_unet", "slices"),
    Case("pnet", "slices", label="2-D"),
    Case("pnet", "windows", CUBE, label="3-D"),
    Case("rnet", "slices", channels=4, label="2-D"),
    Case("unet2015", "slices", arguments={"padding": "same"}, label="padded"),
    Case("unet2015", "tiles", (572, 572), label="unpadded"),
    Case("unet3d2016", "windows", CUBE),
    Case("vnet", "windows", CUBE),
    Case("vnet_monai", "windows", CUBE),
)
QUICK_VOLUME = (64, 64, 40)
QUICK = ("lraspp", "unet2015 padded", "vnet_monai")


def quick_version(case: Case, side: int = 32) -> Case:
    """The case with windows of at most ``side`` voxels along every axis, or whole slices of a small volume."""
    if case.way in ("slices", "triplets"):
        return case._replace(window=QUICK_VOLUME[:2])
    return case._replace(window=tuple(min(side, s) for s in case.window))


def build(case: Case) -> nn.Module:
    """The network of a case in evaluation."""
    shape = {"spatial_dims": len(case.window), "in_channels": case.channels, "out_channels": CLASSES}
    return create(case.name, **shape, **case.arguments).eval()


def predictor(case: Case, net: nn.Module) -> Predictor:
    """The network as a function of images alone: a guided one gets histograms and a guide map, the same each time."""
    if case.name != "guided_unet":
        return net
    weight = next(net.parameters())
    histograms = torch.full((1, 2, 1, BINS), 1 / BINS, dtype=weight.dtype, device=weight.device)
    guide = torch.rand(1, 1, *case.window, dtype=weight.dtype, device=weight.device)
    return lambda x: net(x, guidance=Guidance(appearance=histograms, spatial=guide))


def parameters(net: nn.Module) -> int:
    """Numbers that are learned."""
    return sum(p.numel() for p in net.parameters())


def macs(case: Case) -> int:
    """Multiply-adds of one window, counted without arithmetic; of an adaptive network on one image of noise."""
    if case.name == "adaptive_unet":
        adaptive: Any = build(case)
        plan = adaptive.plan(torch.randn(1, case.channels, *case.window))
        adaptive.shared.check(plan, case.window)
        return int(adaptive.macs(case.window, plan))
    with torch.device("meta"):
        net = build(case)
        image, run = torch.empty(1, case.channels, *case.window), predictor(case, net)
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        run(image)
    return counter.get_total_flops() // 2
