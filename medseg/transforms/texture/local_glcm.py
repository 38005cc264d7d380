"""Texture maps: features of the grey-level co-occurrence matrix in a window around every voxel."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from monai.config import KeysCollection, NdarrayOrTensor
from monai.transforms import Transform
from monai.utils import TransformBackends, convert_to_dst_type

from medseg._arguments import checked_arguments
from medseg.ops import local_glcm
from medseg.ops._glcm_features import chosen_features, feature_bits
from medseg.ops.local_glcm import FEATURES
from medseg.transforms._checks import odd_window
from medseg.transforms.texture._beside import AddsBeside, as_image, as_mask
from medseg.transforms.texture._glcm_settings import GlcmSettings, Unit

__all__ = ["LocalGLCM", "LocalGLCMd"]


@checked_arguments
class LocalGLCM(Transform):
    """Maps of contrast, homogeneity, entropy and other texture features; see :func:`medseg.ops.local_glcm`.

    The features are contrast, dissimilarity, homogeneity, asm, energy, entropy, correlation, cluster_shade,
    cluster_prominence and max_probability. Pairs of voxels are formed along all directions
    between neighbours (4 in 2-D, 13 in 3-D). A pair is counted if both voxels are in the window, the image and the
    mask. The maps are means over the directions and distances.

    Pairs with a NaN are not counted and an infinite voxel is in the first or last level, so that a voxel that is not
    finite changes the maps within its window only.

    Args:
        window: size of the window in voxels, odd, one number for all axes or one per axis.
        levels: number of grey levels in the range, 2 to 1024; intensities outside of it are in the first or last level.
        value_range: intensities at the lower end of the first level and at the upper end of the last level.
        distances: distances between the two voxels of a pair.
        unit: unit of the distances, "voxel", or "mm" according to the affine of the image (rounded to whole voxels).
        features: names of the features, in the order of the channels.
        quantise: True for whole levels. With False, contrast, dissimilarity, homogeneity, correlation, cluster shade
            and cluster prominence use intensities in units of a level, without rounding, and are differentiable with
            respect to the image.
        skip_axis: spatial axis along which no pair steps, e.g. that of thick slices; None for none.

    Raises:
        ValueError: for an invalid value.

    Example:
        >>> stripes = np.tile(np.array([-150.0, 100.0, -150.0, 100.0]), (1, 3, 1))
        >>> maps = LocalGLCM(3, 4, (-200, 200), features=("contrast", "energy"), skip_axis=0)(stripes)
        >>> maps.shape
        torch.Size([2, 3, 4])
        >>> maps[0, 1].tolist()
        [9.0, 9.0, 9.0, 9.0]
    """

    backend = [TransformBackends.TORCH]

    def __init__(
        self,
        window: int | Sequence[int] = 11,
        levels: int = 32,
        value_range: Sequence[float] = (-200.0, 250.0),
        distances: Sequence[float] = (1.0,),
        unit: Unit = "voxel",
        features: Iterable[str] = FEATURES,
        quantise: bool = True,
        skip_axis: int | None = None,
    ) -> None:
        self.settings = GlcmSettings(levels, value_range, distances, unit, features, quantise, skip_axis)
        self.window = odd_window(window)

    def __call__(self, img: NdarrayOrTensor, mask: NdarrayOrTensor | None = None) -> NdarrayOrTensor:
        """Return the maps ``(C * F, *spatial)``; all features of the first channel come first.

        Args:
            img: ``(C, *spatial)`` with two or three spatial axes; it is not modified.
            mask: mask of the voxels to use, ``(1, *spatial)`` or ``(C, *spatial)``; None for all.

        Raises:
            ValueError: for shapes that do not match, an offset that is longer than the window, or ``unit="mm"`` and an
                image without an affine.
        """
        tracked, image = as_image(img)
        inside, s = as_mask(mask, image), self.settings
        inside = None if inside is None else inside[None]
        levels = s.to_levels(image)[None]
        maps = local_glcm(levels, self.window, s.offsets(img), s.levels, s.features, inside)[0]
        computed = chosen_features(feature_bits("features", s.features))  # the op has an order of its own
        maps = maps.unflatten(0, (-1, len(computed)))[:, [computed.index(f) for f in s.features]].flatten(0, 1)
        return convert_to_dst_type(maps, tracked, dtype=maps.dtype)[0]


@checked_arguments
class LocalGLCMd(AddsBeside):
    """Dictionary form of :class:`LocalGLCM`: the maps of ``key`` become ``key + postfix``.

    Args:
        keys: the images; they do not change.
        window: see :class:`LocalGLCM`.
        levels: see :class:`LocalGLCM`.
        value_range: see :class:`LocalGLCM`.
        distances: see :class:`LocalGLCM`.
        unit: see :class:`LocalGLCM`.
        features: see :class:`LocalGLCM`.
        quantise: see :class:`LocalGLCM`.
        skip_axis: see :class:`LocalGLCM`.
        mask_key: item of the mask; None to use all voxels.
        postfix: appended to the key to form the name of the maps.
        allow_missing_keys: whether a missing key is skipped instead of raising.

    Example:
        >>> texture = LocalGLCMd("image", features=("contrast", "entropy"))
        >>> texture({"image": np.zeros((1, 32, 32))})["image_glcm_maps"].shape
        torch.Size([2, 32, 32])
    """

    backend = LocalGLCM.backend

    def __init__(
        self,
        keys: KeysCollection,
        window: int | Sequence[int] = 11,
        levels: int = 32,
        value_range: Sequence[float] = (-200.0, 250.0),
        distances: Sequence[float] = (1.0,),
        unit: Unit = "voxel",
        features: Iterable[str] = FEATURES,
        quantise: bool = True,
        skip_axis: int | None = None,
        mask_key: str | None = None,
        postfix: str = "_glcm_maps",
        allow_missing_keys: bool = False,
    ) -> None:
        transform = LocalGLCM(window, levels, value_range, distances, unit, features, quantise, skip_axis)
        super().__init__(keys, transform, postfix, mask_key, allow_missing_keys)
