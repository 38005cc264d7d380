"""HU windowing: map a window of the Hounsfield scale, fixed or random, to a fixed range."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from monai.config import DtypeLike, KeysCollection, NdarrayOrTensor
from monai.transforms import MapTransform, RandomizableTransform, ScaleIntensityRange, Transform
from monai.utils import TransformBackends

from medseg._arguments import checked_arguments
from medseg.transforms._arrays import tracked_tensor, widened
from medseg.transforms._checks import check_probability
from medseg.transforms._output_type import OutputType, Rounding
from medseg.transforms._shared_draw import SharedDraw
from medseg.transforms.intensity.windows import NO_JITTER, Window, WindowJitter, jittered, resolve_window

__all__ = ["HUWindow", "HUWindowd", "RandHUWindow", "RandHUWindowd"]


@checked_arguments
class HUWindow(Transform):
    """Map a window of the Hounsfield scale linearly to ``[out_min, out_max]`` and clip values outside of it.

    The window ``(centre, width)`` covers ``centre - width / 2`` to ``centre + width / 2``. It is computed by MONAI's
    ``ScaleIntensityRange``.

    NaN stays NaN, in its voxel; an infinite voxel becomes the end of the output range with ``clip``, and stays infinite
    without. An integer ``dtype`` refuses what is not finite.

    Args:
        window: a name from :data:`HU_WINDOWS` or ``(centre, width)`` in HU.
        out_min: output value at the lower edge of the window.
        out_max: output value at the upper edge of the window, above ``out_min``.
        clip: whether values outside the window are clipped to the output range.
        dtype: output type; None for the type of the image. The computation is in float32 (float64 for float64 images).
        rounding: "nearest" allows an integer type and rounds to whole numbers, which an output range such as 0 to 255
            makes useful; an unsigned type also needs ``clip=True``. None allows floating types only.

    Raises:
        ValueError: for an unknown or invalid window, ``out_min >= out_max``, or a type that cannot hold the values.

    Example:
        >>> ct = np.array([[-500.0, -40.0, 60.0, 110.0, 900.0]])
        >>> HUWindow("liver")(ct).tolist()
        [[0.0, 0.0, 0.5, 0.75, 1.0]]
        >>> HUWindow((60, 200), -1.0, 1.0)(ct).tolist()
        [[-1.0, -1.0, 0.0, 0.5, 1.0]]
    """

    backend = [TransformBackends.TORCH, TransformBackends.NUMPY]

    def __init__(
        self,
        window: Window,
        out_min: float = 0.0,
        out_max: float = 1.0,
        clip: bool = True,
        dtype: DtypeLike | torch.dtype = np.float32,
        rounding: Rounding = None,
    ) -> None:
        if not -np.inf < out_min < out_max < np.inf:
            raise ValueError(f"out_min ({out_min}) must be below out_max ({out_max}), both finite")
        self.centre, self.width = resolve_window(window)
        lower, upper = self.centre - self.width / 2, self.centre + self.width / 2
        self.scale = ScaleIntensityRange(lower, upper, out_min, out_max, clip=clip, dtype=None)
        self.output = OutputType(dtype, rounding, (float(out_min), float(out_max)), clip)

    def __call__(self, img: NdarrayOrTensor) -> NdarrayOrTensor:
        """Return the windowed image; ``img`` is in HU, of any shape, and is not modified."""
        image = tracked_tensor(img)
        result: NdarrayOrTensor = self.output(self.scale(widened(image)), image.dtype)
        return result


@checked_arguments
class HUWindowd(MapTransform):
    """Dictionary form of :class:`HUWindow`.

    Args:
        keys: the items to transform, each an image in HU.
        window: see :class:`HUWindow`.
        out_min: see :class:`HUWindow`.
        out_max: see :class:`HUWindow`.
        clip: see :class:`HUWindow`.
        dtype: see :class:`HUWindow`.
        rounding: see :class:`HUWindow`.
        allow_missing_keys: whether a missing key is skipped instead of raising.

    Example:
        >>> ct = np.array([[-40.0, 60.0, 160.0]])
        >>> HUWindowd("image", "liver")({"image": ct})["image"].tolist()
        [[0.0, 0.5, 1.0]]
    """

    backend = HUWindow.backend

    def __init__(
        self,
        keys: KeysCollection,
        window: Window,
        out_min: float = 0.0,
        out_max: float = 1.0,
        clip: bool = True,
        dtype: DtypeLike | torch.dtype = np.float32,
        rounding: Rounding = None,
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.window = HUWindow(window, out_min, out_max, clip, dtype, rounding)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Return a copy of ``data`` in which every key's image is windowed."""
        result = dict(data)
        for key in self.key_iterator(result):
            result[key] = self.window(result[key])
        return result


