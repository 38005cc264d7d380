"""Random matching of an image's histogram to that of another scan."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.config import DtypeLike, KeysCollection, NdarrayOrTensor
from monai.transforms import LoadImage, RandomizableTransform
from monai.utils import TransformBackends, convert_to_dst_type
from numpy.typing import NDArray

from medseg._arguments import checked_arguments
from medseg.transforms._arrays import numpy_array, tracked_tensor, widened
from medseg.transforms._checks import check_probability
from medseg.transforms._output_type import OutputType, Rounding
from medseg.transforms._shared_draw import SharedDraw

__all__ = ["RandHistogramMatch", "RandHistogramMatchd"]

REFERENCE_VALUES = 65536
"""Number of values that are kept per channel of a reference: quantiles are accurate to 1 / 65536."""


@checked_arguments
class RandHistogramMatch(RandomizableTransform):
    """Match the histogram of an image to that of a randomly chosen reference scan, channel by channel.

    The augmentation of V-Net (Milletari et al., 2016, section 3.1): the network sees the same anatomy with the
    intensities of other scanners and protocols. The mapping is monotone and computed by scikit-image's
    ``match_histograms``.

    Image and references must use the same scale (all in HU, or all windowed) and should show comparable regions: a crop
    of the liver that is matched to a whole abdomen gets the abdomen's share of air and bone.

    Only the quantiles of a reference are kept in memory (:data:`REFERENCE_VALUES` per channel). A file is read when it
    is chosen for the first time.

    With worker processes, use ``monai.data.DataLoader``: with torch's own, all workers draw the same numbers.

    An image that is not finite is refused when it is drawn to be changed.

    Args:
        references: files that MONAI's ``LoadImage`` reads, or channel-first arrays ``(C, *spatial)``; at least one.
        prob: probability of the matching.
        dtype: output type; None for the type of the image.
        rounding: "nearest" allows an integer type and rounds to whole numbers; None allows floating types only.

    Raises:
        ValueError: for no references, a file that does not exist, values that are not finite, a probability outside 0
            to 1, or a type that cannot hold the values.

    Example:
        >>> reference = np.array([[[100.0, 200.0, 300.0, 400.0]]])
        >>> match = RandHistogramMatch([reference], prob=1.0)
        >>> match(np.array([[[4.0, 1.0, 3.0, 2.0]]])).tolist()
        [[[400.0, 100.0, 300.0, 200.0]]]
    """

    backend = [TransformBackends.NUMPY]

    def __init__(
        self,
        references: Sequence[str | Path | NdarrayOrTensor],
        prob: float = 0.5,
        dtype: DtypeLike | torch.dtype = np.float32,
        rounding: Rounding = None,
    ) -> None:
        RandomizableTransform.__init__(self, check_probability(prob))
        if isinstance(references, str | Path) or not len(references):
            raise ValueError(f"references is {references!r}, expected a list of at least one scan (path or array)")
        for reference in references:
            if isinstance(reference, str | Path) and not Path(reference).exists():
                raise ValueError(f"{reference}: no such file; expected a reference scan for histogram matching")
        self.references = list(references)
        self.output = OutputType(dtype, rounding)
        self.chosen = 0
        self._quantiles: dict[int, NDArray[Any]] = {}
        for index, reference in enumerate(self.references):
            if not isinstance(reference, str | Path):
                self._quantiles[index] = _quantiles(numpy_array(reference), f"reference {index}")
                self.references[index] = f"reference {index}"

    def randomize(self, data: Any = None) -> None:
        """Draw whether the image is matched, and to which reference."""
        super().randomize(None)
        if self._do_transform:
            self.chosen = int(self.R.randint(len(self.references)))

    def __call__(self, img: NdarrayOrTensor, randomize: bool = True) -> NdarrayOrTensor:
        """Return the matched image, or the unchanged image if the draw says so.

        Args:
            img: channel-first ``(C, *spatial)`` with as many channels as the reference; it is not modified.
            randomize: whether a new reference is drawn; otherwise the last one is used again.

        Raises:
            ValueError: if image and reference have different numbers of channels, or values are not finite.
        """
        if randomize:
            self.randomize()
        image = tracked_tensor(img)
        values = widened(image)
        if self._do_transform:
            values = convert_to_dst_type(self._match(numpy_array(image)), image, dtype=torch.float64)[0]
        result: NdarrayOrTensor = self.output(values, image.dtype)
        return result

    def _match(self, image: NDArray[Any]) -> NDArray[np.float64]:
        from skimage.exposure import match_histograms

        reference = self._reference(self.chosen)
        if image.ndim < 2 or len(image) != len(reference):
            raise ValueError(
                f"image has shape {image.shape}, but {self.references[self.chosen]} has {len(reference)} channel(s), "
                "expected a channel-first image with as many"
            )
        if not np.all(np.isfinite(image)):
            raise ValueError("image holds values that are not finite, expected numbers; clip or replace them first")
        # Integers would be matched to integers, so the image is matched as float64.
        template = reference.reshape(*reference.shape, *[1] * (image.ndim - 2)).astype(np.float64)
        matched: NDArray[np.float64] = match_histograms(image.astype(np.float64), template, channel_axis=0)
        return matched

    def _reference(self, index: int) -> NDArray[Any]:
        if index not in self._quantiles:
            path = str(self.references[index])
            self._quantiles[index] = _quantiles(numpy_array(LoadImage(ensure_channel_first=True)(path)), path)
        return self._quantiles[index]


@checked_arguments
class RandHistogramMatchd(SharedDraw):
    """Dictionary form of :class:`RandHistogramMatch`: one reference is drawn for all keys.

    Args:
        keys: the images to transform.
        references: see :class:`RandHistogramMatch`.
        prob: see :class:`RandHistogramMatch`.
        dtype: see :class:`RandHistogramMatch`.
        rounding: see :class:`RandHistogramMatch`.
        allow_missing_keys: whether a missing key is skipped instead of raising.

    Example:
        >>> reference = np.array([[[100.0, 200.0, 300.0, 400.0]]])
        >>> match = RandHistogramMatchd("image", [reference], prob=1.0)
        >>> match({"image": np.array([[[4.0, 1.0, 3.0, 2.0]]])})["image"].tolist()
        [[[400.0, 100.0, 300.0, 200.0]]]
    """

    backend = RandHistogramMatch.backend

    def __init__(
        self,
        keys: KeysCollection,
        references: Sequence[str | Path | NdarrayOrTensor],
        prob: float = 0.5,
        dtype: DtypeLike | torch.dtype = np.float32,
        rounding: Rounding = None,
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, RandHistogramMatch(references, prob, dtype, rounding), allow_missing_keys)


def _quantiles(array: NDArray[Any], name: str) -> NDArray[Any]:
    """At most :data:`REFERENCE_VALUES` sorted values of every channel, evenly spaced in rank."""
    if array.ndim < 2 or not array.size:
        raise ValueError(f"{name} has shape {array.shape}, expected a channel-first scan (C, *spatial)")
    if not np.all(np.isfinite(array)):
        raise ValueError(f"{name} holds values that are not finite, expected numbers; clip or replace them first")
    values = np.sort(array.reshape(len(array), -1), axis=1)
    count = values.shape[1]
    if count <= REFERENCE_VALUES:
        return values
    ranks = ((np.arange(REFERENCE_VALUES) + 0.5) * count / REFERENCE_VALUES).astype(np.int64)
    kept: NDArray[Any] = values[:, ranks]
    return kept
