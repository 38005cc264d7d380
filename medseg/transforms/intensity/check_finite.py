"""Refuse or fill voxels that are not finite numbers."""

from __future__ import annotations

import logging
from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import torch
from monai.config import KeysCollection, NdarrayOrTensor
from monai.data import MetaTensor
from monai.transforms import MapTransform, Transform
from monai.utils import TransformBackends, ensure_tuple_rep

from medseg._arguments import checked_arguments
from medseg.io.bounded.errors import DataError
from medseg.io.volumes.finite import AIR_HU, ON_NONFINITE, NonFinite, check_fill_value
from medseg.transforms._arrays import tracked_tensor

__all__ = ["CheckFinite", "CheckFinited"]

_LOG = logging.getLogger(__name__)

META_KEY = "nonfinite"
"""Where the meta data of a filled image say what was done."""


@checked_arguments
class CheckFinite(Transform):
    """Refuse an image with voxels that are NaN or infinite, or replace them by one value.

    One such voxel is enough to turn every output of a network with instance normalisation into NaN, so this check
    stands before the first transform that mixes voxels. An image without such voxels is passed on as it is.

    Args:
        on_nonfinite: "refuse" raises an error; "fill" replaces the voxels by ``fill_value``.
        fill_value: finite value for "fill", in the image's unit; the default is air in HU.

    Raises:
        ValueError: for another word, or a fill value that is not finite.

    Example:
        >>> image = np.array([[[np.nan, 40.0], [60.0, np.inf]]], np.float32)
        >>> filled = CheckFinite("fill", fill_value=-1024.0)(image)
        >>> filled.tolist()
        [[[-1024.0, 40.0], [60.0, -1024.0]]]
        >>> filled.meta["nonfinite"]
        {'voxels': 2, 'first': [0, 0, 0], 'filled_with': -1024.0}
        >>> CheckFinite()(image)
        Traceback (most recent call last):
            ...
        medseg.io.bounded.errors.DataError: image: 2 of 4 voxels are not finite (NaN or infinite), ...
    """

    backend = [TransformBackends.TORCH]

    def __init__(self, on_nonfinite: str = "refuse", fill_value: float = AIR_HU) -> None:
        if on_nonfinite not in ON_NONFINITE:
            raise ValueError(f"on_nonfinite is {on_nonfinite!r}; expected one of {', '.join(ON_NONFINITE)}")
        self.on_nonfinite, self.fill_value = on_nonfinite, check_fill_value(fill_value)

    def __call__(self, img: NdarrayOrTensor) -> NdarrayOrTensor:
        """Return the image, filled where asked for.

        A filled image is named in a warning on the log, and says so in its meta data: ``meta["nonfinite"]`` holds the
        number of ``voxels``, the index of the ``first`` and the value they were ``filled_with``.

        Args:
            img: channel-first array or tensor of any type; left as it is.

        Raises:
            DataError: for "refuse", one line with the file (if known), the number of voxels and the index of the first.
        """
        image = tracked_tensor(img)
        plain = image.as_tensor() if isinstance(image, MetaTensor) else image
        # A sum shows every NaN and infinity, and needs no volume of flags; if it only overflows, the flags decide.
        if not plain.is_floating_point() or bool(plain.sum(dtype=torch.float64).isfinite()):
            return image
        bad = ~torch.isfinite(plain)
        count = int(bad.sum())
        if not count:
            return image
        if self.on_nonfinite == "fill" and abs(self.fill_value) > torch.finfo(image.dtype).max:
            raise ValueError(f"fill_value is {self.fill_value:g}; expected a number that {image.dtype} can hold")
        found = NonFinite(count, bad.numel(), tuple(bad.nonzero()[0].tolist()))
        source = image.meta.get("filename_or_obj", "image") if isinstance(image, MetaTensor) else "image"
        line = f"{source}: {found.describe('channel, then axes')}"
        if self.on_nonfinite == "refuse":
            raise DataError(
                f'{line}; mend the file, or set on_nonfinite to "fill", which puts {self.fill_value:g} there'
            )
        _LOG.warning("%s; they were set to %g", line, self.fill_value)
        filled = image.masked_fill(bad, self.fill_value)
        if isinstance(filled, MetaTensor):
            filled.meta[META_KEY] = found.record(self.fill_value)
        return filled


@checked_arguments
class CheckFinited(MapTransform):
    """Dictionary form of :class:`CheckFinite`.

    Args:
        keys: the images.
        on_nonfinite: see :class:`CheckFinite`; one word for all keys, or one for each.
        fill_value: see :class:`CheckFinite`; one number for all keys, or one for each.
        allow_missing_keys: whether a missing key is skipped instead of raising.

    Example:
        >>> case = {"image": torch.full((1, 2, 2), torch.nan), "label": torch.zeros(1, 2, 2)}
        >>> CheckFinited(["image", "label"], "fill", fill_value=[-1024.0, 0.0])(case)["image"].unique()
        metatensor([-1024.])
    """

    backend = CheckFinite.backend

    def __init__(
        self,
        keys: KeysCollection,
        on_nonfinite: str | Sequence[str] = "refuse",
        fill_value: float | Sequence[float] = AIR_HU,
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        words, values = ensure_tuple_rep(on_nonfinite, len(self.keys)), ensure_tuple_rep(fill_value, len(self.keys))
        self.checks = [CheckFinite(word, value) for word, value in zip(words, values, strict=True)]

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Return a copy of ``data`` in which every key's image is checked."""
        result = dict(data)
        for key, check in self.key_iterator(result, self.checks):
            result[key] = check(result[key])
        return result
