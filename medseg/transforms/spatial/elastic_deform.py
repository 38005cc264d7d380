"""Elastic deformation of images, labels and points by a given field, with an approximate inverse."""

from __future__ import annotations

import warnings
from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from monai.config import KeysCollection, NdarrayOrTensor
from monai.data import MetaTensor, get_track_meta
from monai.transforms import InvertibleTransform, MapTransform
from monai.utils import TraceKeys, TransformBackends, ensure_tuple, ensure_tuple_rep

from medseg._arguments import checked_arguments
from medseg.ops import bspline_warp
from medseg.ops.bspline_warp import MODES, PADDINGS
from medseg.transforms._arrays import plain_tensor, tracked_tensor
from medseg.transforms.spatial.elastic_field import ElasticField

__all__ = ["ElasticDeform", "ElasticDeformd", "Sampling", "move_points", "pop_field", "push_field", "warp_image"]

POINT_TOLERANCE_MM = 0.01
_OURS = ("ElasticDeform", "ElasticDeformd", "RandElasticDeform", "RandElasticDeformd")


class Sampling:
    """Interpolation and padding of a deformed image.

    Args:
        mode: "bilinear" (trilinear in 3-D) for images; "nearest" for labels, which keeps their values and type.
        padding_mode: outside of the image, "border" repeats the border voxels and "constant" pads with ``fill``.
        fill: value outside of the image for "constant".

    Raises:
        ValueError: for an unknown mode.
    """

    def __init__(self, mode: str = "bilinear", padding_mode: str = "border", fill: float = 0.0) -> None:
        if mode not in MODES:
            raise ValueError(f"mode is {mode!r}, expected one of {', '.join(MODES)}")
        if padding_mode not in PADDINGS:
            raise ValueError(f"padding_mode is {padding_mode!r}, expected one of {', '.join(PADDINGS)}")
        self.mode, self.padding_mode, self.fill = mode, padding_mode, float(fill)


def image_affine(img: Any, what: str = "image") -> np.ndarray:
    """The 4 x 4 affine of an image; the identity (voxels of 1 mm) for arrays and plain tensors.

    Raises:
        ValueError: for an image with lazy transforms that are still pending.
    """
    if not isinstance(img, MetaTensor):
        return np.eye(4)
    if img.pending_operations:
        raise ValueError(f"{what} has {len(img.pending_operations)} lazy transform(s) pending, expected none")
    affine = np.asarray(img.affine.detach().cpu(), dtype=np.float64)
    if affine.shape == (4, 4):
        return affine
    whole, d = np.eye(4), affine.shape[0] - 1
    whole[:d, :d], whole[:d, 3] = affine[:d, :d], affine[:d, -1]
    return whole


def warp_image(img: NdarrayOrTensor, elastic: ElasticField, sampling: Sampling) -> torch.Tensor:
    """Return the deformed image as a tensor of the same type; metadata are kept.

    Args:
        img: channel-first ``(C, *spatial)``; it is not modified.
        elastic: the field.
        sampling: interpolation and padding.

    Raises:
        ValueError: for another shape or type, or axes with other directions than those of the field.
    """
    tensor = tracked_tensor(img)
    d = elastic.spatial_dims
    if tensor.ndim != d + 1:
        raise ValueError(
            f"image has shape {tuple(tensor.shape)}, expected channel-first (C, {d} axes) for a {d}-D field"
        )
    if sampling.mode == "bilinear" and not tensor.dtype.is_floating_point:
        raise ValueError(
            f"image is {tensor.dtype} with mode 'bilinear', expected floating values; labels take 'nearest'"
        )
    grid = elastic.on_grid(image_affine(img))
    values = plain_tensor(tensor)
    precision = torch.float64 if values.dtype == torch.float64 and sampling.mode == "bilinear" else torch.float32
    control = torch.from_numpy(grid.control).to(values.device, precision)
    options = (sampling.mode, sampling.padding_mode, sampling.fill)
    result = bspline_warp(values[None], control[None], grid.spacing, grid.origin, *options)[0]
    return MetaTensor(result).copy_meta_from(tensor) if isinstance(tensor, MetaTensor) else result


