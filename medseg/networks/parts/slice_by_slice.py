"""A 2-D network as a 3-D one: it segments every slice of a volume."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from medseg._arguments import checked_arguments
from medseg.layers.guidance import Guidance
from medseg.layers.guidance.guidance import as_guidance
from medseg.networks.parts.image_check import check_image, takes_images
from medseg.networks.parts.slice_triplets import slice_stacks

__all__ = ["SliceBySlice"]


@checked_arguments
class SliceBySlice(nn.Module):
    """Runs a 2-D network on every slice of a volume, so that it takes the place of a 3-D network.

    All slices of a volume are one batch of the 2-D network, whose batch normalisation therefore sees all of them. With
    ``neighbours`` a slice comes with those before and after it as further channels ("2.5-D").

    In a bundle, as ``network_def``: ``{"_target_": "medseg.networks.SliceBySlice", "network": {"_target_": ...}}``.
    Patches and windows stay 3-D, with any number of slices.

    Args:
        network: takes ``[B, C, H, W]`` and returns ``[B, classes, H, W]``. It becomes part of the new network.
        neighbours: number of slices on each side that are channels too. The network then has ``2 * neighbours + 1``
            channels for each of the volume: for a channel, its slices in ascending order. Slices outside of the volume,
            and of a patch or window, are 0.
        axis: axis of the slices, counted among the three of the volume: 0 to 2, or -3 to -1. For volumes with the
            axes right, anterior, superior, the axial slices are those of the last one.

    Attributes:
        spatial_dims: 3.
        in_channels: channels of the volume.

    Raises:
        ValueError: for a network without 2-D convolutions, channels that are no multiple of ``2 * neighbours + 1``, and
            for numbers out of range.

    Example:
        >>> net = SliceBySlice(create("unet2015", in_channels=3, channels=(4, 8), padding="same"), neighbours=1)
        >>> net(torch.randn(1, 1, 32, 32, 5)).shape
        torch.Size([1, 2, 32, 32, 5])
    """

    spatial_dims = 3

    def __init__(self, network: nn.Module, neighbours: int = 0, axis: int = -1) -> None:
        super().__init__()
        if neighbours < 0 or not -3 <= axis <= 2:
            raise ValueError(
                f"SliceBySlice: neighbours is {neighbours}, axis {axis}; expected neighbours from 0, axis -3 to 2"
            )
        stack, channels = 2 * neighbours + 1, _channels(network)
        if channels % stack:
            raise ValueError(
                f"SliceBySlice: the network takes {channels} channels, with {neighbours} neighbours a channel of the "
                f"volume becomes {stack}; expected a multiple of {stack}: set the network's in_channels"
            )
        self.network, self.neighbours, self.axis = network, neighbours, axis % 3
        self.in_channels = channels // stack

    @takes_images
    def forward(self, x: Tensor, guidance: Guidance | Mapping[str, Tensor] | None = None, **arguments: Any) -> Any:
        """Segments all slices.

        Args:
            x: volume ``[B, in_channels, *S]``.
            guidance: for a guided network what is known, with ``spatial`` on the grid of the volume; every slice gets
                its part of it and all else that is known about its volume. None: nothing is known.
            arguments: other arguments of the network.

        Returns:
            What the network returns for slices, stacked: ``[B, classes, *S]``.

        Raises:
            ValueError: for another number of axes or channels.
        """
        check_image("SliceBySlice", x, 3, self.in_channels, network=self.network)
        batch, last = x.shape[0], 2 + self.axis
        slices = slice_stacks(x.movedim(last, -1), self.neighbours)
        if guidance is not None:
            arguments["guidance"] = self._of_slices(as_guidance("SliceBySlice", guidance), x.shape[last])
        return self._stacked(self.network(slices, **arguments), batch)

    def _of_slices(self, guidance: Guidance, count: int) -> Guidance:
        """What is known about the slices, each of which is a sample of the network."""
        rows = {key: value.repeat_interleave(count, 0) for key, value in guidance.tensors().items() if key != "spatial"}
        if guidance.spatial is not None:
            rows["spatial"] = slice_stacks(guidance.spatial.movedim(2 + self.axis, -1), 0)
        return Guidance(**rows)

    def _stacked(self, result: Any, batch: int) -> Any:
        if isinstance(result, list | tuple):
            return [self._stacked(one, batch) for one in result]
        return result.unflatten(0, (batch, -1)).movedim(1, 2 + self.axis)


def _channels(network: nn.Module) -> int:
    """Channels of the images of a 2-D network."""
    first = next((part for part in network.modules() if isinstance(part, nn.Conv2d | nn.Conv3d)), None)
    if not isinstance(first, nn.Conv2d):
        raise ValueError(
            f"SliceBySlice: {type(network).__name__} has no 2-D convolution; expected a network with spatial_dims=2"
        )
    return int(getattr(network, "in_channels", first.in_channels))
