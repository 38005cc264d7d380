"""Doubt an image that can hardly be a CT in Hounsfield units."""

from __future__ import annotations

import logging
from collections.abc import Hashable, Mapping
from typing import Any

from monai.config import KeysCollection, NdarrayOrTensor
from monai.data import MetaTensor
from monai.transforms import MapTransform, Transform
from monai.utils import TransformBackends

from medseg._arguments import checked_arguments
from medseg.io.bounded.errors import DataError
from medseg.io.volumes.hounsfield import hu_verdict
from medseg.transforms._arrays import numpy_array, tracked_tensor

__all__ = ["CheckHU", "CheckHUd"]

_LOG = logging.getLogger(__name__)

ON_DOUBT = ("warn", "refuse", "ignore")


@checked_arguments
class CheckHU(Transform):
    """Warn of an image that can hardly be a CT in Hounsfield units, or refuse it; the image itself is passed on.

    A network that was trained on CT gives a mask for every image, also for one that was scaled to 0..1, that is empty
    or whose intercept was not applied. `medseg.io.volumes.hounsfield` lists the rules. The check stands before the
    first transform that changes values.

    Voxels that are not finite are passed on as they are and are no part of the doubt; :class:`CheckFinite` finds them.

    Args:
        on_doubt: "warn" logs one line for each file; "refuse" raises an error; "ignore" does not look.
        cropped: the images are crops inside the body, so that missing air is no doubt.

    Raises:
        ValueError: for another word.

    Example:
        >>> scan = np.full((1, 8, 8, 8), -1000.0)
        >>> scan[:, 2:6, 2:6, 2:6] = 40.0
        >>> bool((CheckHU("refuse")(scan) == torch.from_numpy(scan)).all())
        True
        >>> CheckHU("refuse")(scan / 1000)
        Traceback (most recent call last):
            ...
        medseg.io.bounded.errors.DataError: image: values run from -1 to 0.04; expected air near -1000 ...
    """

    backend = [TransformBackends.TORCH, TransformBackends.NUMPY]

    def __init__(self, on_doubt: str = "warn", cropped: bool = False) -> None:
        if on_doubt not in ON_DOUBT:
            raise ValueError(f"on_doubt is {on_doubt!r}; expected one of {', '.join(ON_DOUBT)}")
        self.on_doubt, self.cropped = on_doubt, bool(cropped)
        self._said: set[str] = set()

    def __call__(self, img: NdarrayOrTensor) -> NdarrayOrTensor:
        """Return the image as it is.

        Args:
            img: channel-first array or tensor of any real type, in Hounsfield units.

        Raises:
            DataError: for "refuse", one line with the file (if known), the values found and expected, the likely cause
                and what helps.
        """
        image = tracked_tensor(img)
        if self.on_doubt == "ignore":
            return image
        doubt = hu_verdict(numpy_array(image), self.cropped).doubt("set cropped to true")
        if doubt:
            source = image.meta.get("filename_or_obj", "image") if isinstance(image, MetaTensor) else "image"
            self._say(f"{source}: {doubt}")
        return image

    def _say(self, line: str) -> None:
        if self.on_doubt == "refuse":
            raise DataError(line)
        # An image that is read in every epoch is named once.
        if line not in self._said:
            self._said.add(line)
            _LOG.warning("%s", line)


@checked_arguments
class CheckHUd(MapTransform):
    """Dictionary form of :class:`CheckHU`.

    Args:
        keys: the images.
        on_doubt: see :class:`CheckHU`.
        cropped: see :class:`CheckHU`.
        allow_missing_keys: whether a missing key is skipped instead of raising.

    Example:
        >>> case = {"image": torch.full((1, 4, 4, 4), -1000.0)}
        >>> CheckHUd("image", on_doubt="refuse")(case)
        Traceback (most recent call last):
            ...
        medseg.io.bounded.errors.DataError: image: every voxel is -1000; expected air near -1000 ...
    """

    backend = CheckHU.backend

    def __init__(
        self, keys: KeysCollection, on_doubt: str = "warn", cropped: bool = False, allow_missing_keys: bool = False
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.check = CheckHU(on_doubt, cropped)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Return a copy of ``data`` in which every key's image was checked."""
        result = dict(data)
        for key in self.key_iterator(result):
            result[key] = self.check(result[key])
        return result
