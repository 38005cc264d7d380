"""The table of prompts of simulated and real users, and its mapping between world coordinates and a grid."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple, get_args

import numpy as np
from monai.config import NdarrayOrTensor
from monai.utils import convert_data_type
from numpy.typing import NDArray

from medseg.geometry import world_affine
from medseg.transforms.spatial.points import affine_of

__all__ = ["PromptFrame", "Prompts", "check_frame", "move_prompts", "read_prompts"]

PromptFrame = Literal["voxel", "RAS", "LPS"]
"""Frame of prompts: voxel indices of the image, or world coordinates in mm, RAS or LPS."""


class Prompts(NamedTuple):
    """Prompts as arrays; their table has one row ``[class, centre.., extent..]`` per prompt.

    Attributes:
        kind: ``(N,)``, 1 for foreground and 0 for background.
        centre: ``(N, d)``.
        extent: ``(N, d)`` along the axes: standard deviations of an ellipse, half sides of a box, 0 for a click and for
            a voxel of a scribble.

    Example:
        >>> prompts = Prompts(np.array([1, 0]), np.array([[20.0, 30.0], [5.0, 6.0]]), np.zeros((2, 2)))
        >>> prompts.table().tolist()
        [[1.0, 20.0, 30.0, 0.0, 0.0], [0.0, 5.0, 6.0, 0.0, 0.0]]
    """

    kind: NDArray[np.int64]
    centre: NDArray[np.float64]
    extent: NDArray[np.float64]

    def table(self) -> NDArray[np.float64]:
        """The rows as float64 ``(N, 1 + 2 d)``."""
        return np.concatenate([self.kind[:, None].astype(np.float64), self.centre, self.extent], axis=1)


def check_frame(frame: str) -> None:
    """Raise ValueError for an unknown frame."""
    if frame not in get_args(PromptFrame):
        raise ValueError(f"frame is {frame!r}, expected 'voxel', 'RAS' (NIfTI, MONAI) or 'LPS' (DICOM, ITK)")


def read_prompts(table: NdarrayOrTensor, axes: int) -> Prompts:
    """The prompts of a table.

    Args:
        table: ``(N, 1 + 2 d)``, see :class:`Prompts`.
        axes: d, the number of spatial axes of the image.

    Raises:
        ValueError: for another shape, a class other than 0 and 1, or values that are not finite.

    Example:
        >>> prompts = read_prompts(np.array([[1, 20.0, 30.0, 0, 0], [0, 5.0, 6.0, 0, 0]]), axes=2)
        >>> prompts.kind.tolist()
        [1, 0]
        >>> prompts.centre.tolist()
        [[20.0, 30.0], [5.0, 6.0]]
    """
    rows: NDArray[Any] = convert_data_type(table, output_type=np.ndarray)[0].astype(np.float64)
    if rows.ndim != 2 or rows.shape[1] != 1 + 2 * axes:
        raise ValueError(
            f"prompts have shape {tuple(rows.shape)}, expected (N, {1 + 2 * axes}): class, {axes} centre coordinates, "
            f"{axes} extents"
        )
    kind, centre, extent = rows[:, 0], rows[:, 1 : 1 + axes], rows[:, 1 + axes :]
    if not np.isfinite(rows).all() or (extent < 0).any():
        raise ValueError("prompts hold values that are not finite or extents below 0, expected numbers, extents from 0")
    if not np.isin(kind, (0, 1)).all():
        raise ValueError(f"prompts hold class {kind[~np.isin(kind, (0, 1))][0]:g}, expected 1 (foreground) or 0")
    return Prompts(kind.astype(np.int64), centre, extent)


def move_prompts(prompts: Prompts, image: NdarrayOrTensor, frame: PromptFrame, to_world: bool) -> Prompts:
    """Map prompts from the voxels of an image to world coordinates (``to_world``) or back, with its current affine.

    An extent along the axes becomes ``sqrt(sum_j (M_ij extent_j)^2)``, the standard deviation of the mapped Gaussian
    along the new axes. This is exact for all kinds of prompts if M only permutes, flips and scales axes.

    Raises:
        ValueError: for an image without an affine, or a 2-D image whose affine mixes the third axis with the plane.
    """
    if frame == "voxel":
        return prompts
    axes = prompts.centre.shape[1]
    matrix = world_affine(affine_of(image), frame)
    if not to_world:
        matrix = np.asarray(np.linalg.inv(matrix), dtype=np.float64)
    if axes == 2 and max(np.abs(matrix[:2, 2]).max(), np.abs(matrix[2, :2]).max()) > 1e-6:
        raise ValueError(
            "the affine mixes the third axis with the plane, expected one within the plane for 2-D prompts"
        )
    linear = matrix[:axes, :axes]
    centre = prompts.centre @ linear.T + matrix[:axes, 3]
    return Prompts(prompts.kind, centre, np.sqrt(prompts.extent**2 @ (linear**2).T))
