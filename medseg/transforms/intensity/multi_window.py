"""Several HU windows of one image as channels, fixed or random."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from numbers import Real
from typing import Any

import numpy as np
import torch
from monai.config import DtypeLike, KeysCollection, NdarrayOrTensor
from monai.transforms import MapTransform, RandomizableTransform, Transform

from medseg._arguments import checked_arguments
from medseg.transforms._checks import check_in_order, check_probability
from medseg.transforms._output_type import Rounding
from medseg.transforms._shared_draw import SharedDraw
from medseg.transforms.intensity.hu_window import HUWindow
from medseg.transforms.intensity.windows import NO_JITTER, Window, WindowJitter, jittered, resolve_window

__all__ = ["MultiWindow", "MultiWindowd", "RandMultiWindow", "RandMultiWindowd"]


@checked_arguments
class MultiWindow(Transform):
    """Map several windows of the Hounsfield scale, each to ``[out_min, out_max]``, and stack them as channels.

    Each channel has a high contrast in its window; a single wide window would use most of its range for bone and air.

    Voxels that are not finite: as in :class:`HUWindow`, in every channel.

    Args:
        windows: names from :data:`HU_WINDOWS` or pairs ``(centre, width)`` in HU, at least one.
        out_min: output value at the lower edge of a window.
        out_max: output value at the upper edge of a window, above ``out_min``.
        clip: whether values outside a window are clipped to the output range.
        dtype: see :class:`HUWindow`.
        rounding: see :class:`HUWindow`.

    Raises:
        ValueError: for no windows, an unknown or invalid window, ``out_min >= out_max``, or a type that
            cannot hold the values.

    Example:
        >>> ct = np.random.uniform(-1000, 1000, (1, 64, 64, 32))
        >>> MultiWindow(["lung", "liver", (400, 1800)])(ct).shape
        torch.Size([3, 64, 64, 32])
    """

    backend = HUWindow.backend

    def __init__(
        self,
        windows: Sequence[Window],
        out_min: float = 0.0,
        out_max: float = 1.0,
        clip: bool = True,
        dtype: DtypeLike | torch.dtype = np.float32,
        rounding: Rounding = None,
    ) -> None:
        self.windows = check_windows(windows)
        self.maps = [HUWindow(window, out_min, out_max, clip, dtype, rounding) for window in self.windows]

    def __call__(self, img: NdarrayOrTensor) -> NdarrayOrTensor:
        """Return the windows as channels.

        Args:
            img: HU, channel-first ``(C, *spatial)``.

        Returns:
            Tensor ``(len(windows) * C, *spatial)``: all channels of the first window, then those of the second, ...
        """
        return torch.cat([window(img) for window in self.maps], dim=0)


@checked_arguments
class MultiWindowd(MapTransform):
    """Dictionary form of :class:`MultiWindow`.

    Args:
        keys: the items to transform, each an image in HU.
        windows: see :class:`MultiWindow`.
        out_min: see :class:`MultiWindow`.
        out_max: see :class:`MultiWindow`.
        clip: see :class:`MultiWindow`.
        dtype: see :class:`HUWindow`.
        rounding: see :class:`HUWindow`.
        allow_missing_keys: whether a missing key is skipped instead of raising.

    Example:
        >>> ct = np.zeros((1, 64, 64, 32))
        >>> MultiWindowd("image", ["lung", "liver"])({"image": ct})["image"].shape
        torch.Size([2, 64, 64, 32])
    """

    backend = MultiWindow.backend

    def __init__(
        self,
        keys: KeysCollection,
        windows: Sequence[Window],
        out_min: float = 0.0,
        out_max: float = 1.0,
        clip: bool = True,
        dtype: DtypeLike | torch.dtype = np.float32,
        rounding: Rounding = None,
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.windows = MultiWindow(windows, out_min, out_max, clip, dtype, rounding)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Return a copy of ``data`` in which every key's image has its windows as channels."""
        result = dict(data)
        for key in self.key_iterator(result):
            result[key] = self.windows(result[key])
        return result


