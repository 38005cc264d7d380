"""Windows of the Hounsfield scale: named presets, checks, and random changes of centre and width."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from medseg.transforms._checks import MOST_FLOAT32

__all__ = ["HU_WINDOWS", "NO_JITTER", "Window", "WindowJitter", "jittered", "resolve_window"]

HU_WINDOWS: dict[str, tuple[float, float]] = {
    "abdomen": (50.0, 400.0),
    "bone": (400.0, 1800.0),
    "brain": (40.0, 80.0),
    "liver": (60.0, 200.0),
    "lung": (-600.0, 1500.0),
    "mediastinum": (50.0, 350.0),
    "soft_tissue": (40.0, 400.0),
}
"""Named windows as ``(centre, width)`` in HU: the settings commonly used for reading CT."""

Window = str | Sequence[float]


def resolve_window(window: Window) -> tuple[float, float]:
    """Return ``(centre, width)`` in HU for a preset's name or a pair of numbers.

    Raises:
        ValueError: for an unknown name, a pair that is not two finite numbers, or a width that is not positive.

    Example:
        >>> resolve_window("lung")
        (-600.0, 1500.0)
        >>> resolve_window((40, 400))
        (40.0, 400.0)
    """
    if isinstance(window, str):
        if window not in HU_WINDOWS:
            raise ValueError(f"unknown HU window {window!r}; use one of {sorted(HU_WINDOWS)} or (centre, width) in HU")
        return HU_WINDOWS[window]
    values = _numbers(window)
    if len(values) != 2 or not np.all(np.abs(values) <= MOST_FLOAT32) or values[1] <= 0:
        raise ValueError(f"HU window {values} must be (centre, width) in HU with a positive width")
    lower, upper = np.float32(values[0] - values[1] / 2), np.float32(values[0] + values[1] / 2)
    if not lower < upper:
        raise ValueError(f"HU window {values} is so narrow that its edges are equal in float32, expected a wider one")
    return float(values[0]), float(values[1])


def _numbers(values: float | Sequence[float]) -> tuple[float, ...]:
    """One number or several as a tuple, whose length the caller checks."""
    return tuple(np.atleast_1d(np.asarray(values)).tolist())


class WindowJitter:
    """Random change of the centre and width of a window.

    Args:
        centre_shift: range ``(lowest, highest)`` in HU of the number that is added to the centre, or one number for
            ``(-number, number)``; uniform distribution.
        width_scale: range ``(lowest, highest)`` of the factor of the width, positive; uniform distribution.

    Raises:
        ValueError: for a range that is not finite and ascending, or a factor that is not positive.
    """

    def __init__(self, centre_shift: float | Sequence[float] = 20.0, width_scale: Sequence[float] = (0.9, 1.1)) -> None:
        shift, scale = _numbers(centre_shift), _numbers(width_scale)
        shift = (-shift[0], shift[0]) if np.ndim(centre_shift) == 0 else shift
        for name, values in (("centre_shift", shift), ("width_scale", scale)):
            if len(values) != 2 or not np.all(np.isfinite(values)) or values[0] > values[1]:
                raise ValueError(f"{name} is {values}, expected two finite numbers (lowest, highest)")
        if scale[0] <= 0:
            raise ValueError(f"width_scale is {scale}, expected factors above 0")
        self.centre_shift, self.width_scale = shift, scale

    def check(self, window: Window) -> None:
        """Raises ValueError if a window is invalid after the smallest or the largest change."""
        for shift in self.centre_shift:
            for scale in self.width_scale:
                resolve_window(jittered(window, (shift, scale)))

    def draw(self, random: np.random.RandomState) -> tuple[float, float]:
        """Draw ``(shift in HU, factor)``."""
        shift = random.uniform(self.centre_shift[0], self.centre_shift[1])
        return shift, random.uniform(self.width_scale[0], self.width_scale[1])


NO_JITTER = (0.0, 1.0)
"""The shift in HU and the factor that do not change a window."""


def jittered(window: Window, shift_and_scale: tuple[float, float]) -> tuple[float, float]:
    """``(centre, width)`` in HU after a shift of the centre and a scaling of the width."""
    centre, width = resolve_window(window)
    return centre + shift_and_scale[0], width * shift_and_scale[1]
