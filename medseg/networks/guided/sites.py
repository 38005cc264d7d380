"""Where guidance enters a network: before the activations of its encoder, found by following one image through it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any, NamedTuple

import torch
from monai.networks.blocks import MemoryEfficientSwish, Swish
from torch import nn

from medseg.layers import SparseDownsample
from medseg.layers.guidance import Modulation, inner

__all__ = ["Site", "Tap", "Taps", "at_levels", "check_unmoved", "find_sites", "hook_taps", "image_shape"]

ACTIVATIONS = (
    *(nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.PReLU, nn.RReLU, nn.ELU, nn.CELU, nn.SELU, nn.GELU, nn.SiLU, nn.Mish),
    *(nn.Hardswish, nn.Hardtanh, nn.Softplus, Swish, MemoryEfficientSwish),
)


class Site(NamedTuple):
    """The map that an activation is about to read.

    Attributes:
        name: of the activation in the network.
        call: how often the activation had run before in the same call of the network.
        channels: of the map.
        halvings: how often each axis of the image was halved before it.
        moved: whether a sparse halving before it took patches from their places.
    """

    name: str
    call: int
    channels: int
    halvings: tuple[int, ...]
    moved: bool

    @property
    def level(self) -> int:
        """0 for the image's own resolution, 1 for half of it."""
        return max(self.halvings)


class Taps:
    """The modulations of the call that runs, by site; none between calls."""

    def __init__(self) -> None:
        self.modulations: dict[tuple[str, int], Modulation] | None = None
        self.calls: Counter[str] = Counter()

    @contextmanager
    def during(self, modulations: dict[tuple[str, int], Modulation]) -> Iterator[None]:
        """Applies them while the context lasts."""
        self.modulations, self.calls = modulations, Counter()
        try:
            yield
        finally:
            self.modulations, self.calls = None, Counter()


class Tap:
    """Modulates what one activation reads: a forward pre-hook, which leaves the network's parameters and names alone.

    Args:
        name: of the activation.
        taps: where the modulations are.
    """

    def __init__(self, name: str, taps: Taps) -> None:
        self.name, self.taps = name, taps

    def __call__(self, module: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...] | None:
        """The activation's inputs, with the map modulated; None to leave them."""
        if self.taps.modulations is None:
            return None
        call = self.taps.calls[self.name]
        self.taps.calls[self.name] += 1
        modulation = self.taps.modulations.get((self.name, call))
        if modulation is None:
            return None
        if modulation.bias is not None:
            modulation = modulation._replace(bias=inner(modulation.bias, inputs[0].shape[2:]))
        return (modulation(inputs[0]), *inputs[1:])


def image_shape(backbone: nn.Module, image: Sequence[int] | None) -> tuple[int, ...]:
    """Shape ``(C, *S)`` of an image that the backbone takes.

    Args:
        backbone: the network.
        image: what the caller gave. None: the channels and axes of the first convolution, sides of 256 (3-D: 64).

    Raises:
        ValueError: if it is none, or there is no convolution to tell.
    """
    if image is not None:
        if len(image) not in (3, 4) or min(image) < 1:
            raise ValueError(f"GuidedNet: image is {list(image)}; expected (channels, *spatial), such as (1, 256, 256)")
        return tuple(image)
    first = next((m for m in backbone.modules() if isinstance(m, nn.Conv2d | nn.Conv3d)), None)
    if first is None:
        raise ValueError("GuidedNet: backbone has no 2-D or 3-D convolution to tell its input by; give image=(C, *S)")
    return (first.in_channels, *((256,) * 2 if isinstance(first, nn.Conv2d) else (64,) * 3))


def find_sites(backbone: nn.Module, image: Sequence[int]) -> list[Site]:
    """The sites of the encoder, in the order in which the image meets them: all before maps grow for the first time.

    Shapes alone are followed wherever the backbone allows it, so that the size of the image costs nothing.

    Args:
        backbone: network of activations that are modules; gates (sigmoid, soft-max) and pooled vectors are no sites.
        image: ``(C, *S)``.

    Raises:
        ValueError: if the backbone does not take such an image, or no activation was met.
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
            f"GuidedNet: no activation module on a map was met in {type(backbone).__name__}; guidance enters before "
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
    """Runs the network without arithmetic; in earnest if it decides by values."""
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
        f"GuidedNet: {type(backbone).__name__} does not take an image of shape {list(image)} ({reason}); give the "
        "shape of one that it takes: image=(C, *S)"
    ) from error


def _sites(seen: list[tuple[str, tuple[int, ...]] | None], size: tuple[int, ...]) -> list[Site]:
    """Sites of the encoder from what was met; a map is halved where it is at most half the one before, rounded up."""
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
    return sites


def hook_taps(backbone: nn.Module, sites: Iterable[Site], taps: Taps) -> None:
    """Puts one `Tap` before every activation of the sites."""
    for name in dict.fromkeys(site.name for site in sites):
        backbone.get_submodule(name).register_forward_pre_hook(Tap(name, taps))


def check_unmoved(sites: Iterable[Site]) -> None:
    """Raises ValueError if a guide map would meet patches that were moved from their places."""
    level = min((site.level for site in sites if site.moved), default=None)
    if level is not None:
        raise ValueError(
            f"GuidedNet: spatial guidance at level {level}, below a sparse halving, where a position is no place in "
            f"the image any more; choose levels above {level}, or another halving"
        )


def at_levels(sites: Sequence[Site], levels: Sequence[int] | None) -> list[Site]:
    """Those of the sites that lie on the levels.

    Args:
        sites: all of the encoder.
        levels: wanted. None: all but the image's own.

    Raises:
        ValueError: if a level has no site.
    """
    there = sorted({site.level for site in sites})
    wanted = [level for level in there if level] if levels is None else list(levels)
    if not wanted or not set(wanted) <= set(there):
        raise ValueError(f"GuidedNet: levels is {wanted}; the backbone's encoder has levels {there}: choose among them")
    return [site for site in sites if site.level in wanted]
