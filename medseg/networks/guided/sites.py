"""Where guidance enters a network: before the activations of its encoder, which are found by tracing one image.

A U-Net with three levels; r0, r1, ... are its activations, each after a convolution:

    level 0   image - r0 - r1 --------------------------------------------------- join - r8 - r9 - result
                            |                                                       |
    level 1               halve - r2 - r3 ---------------------- join - r6 - r7 - double
                                        |                          |
    level 2                           halve - r4 - r5 ---------- double

              |<------------- encoder: r0 to r5 ------------->|<--------- decoder: r6 to r9 --------->|
                                                              the first map that is larger than the one before

`find_sites` adds a hook before every activation module and runs the network once on an image of the given shape. The
hooks record, in the order of the calls, the activation that is called and the shape of its input. The sites follow from
this list:

1. All activations before the first map that is larger than the map before belong to the encoder. Each call of such an
   activation is a `Site`.
2. An axis was halved between two calls if it is now at most half as long (rounded up). Halvings are counted per axis.
   The level of a site is the largest of these counts.
3. A sparse halving (`medseg.layers.SparseDownsample`) moves patches to other positions. All sites after one are marked
   as ``moved``.
4. Maps of one voxel (pooled vectors) and gates (sigmoid, softmax) are not sites.

In every later call of the guided network, a `Tap` before each of these activations modulates the map.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any, NamedTuple

import torch
from monai.networks.blocks import MemoryEfficientSwish, Swish
from torch import nn

from medseg.layers import SparseDownsample
from medseg.layers.guidance import Modulation, inner

__all__ = ["Site", "Sites", "Tap", "Taps", "at_levels", "check_unmoved", "find_sites", "hook_taps", "image_shape"]

ACTIVATIONS = (
    *(nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.PReLU, nn.RReLU, nn.ELU, nn.CELU, nn.SELU, nn.GELU, nn.SiLU, nn.Mish),
    *(nn.Hardswish, nn.Hardtanh, nn.Softplus, Swish, MemoryEfficientSwish),
)


class Site(NamedTuple):
    """The map that one call of an activation reads.

    Attributes:
        name: name of the activation in the network.
        call: number of earlier calls of the activation in the same call of the network.
        channels: channels of the map.
        halvings: how often each axis of the image has been halved before.
        moved: whether a sparse halving before has moved patches to other positions.
    """

    name: str
    call: int
    channels: int
    halvings: tuple[int, ...]
    moved: bool

    @property
    def level(self) -> int:
        """0 for the resolution of the image, 1 for half of it, and so on."""
        return max(self.halvings)


class Sites(tuple[Site, ...]):
    """The sites of a network in the order of their calls: a tuple that ``print`` shows as a table."""

    __slots__ = ()

    def __str__(self) -> str:
        rows: list[tuple[str, ...]] = [("activation", "call", "level", "channels", "halvings", "moved")]
        for site in self:
            numbers = (site.call, site.level, site.channels, "x".join(map(str, site.halvings)))
            rows.append((site.name, *map(str, numbers), "yes" if site.moved else "no"))
        first, *others = (max(map(len, column)) for column in zip(*rows, strict=True))
        lines = [
            "  ".join([name.ljust(first), *(text.rjust(width) for text, width in zip(texts, others, strict=True))])
            for name, *texts in rows
        ]
        levels = sorted({site.level for site in self})
        return "\n".join([*lines, f"{len(self)} sites on levels {', '.join(map(str, levels))}"])


class Taps(threading.local):
    """The modulations of the current call of the network, by site; None between calls.

    Every thread has its own, because `torch.nn.DataParallel` runs copies of a network in threads, which share hooks.
    """

    def __init__(self) -> None:
        self.modulations: dict[tuple[str, int], Modulation] | None = None
        self.calls: Counter[str] = Counter()

    def __reduce__(self) -> tuple[type[Taps], tuple[()]]:
        return Taps, ()  # copies of a network are made between calls

    @contextmanager
    def during(self, modulations: dict[tuple[str, int], Modulation]) -> Iterator[None]:
        """Applies them inside the ``with`` block."""
        self.modulations, self.calls = modulations, Counter()
        try:
            yield
        finally:
            self.modulations, self.calls = None, Counter()

    def next_of(self, name: str) -> Modulation | None:
        """The modulation for the next call of an activation, or None."""
        if self.modulations is None:
            return None
        call = self.calls[name]
        self.calls[name] += 1
        return self.modulations.get((name, call))


class Tap:
    """Modulates the input of one activation. It is a forward pre-hook, so parameters keep their names.

    Args:
        name: name of the activation.
        taps: holds the modulations.
    """

    def __init__(self, name: str, taps: Taps) -> None:
        self.name, self.taps = name, taps

    def __call__(self, module: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...] | None:
        """The inputs of the activation with the modulated map; None leaves them unchanged."""
        modulation = self.taps.next_of(self.name)
        if modulation is None:
            return None
        if modulation.bias is not None:
            modulation = modulation._replace(bias=inner(modulation.bias, inputs[0].shape[2:]))
        return (modulation(inputs[0]), *inputs[1:])


def image_shape(backbone: nn.Module, image: Sequence[int] | None) -> tuple[int, ...]:
    """Shape ``(C, *S)`` of an image that the backbone accepts.

    Args:
        backbone: the network.
        image: the shape that the caller gave. None: channels and axes of the first convolution, sides of 256 (3-D: 64).

    Raises:
        ValueError: if it is not the shape of an image, or if it is None and there is no convolution.
    """
    if image is not None:
        if len(image) not in (3, 4) or min(image) < 1:
            raise ValueError(f"GuidedNet: image is {list(image)}; expected (channels, *spatial), such as (1, 256, 256)")
        return tuple(image)
    first = next((m for m in backbone.modules() if isinstance(m, nn.Conv2d | nn.Conv3d)), None)
    if first is None:
        raise ValueError(
            "GuidedNet: backbone has no 2-D or 3-D convolution that shows its input shape; give image=(C, *S)"
        )
    return (first.in_channels, *((256,) * 2 if isinstance(first, nn.Conv2d) else (64,) * 3))


def find_sites(backbone: nn.Module, image: Sequence[int]) -> Sites:
    """The sites of the encoder, in the order of their calls; see the drawing at the top of this module.

    The backbone runs on fake tensors, without computing values, if its code allows this.

    Args:
        backbone: network whose activations are modules.
        image: shape ``(C, *S)`` of an image that it accepts.

    Raises:
        ValueError: if the backbone does not accept such an image, or if no activation was called on a map.
    """
    seen: list[tuple[str, tuple[int, ...]] | None] = []  # None: a sparse halving
    handles = list(_watch(backbone, len(image) - 1, seen))
    modes = [(module, module.training) for module in backbone.modules()]
    try:
        backbone.eval()
        _follow(backbone, tuple(image), seen)
    finally:
        for handle in handles:
            handle.remove()
        for module, training in modes:
            module.training = training
    sites = _sites(seen, tuple(image[1:]))
    if not sites:
        raise ValueError(
            f"GuidedNet: {type(backbone).__name__} called no activation module on a map; guidance enters before "
            "activations such as torch.nn.ReLU: build the backbone with them"
        )
    return sites


def _watch(backbone: nn.Module, dims: int, seen: list[tuple[str, tuple[int, ...]] | None]) -> Iterable[Any]:
    def note(name: str) -> Any:
        def hook(_: nn.Module, inputs: tuple[Any, ...]) -> None:
            shape = tuple(inputs[0].shape)
            if len(shape) == dims + 2 and max(shape[2:]) > 1:
                seen.append((name, shape))

        return hook

    for name, module in backbone.named_modules():
        if isinstance(module, ACTIVATIONS):
            yield module.register_forward_pre_hook(note(name))
        elif isinstance(module, SparseDownsample):
            yield module.register_forward_hook(lambda *_: seen.append(None))


def _follow(backbone: nn.Module, image: tuple[int, ...], seen: list[tuple[str, tuple[int, ...]] | None]) -> None:
    """Runs the network on fake tensors; for real if its control flow depends on values."""
    from torch._subclasses.fake_tensor import FakeTensorMode

    weight = next(iter(backbone.parameters()))
    error: Exception | None = None
    with torch.no_grad():
        for mode in (nullcontext(),) if weight.is_meta else (FakeTensorMode(allow_non_fake_inputs=True), nullcontext()):
            seen.clear()
            try:
                with mode:
                    backbone(torch.zeros(1, *image, dtype=weight.dtype, device=weight.device))
                return
            except Exception as caught:
                error = caught
    reason = str(error).splitlines()[0] if str(error) else type(error).__name__
    raise ValueError(
        f"GuidedNet: {type(backbone).__name__} does not accept an image of shape {list(image)} ({reason}); give "
        "the shape of one that it accepts: image=(C, *S)"
    ) from error


def _sites(seen: list[tuple[str, tuple[int, ...]] | None], size: tuple[int, ...]) -> Sites:
    """Sites of the encoder from the recorded calls; an axis was halved if it is at most half as long, rounded up."""
    sites, calls, moved, halvings = [], Counter[str](), False, [0] * len(size)
    for met in seen:
        if met is None:
            moved = True
            continue
        name, shape = met
        if any(new > old for new, old in zip(shape[2:], size, strict=True)):
            break
        for axis, new in enumerate(shape[2:]):
            old = size[axis]
            while old > 1 and new <= (old + 1) // 2:
                old, halvings[axis] = (old + 1) // 2, halvings[axis] + 1
        size = shape[2:]
        sites.append(Site(name, calls[name], shape[1], tuple(halvings), moved))
        calls[name] += 1
    return Sites(sites)


def hook_taps(backbone: nn.Module, sites: Iterable[Site], taps: Taps) -> None:
    """Registers one `Tap` before every activation of the sites."""
    for name in dict.fromkeys(site.name for site in sites):
        backbone.get_submodule(name).register_forward_pre_hook(Tap(name, taps))


def check_unmoved(sites: Iterable[Site]) -> None:
    """Raises a ValueError if a guide map would be added to patches that are not at their original positions."""
    level = min((site.level for site in sites if site.moved), default=None)
    if level is not None:
        raise ValueError(
            f"GuidedNet: spatial guidance at level {level}, below a sparse halving, where positions no longer "
            f"correspond to image coordinates; choose levels less than {level}, or another halving"
        )


def at_levels(sites: Sequence[Site], levels: Sequence[int] | None) -> Sites:
    """The sites on the given levels.

    Args:
        sites: all sites of the encoder.
        levels: the levels. None: all but level 0.

    Raises:
        ValueError: if a level has no site.
    """
    there = sorted({site.level for site in sites})
    wanted = [level for level in there if level] if levels is None else list(levels)
    if not wanted or not set(wanted) <= set(there):
        raise ValueError(f"GuidedNet: levels is {wanted}; the backbone's encoder has levels {there}: choose among them")
    return Sites(site for site in sites if site.level in wanted)
