"""Texture of regions: features of the grey-level co-occurrence matrix of the voxel pairs inside a region."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from monai.config import KeysCollection, NdarrayOrTensor
from monai.transforms import Transform
from monai.utils import TransformBackends
from torch import Tensor

from medseg._arguments import checked_arguments
from medseg.ops._glcm_features import LINEAR, linear_features, matrix_features
from medseg.ops.local_glcm import FEATURES
from medseg.transforms.texture._beside import AddsBeside, as_image, as_vectors, check_alike
from medseg.transforms.texture._glcm_settings import GlcmSettings, Unit
from medseg.transforms.texture._regions import Labels, check_labels, region_masks

__all__ = ["RegionGLCM", "RegionGLCMd"]


@checked_arguments
class RegionGLCM(Transform):
    """A vector of texture features for every region, from the pairs with both voxels in the region.

    Voxels around the region have no influence, unlike in a matrix of its bounding box. Features, levels, distances and
    quantisation are those of :class:`LocalGLCM`. The vector of a region without a pair (a single voxel, or none) is all
    zero; :meth:`with_validity` distinguishes it from a texture without contrast.

    Pairs with a NaN are not counted, and an infinite voxel is in the first or last level: a voxel that is not finite
    changes the regions that hold it only.

    Args:
        levels: see :class:`LocalGLCM`.
        value_range: see :class:`LocalGLCM`.
        distances: see :class:`LocalGLCM`.
        unit: see :class:`LocalGLCM`.
        labels: for a label map: one label, or a list of labels, per region. None: the regions are given as masks.
        features: see :class:`LocalGLCM`.
        mean: True for the mean over the offsets that have a pair, False for the features of every offset.
        quantise: see :class:`LocalGLCM`.
        skip_axis: see :class:`LocalGLCM`.

    Raises:
        ValueError: for an invalid value.

    Example:
        >>> stripes = np.tile(np.array([-150.0, 100.0, -150.0, 100.0]), (1, 3, 1))
        >>> label = np.array([[[1, 1, 2, 2]] * 3])
        >>> RegionGLCM(4, (-200, 200), labels=[1, 2], features=("contrast", "energy"), skip_axis=0)(stripes, label)
        metatensor([[9.0000, 0.7071],
                [9.0000, 0.7071]], dtype=torch.float64)
    """

    backend = [TransformBackends.TORCH]

    def __init__(
        self,
        levels: int = 32,
        value_range: Sequence[float] = (-200.0, 250.0),
        distances: Sequence[float] = (1.0,),
        unit: Unit = "voxel",
        labels: Labels = None,
        features: Iterable[str] = FEATURES,
        mean: bool = True,
        quantise: bool = True,
        skip_axis: int | None = None,
    ) -> None:
        self.settings = GlcmSettings(levels, value_range, distances, unit, features, quantise, skip_axis)
        self.labels, self.mean = check_labels(labels), mean

    def __call__(self, img: NdarrayOrTensor, regions: NdarrayOrTensor) -> NdarrayOrTensor:
        """Return vectors ``(R, C * A * F)``, ordered by channel, offset and feature (A = 1 with ``mean``).

        Args:
            img: ``(C, *spatial)`` with two or three spatial axes; it is not modified.
            regions: label map ``(1, *spatial)`` if the transform has labels, else masks ``(R, *spatial)``.

        Raises:
            ValueError: for shapes that do not match, ``unit="mm"`` and an image without an affine, or lazy transforms
                that are pending for only one of the two.
        """
        return self.with_validity(img, regions)[0]

    def with_validity(self, img: NdarrayOrTensor, regions: NdarrayOrTensor) -> tuple[NdarrayOrTensor, Tensor]:
        """Return the vectors as a call does, and bool ``(R, C * A)``: whether there is at least one pair.

        Args:
            img: as in a call.
            regions: as in a call.

        Raises:
            ValueError: as a call does.
        """
        check_alike(img, regions)
        tracked, image = as_image(img)
        masks = region_masks(regions, image, self.labels)
        offsets, levels = self.settings.offsets(img), self.settings.to_levels(image)
        rows = torch.stack([self._rows(levels, mask, offsets) for mask in masks])
        vectors = rows[..., :-1].flatten(1).to(image.dtype)
        return as_vectors(vectors, tracked, image.dtype), rows[..., -1].flatten(1) > 0

    def _rows(self, levels: Tensor, mask: Tensor, offsets: list[tuple[int, ...]]) -> Tensor:
        """Features of one region ``[C, A, F + 1]``; the last one is 1 if there is a pair, else 0."""
        valid = levels.isfinite() & mask
        rows = torch.stack(
            [torch.stack([self._features(c, v, o) for o in offsets]) for c, v in zip(levels, valid, strict=True)]
        )
        return rows.sum(1, keepdim=True) / rows[..., -1:].sum(1, keepdim=True).clamp(min=1) if self.mean else rows

    def _features(self, levels: Tensor, valid: Tensor, offset: tuple[int, ...]) -> Tensor:
        """Features of one channel and offset, then 1 if there is a pair, else 0; float64."""
        sizes = list(zip(offset, levels.shape, strict=True))
        first = tuple(slice(max(0, -v), max(0, s - max(0, v))) for v, s in sizes)
        second = tuple(slice(max(0, v), max(0, s - max(0, -v))) for v, s in sizes)
        if any(abs(v) >= s for v, s in sizes):
            return levels.new_zeros(len(self.settings.features) + 1, dtype=torch.float64)
        both = valid[first] & valid[second]
        a, b = levels[first][both].double(), levels[second][both].double()
        count = torch.tensor(float(len(a)), dtype=torch.float64, device=levels.device)
        middle = self.settings.levels // 2
        d, t = a - b, a + b - 2 * middle
        found = linear_features(
            [v.sum() for v in (d.abs(), d**2, 1 / (1 + d**2))], [(t**k).sum() for k in (1, 2, 3, 4)], count
        )
        if any(name not in LINEAR for name in self.settings.features):
            size = self.settings.levels
            i, j = ((v.detach() + 0.5).floor().clamp(0, size - 1).long() for v in (a, b))
            matrix = torch.bincount(i * size + j, minlength=size**2).reshape(size, size).double()
            found |= matrix_features(matrix + matrix.T)
        return torch.stack([*(found[name] for name in self.settings.features), (count > 0).double()])


@checked_arguments
class RegionGLCMd(AddsBeside):
    """Dictionary form of :class:`RegionGLCM`: the vectors of ``key`` become ``key + postfix``.

    The flags of :meth:`RegionGLCM.with_validity` become the item ``key + postfix + "_valid"``.

    Args:
        keys: the images; they do not change.
        region_key: item of the label map or of the masks of the regions.
        levels: see :class:`LocalGLCM`.
        value_range: see :class:`LocalGLCM`.
        distances: see :class:`LocalGLCM`.
        unit: see :class:`LocalGLCM`.
        labels: see :class:`RegionGLCM`.
        features: see :class:`LocalGLCM`.
        mean: see :class:`RegionGLCM`.
        quantise: see :class:`LocalGLCM`.
        skip_axis: see :class:`LocalGLCM`.
        postfix: appended to the key to form the name of the vectors.
        allow_missing_keys: whether a missing key is skipped instead of raising.

    Example:
        >>> sample = {"image": np.zeros((1, 8, 8)), "label": np.ones((1, 8, 8), np.uint8)}
        >>> found = RegionGLCMd("image", "label", labels=[1, 2], features="contrast")(sample)
        >>> found["image_glcm_valid"].tolist()
        [[True], [False]]
    """

    backend = RegionGLCM.backend
    further = ("_valid",)

    def __init__(
        self,
        keys: KeysCollection,
        region_key: str,
        levels: int = 32,
        value_range: Sequence[float] = (-200.0, 250.0),
        distances: Sequence[float] = (1.0,),
        unit: Unit = "voxel",
        labels: Labels = None,
        features: Iterable[str] = FEATURES,
        mean: bool = True,
        quantise: bool = True,
        skip_axis: int | None = None,
        postfix: str = "_glcm",
        allow_missing_keys: bool = False,
    ) -> None:
        transform = RegionGLCM(levels, value_range, distances, unit, labels, features, mean, quantise, skip_axis)
        super().__init__(keys, transform, postfix, region_key, allow_missing_keys)

    def derive(self, image: Any, *second: Any) -> tuple[Any, ...]:
        """The vectors, and whether there is at least one pair for them."""
        found: tuple[Any, ...] = self.transform.with_validity(image, *second)
        return found
