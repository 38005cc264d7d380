"""Guidance for any encoder-decoder: histograms or patches scale its channels, a guide map biases its voxels."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from medseg.layers.guidance import DensityModulator, Guidance, Modulation, PatchModulator, SpatialGuide
from medseg.layers.guidance.guidance import as_guidance
from medseg.layers.guidance.modulation import Scale
from medseg.layers.keep_metadata import keep_metadata
from medseg.layers.named import Named, split_named
from medseg.networks.guided.sites import (
    Sites,
    Taps,
    at_levels,
    check_unmoved,
    find_sites,
    hook_taps,
    image_shape,
)
from medseg.networks.parts.image_check import check_image

__all__ = ["GuidedNet"]


class GuidedNet(nn.Module):
    """A network with an encoder that uses what is known about the target: its grey values, its position, or both.

    Before each activation on the chosen levels of the encoder, a map u becomes

        u = scale * u (+ shift)     per channel, from the appearance: histograms (`DensityModulator`) or patches around
                                    clicks (`PatchModulator`)
        u = u + bias                per voxel and channel, from the guide map (`SpatialGuide`)
        u = gain * u + offset       per channel, learned, with ``after_affine``

    All of these are initially the identity: a new `GuidedNet` computes exactly the result of its backbone. The same
    network can be called without guidance: an unknown appearance is replaced by a learned one, an unknown guide map by
    the null value. Train it with `medseg.transforms.guidance.RandGuideDropoutd`, and pass its ``guided_key`` as
    ``guided``.

    The backbone keeps its parameters and their names, and can still be called directly. It must not use activation
    checkpointing, because the parts that run again in the backward pass would run without guidance.

    Args:
        backbone: network with activation modules that takes ``[B, C, *S]``; it becomes part of the new network and is
            not copied.
        appearance: for histograms ``"fc"``, ``"conv1d"``, ``"se"``, or a pair of one of them and arguments of
            `DensityModulator`; for patches around clicks ``"patches"``, or a pair of it and arguments of
            `PatchModulator`; None for no such branch.
        spatial: ``"linear"``, ``"normed"``, or a pair of one of them and arguments of `SpatialGuide`; None for no such
            branch.
        levels: levels of the encoder that are guided; 0 is the resolution of the image. None: all but level 0, because
            the lower resolutions decide about the class of a region.
        after_affine: whether a learned affine follows.
        image: shape ``(C, *S)`` of an image that the backbone accepts, used to find its maps. None: channels and axes
            of its first convolution, 256 (3-D: 64) voxels along each axis.

    Attributes:
        sites: the maps that are guided, in the order of the run; ``print(net.sites)`` shows them as a table.
        density: the appearance branch, or None. (This name is part of the keys of state dicts.)
        spatial: the branch for guide maps, or None.
        in_channels: channels of the image.
        spatial_dims: 2 or 3.

    Raises:
        ValueError: for settings that do not exist or do not match the backbone.

    Example:
        >>> backbone = UNet2015(2, in_channels=1, out_channels=2, channels=(4, 6, 8), padding="same")
        >>> net = GuidedNet(backbone, appearance=("fc", {"bins": 10}), image=(1, 32, 32))
        >>> print(net.sites)
        activation   call  level  channels  halvings  moved
        encoder.1.1     0      1         6       1x1     no
        encoder.1.3     0      1         6       1x1     no
        encoder.2.1     0      2         8       2x2     no
        encoder.2.3     0      2         8       2x2     no
        4 sites on levels 1, 2
        >>> x = torch.randn(2, 1, 32, 32)
        >>> histograms, guide = torch.full((2, 2, 1, 10), 0.1), torch.rand(2, 1, 32, 32)
        >>> net(x, guidance=Guidance(appearance=histograms, spatial=guide)).shape
        torch.Size([2, 2, 32, 32])
        >>> net(x).shape
        torch.Size([2, 2, 32, 32])
    """

    def __init__(
        self,
        backbone: nn.Module,
        appearance: Named | None = "fc",
        spatial: Named | None = "linear",
        levels: Sequence[int] | None = None,
        after_affine: bool = False,
        image: Sequence[int] | None = None,
    ) -> None:
        super().__init__()
        shape = image_shape(backbone, image)
        self._image_shape = shape
        self.in_channels, self.spatial_dims = shape[0], len(shape) - 1
        self.sites: Sites = at_levels(find_sites(backbone, shape), levels)
        channels = [site.channels for site in self.sites]
        self.density = None if appearance is None else _appearance_branch(len(shape) - 1, channels, appearance)
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

    @keep_metadata
    def forward(self, x: Tensor, guidance: Guidance | Mapping[str, Tensor] | None = None, **arguments: Any) -> Any:
        """Runs the backbone with guidance.

        Args:
            x: image ``[B, C, *S]``.
            guidance: what is known about the targets: a `Guidance`, or a dictionary with the names of its fields. None:
                nothing is known.
            arguments: other arguments of the backbone, such as ``plan``.

        Returns:
            The result of the backbone.

        Raises:
            ValueError: for guidance that the network has no branch for, or shapes that do not match.
        """
        return self._run(self.backbone, x, guidance, arguments)

    @keep_metadata
    def encode(
        self, x: Tensor, guidance: Guidance | Mapping[str, Tensor] | None = None, **arguments: Any
    ) -> list[Tensor]:
        """The result of the backbone's ``encode`` with guidance; the arguments are those of `forward`."""
        encode: Callable[..., Any] | None = getattr(self.backbone, "encode", None)
        if encode is None:
            raise ValueError(
                f"GuidedNet: {type(self.backbone).__name__} has no method encode(x); call the network itself"
            )
        features: list[Tensor] = self._run(encode, x, guidance, arguments)
        return features

    def _run(
        self,
        call: Callable[..., Any],
        x: Tensor,
        given: Guidance | Mapping[str, Tensor] | None,
        arguments: dict[str, Any],
    ) -> Any:
        check_image("GuidedNet", x, len(self._image_shape) - 1, self._image_shape[0], network=self.backbone)
        guidance = as_guidance("GuidedNet", given)
        for name, branch in (
            ("appearance", self.density),
            ("texture", self.density),
            ("valid", self.density),
            ("spatial", self.spatial),
        ):
            if getattr(guidance, name) is not None and branch is None:
                argument = "spatial" if name == "spatial" else "appearance"
                raise ValueError(
                    f"GuidedNet: {name} is given, but the network has no {argument} branch; build it with {argument}="
                )
        with self._taps.during(self._modulations(x, guidance)):
            return call(x, **arguments)

    def _modulations(self, x: Tensor, guidance: Guidance) -> dict[tuple[str, int], Modulation]:
        count = len(self.sites)
        scales: Sequence[Scale | None] = [None] * count
        shifts: Sequence[Tensor | None] = [None] * count
        biases: Sequence[Tensor | None] = [None] * count
        if self.density is not None:
            scales, shifts = self.density(guidance, x.shape[0])
        if self.spatial is not None:
            biases = self.spatial(guidance, x)
        found = {}
        for i, site in enumerate(self.sites):
            gain, offset = (
                (None, None) if self.gains is None or self.offsets is None else (self.gains[i], self.offsets[i])
            )
            found[site.name, site.call] = Modulation(scales[i], shifts[i], biases[i], gain, offset)
        return found


def _appearance_branch(spatial_dims: int, channels: Sequence[int], named: Named) -> DensityModulator | PatchModulator:
    head, options = split_named("GuidedNet", "appearance", named)
    if head == "patches":
        return PatchModulator(spatial_dims, channels, **options)
    return DensityModulator(channels, head, **options)