def move_points(
    points: NdarrayOrTensor, elastic: ElasticField, affine: np.ndarray, inverse: bool = False
) -> tuple[torch.Tensor, float]:
    """Points of an image, moved together with the structures at their positions.

    Args:
        points: voxel positions ``(N, d)`` or ``(C, N, d)``; fractions are allowed.
        elastic: the field.
        affine: affine of the image.
        inverse: from the deformed image back to the original.

    Returns:
        Points of the same shape (float64 if they were float64, else float32), and the remaining error of the iteration
        in mm.
    """
    tensor = tracked_tensor(points, "points")
    if tensor.ndim not in (2, 3) or tensor.shape[-1] != elastic.spatial_dims:
        d = elastic.spatial_dims
        raise ValueError(f"points have shape {tuple(tensor.shape)}, expected (N, {d}) or (C, N, {d}) for a {d}-D field")
    where = elastic.to_mm(tensor.detach().cpu().double().numpy().reshape(-1, elastic.spatial_dims), affine)
    if not np.isfinite(where).all():
        raise ValueError("points hold values that are not finite, expected voxel positions")
    moved, error = (where + elastic.displacement(where), 0.0) if inverse else elastic.inverse_points(where)
    if error > POINT_TOLERANCE_MM:
        warnings.warn(
            f"elastic deformation moved points with an error of {error:.3g} mm: the field folds", stacklevel=3
        )
    dtype = torch.float64 if tensor.dtype == torch.float64 else torch.float32
    result = torch.as_tensor(elastic.to_voxel(moved, affine), dtype=dtype, device=tensor.device).reshape(tensor.shape)
    return (MetaTensor(result).copy_meta_from(tensor) if isinstance(tensor, MetaTensor) else result), error


def as_tensor_of(data: Any) -> torch.Tensor:
    """A copy of an array as a tensor; a MetaTensor if metadata are tracked."""
    copied: torch.Tensor = tracked_tensor(data).clone()
    return copied


def push_field(
    transform: InvertibleTransform, data: Any, elastic: ElasticField | None, affine: np.ndarray, sampling: Sampling
) -> None:
    """Record what the inverse needs in the trace of a MetaTensor."""
    if not (isinstance(data, MetaTensor) and get_track_meta()):
        return
    info: dict[str, Any] = {"mode": sampling.mode, "padding_mode": sampling.padding_mode, "fill": sampling.fill}
    if elastic is not None:
        for name in ("control_mm", "spacing_mm", "origin_mm", "affine"):
            info[name] = torch.from_numpy(np.array(getattr(elastic, name)))
        info["image_affine"] = torch.from_numpy(np.array(affine))
    transform.push_transform(data, extra_info=info)


def pop_field(transform: InvertibleTransform, data: Any) -> tuple[ElasticField | None, np.ndarray, Sampling]:
    """Read and remove the record: the field (None if nothing was deformed), the affine of the image, the sampling."""
    last = transform.get_most_recent_transform(data, check=False)[TraceKeys.CLASS_NAME]
    if last not in _OURS:
        raise ValueError(f"the last transform of the data is {last}, expected an elastic deformation; undo it first")
    # Not checked: a copy of the transform may also invert it.
    info = transform.pop_transform(data, check=False)[TraceKeys.EXTRA_INFO]
    sampling = Sampling(info["mode"], info["padding_mode"], info["fill"])
    if "control_mm" not in info:
        return None, np.eye(4), sampling
    names = ("control_mm", "spacing_mm", "origin_mm", "affine", "image_affine")
    *parts, affine = (np.asarray(info[name], dtype=np.float64) for name in names)
    control, spacing, origin, reference = parts
    return ElasticField(control, spacing, origin, reference), affine, sampling