@checked_arguments
class RandHUWindow(RandomizableTransform):
    """:class:`HUWindow` with a randomly shifted centre and scaled width.

    With probability ``1 - prob`` the nominal window is used. The output range is always the same. Use
    :class:`HUWindow` with the nominal window for validation.

    With worker processes, use ``monai.data.DataLoader``: with torch's own, all workers draw the same numbers.

    Voxels that are not finite: as in :class:`HUWindow`.

    Args:
        window: nominal window, a name from :data:`HU_WINDOWS` or ``(centre, width)`` in HU.
        centre_shift: range ``(lowest, highest)`` of the shift of the centre in HU, or one number for both directions.
        width_scale: range ``(lowest, highest)`` of the factor of the width.
        prob: probability of a random window.
        out_min: output value at the lower edge of the window.
        out_max: output value at the upper edge of the window, above ``out_min``.
        clip: whether values outside the window are clipped to the output range.
        dtype: see :class:`HUWindow`.
        rounding: see :class:`HUWindow`.

    Raises:
        ValueError: for an invalid window, range, probability or type.

    Example:
        >>> ct = np.array([[-40.0, 60.0, 160.0]])
        >>> transform = RandHUWindow("liver", centre_shift=20, clip=False).set_random_state(0)
        >>> [round(v, 2) for v in transform(ct)[0].tolist()]
        [-0.03, 0.46, 0.95]
        >>> [round(v, 2) for v in transform(ct)[0].tolist()]
        [0.03, 0.51, 1.0]
    """

    backend = HUWindow.backend

    def __init__(
        self,
        window: Window,
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
        self.window = resolve_window(window)
        self.jitter = WindowJitter(centre_shift, width_scale)
        self.jitter.check(self.window)
        self.drawn = NO_JITTER
        self.output: tuple[Any, ...] = (out_min, out_max, clip, dtype, rounding)
        HUWindow(self.window, *self.output)  # raises now if the output range or type is wrong

    def randomize(self, data: Any = None) -> None:
        """Draw whether the window is changed, and by how much."""
        super().randomize(None)
        self.drawn = self.jitter.draw(self.R) if self._do_transform else NO_JITTER

    def __call__(self, img: NdarrayOrTensor, randomize: bool = True) -> NdarrayOrTensor:
        """Return the windowed image.

        Args:
            img: HU in any shape; it is not modified.
            randomize: True draws a new window; False uses the last one again.
        """
        if randomize:
            self.randomize()
        return HUWindow(jittered(self.window, self.drawn), *self.output)(img)


@checked_arguments
class RandHUWindowd(SharedDraw):
    """Dictionary form of :class:`RandHUWindow`: one window is drawn for all keys.

    Args:
        keys: the items to transform, each an image in HU.
        window: see :class:`RandHUWindow`.
        centre_shift: see :class:`RandHUWindow`.
        width_scale: see :class:`RandHUWindow`.
        prob: see :class:`RandHUWindow`.
        out_min: see :class:`RandHUWindow`.
        out_max: see :class:`RandHUWindow`.
        clip: see :class:`RandHUWindow`.
        dtype: see :class:`HUWindow`.
        rounding: see :class:`HUWindow`.
        allow_missing_keys: whether a missing key is skipped instead of raising.

    Example:
        >>> ct = np.array([[-40.0, 60.0, 160.0]])
        >>> transform = RandHUWindowd(["before", "after"], "liver").set_random_state(0)
        >>> both = transform({"before": ct, "after": ct})
        >>> bool((both["before"] == both["after"]).all())
        True
    """

    backend = HUWindow.backend

    def __init__(
        self,
        keys: KeysCollection,
        window: Window,
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
        transform = RandHUWindow(window, centre_shift, width_scale, prob, out_min, out_max, clip, dtype, rounding)
        super().__init__(keys, transform, allow_missing_keys)
