"""Map label values; values that the mapping does not contain are an error."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np
import torch
from monai.config import KeysCollection, NdarrayOrTensor
from monai.data import MetaTensor
from monai.transforms import MapLabelValue, MapTransform, Transform
from monai.utils import TransformBackends, convert_to_dst_type

from medseg._arguments import checked_arguments
from medseg.geometry import check_whole_labels
from medseg.transforms._arrays import numpy_array, tracked_tensor
from medseg.transforms._checks import whole_number

__all__ = ["MapLabels", "MapLabelsd"]


@checked_arguments
class MapLabels(Transform):
    """Replace label values by a mapping that must contain every value that occurs.

    MONAI's ``MapLabelValue`` does the replacement, but it keeps values that it does not know. With a label map of
    another convention, a network would then be trained or evaluated on the wrong structure without a warning.

    A label that is not finite is refused.

    Args:
        mapping: new value, 0 to 255, by old value, both whole numbers; keys may be strings, because keys are strings in
            JSON.

    Raises:
        ValueError: for an empty mapping, or values that are not such numbers.

    Example:
        >>> label = np.array([[0, 1, 2, 2]])
        >>> MapLabels({0: 0, 1: 1, 2: 1})(label).tolist()
        [[0, 1, 1, 1]]
    """

    backend = MapLabelValue.backend or [TransformBackends.TORCH]

    def __init__(self, mapping: Mapping[int | str, int]) -> None:
        if not mapping:
            raise ValueError("mapping is empty; expected new label values by old ones, e.g. {0: 0, 1: 1, 2: 1}")
        self.mapping: dict[int, int] = {}
        for old, new in mapping.items():
            key, value = whole_number("old value in mapping", old), whole_number(f"new value of {old} in mapping", new)
            if not 0 <= value <= 255:
                raise ValueError(f"new value of {old} in mapping is {value}, expected 0 to 255: the result is uint8")
            if key in self.mapping:
                raise ValueError(f"mapping names old value {key} twice, expected every value once")
            self.mapping[key] = value
        self.replace = MapLabelValue(list(self.mapping), list(self.mapping.values()), dtype=np.uint8)

    def __call__(self, img: NdarrayOrTensor) -> NdarrayOrTensor:
        """Return the mapped labels as uint8.

        Args:
            img: label map of any shape.

        Raises:
            ValueError: for values that are not whole numbers or that the mapping does not contain, with the file if it
                is known.
        """
        source = img.meta.get("filename_or_obj", "label map") if isinstance(img, MetaTensor) else "label map"
        label = tracked_tensor(img, source)
        values = numpy_array(label)
        check_whole_labels(values, source)
        unknown = sorted(set(np.unique(values).tolist()) - set(self.mapping))
        if unknown:
            shown = ", ".join(f"{value:g}" for value in unknown[:8]) + (" ..." if len(unknown) > 8 else "")
            raise ValueError(
                f"{source}: label values {shown} are unexpected, known are {sorted(self.mapping)}; map them when the "
                "data set is made (python -m data_prep.dataset --map OLD=NEW)"
            )
        result: NdarrayOrTensor = convert_to_dst_type(self.replace(values), label, dtype=torch.uint8)[0]
        return result


@checked_arguments
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
