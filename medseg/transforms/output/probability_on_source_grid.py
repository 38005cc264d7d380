"""From a network's probabilities to a map on the grid of the image file, in one byte for each voxel and class."""

from __future__ import annotations

import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import InvertibleTransform
from torch import Tensor

from medseg.transforms._discretisation import Resampler
from medseg.transforms.output.mask_on_source_grid import MaskOnSourceGrid, MaskOnSourceGridd

__all__ = ["PROBABILITY_SCALE", "ProbabilityOnSourceGrid", "ProbabilityOnSourceGridd"]

PROBABILITY_SCALE = 255
"""The stored number of probability 1."""


class _InBytes:
    """Probabilities as whole numbers from 0 to 255, slab by slab where they are resampled."""

    def __call__(self, scores: Tensor) -> Tensor:
        return (scores * PROBABILITY_SCALE).round().to(torch.uint8)

    def resampled(self, resampler: Resampler, scores: Tensor) -> Tensor:
        """The stored numbers of the resampled probabilities."""
        values = torch.zeros((scores.shape[0], *resampler.target), dtype=torch.uint8, device=scores.device)
        for part, slab in resampler.slabs(scores, box=[slice(0, n) for n in resampler.target]):
            place = (slice(None), *part)
            values[place] = self(slab)
        return values


class ProbabilityOnSourceGrid(MaskOnSourceGrid):
    """Bring probabilities back onto the grid of their image, stored in uint8: 255 times the probability, rounded.

    As with `MaskOnSourceGrid`, they never exist as float32 on the grid of the image where `SeparableSpacing` resampled
    it. The error of the rounding is at most 1/510. Scores that are NaN or lie outside 0 to 1 are refused.

    Args:
        transform: the preprocessing in dictionary form that was applied to the image, to be inverted.
        orig_key: key of the image in that preprocessing.

    Example:
        >>> from monai.data import MetaTensor
        >>> from monai.transforms import Compose
        >>> from medseg.transforms import SeparableSpacingd
        >>> preprocessing = Compose([SeparableSpacingd("image", 2.0)])
        >>> case = {"image": MetaTensor(torch.zeros(1, 8, 8, 8), affine=torch.eye(4))}
        >>> image = preprocessing(case)["image"]
        >>> scores = torch.full((1, 4, 4, 4), 0.2)
        >>> found = ProbabilityOnSourceGrid(preprocessing)(scores, image)
        >>> found.shape, found.dtype, int(found.max())
        (torch.Size([1, 8, 8, 8]), torch.uint8, 51)
    """

    def __init__(self, transform: InvertibleTransform, orig_key: str = "image") -> None:
        super().__init__(transform, orig_key)
        self.rule = _InBytes()

    def __call__(self, pred: Tensor, image: Tensor) -> MetaTensor:
        """Return the map.

        Args:
            pred: probabilities ``[C, *spatial]`` on the grid of ``image``.
            image: the preprocessed image ``[C, *spatial]``, a MetaTensor with the trace of its transforms.

        Returns:
            uint8 ``[C, *source]``, 255 times the probability, with affine and meta data of the source.

        Raises:
            ValueError: if a score lies outside 0 to 1 or is NaN, the image has no trace, or the two have different
                grids.
        """
        lowest, highest = float(pred.min()), float(pred.max())
        if not (lowest >= 0.0 and highest <= 1.0 + 1e-6):
            raise ValueError(
                f"ProbabilityOnSourceGrid: scores run from {lowest:g} to {highest:g}; expected probabilities, such as "
                "Activationsd with sigmoid or softmax gives"
            )
        return super().__call__(pred, image)


class ProbabilityOnSourceGridd(MaskOnSourceGridd):
    """Dictionary form of :class:`ProbabilityOnSourceGrid`.

    Args:
        keys: the probabilities.
        transform: see :class:`ProbabilityOnSourceGrid`.
        orig_keys: key of the image of each item; one key for all, by default ``image``.
        allow_missing_keys: whether a missing key is skipped instead of raising.

    Example:
        >>> from monai.data import MetaTensor
        >>> from monai.transforms import Compose
        >>> from medseg.transforms import SeparableSpacingd
        >>> preprocessing = Compose([SeparableSpacingd("image", 2.0)])
        >>> case = preprocessing({"image": MetaTensor(torch.zeros(1, 8, 8, 8), affine=torch.eye(4))})
        >>> case["pred"] = torch.ones(1, 4, 4, 4)
        >>> int(ProbabilityOnSourceGridd("pred", preprocessing)(case)["pred"].min())
        255
    """

    def __init__(
        self,
        keys: KeysCollection,
        transform: InvertibleTransform,
        orig_keys: KeysCollection = "image",
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, transform, orig_keys, allow_missing_keys=allow_missing_keys)
        self.masks = {key: ProbabilityOnSourceGrid(transform, mask.orig_key) for key, mask in self.masks.items()}
