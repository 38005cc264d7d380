"""An nnU-Net v2 trainer that drops the guide channels of random samples in training."""

from __future__ import annotations

from typing import Any

import torch

from medseg.training.nnunet_guide import KeepChannels, drop_guides, guide_channels

try:
    from batchgeneratorsv2.transforms.base.basic_transform import ImageOnlyTransform
    from batchgeneratorsv2.transforms.utils.random import RandomTransform
    from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
except ImportError as error:
    raise ImportError(
        f"nnUNetTrainerGuideDropout needs nnU-Net v2 ({error}); install it with: pip install 'medseg[nnunet]'"
    ) from error

__all__ = ["nnUNetTrainerGuideDropout"]


class nnUNetTrainerGuideDropout(nnUNetTrainer):  # noqa: N801 - nnU-Net finds trainers by names of this form
    """nnU-Net's trainer for data with guide channels, exported by ``data_prep.nnunet --guide``.

    In training each sample loses its guides with probability ``guide_dropout``; validation and prediction use them as
    they are, and an all-zero guide asks for a result without guidance. Intensity augmentation leaves guides alone;
    rotation, scaling and mirroring move them with the image. Derive a class to change the probability.

    Args:
        plans: nnU-Net's plans.
        configuration: for example ``3d_fullres``.
        fold: number of the fold, or ``all``.
        dataset_json: the data set's dataset.json; must have ``guide_channels``.
        device: where to train.

    Raises:
        ValueError: if dataset.json names no guide channels.
    """

    guide_dropout = 0.5

    def __init__(
        self,
        plans: dict[str, Any],
        configuration: str,
        fold: int,
        dataset_json: dict[str, Any],
        device: torch.device = torch.device("cuda"),  # noqa: B008 - nnU-Net reads this signature
    ) -> None:
        self.guide_channels = guide_channels(dataset_json)
        super().__init__(plans, configuration, fold, dataset_json, device)

    def get_training_transforms(self, *args: Any, **kwargs: Any) -> Any:
        """nnU-Net's augmentation, without changes to the intensities of guides."""
        composed = super().get_training_transforms(*args, **kwargs)
        composed.transforms = [
            KeepChannels(transform, self.guide_channels) if _changes_intensities(transform) else transform
            for transform in composed.transforms
        ]
        return composed

    def train_step(self, batch: dict[str, Any]) -> dict[str, Any]:
        """One step on a batch in which random samples have lost their guides."""
        data = drop_guides(batch["data"], self.guide_channels, self.guide_dropout)
        result: dict[str, Any] = super().train_step({**batch, "data": data})
        return result


def _changes_intensities(transform: Any) -> bool:
    inner = transform.transform if isinstance(transform, RandomTransform) else transform
    return isinstance(inner, ImageOnlyTransform)
