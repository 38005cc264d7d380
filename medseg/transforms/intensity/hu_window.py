"""HU windowing: map one window of the Hounsfield scale to a fixed range."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np
from monai.config import DtypeLike, KeysCollection, NdarrayOrTensor
from monai.transforms import MapTransform, ScaleIntensityRange, Transform
from monai.utils import TransformBackends

__all__ = ["HU_WINDOWS", "HUWindow", "HUWindowd", "resolve_window"]

HU_WINDOWS: dict[str, tuple[float, float]] = {
    "abdomen": (50.0, 400.0),
    "bone": (400.0, 1800.0),
    "brain": (40.0, 80.0),
    "liver": (60.0, 200.0),
    "lung": (-600.0, 1500.0),
    "mediastinum": (50.0, 350.0),
}
"""Named windows as ``(centre, width)`` in HU: the settings commonly used for reading CT."""

Window = str | Sequence[float]


def resolve_window(window: Window) -> tuple[float, float]:
    """Return ``(centre, width)`` in HU for a preset's name or a pair of numbers.

    Raises:
        ValueError: for an unknown name, a pair that is not two finite numbers, or a width that is not positive.
    """
    if isinstance(window, str):
        if window not in HU_WINDOWS:
            raise ValueError(f"unknown HU window {window!r}; use one of {sorted(HU_WINDOWS)} or (centre, width) in HU")
        return HU_WINDOWS[window]
    values = tuple(float(value) for value in window)
    if len(values) != 2 or not np.all(np.isfinite(values)) or values[1] <= 0:
        raise ValueError(f"HU window {tuple(window)} must be (centre, width) in HU with a positive width")
    return values[0], values[1]


class HUWindow(Transform):
    """Map a window of the Hounsfield scale linearly to ``[out_min, out_max]``, clipping what lies outside.

    The window ``(centre, width)`` covers ``centre - width / 2`` to ``centre + width / 2``. The work is done by MONAI's
    ``ScaleIntensityRange``.

    Args:
        window: a name from :data:`HU_WINDOWS` or ``(centre, width)`` in HU.
        out_min: output value at the window's lower edge.
        out_max: output value at the window's upper edge, above ``out_min``.
        clip: whether values outside the window are clipped to the output range.
        dtype: output type.

    Raises:
        ValueError: for an unknown or impossible window, or ``out_min >= out_max``.
    """

    backend = [TransformBackends.TORCH, TransformBackends.NUMPY]

    def __init__(
        self,
        window: Window,
        out_min: float = 0.0,
        out_max: float = 1.0,
        clip: bool = True,
        dtype: DtypeLike = np.float32,
    ) -> None:
        if not out_min < out_max:
            raise ValueError(f"out_min ({out_min}) must be below out_max ({out_max})")
        self.centre, self.width = resolve_window(window)
        lower, upper = self.centre - self.width / 2, self.centre + self.width / 2
        self.scale = ScaleIntensityRange(lower, upper, out_min, out_max, clip=clip, dtype=dtype)

    def __call__(self, img: NdarrayOrTensor) -> NdarrayOrTensor:
        """Return the windowed image; ``img`` holds HU in any shape and is left as it is."""
        return self.scale(img)


class HUWindowd(MapTransform):
    """Dictionary form of :class:`HUWindow`.

    Args:
        keys: the items to transform, each an image in HU.
        window: see :class:`HUWindow`.
        out_min: see :class:`HUWindow`.
        out_max: see :class:`HUWindow`.
        clip: see :class:`HUWindow`.
        dtype: see :class:`HUWindow`.
        allow_missing_keys: whether a missing key is skipped instead of raising.
    """

    backend = HUWindow.backend

    def __init__(
        self,
        keys: KeysCollection,
        window: Window,
        out_min: float = 0.0,
        out_max: float = 1.0,
        clip: bool = True,
        dtype: DtypeLike = np.float32,
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.window = HUWindow(window, out_min, out_max, clip, dtype)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Return a copy of ``data`` in which every key's image is windowed."""
        result = dict(data)
        for key in self.key_iterator(result):
            result[key] = self.window(result[key])
        return result
