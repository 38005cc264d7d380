"""Base class of random dictionary transforms: one random draw for all keys of a sample."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any, Protocol

import numpy as np
from monai.config import KeysCollection, NdarrayOrTensor
from monai.transforms import MapTransform, Randomizable

__all__ = ["ArrayTransform", "SharedDraw"]


class ArrayTransform(Protocol):
    """A random array transform whose last draw can be used again for another image."""

    def __call__(self, img: NdarrayOrTensor, randomize: bool = True) -> NdarrayOrTensor:
        """Return the transformed image, with the last draw if ``randomize`` is False."""

    def set_random_state(self, seed: int | None = None, state: np.random.RandomState | None = None) -> Any:
        """Set the seed of the random numbers."""


class SharedDraw(Randomizable, MapTransform):
    """Draw once for every sample and apply the same parameters to all keys.

    The random state is that of the array transform, so both forms give the same results for the same seed.

    Every worker process of a data loader has a copy of this state. Use ``monai.data.DataLoader``, which seeds it
    differently in every worker: with ``torch.utils.data.DataLoader``, all workers draw the same numbers.

    Args:
        keys: items to transform.
        transform: the random array transform.
        allow_missing_keys: whether a missing key is skipped instead of raising.
    """

    def __init__(self, keys: KeysCollection, transform: ArrayTransform, allow_missing_keys: bool = False) -> None:
        MapTransform.__init__(self, keys, allow_missing_keys)
        self.transform = transform

    def set_random_state(self, seed: int | None = None, state: np.random.RandomState | None = None) -> SharedDraw:
        """Set the seed of the array transform and return this transform."""
        super().set_random_state(seed, state)
        self.transform.set_random_state(seed, state)
        return self

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Return a copy of ``data`` in which every key's image is transformed by one common draw."""
        result, first = dict(data), True
        for key in self.key_iterator(result):
            result[key] = self.transform(result[key], randomize=first)
            first = False
        return result
