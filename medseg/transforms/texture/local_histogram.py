"""Maps of the local histogram: the fractions of the voxels in a window that are in each bin of intensity."""

from __future__ import annotations

from collections.abc import Sequence

from monai.config import KeysCollection, NdarrayOrTensor
from monai.transforms import Transform
from monai.utils import TransformBackends, convert_to_dst_type

from medseg._arguments import checked_arguments
from medseg.ops import local_histogram
from medseg.transforms._checks import odd_window
from medseg.transforms.texture._beside import AddsBeside, as_image, as_mask
from medseg.transforms.texture.region_histogram import Outside, check_bins

__all__ = ["LocalHistogram", "LocalHistogramd"]


@checked_arguments
class LocalHistogram(Transform):
    """Fraction of the voxels of a window in every bin, as channels; see :func:`medseg.ops.local_histogram`.

    At the border of the image, the part of the window inside the image is used. The fractions of a window sum to 1;
    they are all 0 if no voxel is counted.

    NaN is in no bin, and an infinite voxel is outside of the value range (see ``outside``): both change the maps within
    their window only.

    Args:
        window: size of the window in voxels, odd, one number for all axes or one per axis.
        bins: number of bins, at least 1 (``soft``: at least 2).
        value_range: lower and upper end of the bins.
        soft: linear instead of hard bins; differentiable with respect to the image.
        outside: "drop" does not count voxels outside of the range, "clip" counts them in the first or last bin.

    Raises:
        ValueError: for invalid bins, an invalid range or an unknown choice.

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
        self.window, self.soft, self.outside = odd_window(window), soft, outside

    def __call__(self, img: NdarrayOrTensor, mask: NdarrayOrTensor | None = None) -> NdarrayOrTensor:
        """Return the maps ``(C * bins, *spatial)``; all bins of the first channel come first.

        Args:
            img: ``(C, *spatial)`` with two or three spatial axes; it is not modified.
            mask: mask of the voxels to use, ``(1, *spatial)`` or ``(C, *spatial)``; None for all.

        Raises:
            ValueError: for shapes or a window that do not match.
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


@checked_arguments
class LocalHistogramd(AddsBeside):
    """Dictionary form of :class:`LocalHistogram`: the maps of ``key`` become ``key + postfix``.

    Args:
        keys: the images; they do not change.
        window: see :class:`LocalHistogram`.
        bins: see :class:`LocalHistogram`.
        value_range: see :class:`LocalHistogram`.
        soft: see :class:`LocalHistogram`.
        outside: see :class:`LocalHistogram`.
        mask_key: item of the mask; None to use all voxels.
        postfix: appended to the key to form the name of the maps.
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
