"""Maps of local statistics of the intensities in a window around every voxel."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from monai.config import KeysCollection, NdarrayOrTensor
from monai.transforms import Transform
from monai.utils import TransformBackends, convert_to_dst_type
from torch import Tensor

from medseg._arguments import checked_arguments
from medseg.ops._windows import check_window, window_sum
from medseg.transforms._checks import check_in_order, odd_window
from medseg.transforms.texture._beside import AddsBeside, as_image, as_mask

__all__ = ["LocalStatistics", "LocalStatisticsd"]

STATISTICS = ("mean", "std", "skewness", "kurtosis")


@checked_arguments
class LocalStatistics(Transform):
    """Mean, standard deviation, skewness and excess kurtosis of the voxels in a window (biased, divided by the count).

    At the border of the image, the part of the window inside the image is used. All statistics are 0 if no voxel is in
    the window, and the last three are 0 in a constant window. Differentiable with respect to the image.

    Voxels that are not finite are left out, as if outside of the mask: the maps change within their window, elsewhere
    by rounding only.

    Args:
        window: size of the window in voxels, odd, one number for all axes or one per axis.
        statistics: names of the statistics, in the order of the channels.

    Raises:
        ValueError: for an unknown statistic, or none.

    Example:
        >>> image = np.array([[[0.0, 10.0, 20.0, 30.0, 40.0]]])
        >>> maps = LocalStatistics(3, ("mean", "std"))(image)
        >>> maps[0].tolist()
        [[5.0, 10.0, 20.0, 30.0, 35.0]]
    """

    backend = [TransformBackends.TORCH]

    def __init__(self, window: int | Sequence[int] = 11, statistics: Sequence[str] = STATISTICS) -> None:
        check_in_order("statistics", statistics)
        if isinstance(statistics, str) or not statistics or any(s not in STATISTICS for s in statistics):
            raise ValueError(f"statistics is {statistics!r}, expected some of {', '.join(STATISTICS)}")
        self.window, self.statistics = odd_window(window), tuple(statistics)

    def __call__(self, img: NdarrayOrTensor, mask: NdarrayOrTensor | None = None) -> NdarrayOrTensor:
        """Return the maps ``(C * statistics, *spatial)``; all statistics of the first channel come first.

        Args:
            img: ``(C, *spatial)`` with two or three spatial axes; it is not modified.
            mask: mask of the voxels to use, ``(1, *spatial)`` or ``(C, *spatial)``; None for all.

        Raises:
            ValueError: for shapes or a window that do not match.
        """
        tracked, image = as_image(img)
        inside = as_mask(mask, image)
        sides = check_window("LocalStatistics", image[None], None, self.window)
        valid = image.isfinite() if inside is None else image.isfinite() & inside
        maps = self._maps(image, valid, [(-(w // 2), w // 2) for w in sides]).to(image.dtype)
        return convert_to_dst_type(maps, tracked, dtype=image.dtype)[0]

    def _maps(self, image: Tensor, valid: Tensor, spans: list[tuple[int, int]]) -> Tensor:
        values = torch.where(valid, image.double(), 0.0)
        # Moments about the mean of the image are more accurate than moments about 0.
        middle = values.detach().sum() / valid.sum().clamp(min=1)
        values = torch.where(valid, values - middle, 0.0)
        count = window_sum(valid.double(), spans)
        powers = [values]
        for _ in range(max(STATISTICS.index(s) for s in self.statistics)):
            powers.append(powers[-1] * values)
        moments = window_sum(torch.stack(powers), spans) / count.clamp(min=1)
        found = _statistics(moments, count > 0, middle)
        return torch.stack([found[s] for s in self.statistics], dim=1).flatten(0, 1)


def _statistics(moments: Tensor, present: Tensor, middle: Tensor) -> dict[str, Tensor]:
    """The statistics from the first moments about the middle; 0 where they are not defined."""
    m1 = moments[0]
    found = {"mean": torch.where(present, m1 + middle, 0.0)}
    if len(moments) > 1:
        m2, square = moments[1], m1 * m1
        variance = m2 - square
        varies = variance > 1e-12 * m2
        safe = torch.where(varies, variance, 1.0)
        found["std"] = torch.where(varies, safe.sqrt(), 0.0)
    if len(moments) > 2:
        third = moments[2] - m1 * (3 * m2 - 2 * square)
        found["skewness"] = torch.where(varies, third / (safe * safe.sqrt()), 0.0)
    if len(moments) > 3:
        fourth = moments[3] - m1 * (4 * moments[2] - m1 * (6 * m2 - 3 * square))
        found["kurtosis"] = torch.where(varies, fourth / (safe * safe) - 3, 0.0)
    return found


@checked_arguments
class LocalStatisticsd(AddsBeside):
    """Dictionary form of :class:`LocalStatistics`: the maps of ``key`` become ``key + postfix``.

    Args:
        keys: the images; they do not change.
        window: see :class:`LocalStatistics`.
        statistics: see :class:`LocalStatistics`.
        mask_key: item of the mask; None to use all voxels.
        postfix: appended to the key to form the name of the maps.
        allow_missing_keys: whether a missing key is skipped instead of raising.

    Example:
        >>> LocalStatisticsd("image", 5, ("mean", "std"))({"image": np.zeros((1, 32, 32))})["image_statistics"].shape
        torch.Size([2, 32, 32])
    """

    backend = LocalStatistics.backend

    def __init__(
        self,
        keys: KeysCollection,
        window: int | Sequence[int] = 11,
        statistics: Sequence[str] = STATISTICS,
        mask_key: str | None = None,
        postfix: str = "_statistics",
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, LocalStatistics(window, statistics), postfix, mask_key, allow_missing_keys)
