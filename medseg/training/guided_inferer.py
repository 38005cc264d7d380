"""Sliding windows for guided networks: guides are cut along with the image."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from monai.data import MetaTensor
from monai.inferers import Inferer
from torch import Tensor

from medseg._arguments import checked_arguments
from medseg.layers.guidance import Guidance
from medseg.layers.guidance.guidance import as_guidance

__all__ = ["GuidedInferer"]


@checked_arguments
class GuidedInferer(Inferer):
    """Runs another inferer on an image with its guide map, so that every window gets its part of both.

    MONAI's inferers hand further arguments to every window as they are, also a guide map of the whole image. Here the
    guide map is cut, padded and stacked as further channels of the image, and taken off again in front of the network.
    All else that is known (appearance, texture and flags) is the same for all windows of an image.

    In a bundle, around the inferer of evaluation and inference; `PrepareGuidedBatch` gives it the guidance.

    Args:
        inferer: takes windows from an image, such as ``SlidingWindowInferer`` or ``SliceInferer`` of MONAI, or
            `medseg.inference.ForegroundInferer`; it must not change voxels.

    Example:
        >>> from monai.inferers import SlidingWindowInferer
        >>> from medseg.layers.guidance import Guidance
        >>> from medseg.networks import create
        >>> net = create("guided_unet", in_channels=1, out_channels=2, channels=(4, 6, 8), appearance=None).eval()
        >>> inferer = GuidedInferer(SlidingWindowInferer(roi_size=(16, 16)))
        >>> guidance = Guidance(spatial=torch.rand(1, 1, 40, 24))
        >>> inferer(torch.randn(1, 1, 40, 24), net, guidance=guidance).shape
        torch.Size([1, 2, 40, 24])
    """

    def __init__(self, inferer: Callable[..., Any]) -> None:
        self.inferer = inferer

    def __call__(
        self,
        inputs: Tensor,
        network: Callable[..., Any],
        *args: Any,
        guidance: Guidance | Mapping[str, Tensor] | None = None,
        **kwargs: Any,
    ) -> Any:
        """The result of the inferer.

        Args:
            inputs: image ``[B, C, *S]``.
            network: called as ``network(window, guidance=...)``.
            args: further arguments of the network.
            guidance: what is known about the images, its guide map on their grid. None or nothing known: the inferer
                runs as without this one.
            kwargs: further arguments of the network.

        Raises:
            ValueError: for a guide map on another grid.
        """
        known = as_guidance("GuidedInferer", guidance)
        if not known.tensors():
            return self.inferer(inputs, network, *args, **kwargs)
        batch, channels, size = len(inputs), inputs.shape[1], list(inputs.shape[2:])
        if known.spatial is not None and (len(known.spatial), *known.spatial.shape[2:]) != (batch, *size):
            raise ValueError(
                f"GuidedInferer: the guide map has shape {list(known.spatial.shape)}; expected [{batch}, guide "
                f"channels, {', '.join(map(str, size))}], the grid of the image"
            )
        guides = 0 if known.spatial is None else known.spatial.shape[1]

        def guided(windows: Tensor, *more: Any, **named: Any) -> Any:
            rows = _samples(windows)
            fields = {key: value.to(rows.device)[rows] for key, value in known.tensors().items() if key != "spatial"}
            guide = windows[:, channels : channels + guides] if guides else None
            return network(windows[:, :channels], *more, guidance=Guidance(spatial=guide, **fields), **named)

        return self.inferer(_joined(inputs, known.spatial), guided, *args, **kwargs)


def _joined(inputs: Tensor, guide: Tensor | None) -> Tensor:
    """Image, guide map, and the number of the sample, as channels."""
    plain = inputs.as_tensor() if isinstance(inputs, MetaTensor) else inputs
    shape = (len(plain), 1, *plain.shape[2:])
    number = torch.arange(len(plain), device=plain.device, dtype=plain.dtype).reshape(-1, *(1,) * (plain.ndim - 1))
    joined = torch.cat([plain, *([] if guide is None else [guide.to(plain)]), number.expand(shape)], 1)
    return MetaTensor(joined).copy_meta_from(inputs) if isinstance(inputs, MetaTensor) else joined


def _samples(windows: Tensor) -> Tensor:
    """Which sample each window is from: its last channel, at the middle, where a window is never padded."""
    middle = windows[:, -1]
    for side in windows.shape[2:]:
        middle = middle[:, (side - 1) // 2]
    return middle.as_tensor().long() if isinstance(middle, MetaTensor) else middle.long()
