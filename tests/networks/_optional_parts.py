"""Networks and layers with parts that a call may skip, small, and all the ways in which each may be called."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from medseg.layers import QuadtreeConv, SparseDownsample
from medseg.layers.guidance import DensityModulator, Guidance, PatchModulator, SpatialGuide
from medseg.networks import ConcatGuidedNet, DANet, GuidedNet, UNet2015, create
from medseg.partition import Quadtree

BATCH, SIDE, BINS, TEXTURE = 2, 16, 10, 3
Call = Callable[[nn.Module, torch.Generator], dict[str, Any]]
"""Sets the state that the call wants, and makes its arguments."""


class Optional(NamedTuple):
    """A network with optional parts.

    Attributes:
        build: makes it.
        calls: its calls by name.
        alone: whether unused parameters get a gradient of zero also in a process that trains alone.
    """

    build: Callable[[], nn.Module]
    calls: dict[str, Call]
    alone: bool = True


def image(draw: torch.Generator) -> Tensor:
    return torch.randn(BATCH, 1, SIDE, SIDE, generator=draw)


def known(draw: torch.Generator, patches: bool = False) -> Guidance:
    """All that can be known; one of the two samples is guided, and one histogram is left out."""
    histograms = torch.rand(BATCH, 2, 1, BINS, generator=draw).softmax(-1)
    return Guidance(
        appearance=torch.rand(BATCH, 3, 8, 8, generator=draw) if patches else histograms,
        spatial=torch.rand(BATCH, 1, SIDE, SIDE, generator=draw),
        texture=torch.rand(BATCH, TEXTURE, generator=draw),
        valid=torch.tensor([[[True], [False]], [[True], [True]]]),
        guided=torch.tensor([True, False]),
    )


def guided(*fields: str, patches: bool = False, **flags: bool) -> Call:
    """A call with these fields of `Guidance` alone; ``guided=True`` or False flags all samples alike."""

    def call(_: nn.Module, draw: torch.Generator) -> dict[str, Any]:
        x, given = image(draw), known(draw, patches)
        chosen = {name: getattr(given, name) for name in fields}
        chosen.update({name: torch.full((BATCH,), value) for name, value in flags.items()})
        return {"x": x, "guidance": Guidance(**chosen)}

    return call


def plain(_: nn.Module, draw: torch.Generator) -> dict[str, Any]:
    return {"x": image(draw)}


def in_evaluation(net: nn.Module, draw: torch.Generator) -> dict[str, Any]:
    net.eval()
    return {"x": image(draw)}


def warm(value: bool) -> Call:
    def call(net: nn.Module, draw: torch.Generator) -> dict[str, Any]:
        for module in net.modules():
            if isinstance(module, SparseDownsample):
                module.warm = value
        return {"x": image(draw)}

    return call


def with_plan(_: nn.Module, draw: torch.Generator) -> dict[str, Any]:
    x = image(draw)
    return {"x": x, "plan": Quadtree.from_image(x, rounds=1, root=2).plan}


def of_layer(call: Call, name: str) -> Call:
    """The call of a guidance layer that has the image as another argument, or its batch alone."""

    def renamed(net: nn.Module, draw: torch.Generator) -> dict[str, Any]:
        arguments = call(net, draw)
        x = arguments.pop("x")
        return {"guidance": None, **arguments, name: x.shape[0] if name == "batch" else x}

    return renamed


def unet(channels: int = 1, **options: Any) -> nn.Module:
    return UNet2015(2, channels, 2, (4, 6, 8), padding="same", dropout=None, **{"norm": "instance", **options})


def fc(head: str = "fc", **options: Any) -> Any:
    return head, {"bins": BINS, "widths": (8, 8), "dropout": 0.0, **options}


def guided_net(appearance: Any, spatial: Any, **options: Any) -> Callable[[], nn.Module]:
    return lambda: GuidedNet(unet(), appearance, spatial, image=(1, SIDE, SIDE), **options)


PATCHES = ("patches", {"convs": (4,), "width": 5, "dropout": 0.0, "shift": True})
BOTH = {
    "no guidance": plain,
    "appearance": guided("appearance"),
    "spatial": guided("spatial"),
    "both": guided("appearance", "spatial"),
    "both for one sample": guided("appearance", "spatial", "guided"),
    "both for all samples": guided("appearance", "spatial", guided=True),
    "both for no sample": guided("appearance", "spatial", guided=False),
}
HISTOGRAMS = {
    "no guidance": plain,
    "appearance": guided("appearance"),
    "texture": guided("texture"),
    "appearance and texture": guided("appearance", "texture"),
    "all fields": guided("appearance", "texture", "valid", "guided"),
}
CLICKS = {
    "no guidance": plain,
    "patches": guided("appearance", patches=True),
    "patches for one sample": guided("appearance", "guided", patches=True),
    "patches for no sample": guided("appearance", patches=True, guided=False),
}
MAPS = {"no guidance": plain, "spatial": guided("spatial"), "spatial for one sample": guided("spatial", "guided")}
LEARNED = ("quadtree", {"rounds": 1, "root": 2, "levels": 1, "evaluator": "learned"})

OPTIONAL: dict[str, Optional] = {
    "GuidedNet both": Optional(guided_net(fc(), "linear"), BOTH),
    "GuidedNet normed, after_affine": Optional(guided_net(fc(shift=True), "normed", after_affine=True), BOTH),
    "GuidedNet texture": Optional(guided_net(fc(texture=TEXTURE), None), HISTOGRAMS),
    "GuidedNet conv1d": Optional(guided_net(fc("conv1d", texture=TEXTURE, shift=True), None), HISTOGRAMS),
    "GuidedNet se": Optional(guided_net(fc("se", texture=TEXTURE), None), HISTOGRAMS),
    "GuidedNet patches": Optional(guided_net(PATCHES, None), CLICKS),
    "GuidedNet spatial": Optional(guided_net(None, "linear"), MAPS),
    "ConcatGuidedNet": Optional(lambda: ConcatGuidedNet(unet(4), 1, fc(), 2), BOTH),
    "guided_unet": Optional(
        lambda: create("guided_unet", in_channels=1, channels=(4, 6, 8), appearance=fc()),
        {"no guidance": plain, **BOTH},
    ),
    "DANet auxiliary": Optional(
        lambda: DANet(2, 1, 2, (1, 1, 1, 1), 4, norm="instance", auxiliary=True, dropout=None),
        {"training": plain, "evaluation": in_evaluation},
    ),
    "sparse halvings": Optional(
        lambda: unet(down=("sparse", {"patch": 2})),
        {"warm": warm(True), "no longer warm": warm(False)},
        alone=False,
    ),
    "learned quadtree": Optional(lambda: unet(conv=LEARNED), {"own partition": plain, "given partition": with_plan}),
    "SparseDownsample": Optional(
        lambda: nn.Sequential(nn.Conv2d(1, 4, 1), SparseDownsample(2, 4, 2, evaluator="slots")),
        {"warm": lambda net, draw: {"input": warm(True)(net, draw)["x"]}},
        alone=False,
    ),
    "QuadtreeConv": Optional(
        lambda: QuadtreeConv(2, 1, 4, rounds=1, root=2, root_kernel=1, evaluator="learned"),
        {"own partition": plain, "given partition": with_plan},
    ),
    "DensityModulator": Optional(
        lambda: DensityModulator([4, 6], *fc(texture=TEXTURE, shift=True)[:1], **fc(texture=TEXTURE, shift=True)[1]),
        {name: of_layer(call, "batch") for name, call in HISTOGRAMS.items()},
    ),
    "PatchModulator": Optional(
        lambda: PatchModulator(2, [4, 6], **PATCHES[1]),
        {name: of_layer(call, "batch") for name, call in CLICKS.items()},
    ),
    "SpatialGuide": Optional(
        lambda: SpatialGuide(2, [4, 6], [(1, 1), (2, 2)], kind="normed"),
        {name: of_layer(call, "image") for name, call in MAPS.items()},
    ),
}
CALLS = [(name, call) for name, case in OPTIONAL.items() for call in case.calls]


def built(name: str) -> nn.Module:
    """The network, in training, with random numbers in layers that start at zero, the same each time."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = OPTIONAL[name].build()
        for parameter in net.parameters():
            if not parameter.detach().any():
                nn.init.normal_(parameter, std=0.1)
    return net


def arguments(name: str, call: str, net: nn.Module, seed: int = 0) -> dict[str, Any]:
    """The arguments of a call; its state is set in the network, which is in training before."""
    net.train()
    return OPTIONAL[name].calls[call](net, torch.Generator().manual_seed(seed))


def loss_of(out: Any) -> Tensor:
    """A number that every tensor of a result has a part in."""
    return torch.stack([leaf.square().mean() for leaf in pytree.tree_leaves(out) if isinstance(leaf, Tensor)]).sum()
