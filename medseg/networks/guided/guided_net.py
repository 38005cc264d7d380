"""Any encoder-decoder, guided: histograms or patches scale its channels, a guide map biases its voxels."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from medseg.layers.guidance import DensityModulator, Guidance, Modulation, PatchModulator, SpatialGuide
from medseg.layers.guidance.guidance import as_guidance
from medseg.layers.guidance.modulation import Scale
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

__all__ = ["GuidedNet"]


class GuidedNet(nn.Module):
    """A network whose encoder listens to what is known of the target: its grey values, its place, or both.

    Before each activation of the chosen encoder levels a map u becomes

        u = scale * u (+ shift)     per channel, of the appearance: histograms (`DensityModulator`), or patches
                                    around clicks (`PatchModulator`)
        u = u + bias                per voxel and channel, of the guide map (`SpatialGuide`)
        u = gain * u + offset       per channel, learned, with ``after_affine``

    All of it starts as the identity: a new `GuidedNet` computes what its backbone computes, bit for bit. The same net
    runs without guidance: what is not given has a learned form of its own (appearance) or the null value (guide map).
    Train it with `medseg.transforms.guidance.RandGuideDropoutd`, and pass its ``guided_key``.

    The backbone keeps its parameters and their names, and may be called by itself. It must not checkpoint activations:
    what runs again in the backward pass would run without guidance.

    Args:
        backbone: network of activation modules, ``[B, C, *S]`` to anything; it is part of the result, not copied.
        appearance: ``"fc"``, ``"conv1d"``, ``"se"`` or a pair of it and arguments of `DensityModulator`, which reads
            histograms; ``"patches"`` or a pair of it and arguments of `PatchModulator`, which reads patches around
            clicks; None for no such branch.
        spatial: ``"linear"``, ``"normed"`` or a pair of it and arguments of `SpatialGuide`; None for no such branch.
        levels: of the encoder, 0 the image's own resolution. None: all but that, as low resolution decides what is
            what.
        after_affine: whether a learned affine follows.
        image: ``(C, *S)`` of an image that the backbone takes, to find its maps. None: the channels and axes of its
            first convolution, 256 (3-D: 64) voxels along each axis.

    Attributes:
        sites: the maps that are guided, in order; ``print(net.sites)`` shows them as a table.
        density: the appearance branch, or None. (Its name is part of the keys of state dicts.)
        spatial: the branch of the guide map, or None.

    Raises:
        ValueError: for settings that do not exist or do not fit the backbone.

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

    def forward(self, x: Tensor, guidance: Guidance | Mapping[str, Tensor] | None = None, **arguments: Any) -> Any:
        """Runs the backbone under guidance.

        Args:
            x: image ``[B, C, *S]``.
            guidance: what is known of the targets, a `Guidance` or a dictionary with the names of its fields. None:
                nothing.
            arguments: of the backbone, such as ``plan``.

        Returns:
            What the backbone returns.

        Raises:
            ValueError: for guidance that the net has no branch for, or shapes that do not fit.
        """
        return self._run(self.backbone, x, guidance, arguments)

    def encode(
        self, x: Tensor, guidance: Guidance | Mapping[str, Tensor] | None = None, **arguments: Any
    ) -> list[Tensor]:
        """The backbone's ``encode`` under guidance: features, high to low resolution; arguments as of `forward`."""
        encode: Callable[..., Any] | None = getattr(self.backbone, "encode", None)
        if encode is None:
            raise ValueError(f"GuidedNet: {type(self.backbone).__name__} has no encode(x) to run")
        features: list[Tensor] = self._run(encode, x, guidance, arguments)
        return features

    def _run(
        self,
        call: Callable[..., Any],
        x: Tensor,
        given: Guidance | Mapping[str, Tensor] | None,
        arguments: dict[str, Any],
    ) -> Any:
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
                    f"GuidedNet: {name} is given, but the net has no {argument} branch; build it with {argument}=..."
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