@checked_arguments
class RandMultiWindow(RandomizableTransform):
    """:class:`MultiWindow` with a random shift of the centre and scaling of the width for each window.

    With probability ``1 - prob`` the nominal windows are used.

    With worker processes, use ``monai.data.DataLoader``: with torch's own, all workers draw the same numbers.

    Voxels that are not finite: as in :class:`HUWindow`, in every channel.

    Args:
        windows: nominal windows, names from :data:`HU_WINDOWS` or pairs ``(centre, width)`` in HU, at least one.
        centre_shift: range ``(lowest, highest)`` of the shift of a centre in HU, or one number for both directions.
        width_scale: range ``(lowest, highest)`` of the factor of a width.
        prob: probability of random windows.
        out_min: output value at the lower edge of a window.
        out_max: output value at the upper edge of a window, above ``out_min``.
        clip: whether values outside a window are clipped to the output range.
        dtype: see :class:`HUWindow`.
        rounding: see :class:`HUWindow`.

    Raises:
        ValueError: for no windows, or an invalid window, range, probability or type.

    Example:
        >>> ct = np.random.uniform(-1000, 1000, (1, 64, 64, 32))
        >>> RandMultiWindow(["lung", "liver"], centre_shift=10).set_random_state(0)(ct).shape
        torch.Size([2, 64, 64, 32])
    """

    backend = MultiWindow.backend

    def __init__(
        self,
        windows: Sequence[Window],
        centre_shift: float | Sequence[float] = 20.0,
        width_scale: Sequence[float] = (0.9, 1.1),
        prob: float = 1.0,
        out_min: float = 0.0,
        out_max: float = 1.0,
        clip: bool = True,
        dtype: DtypeLike | torch.dtype = np.float32,
        rounding: Rounding = None,
    ) -> None:
        RandomizableTransform.__init__(self, check_probability(prob))
        self.windows = check_windows(windows)
        self.jitter = WindowJitter(centre_shift, width_scale)
        for window in self.windows:
            self.jitter.check(window)
        self.drawn = [NO_JITTER] * len(self.windows)
        self.output: tuple[Any, ...] = (out_min, out_max, clip, dtype, rounding)
        MultiWindow(self.windows, *self.output)  # raises now if the output range or type is wrong

    def randomize(self, data: Any = None) -> None:
        """Draw whether the windows are changed, and each of them by how much."""
        super().randomize(None)
        self.drawn = [self.jitter.draw(self.R) if self._do_transform else NO_JITTER for _ in self.windows]

    def __call__(self, img: NdarrayOrTensor, randomize: bool = True) -> NdarrayOrTensor:
        """Return the windows as channels, as :class:`MultiWindow` does.

        Args:
            img: HU, channel-first ``(C, *spatial)``; it is not modified.
            randomize: True draws new windows; False uses the last ones again.
        """
        if randomize:
            self.randomize()
        windows = [jittered(window, drawn) for window, drawn in zip(self.windows, self.drawn, strict=True)]
        return MultiWindow(windows, *self.output)(img)


@checked_arguments
class RandMultiWindowd(SharedDraw):
    """Dictionary form of :class:`RandMultiWindow`: the windows are drawn once for all keys.

    Args:
        keys: the items to transform, each an image in HU.
        windows: see :class:`RandMultiWindow`.
        centre_shift: see :class:`RandMultiWindow`.
        width_scale: see :class:`RandMultiWindow`.
        prob: see :class:`RandMultiWindow`.
        out_min: see :class:`RandMultiWindow`.
        out_max: see :class:`RandMultiWindow`.
        clip: see :class:`RandMultiWindow`.
        dtype: see :class:`HUWindow`.
        rounding: see :class:`HUWindow`.
        allow_missing_keys: whether a missing key is skipped instead of raising.

    Example:
        >>> ct = np.zeros((1, 64, 64, 32))
        >>> RandMultiWindowd("image", ["lung", "liver"]).set_random_state(0)({"image": ct})["image"].shape
        torch.Size([2, 64, 64, 32])
    """

    backend = MultiWindow.backend

    def __init__(
        self,
        keys: KeysCollection,
        windows: Sequence[Window],
        centre_shift: float | Sequence[float] = 20.0,
        width_scale: Sequence[float] = (0.9, 1.1),
        prob: float = 1.0,
        out_min: float = 0.0,
        out_max: float = 1.0,
        clip: bool = True,
        dtype: DtypeLike | torch.dtype = np.float32,
        rounding: Rounding = None,
        allow_missing_keys: bool = False,
    ) -> None:
        transform = RandMultiWindow(windows, centre_shift, width_scale, prob, out_min, out_max, clip, dtype, rounding)
        super().__init__(keys, transform, allow_missing_keys)


def check_windows(windows: Sequence[Window]) -> list[tuple[float, float]]:
    """Return ``(centre, width)`` in HU of every window.

    Raises:
        ValueError: for a single name or pair where several windows are expected, no windows, or an invalid window.
    """
    check_in_order("windows", windows)
    if isinstance(windows, str) or not len(windows) or isinstance(windows[0], Real):
        raise ValueError(f"windows is {windows!r}, expected a sequence of windows such as ('lung', (40, 400))")
    return [resolve_window(window) for window in windows]
