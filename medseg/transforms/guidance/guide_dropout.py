"""Random removal of guides, so that a network also works without them."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from monai.config import KeysCollection, NdarrayOrTensor
from monai.transforms import MapTransform, Randomizable, Transform
from monai.utils import TransformBackends, ensure_tuple_rep

from medseg._arguments import checked_arguments
from medseg.transforms._arrays import tracked_tensor

__all__ = ["RandGuideDropout", "RandGuideDropoutd"]


@checked_arguments
class RandGuideDropout(Randomizable, Transform):
    """Replace all channels of a guide by its null value with a given probability.

    With worker processes, use ``monai.data.DataLoader``: with torch's own, all workers draw the same numbers.

    Values that are not finite stay as they are in a guide that is kept.

    Args:
        prob: probability that all guides of a sample are dropped.
        prob_each: probability that a single guide is dropped if not all are dropped.
        null: value of a guide without information, i.e. of a :class:`GuideMap` without prompts, or of the histograms
            of an empty region.

    Raises:
        ValueError: for probabilities outside 0 to 1 or a null value that is not finite.

    Example:
        >>> guide = torch.ones(2, 4, 4)
        >>> drop = RandGuideDropout(prob=0.5).set_random_state(0)
        >>> [bool(drop(guide).any()) for _ in range(6)]
        [True, True, False, False, True, True]
    """

    backend = [TransformBackends.TORCH]

    def __init__(self, prob: float = 0.5, prob_each: float = 0.0, null: float = 0.0) -> None:
        for name, value in (("prob", prob), ("prob_each", prob_each)):
            if not 0 <= value <= 1:
                raise ValueError(f"{name} is {value}, expected a probability from 0 to 1")
        if not np.isfinite(null):
            raise ValueError(f"null is {null}, expected a number")
        self.prob, self.prob_each, self.null = float(prob), float(prob_each), float(null)
        self.dropped_all = self.dropped = False

    def randomize(self, data: Any = None) -> None:
        """Draw whether all guides of a sample are dropped, and whether this guide is dropped."""
        self.dropped_all = bool(self.R.random_sample() < self.prob)
        self.randomize_one()

    def randomize_one(self) -> None:
        """Draw for another guide of the same sample."""
        self.dropped = bool(self.R.random_sample() < self.prob_each) or self.dropped_all

    def __call__(self, guide: NdarrayOrTensor, randomize: bool = True, null: float | None = None) -> NdarrayOrTensor:
        """Return the guide, or a tensor of its shape and type that is filled with the null value.

        Args:
            guide: array of any shape and a floating type.
            randomize: True draws again; False uses the last draw again.
            null: null value to use instead of that of the constructor.

        Raises:
            ValueError: for an array of a type that cannot hold the null value, such as an integer type.
        """
        tensor = tracked_tensor(guide, "guide")
        if not torch.is_floating_point(tensor):
            raise ValueError(f"guide is {tensor.dtype}, expected floating values")
        value = self.null if null is None else null
        if abs(value) > torch.finfo(tensor.dtype).max:
            raise ValueError(f"null is {value}, which a guide of {tensor.dtype} cannot hold, expected a smaller number")
        if randomize:
            self.randomize()
        result: NdarrayOrTensor = torch.full_like(tensor, value) if self.dropped else tensor
        return result


@checked_arguments
class RandGuideDropoutd(Randomizable, MapTransform):
    """Dictionary form of :class:`RandGuideDropout`: the guides of a sample are dropped together.

    Args:
        keys: all guides of a sample, such as maps and vectors.
        prob: probability that all of them are dropped.
        prob_each: probability that one is dropped on its own, given that not all are.
        null: null value, one for all keys or one per key.
        guided_key: item that is set to True if at least one guide is kept, else to False; None for no item. A network
            with a learned null vector needs it, because a real guide can be equal to the null value.
        allow_missing_keys: whether a missing key is skipped instead of raising.

    Raises:
        ValueError: for probabilities outside 0 to 1, or a number of null values that is not one or one per key.

    Example:
        >>> drop = RandGuideDropoutd(["map", "vector"], prob=0.5, guided_key="guided").set_random_state(0)
        >>> sample = {"map": torch.ones(2, 4, 4), "vector": torch.ones(3)}
        >>> [drop(sample)["guided"] for _ in range(6)]
        [True, True, False, False, True, False]
    """

    backend = RandGuideDropout.backend

    def __init__(
        self,
        keys: KeysCollection,
        prob: float = 0.5,
        prob_each: float = 0.0,
        null: float | Sequence[float] = 0.0,
        guided_key: Hashable | None = None,
        allow_missing_keys: bool = False,
    ) -> None:
        MapTransform.__init__(self, keys, allow_missing_keys)
        self.null = tuple(float(v) for v in ensure_tuple_rep(null, len(self.keys)))
        if not np.isfinite(self.null).all():
            raise ValueError(f"null is {null}, expected numbers")
        self.guided_key = guided_key
        self.dropout = RandGuideDropout(prob, prob_each)

    def set_random_state(
        self, seed: int | None = None, state: np.random.RandomState | None = None
    ) -> RandGuideDropoutd:
        """Set the seed of the random numbers and return this transform."""
        super().set_random_state(seed, state)
        self.dropout.set_random_state(seed, state)
        return self

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Return a copy of ``data`` in which the guides are kept or dropped.

        Raises:
            ValueError: if the item ``guided_key`` exists already.
        """
        result, first, left = dict(data), True, False
        if self.guided_key is not None and self.guided_key in data:
            raise ValueError(f"item {self.guided_key!r} exists already, expected a new name for guided_key")
        for key, null in self.key_iterator(result, self.null):
            self.dropout.randomize() if first else self.dropout.randomize_one()
            result[key] = self.dropout(result[key], randomize=False, null=null)
            first, left = False, left or not self.dropout.dropped
        if self.guided_key is not None:
            result[self.guided_key] = left
        return result
