"""From a network's scores to a mask on the grid of the image file, with little memory."""

from __future__ import annotations

import copy
from collections.abc import Hashable, Mapping
from typing import Any

from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import InvertibleTransform, MapTransform, Transform
from monai.transforms.utils import allow_missing_keys_mode
from torch import Tensor

from medseg.transforms._discretisation import DISCRETE, Discretisation, ScoreRule

__all__ = ["MaskOnSourceGrid", "MaskOnSourceGridd"]


class MaskOnSourceGrid(Transform):
    """Bring scores back onto the grid of their image and make a mask of them: MONAI's ``Invertd`` and ``AsDiscreted``.

    The mask is the one of interpolating the scores on the grid of the image and discretising them there. With
    `SeparableSpacing` in the preprocessing this happens slab by slab, so that neither scores nor coordinates exist as
    a whole on the image's grid. With other resampling transforms it is MONAI's way: the whole volume of scores first. A
    score that is NaN is below every threshold, there and beside it.

    Args:
        transform: the preprocessing in dictionary form that was applied to the image, to be inverted.
        orig_key: key of the image in that preprocessing.
        threshold: 1 where the score is at least this value; None takes the channel with the highest score.

    Raises:
        ValueError: for a threshold that is not a finite number.

    Example:
        >>> from monai.data import MetaTensor
        >>> from monai.transforms import Compose
        >>> from medseg.transforms import SeparableSpacingd
        >>> preprocessing = Compose([SeparableSpacingd("image", 2.0)])
        >>> case = {"image": MetaTensor(torch.zeros(1, 8, 8, 8), affine=torch.eye(4))}
        >>> image = preprocessing(case)["image"]
        >>> scores = torch.zeros(1, 4, 4, 4)
        >>> scores[:, 1, 1, 1] = 1.0
        >>> mask = MaskOnSourceGrid(preprocessing, threshold=0.5)(scores, image)
        >>> mask.shape, mask.dtype, int(mask.sum())
        (torch.Size([1, 8, 8, 8]), torch.uint8, 7)
    """

    def __init__(self, transform: InvertibleTransform, orig_key: str = "image", threshold: float | None = 0.5) -> None:
        if threshold is not None and not -float("inf") < threshold < float("inf"):
            raise ValueError(f"MaskOnSourceGrid: threshold is {threshold}; expected a finite number, or None")
        self.transform, self.orig_key, self.threshold = transform, orig_key, threshold
        self.rule: ScoreRule = Discretisation(threshold)

    def __call__(self, pred: Tensor, image: Tensor) -> MetaTensor:
        """Return the mask.

        Args:
            pred: scores ``[C, *spatial]`` on the grid of ``image``; probabilities for a threshold of 0.5.
            image: the preprocessed image ``[C, *spatial]``, a MetaTensor with the trace of its transforms.

        Returns:
            uint8 ``[1, *source]``, or ``[C, *source]`` with a threshold, with affine and meta data of the source.

        Raises:
            ValueError: if the image has no trace, or the two have different grids.
        """
        if not isinstance(image, MetaTensor):
            raise ValueError(
                f"MaskOnSourceGrid: image is a {type(image).__name__}; expected the preprocessed MetaTensor, which "
                "knows the transforms that were applied"
            )
        if pred.shape[1:] != image.shape[1:]:
            raise ValueError(
                f"MaskOnSourceGrid: pred has shape {list(pred.shape)}, image {list(image.shape)}; expected one grid"
            )
        scores = MetaTensor(pred.as_tensor() if isinstance(pred, MetaTensor) else pred)
        scores.copy_meta_from(image)
        scores.applied_operations = copy.deepcopy(image.applied_operations)
        if not scores.applied_operations:
            return MetaTensor(self.rule(scores.as_tensor())).copy_meta_from(scores)
        scores.meta[DISCRETE] = self.rule
        with allow_missing_keys_mode(self.transform):
            back: MetaTensor = self.transform.inverse({self.orig_key: scores})[self.orig_key]
        waiting = back.meta.pop(DISCRETE, None)
        return back if waiting is None else MetaTensor(self.rule(back.as_tensor())).copy_meta_from(back)


class MaskOnSourceGridd(MapTransform):
    """Dictionary form of :class:`MaskOnSourceGrid`.

    Args:
        keys: the scores.
        transform: see :class:`MaskOnSourceGrid`.
        orig_keys: key of the image of each item; one key for all, by default ``image``.
        threshold: see :class:`MaskOnSourceGrid`.
        allow_missing_keys: whether a missing key is skipped instead of raising.

    Example:
        >>> from monai.data import MetaTensor
        >>> from monai.transforms import Compose
        >>> from medseg.transforms import SeparableSpacingd
        >>> preprocessing = Compose([SeparableSpacingd("image", 2.0)])
        >>> case = preprocessing({"image": MetaTensor(torch.zeros(1, 8, 8, 8), affine=torch.eye(4))})
        >>> case["pred"] = torch.ones(1, 4, 4, 4)
        >>> MaskOnSourceGridd("pred", preprocessing)(case)["pred"].shape
        torch.Size([1, 8, 8, 8])
    """

    def __init__(
        self,
        keys: KeysCollection,
        transform: InvertibleTransform,
        orig_keys: KeysCollection = "image",
        threshold: float | None = 0.5,
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        originals = [orig_keys] * len(self.keys) if isinstance(orig_keys, str) else list(orig_keys)
        if len(originals) != len(self.keys):
            raise ValueError(
                f"MaskOnSourceGridd: {len(originals)} orig_keys for {len(self.keys)} keys; expected one, or one a key"
            )
        self.masks = {
            key: MaskOnSourceGrid(transform, str(original), threshold)
            for key, original in zip(self.keys, originals, strict=True)
        }

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Return a copy of ``data`` with masks in place of the scores."""
        result = dict(data)
        for key in self.key_iterator(result):
            mask = self.masks[key]
            result[key] = mask(result[key], result[mask.orig_key])
        return result
