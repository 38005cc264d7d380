"""Points in world coordinates (mm) and in voxels of an image, also after spatial transforms of the image."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np
import torch
from monai.config import DtypeLike, KeysCollection, NdarrayOrTensor
from monai.data import MetaTensor, get_track_meta
from monai.transforms import InvertibleTransform, MapTransform
from monai.utils import TraceKeys, TransformBackends
from numpy.typing import NDArray

from medseg._arguments import checked_arguments
from medseg.geometry import WorldFrame, apply_affine, world_affine
from medseg.transforms._arrays import numpy_array, tracked_tensor
from medseg.transforms._output_type import OutputType, Rounding

__all__ = ["VoxelToWorld", "VoxelToWorldd", "WorldToVoxel", "WorldToVoxeld", "affine_of"]

_COUPLING = 1e-6


def affine_of(image: NdarrayOrTensor, what: str = "image", pending: bool = False) -> NDArray[np.float64]:
    """The 4 x 4 affine, voxel to RAS mm, of a MetaTensor; a 4 x 4 matrix is returned as it is.

    Args:
        image: an image, or the affine itself as a 4 x 4 array or tensor.
        what: name for the message.
        pending: True for the affine after all pending lazy transforms, False for the affine of the current voxels.

    Raises:
        ValueError: for an image without an affine.
    """
    if isinstance(image, MetaTensor):
        affine = image.peek_pending_affine() if pending else image.affine
        return np.asarray(affine.detach().cpu(), dtype=np.float64)
    if np.shape(image) == (4, 4):
        return numpy_array(image, what).astype(np.float64)
    raise ValueError(
        f"{what} is a {type(image).__name__} of shape {np.shape(image)} without an affine, expected a MetaTensor "
        "(as LoadImage makes) or a 4 x 4 affine, voxel to RAS mm"
    )


@checked_arguments
class _MapPoints(InvertibleTransform):
    """Map points with a matrix computed from an affine; the inverse uses the matrix that was applied."""

    backend = [TransformBackends.NUMPY]

    def __init__(
        self, frame: WorldFrame, dtype: DtypeLike | torch.dtype = np.float32, rounding: Rounding = None
    ) -> None:
        world_affine(np.eye(4), frame)  # raises now if the frame is unknown
        self.frame = frame
        self.output = OutputType(torch.float64 if dtype is None else dtype, rounding)

    @abstractmethod
    def matrix(self, affine_ras: NDArray[np.float64]) -> NDArray[np.float64]:
        """The 4 x 4 matrix that is applied to the points, for the affine of an image."""

    def __call__(self, points: NdarrayOrTensor, image: NdarrayOrTensor) -> NdarrayOrTensor:
        """Return the mapped points; the computation is in float64.

        Args:
            points: ``(N, 3)`` or ``(C, N, 3)``, an array, a tensor or lists; they are not modified. Also ``(..., 2)``
                for 2-D images, whose affine must not mix the third axis with the first two.
            image: the image that defines the grid, a MetaTensor with its current affine, or a 4 x 4 affine to RAS mm.

        Returns:
            Points of the same shape in ``dtype``.

        Raises:
            ValueError: for points of another shape or that ``dtype`` cannot hold, or an image without an affine.
        """
        matrix = self.matrix(affine_of(image, pending=True))
        result = self._apply(points, matrix)
        if isinstance(result, MetaTensor) and get_track_meta():
            self.push_transform(result, extra_info={"matrix": torch.from_numpy(matrix)})
        return result

    def inverse(self, points: torch.Tensor) -> torch.Tensor:
        """Inverse of the last mapping of the points, which must be a MetaTensor with its trace."""
        trace = self.pop_transform(points)
        return self._apply(points, np.linalg.inv(trace[TraceKeys.EXTRA_INFO]["matrix"].numpy()))

    def _apply(self, points: NdarrayOrTensor, matrix: NDArray[np.float64]) -> Any:
        tensor = tracked_tensor(points, "points").to(torch.float64)
        if tensor.ndim not in (2, 3) or tensor.shape[-1] not in (2, 3):
            raise ValueError(f"points have shape {tuple(tensor.shape)}, expected (N, 3) or (C, N, 3); (..., 2) in 2-D")
        values = tensor.detach().cpu().numpy()
        mapped = apply_affine(matrix, values) if values.shape[-1] == 3 else _apply_2d(matrix, values)
        result = torch.as_tensor(mapped, device=tensor.device)
        if isinstance(tensor, MetaTensor):
            result = MetaTensor(result).copy_meta_from(tensor)
        return self.output(result, torch.float64)


def _apply_2d(matrix: NDArray[np.float64], points: NDArray[np.float64]) -> NDArray[np.float64]:
    coupled = max(np.abs(matrix[:2, 2]).max(), np.abs(matrix[2, :2]).max())
    if coupled > _COUPLING:
        raise ValueError(
            f"points have two coordinates, but the affine mixes the third axis with them (by {coupled:.3g}); "
            "expected an affine within the plane, or points with three coordinates"
        )
    return points @ matrix[:2, :2].T + matrix[:2, 3]


class WorldToVoxel(_MapPoints):
    """Map world points in mm to fractional voxel indices of an image.

    The *current* affine of the image is used, so the points are also correct after MONAI's ``Orientation``,
    ``Spacing``, crops, flips and random affines, including pending lazy ones. Unlike in MONAI's
    ``ApplyTransformToPoints``, the frame of the points must be given, and an affine of the points is not used.

    A point that is not finite gives a point that is not finite, and changes no other.

    Args:
        frame: frame of the points: "RAS" (NIfTI, MONAI) or "LPS" (DICOM, ITK, LIDC, LUNA16).
        dtype: output type; None for float64, the type of the computation.
        rounding: "nearest" allows an integer type and rounds to whole numbers; None allows floating types only.

    Raises:
        ValueError: for an unknown frame, or a type that cannot hold the points.

    Example:
        >>> affine = np.diag([2.0, 2.0, 5.0, 1.0])
        >>> WorldToVoxel("RAS")(np.array([[4.0, 2.0, 10.0]]), affine).tolist()
        [[2.0, 1.0, 2.0]]
        >>> WorldToVoxel("LPS")(np.array([[-4.0, -2.0, 10.0]]), affine).tolist()
        [[2.0, 1.0, 2.0]]
    """

    def matrix(self, affine_ras: NDArray[np.float64]) -> NDArray[np.float64]:
        """World mm to voxels."""
        return np.asarray(np.linalg.inv(world_affine(affine_ras, self.frame)), dtype=np.float64)


class VoxelToWorld(_MapPoints):
    """Map fractional voxel indices of an image to world points in mm, the inverse of :class:`WorldToVoxel`.

    A point that is not finite gives a point that is not finite, and changes no other.

    Args:
        frame: frame of the result: "RAS" (NIfTI, MONAI) or "LPS" (DICOM, ITK, LIDC, LUNA16).
        dtype: output type; None for float64, the type of the computation.
        rounding: "nearest" allows an integer type and rounds to whole numbers; None allows floating types only.

    Raises:
        ValueError: for an unknown frame, or a type that cannot hold the points.

    Example:
        >>> affine = np.diag([2.0, 2.0, 5.0, 1.0])
        >>> VoxelToWorld("LPS")(np.array([[2.0, 1.0, 2.0]]), affine).tolist()
        [[-4.0, -2.0, 10.0]]
    """

    def matrix(self, affine_ras: NDArray[np.float64]) -> NDArray[np.float64]:
        """Voxels to world mm."""
        return world_affine(affine_ras, self.frame)


class _MapPointsd(MapTransform, InvertibleTransform):
    """Dictionary form of a point transform."""

    backend = _MapPoints.backend

    def __init__(self, keys: KeysCollection, image_key: Hashable, points: _MapPoints, allow_missing_keys: bool) -> None:
        super().__init__(keys, allow_missing_keys)
        self.image_key = image_key
        self.points = points

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Return a copy of ``data`` in which the points of every key are mapped."""
        result = dict(data)
        for key in self.key_iterator(result):
            if self.image_key not in result:
                raise KeyError(f"no item {self.image_key!r} to take the affine from; found {sorted(map(str, result))}")
            result[key] = self.points(result[key], result[self.image_key])
        return result

    def inverse(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Return a copy of ``data`` with the inverse of the last mapping of every key."""
        result = dict(data)
        for key in self.key_iterator(result):
            result[key] = self.points.inverse(result[key])
        return result


@checked_arguments
class WorldToVoxeld(_MapPointsd):
    """Dictionary form of :class:`WorldToVoxel`.

    Args:
        keys: items of points in world coordinates, mm.
        image_key: item of the image that defines the grid; use this transform after those that change the grid.
        frame: see :class:`WorldToVoxel`.
        dtype: see :class:`WorldToVoxel`.
        rounding: see :class:`WorldToVoxel`.
        allow_missing_keys: whether a missing key is skipped instead of raising.

    Example:
        >>> sample = {"points": np.array([[4.0, 2.0, 10.0]]), "image": np.diag([2.0, 2.0, 5.0, 1.0])}
        >>> WorldToVoxeld("points", "image", "RAS")(sample)["points"].tolist()
        [[2.0, 1.0, 2.0]]
    """

    def __init__(
        self,
        keys: KeysCollection,
        image_key: Hashable,
        frame: WorldFrame,
        dtype: DtypeLike | torch.dtype = np.float32,
        rounding: Rounding = None,
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, image_key, WorldToVoxel(frame, dtype, rounding), allow_missing_keys)


@checked_arguments
class VoxelToWorldd(_MapPointsd):
    """Dictionary form of :class:`VoxelToWorld`.

    Args:
        keys: items of points in voxels.
        image_key: item of the image that defines the grid.
        frame: see :class:`VoxelToWorld`.
        dtype: see :class:`VoxelToWorld`.
        rounding: see :class:`VoxelToWorld`.
        allow_missing_keys: whether a missing key is skipped instead of raising.

    Example:
        >>> sample = {"points": np.array([[2.0, 1.0, 2.0]]), "image": np.diag([2.0, 2.0, 5.0, 1.0])}
        >>> VoxelToWorldd("points", "image", "RAS")(sample)["points"].tolist()
        [[4.0, 2.0, 10.0]]
    """

    def __init__(
        self,
        keys: KeysCollection,
        image_key: Hashable,
        frame: WorldFrame,
        dtype: DtypeLike | torch.dtype = np.float32,
        rounding: Rounding = None,
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, image_key, VoxelToWorld(frame, dtype, rounding), allow_missing_keys)
