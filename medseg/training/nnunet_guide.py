"""Parts of guided training with nnU-Net v2: random dropping of guides, and intensity augmentation without them.

``export nnUNet_extTrainer=$(python -m medseg.training.nnunet_guide)`` tells nnU-Net where to find the trainer; then
``nnUNetv2_train 501 3d_fullres 0 -tr nnUNetTrainerGuideDropout``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

__all__ = ["KeepChannels", "drop_guides", "guide_channels", "trainer_folder"]


def trainer_folder() -> Path:
    """The folder to which nnU-Net's ``nnUNet_extTrainer`` must point.

    >>> trainer_folder().name
    'nnunet_trainers'
    """
    return Path(__file__).resolve().parent / "nnunet_trainers"


def guide_channels(dataset_json: Mapping[str, Any]) -> tuple[int, ...]:
    """Numbers of the guide's input channels, from the ``guide_channels`` of an nnU-Net dataset.json.

    Args:
        dataset_json: content of the file that ``data_prep.nnunet --guide`` wrote.

    Raises:
        ValueError: if no channel is named, or one that does not exist or leaves no channel for the image.

    >>> guide_channels({"channel_names": {"0": "CT", "1": "click"}, "guide_channels": [1]})
    (1,)
    """
    number = len(dataset_json.get("channel_names", {}))
    given = dataset_json.get("guide_channels") or []
    found = tuple(sorted({int(channel) for channel in given}))
    if not found:
        raise ValueError(
            "dataset.json has no 'guide_channels', expected the channel numbers of the guides; export the data set "
            "with data_prep.nnunet --guide KEY"
        )
    if found[0] < 0 or found[-1] >= number or len(found) == number:
        raise ValueError(
            f"guide_channels is {list(given)}, expected some but not all of the channels 0 to {number - 1} of "
            "'channel_names'"
        )
    return found


def drop_guides(data: Tensor, channels: Sequence[int], prob: float, generator: torch.Generator | None = None) -> Tensor:
    """Set all guides of randomly drawn samples to 0, which means "no guidance".

    A network trained in this way works with a guide and without one. The samples of a batch are drawn independently;
    all guides of a drawn sample are set to 0.

    Args:
        data: input ``[B, C, *S]``; not changed.
        channels: numbers of the guide channels.
        prob: probability from 0 to 1 that a sample loses its guides.
        generator: source of the draw, on the CPU; None: torch's own.

    Returns:
        ``data`` itself if no sample was drawn, else a copy.

    Raises:
        ValueError: for a probability out of range or a channel that does not exist.

    >>> import torch
    >>> batch = torch.ones(2, 3, 8, 8)
    >>> drop_guides(batch, channels=[1, 2], prob=1.0).sum(dim=(0, 2, 3))
    tensor([128.,   0.,   0.])
    """
    if not 0 <= prob <= 1:
        raise ValueError(f"prob is {prob}, expected a probability from 0 to 1")
    if not all(0 <= channel < data.shape[1] for channel in channels):
        raise ValueError(f"channels is {list(channels)}, expected numbers from 0 to {data.shape[1] - 1}")
    dropped = torch.rand(data.shape[0], generator=generator) < prob
    if not dropped.any():
        return data
    result = data.clone()
    for channel in channels:
        result[dropped.to(data.device), channel] = 0
    return result


class KeepChannels:
    """A transform of ``image`` that leaves some channels as they were.

    Noise, brightness, contrast and gamma imitate scanners and make no sense on a guide; a guide of 0 must also stay 0.
    Works with any callable of nnU-Net's kind: keywords in, dictionary out. The wrapped transform must not move voxels.

    Args:
        transform: the transform, for example ``RandomTransform(GaussianNoiseTransform(...))``.
        channels: numbers of the channels that are kept.

    >>> import torch
    >>> brighter = KeepChannels(lambda image: {"image": image + 1}, channels=[1])
    >>> brighter(image=torch.zeros(2, 4))["image"]
    tensor([[1., 1., 1., 1.],
            [0., 0., 0., 0.]])
    """

    def __init__(self, transform: Callable[..., dict[str, Any]], channels: Sequence[int]) -> None:
        self.transform = transform
        self.channels = list(channels)

    def __call__(self, **data: Any) -> dict[str, Any]:
        """Apply the transform and put the kept channels back."""
        image = data.get("image")
        if image is None:
            return self.transform(**data)
        kept = image[self.channels].clone()
        result = self.transform(**data)
        result["image"][self.channels] = kept
        return result

    def __repr__(self) -> str:
        return f"KeepChannels({self.transform!r}, channels={self.channels})"


if __name__ == "__main__":
    print(trainer_folder())
