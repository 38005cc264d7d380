"""Base class of dictionary transforms that add a map computed from a label."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Hashable, Mapping
from typing import Any

from monai.config import KeysCollection
from monai.transforms import MapTransform

__all__ = ["SideOutput"]


class SideOutput(MapTransform):
    """Add the item ``key + postfix`` for every key; the item of the key itself does not change.

    Args:
        keys: the label maps.
        postfix: appended to the key to form the name of the output.
        allow_missing_keys: whether a missing key is skipped instead of raising.

    Raises:
        ValueError: for an empty postfix, which would overwrite the label.
    """

    def __init__(self, keys: KeysCollection, postfix: str, allow_missing_keys: bool = False) -> None:
        super().__init__(keys, allow_missing_keys)
        if not postfix:
            raise ValueError(
                "postfix is '', expected a text such as '_weight' that keeps the label from being replaced"
            )
        self.postfix = postfix

    @abstractmethod
    def derive(self, label: Any, first: bool) -> Any:
        """The map of one label; ``first`` is True for the sample's first key."""

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Return a copy of ``data`` with the maps added.

        Raises:
            ValueError: if an item with the name of the output exists already.
        """
        result, first = dict(data), True
        for key in self.key_iterator(result):
            name = f"{key}{self.postfix}"
            if name in data:
                raise ValueError(f"item {name!r} exists already, expected a new name; choose another postfix")
            result[name] = self.derive(result[key], first)
            first = False
        return result
