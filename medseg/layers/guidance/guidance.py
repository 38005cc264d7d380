"""What is known about the target in each image: the argument of all guided networks and guidance layers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import torch
from monai.data import MetaTensor
from torch import Tensor

__all__ = ["Guidance", "as_guidance", "flags", "guided_flags"]


class Guidance(NamedTuple):
    """What is known about the target in each of B images; a field that is None is unknown.

    A guided network is called as ``net(image, guidance=Guidance(...))``. If only some images of a batch have guidance,
    give the fields for all of them (with any values for the others) and select those to read by ``guided``.

    Attributes:
        appearance: what the target looks like. Histograms ``[B, regions, channels, bins]`` or ``[B, signals, bins]``
            that sum to 1 (`medseg.transforms.texture.RegionHistogram`), that of the organ first. For a network with
            ``appearance="patches"``: patches ``[B, signals, *size]`` around clicks
            (`medseg.transforms.guidance.ClickPatches`).
        spatial: where the target is: a guide map ``[B, guide_channels, *S]`` on the grid of the image
            (`medseg.transforms.guidance.GuideMap`).
        texture: other features ``[B, texture]``, scaled to about -1 to 1 (`medseg.transforms.texture.RegionGLCM`).
        valid: bool, of the shape of ``appearance`` without the bins: the histograms to read
            (`medseg.transforms.texture.region_valid`). All others are treated as unknown. None: all are read.
        guided: bool ``[B]``: the samples that have guidance. For the others nothing is known. None: all have guidance.

    Example:
        >>> known = Guidance(appearance=torch.full((2, 2, 1, 100), 0.01), guided=torch.tensor([True, False]))
        >>> known.spatial is None, known.samples()
        (True, 2)
        >>> list(known.tensors())
        ['appearance', 'guided']
        >>> from medseg.networks import create
        >>> net = create("guided_unet", in_channels=1, out_channels=2, channels=(4, 6, 8))
        >>> net(torch.randn(2, 1, 16, 16), guidance=known).shape
        torch.Size([2, 2, 16, 16])
    """

    appearance: Tensor | None = None
    spatial: Tensor | None = None
    texture: Tensor | None = None
    valid: Tensor | None = None
    guided: Tensor | None = None

    def tensors(self) -> dict[str, Tensor]:
        """The fields that are known, by name.

        Guided networks take this dictionary in place of a `Guidance`: `torch.jit.trace` and `torch.export.save` accept
        dictionaries of tensors as input, but no named tuples with None inside.
        """
        return {name: value for name, value in self._asdict().items() if value is not None}

    def samples(self, batch: int | None = None) -> int:
        """B: the given number, or else that of the fields, or else 1."""
        return batch if batch is not None else next((value.shape[0] for value in self if value is not None), 1)


def as_guidance(owner: str, given: Guidance | Mapping[str, Tensor | None] | None) -> Guidance:
    """Guidance in any of its forms as a `Guidance` of plain tensors.

    Args:
        owner: name of the layer or network, for the message.
        given: a `Guidance`, a dictionary with the names of its fields, or None if nothing is known.

    Raises:
        ValueError: for another type, and for names that `Guidance` does not have.
    """
    if given is None:
        return Guidance()
    if isinstance(given, Mapping):
        unknown = sorted(set(given) - set(Guidance._fields))
        if unknown:
            raise ValueError(f"{owner}: guidance has {unknown[0]!r}; expected {', '.join(Guidance._fields)}")
        given = Guidance(**given)
    if not isinstance(given, Guidance):
        found = f"of shape {list(given.shape)}" if isinstance(given, Tensor) else repr(given)
        raise ValueError(
            f"{owner}: guidance is a {type(given).__name__} {found}; expected Guidance(appearance=..., spatial=...) "
            "of medseg.layers.guidance, or a dictionary with these names"
        )
    return Guidance(*(value.as_tensor() if isinstance(value, MetaTensor) else value for value in given))


def guided_flags(owner: str, guidance: Guidance, batch: int, device: torch.device) -> Tensor | None:
    """``guidance.guided`` on a device, checked; None if it is None.

    Args:
        owner: name of the layer, for the message.
        guidance: what is known.
        batch: number of samples.
        device: device of the result.

    Raises:
        ValueError: unless the flags are bool ``[batch]``.
    """
    return None if guidance.guided is None else flags(owner, "guided", guidance.guided, (batch,), device)


def flags(owner: str, name: str, values: Tensor, shape: tuple[int, ...], device: torch.device) -> Tensor:
    """Flags on a device, checked.

    Args:
        owner: name of the layer, for the message.
        name: name of the field of `Guidance`, for the message.
        values: the flags.
        shape: their expected shape.
        device: device of the result.

    Raises:
        ValueError: for another type or shape.
    """
    if values.dtype != torch.bool or tuple(values.shape) != shape:
        raise ValueError(
            f"{owner}: {name} is {values.dtype} of shape {list(values.shape)}; expected bool of {list(shape)}"
        )
    return values.to(device)
