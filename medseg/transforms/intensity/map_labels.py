"""Map label values; values that the mapping does not contain are an error."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np
from monai.config import KeysCollection, NdarrayOrTensor
from monai.data import MetaTensor, get_track_meta
from monai.transforms import MapLabelValue, MapTransform, Transform
from monai.utils import TransformBackends, convert_to_tensor

__all__ = ["MapLabels", "MapLabelsd"]


class MapLabels(Transform):
    """Replace label values by a mapping that must contain every value that occurs.

    MONAI's ``MapLabelValue`` does the replacement, but it keeps values that it does not know. With a label map of
    another convention, a network would then be trained or evaluated on the wrong structure without a warning.

    Args:
        mapping: new value by old value; keys may be strings, because keys are strings in JSON.

    Raises:
        ValueError: if the mapping is empty.

    Example:
        >>> label = np.array([[0, 1, 2, 2]])
        >>> MapLabels({0: 0, 1: 1, 2: 1})(label).tolist()
        [[0, 1, 1, 1]]
    """

    backend = MapLabelValue.backend or [TransformBackends.TORCH]

    def __init__(self, mapping: Mapping[int | str, int]) -> None:
        if not mapping:
            raise ValueError("mapping is empty; expected new label values by old ones, e.g. {0: 0, 1: 1, 2: 1}")
        self.mapping = {int(old): int(new) for old, new in mapping.items()}
        self.replace = MapLabelValue(list(self.mapping), list(self.mapping.values()), dtype=np.uint8)

    def __call__(self, img: NdarrayOrTensor) -> NdarrayOrTensor:
        """Return the mapped labels as uint8.

        Args:
            img: label map of any shape.

        Raises:
            ValueError: for values that the mapping does not contain, with the file if it is known.
        """
        unknown = sorted(set(np.unique(np.asarray(img)).tolist()) - set(self.mapping))
        if unknown:
            source = img.meta.get("filename_or_obj", "label map") if isinstance(img, MetaTensor) else "label map"
            shown = ", ".join(f"{value:g}" for value in unknown[:8]) + (" ..." if len(unknown) > 8 else "")
            raise ValueError(
                f"{source}: label values {shown} are unexpected, known are {sorted(self.mapping)}; map them when the "
                "data set is made (python -m data_prep.dataset --map OLD=NEW)"
            )
        return convert_to_tensor(self.replace(img), track_meta=get_track_meta())


class MapLabelsd(MapTransform):
    """Dictionary form of :class:`MapLabels`.

    Args:
        keys: the label maps.
        mapping: see :class:`MapLabels`.
        allow_missing_keys: whether a missing key is skipped instead of raising.

    Example:
        >>> label = np.array([[0, 1, 2, 2]])
        >>> MapLabelsd("label", {"0": 0, "1": 1, "2": 1})({"label": label})["label"].tolist()
        [[0, 1, 1, 1]]
    """

    backend = MapLabels.backend

    def __init__(
        self, keys: KeysCollection, mapping: Mapping[int | str, int], allow_missing_keys: bool = False
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.map = MapLabels(mapping)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Return a copy of ``data`` in which every key's label map is mapped."""
        result = dict(data)
        for key in self.key_iterator(result):
            result[key] = self.map(result[key])
        return result
