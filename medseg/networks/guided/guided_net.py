"""Any encoder-decoder, guided: a density vector scales its channels, a guide map biases its voxels."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from medseg.layers.guidance import DensityModulator, Modulation, PatchModulator, SpatialGuide
from medseg.layers.guidance.modulation import Scale
from medseg.layers.named import Named, split_named
from medseg.networks.guided.sites import (
    Site,
    Taps,
    at_levels,
    check_unmoved,
    find_sites,
    hook_taps,
    image_shape,
)

__all__ = ["GuidedNet"]


class GuidedNet(nn.Module):
    """A network whose encoder listens to what is known of the target: its grey values, its place, or both.

    Before each activation of the chosen encoder levels a map u becomes

        u = scale * u (+ shift)     per channel, of the density vector (`DensityModulator`)
        u = u + bias                per voxel and channel, of the guide map (`SpatialGuide`)
        u = gain * u + offset       per channel, learned, with ``after_affine``

    All of it starts as the identity: a new `GuidedNet` computes what its backbone computes, bit for bit. The same net
    runs without guidance: what is not given has a learned form of its own (density) or the null value (guide map).
    Train it with `medseg.transforms.guidance.RandGuideDropoutd`, and pass its ``guided_key``.

    The backbone keeps its parameters and their names, and may be called by itself. It must not checkpoint activations:
    what runs again in the backward pass would run without guidance.

    Args:
        backbone: network of activation modules, ``[B, C, *S]`` to anything; it is part of the result, not copied.
        density: ``"fc"``, ``"conv1d"``, ``"se"`` or a pair of it and arguments of `DensityModulator`; ``"patches"``, or
            a pair of it and arguments of `PatchModulator`, reads patches around clicks instead of histograms; None for
            no such branch.
        spatial: ``"linear"``, ``"normed"`` or a pair of it and arguments of `SpatialGuide`; None for no such branch.
        levels: of the encoder, 0 the image's own resolution. None: all but that, as low resolution decides what is
            what.
        after_affine: whether a learned affine follows.
        image: ``(C, *S)`` of an image that the backbone takes, to find its maps. None: the channels and axes of its
            first convolution, 256 (3-D: 64) voxels along each axis.

    Attributes:
        sites: the maps that are guided, in order.

    Raises:
        ValueError: for settings that do not exist or do not fit the backbone.
    """

    def __init__(
        self,
        backbone: nn.Module,
        density: Named | None = "fc",
        spatial: Named | None = "linear",
        levels: Sequence[int] | None = None,
        after_affine: bool = False,
        image: Sequence[int] | None = None,
    ) -> None:
        super().__init__()
        shape = image_shape(backbone, image)
        self.sites: list[Site] = at_levels(find_sites(backbone, shape), levels)
        channels = [site.channels for site in self.sites]
        self.density = None if density is None else _density_branch(len(shape) - 1, channels, density)
        self.spatial = None
        if spatial is not None:
            check_unmoved(self.sites)
            kind, options = split_named("GuidedNet", "spatial", spatial)
            halvings = [site.halvings for site in self.sites]
            self.spatial = SpatialGuide(len(shape) - 1, channels, halvings, kind=kind, **options)
        self.gains = nn.ParameterList(torch.ones(c) for c in channels) if after_affine else None
        self.offsets = nn.ParameterList(torch.zeros(c) for c in channels) if after_affine else None
        self.backbone, self._taps = backbone, Taps()
        hook_taps(backbone, self.sites, self._taps)

    def forward(
        self,
        x: Tensor,
        density: Tensor | None = None,
        spatial: Tensor | None = None,
        texture: Tensor | None = None,
        valid: Tensor | None = None,
        guided: Tensor | None = None,
        **arguments: Any,
    ) -> Any:
        """Runs the backbone under guidance.

        Args:
            x: image ``[B, C, *S]``.
            density: histograms ``[B, regions, channels, bins]`` that sum to 1, the organ's first, or None; with
                ``density="patches"`` patches ``[B, signals, *size]``.
            spatial: guide map ``[B, guide_channels, *S]`` on the image's grid, or None.
            texture: features ``[B, texture]``, or None.
            valid: bool ``[B, regions, channels]``: histograms to read, see `region_valid`. None: all.
            guided: bool ``[B]``: samples whose guidance to read; the others run as if it were not given. None: all.
            arguments: of the backbone, such as ``plan``.

        Returns:
            What the backbone returns.

        Raises:
            ValueError: for guidance that the net has no branch for, or shapes that do not fit.
        """
        given = {"density": density, "spatial": spatial, "texture": texture, "valid": valid, "guided": guided}
        return self._run(self.backbone, x, given, arguments)

    def encode(
        self,
        x: Tensor,
        density: Tensor | None = None,
        spatial: Tensor | None = None,
        texture: Tensor | None = None,
        valid: Tensor | None = None,
        guided: Tensor | None = None,
        **arguments: Any,
    ) -> list[Tensor]:
        """The backbone's ``encode`` under guidance: features, high to low resolution; arguments as of `forward`."""
        given = {"density": density, "spatial": spatial, "texture": texture, "valid": valid, "guided": guided}
        encode: Callable[..., Any] | None = getattr(self.backbone, "encode", None)
        if encode is None:
            raise ValueError(f"GuidedNet: {type(self.backbone).__name__} has no encode(x) to run")
        features: list[Tensor] = self._run(encode, x, given, arguments)
        return features

    def _run(
        self, call: Callable[..., Any], x: Tensor, given: dict[str, Tensor | None], arguments: dict[str, Any]
    ) -> Any:
        for name, branch, what in (
            ("density", self.density, "density branch"),
            ("texture", self.density, "density branch"),
            ("spatial", self.spatial, "spatial guide branch"),
        ):
            if given[name] is not None and branch is None:
                raise ValueError(f"GuidedNet: {name} is given, but the net has no {what}; build it with one")
        with self._taps.during(self._modulations(x, given)):
            return call(x, **arguments)

    def _modulations(self, x: Tensor, given: dict[str, Tensor | None]) -> dict[tuple[str, int], Modulation]:
        count, guided = len(self.sites), given["guided"]
        scales: Sequence[Scale | None] = [None] * count
        shifts: Sequence[Tensor | None] = [None] * count
        biases: Sequence[Tensor | None] = [None] * count
        if self.density is not None:
            scales, shifts = self.density(given["density"], given["texture"], given["valid"], guided, x.shape[0])
        if self.spatial is not None:
            biases = self.spatial(given["spatial"], x, guided)
        found = {}
        for i, site in enumerate(self.sites):
            gain, offset = (
                (None, None) if self.gains is None or self.offsets is None else (self.gains[i], self.offsets[i])
            )
            found[site.name, site.call] = Modulation(scales[i], shifts[i], biases[i], gain, offset)
        return found


def _density_branch(spatial_dims: int, channels: Sequence[int], named: Named) -> DensityModulator | PatchModulator:
    head, options = split_named("GuidedNet", "density", named)
    if head == "patches":
        return PatchModulator(spatial_dims, channels, **options)
    return DensityModulator(channels, head, **options)
