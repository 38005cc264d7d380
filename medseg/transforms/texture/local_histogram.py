"""Maps of the local histogram: around every voxel, the shares of a window's voxels in bins of intensity."""

from __future__ import annotations

from collections.abc import Sequence

from monai.config import KeysCollection, NdarrayOrTensor
from monai.transforms import Transform
from monai.utils import TransformBackends, convert_to_dst_type

from medseg.ops import local_histogram
from medseg.transforms.texture._beside import AddsBeside, as_image, as_mask
from medseg.transforms.texture.region_histogram import Outside, check_bins

__all__ = ["LocalHistogram", "LocalHistogramd"]


class LocalHistogram(Transform):
    """Shares of the voxels of a window in every bin, as channels; see :func:`medseg.ops.local_histogram`.

    The window is cut at the border of the image. The shares of a window sum to 1, or are 0 if it counts no voxel.

    Args:
        window: odd side of the window in voxels, for all axes or for each.
        bins: number of bins, at least 1 (``soft``: at least 2).
        value_range: lower and upper end of the bins.
        soft: linear instead of hard bins, differentiable in the image.
        outside: "drop" leaves out voxels that are not in the range, "clip" counts them in the end bins.

    Raises:
        ValueError: for bins, a range or a choice that cannot be.

    Example:
        >>> image = np.array([[[-150.0, 0.0, 0.0, 0.0, 150.0]]])
        >>> LocalHistogram(window=5, bins=3, value_range=(-200, 200))(image)[:, 0, 2].tolist()
        [0.2, 0.6000000000000001, 0.2]
    """

    backend = [TransformBackends.TORCH]

    def __init__(
        self,
        window: int | Sequence[int] = 11,
        bins: int = 16,
        value_range: Sequence[float] = (-200.0, 250.0),
        soft: bool = False,
        outside: Outside = "drop",
    ) -> None:
        self.bins, (self.low, self.high) = check_bins(bins, value_range, soft)
        if outside not in ("drop", "clip"):
            raise ValueError(f"outside is {outside!r}, expected 'drop' or 'clip'")
        self.window, self.soft, self.outside = window, soft, outside

    def __call__(self, img: NdarrayOrTensor, mask: NdarrayOrTensor | None = None) -> NdarrayOrTensor:
        """Return the maps ``(C * bins, *spatial)``, the bins of the first channel first.

        Args:
            img: ``(C, *spatial)`` with two or three spatial axes; left as it is.
            mask: the voxels that count, ``(1, *spatial)`` or ``(C, *spatial)``; None for all.

        Raises:
            ValueError: for shapes or a window that do not fit.
        """
        tracked, image = as_image(img)
        inside = as_mask(mask, image)
        if self.outside == "clip":
            image = image.clamp(self.low, self.high)
        maps = local_histogram(
            image[None],
            self.window,
            self.bins,
            self.low,
            self.high,
            None if inside is None else inside[None],
            self.soft,
        )[0]
        return convert_to_dst_type(maps, tracked, dtype=maps.dtype)[0]


class LocalHistogramd(AddsBeside):
    """Dictionary form of :class:`LocalHistogram`: the maps of ``key`` become ``key + postfix``.

    Args:
        keys: the images, which stay as they are.
        window: see :class:`LocalHistogram`.
        bins: see :class:`LocalHistogram`.
        value_range: see :class:`LocalHistogram`.
        soft: see :class:`LocalHistogram`.
        outside: see :class:`LocalHistogram`.
        mask_key: the item with the voxels that count; None for all.
        postfix: appended to a key to name its maps.
        allow_missing_keys: whether a missing key is skipped instead of raising.

    Example:
        >>> LocalHistogramd("image", bins=8)({"image": np.zeros((1, 32, 32))})["image_histogram_maps"].shape
        torch.Size([8, 32, 32])
    """

    backend = LocalHistogram.backend

    def __init__(
        self,
        keys: KeysCollection,
        window: int | Sequence[int] = 11,
        bins: int = 16,
        value_range: Sequence[float] = (-200.0, 250.0),
        soft: bool = False,
        outside: Outside = "drop",
        mask_key: str | None = None,
        postfix: str = "_histogram_maps",
        allow_missing_keys: bool = False,
    ) -> None:
        transform = LocalHistogram(window, bins, value_range, soft, outside)
        super().__init__(keys, transform, postfix, mask_key, allow_missing_keys)