def unwarp_image(transform: InvertibleTransform, data: torch.Tensor) -> torch.Tensor:
    """Approximate inverse of the last deformation; its error is in ``meta["elastic_inverse_error_mm"]``."""
    data = data.clone()  # the trace of the copy is changed
    elastic, affine, sampling = pop_field(transform, data)
    if elastic is None:
        return data
    back = elastic.inverse(data.shape[1:], affine)
    result = warp_image(data, back.field, sampling)
    if isinstance(result, MetaTensor):
        result.meta["elastic_inverse_error_mm"] = back.error_mm
    return result


def unmove_points(transform: InvertibleTransform, points: torch.Tensor) -> torch.Tensor:
    """Inverse of the last deformation of points."""
    points = points.clone()
    elastic, affine, _ = pop_field(transform, points)
    return points if elastic is None else move_points(points, elastic, affine, inverse=True)[0]


@checked_arguments
class ElasticDeform(InvertibleTransform):
    """Deform an image or a label map by a given field.

    The deformed image at position p shows the original at ``p + u(p)``. The field is in mm and can be applied to other
    data: to a label, to another image of the same patient with another spacing, and to points (:meth:`points`). It is
    evaluated during sampling (:func:`medseg.ops.bspline_warp`) and never stored for all voxels. The inverse uses an
    approximate inverse field. It restores smooth images except for interpolation errors; values that were moved out of
    the image are lost. The error of the inverse field in mm is in ``meta["elastic_inverse_error_mm"]``.

    A voxel that is not finite makes the voxels that are interpolated from it (at most two along each axis around its
    new place) not finite, and no others.

    Args:
        field: the displacement field; a field that may fold (``field.contraction`` of 1 or more) is an error.
        mode: "bilinear" for images; "nearest" for labels, which keeps their values and type.
        padding_mode: outside of the image, "border" repeats the border voxels and "constant" pads with ``fill``.
        fill: value outside of the image for "constant".
        allow_folding: whether a field that may fold is accepted.

    Raises:
        ValueError: for an unknown mode, or a field that may fold.

    Example:
        >>> shift = np.zeros((2, 4, 4))
        >>> shift[1] = 1.0
        >>> field = ElasticField(shift, spacing_mm=(20.0, 20.0), origin_mm=(0.0, 0.0))
        >>> image = np.array([[[0.0, 1.0, 2.0, 3.0]]])
        >>> ElasticDeform(field)(image).round(decimals=3).tolist()
        [[[1.0, 2.0, 3.0, 3.0]]]
    """

    backend = [TransformBackends.TORCH]

    def __init__(
        self,
        field: ElasticField,
        mode: str = "bilinear",
        padding_mode: str = "border",
        fill: float = 0.0,
        allow_folding: bool = False,
    ) -> None:
        if field.contraction >= 1 and not allow_folding:
            raise ValueError(
                f"field has a contraction bound of {field.contraction:.3g} and may fold, expected less than 1; use "
                "field.limited(0.9), or allow_folding=True"
            )
        self.field = field
        self.sampling = Sampling(mode, padding_mode, fill)

    def __call__(self, img: NdarrayOrTensor) -> NdarrayOrTensor:
        """Return the deformed image ``(C, *spatial)``; the input is not modified."""
        result = warp_image(img, self.field, self.sampling)
        push_field(self, result, self.field, image_affine(img), self.sampling)
        return result

    def points(self, points: NdarrayOrTensor, image: NdarrayOrTensor) -> tuple[torch.Tensor, float]:
        """Move points with the image (see :func:`move_points`).

        Args:
            points: voxel positions ``(N, d)`` or ``(C, N, d)`` in ``image``.
            image: the image, whose affine is used if it is a MetaTensor; other arrays have voxels of 1 mm.

        Returns:
            Their positions in the deformed image, and the error in mm.
        """
        return move_points(points, self.field, image_affine(image))

    def inverse(self, data: torch.Tensor) -> torch.Tensor:
        """Approximate inverse of the last deformation of a MetaTensor."""
        return unwarp_image(self, data)


