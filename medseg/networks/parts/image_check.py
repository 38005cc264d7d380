"""The checks of a network's input, shared by all networks: one line for an image that does not fit."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, Concatenate, ParamSpec, TypeVar

from torch import Tensor, nn

from medseg.layers.keep_metadata import keep_metadata
from medseg.layers.map_check import check_dtype

__all__ = ["check_image", "takes_images"]

Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")
Network = TypeVar("Network", bound=nn.Module)
Method = Callable[Concatenate[Network, Tensor, Parameters], Result]


def check_image(
    owner: str,
    x: Tensor,
    spatial_dims: int,
    in_channels: int | None,
    multiple: int = 1,
    network: nn.Module | None = None,
) -> None:
    """Raises an error unless x is ``[B, in_channels, *S]`` of floating numbers, not empty, with sides that fit.

    Args:
        owner: name of the network, for the message.
        x: the input of the network.
        spatial_dims: 2 or 3.
        in_channels: expected number of channels. None: any number.
        multiple: every side must be a multiple of this number.
        network: the network. The image must have the dtype of its first parameter, except under autocast. None: any
            floating dtype.

    Raises:
        TypeError: for anything but a tensor of floating numbers, or of another dtype than the weights.
        ValueError: for another number of axes or channels, an image or a batch without a voxel, or sides that are not
            multiples.

    Example:
        >>> check_image("MyNet", torch.zeros(1, 1, 32, 32), spatial_dims=2, in_channels=1, multiple=16)
        >>> check_image("MyNet", torch.zeros(1, 3, 32, 32), spatial_dims=2, in_channels=1)
        Traceback (most recent call last):
            ...
        ValueError: MyNet: input has shape [1, 3, 32, 32]; expected [B, 1, H, W]
        >>> check_image("MyNet", torch.zeros(1, 1, 32, 32, dtype=torch.int16), spatial_dims=2, in_channels=1)
        Traceback (most recent call last):
            ...
        TypeError: MyNet: input is torch.int16; expected floating numbers: scale it (ScaleIntensityRange) or ...
    """
    if not isinstance(x, Tensor):
        raise TypeError(f"{owner}: input is {type(x).__name__}; expected a tensor: use torch.as_tensor")
    axes = "H, W" if spatial_dims == 2 else "D, H, W"
    if x.ndim != spatial_dims + 2 or in_channels not in (None, x.shape[1]):
        channels = "C" if in_channels is None else in_channels
        raise ValueError(f"{owner}: input has shape {list(x.shape)}; expected [B, {channels}, {axes}]")
    size = list(x.shape[2:])
    if x.shape[0] == 0 or any(s == 0 for s in size):
        raise ValueError(
            f"{owner}: input has shape {list(x.shape)}, which is empty; expected at least one image of one voxel"
        )
    check_dtype(owner, x, network)
    if any(s % multiple for s in size):
        raise ValueError(
            f"{owner}: image of size {size}; expected multiples of {multiple} along every axis: pad it "
            f"(monai.transforms.DivisiblePad, k={multiple}) or crop it"
        )


def takes_images(method: Method[Network, Parameters, Result]) -> Method[Network, Parameters, Result]:
    """Decorates ``forward(self, x, ...)`` of a network: it takes MetaTensors, and says where an image is too small.

    MetaTensors, also batches of them, are taken and given back as by `medseg.layers.keep_metadata.keep_metadata`.

    Normalisations by statistics of the input need two values: batch normalisation in training mode fails if the batch
    is one image of which one voxel is left at the lowest level; instance normalisation fails for every such image.
    Which maps are that small depends on arguments, halvings and pooled branches; the normalisation itself knows.

    Args:
        method: of a network, with the image ``[B, C, *S]`` as first argument.

    Returns:
        The same method; it raises ValueError with the size of the batch and of the image, and what helps.

    Example:
        >>> net = create("unet3d2016", spatial_dims=2, in_channels=1, out_channels=2, channels=(4, 8))
        >>> net(torch.zeros(1, 1, 2, 2))
        Traceback (most recent call last):
            ...
        ValueError: UNet3D2016: 1 image of size [2, 2] leaves one value per channel in its smallest map, too few for ...
    """

    @keep_metadata
    @functools.wraps(method)
    def explained(self: Network, x: Tensor, *arguments: Parameters.args, **options: Parameters.kwargs) -> Result:
        try:
            return method(self, x, *arguments, **options)
        except ValueError as error:
            line = _small_map_line(str(getattr(self, "owner", type(self).__name__)), x, str(error))
            if line is None:
                raise
            raise ValueError(line) from None

    return explained


def _small_map_line(owner: str, x: Any, torch_says: str) -> str | None:
    """The line for torch's error about too few values, or None for all other errors."""
    if not torch_says.startswith("Expected more than 1 "):
        return None
    count, size = x.shape[0], list(x.shape[2:])
    if "spatial element" in torch_says:
        return (
            f"{owner}: an image of size {size} leaves one voxel in its smallest map, too few for instance "
            "normalisation; expected larger images, or another norm"
        )
    return (
        f"{owner}: {count} image{'s' if count > 1 else ''} of size {size} leaves one value per channel in its smallest "
        "map, too few for normalisation in training mode; expected a batch of 2 or more, or larger images (for use "
        "without training: eval())"
    )