@checked_arguments
class ElasticDeformd(MapTransform, InvertibleTransform):
    """Dictionary form of :class:`ElasticDeform`: images, labels and points are deformed together.

    Args:
        keys: images and labels.
        field: see :class:`ElasticDeform`.
        mode: see :class:`ElasticDeform`; one for all keys or one per key.
        padding_mode: see :class:`ElasticDeform`; one for all keys or one per key.
        fill: see :class:`ElasticDeform`; one for all keys or one per key.
        point_keys: items of points or clicks, given as voxel positions in the image of the first of ``keys``.
        allow_folding: see :class:`ElasticDeform`.
        allow_missing_keys: whether a missing key is skipped instead of raising.

    Example:
        >>> shift = np.zeros((2, 4, 4))
        >>> shift[1] = 1.0
        >>> field = ElasticField(shift, spacing_mm=(20.0, 20.0), origin_mm=(0.0, 0.0))
        >>> sample = {"image": np.array([[[0.0, 1.0, 2.0, 3.0]]]), "label": np.array([[[0, 0, 1, 1]]])}
        >>> deform = ElasticDeformd(["image", "label"], field, mode=["bilinear", "nearest"])
        >>> deform(sample)["label"].tolist()
        [[[0, 1, 1, 1]]]
    """

    backend = ElasticDeform.backend

    def __init__(
        self,
        keys: KeysCollection,
        field: ElasticField,
        mode: str | Sequence[str] = "bilinear",
        padding_mode: str | Sequence[str] = "border",
        fill: float | Sequence[float] = 0.0,
        point_keys: KeysCollection = (),
        allow_folding: bool = False,
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.transform = ElasticDeform(field, allow_folding=allow_folding)
        self.samplings = key_samplings(self.keys, mode, padding_mode, fill)
        self.point_keys = ensure_tuple(point_keys)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Return a copy of ``data`` in which all keys are deformed."""
        return deform_items(self, self.transform.field, data, self.samplings, self.point_keys)

    def inverse(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Return a copy of ``data`` with the approximate inverse of the last deformation of every key."""
        return undeform_items(self, data, self.point_keys)


def key_samplings(keys: Sequence[Hashable], mode: Any, padding_mode: Any, fill: Any) -> dict[Hashable, Sampling]:
    """The sampling of every key."""
    n = len(keys)
    parts = zip(ensure_tuple_rep(mode, n), ensure_tuple_rep(padding_mode, n), ensure_tuple_rep(fill, n), strict=True)
    return {key: Sampling(*part) for key, part in zip(keys, parts, strict=True)}


def deform_items(
    transform: Any,
    elastic: ElasticField | None,
    data: Mapping[Hashable, Any],
    samplings: Mapping[Hashable, Sampling],
    point_keys: Sequence[Hashable],
) -> dict[Hashable, Any]:
    """Deform images, labels and points of a sample; without a field, only convert them to tensors."""
    result, image = dict(data), None
    for key in transform.key_iterator(data):
        image = data[key] if image is None else image
        sampling, before = samplings[key], data[key]
        moved = as_tensor_of(before) if elastic is None else warp_image(before, elastic, sampling)
        push_field(transform, moved, elastic, image_affine(before), sampling)
        result[key] = moved
    for key in point_keys if image is not None else ():
        if key not in data:
            if transform.allow_missing_keys:
                continue
            raise KeyError(f"no points {key!r} in the sample; found {sorted(map(str, data))}")
        points, affine = as_tensor_of(data[key]), image_affine(image)
        points = points if elastic is None else move_points(points, elastic, affine)[0]
        push_field(transform, points, elastic, affine, Sampling())
        result[key] = points
    return result


def undeform_items(transform: Any, data: Mapping[Hashable, Any], point_keys: Sequence[Hashable]) -> dict[Hashable, Any]:
    """Approximate inverse of :func:`deform_items`."""
    result = dict(data)
    for key in transform.key_iterator(data):
        result[key] = unwarp_image(transform, data[key])
    for key in point_keys:
        if key in data:
            result[key] = unmove_points(transform, data[key])
    return result
