"""The table of prompts of simulated and real users, and its mapping between world coordinates and a grid."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple, TypeAlias, get_args

import numpy as np
from monai.config import NdarrayOrTensor
from numpy.typing import NDArray

from medseg.geometry import world_affine
from medseg.transforms._arrays import numpy_array
from medseg.transforms.spatial.points import affine_of

__all__ = [
    "OutsideRule",
    "PromptFrame",
    "PromptTable",
    "Prompts",
    "check_frame",
    "check_outside",
    "move_prompts",
    "place_prompts",
    "read_prompts",
    "within",
]

PromptFrame = Literal["voxel", "RAS", "LPS"]
"""Frame of prompts: voxel indices of the image, or world coordinates in mm, RAS or LPS."""
PromptTable: TypeAlias = NdarrayOrTensor | Sequence[Sequence[float]]
"""A table of prompts: an array, a tensor, or a list of rows as JSON gives it."""
OutsideRule = Literal["refuse", "clip", "keep"]
"""What happens to prompts that are outside of the image:

* "refuse": an error, except for a centre within one voxel of the border, because a resampling moves the border of an
  image by such fractions of a voxel; it counts as in the nearest voxel where a voxel is needed;
* "clip": the centre is moved to the nearest voxel of the image;
* "keep": the prompt stays where it is, for images that are cropped after the prompts were made.
"""
_NEAR = 1.0


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


def check_outside(outside: str) -> None:
    """Raise ValueError for an unknown rule."""
    if outside not in get_args(OutsideRule):
        raise ValueError(f"outside is {outside!r}, expected one of {', '.join(get_args(OutsideRule))}")


def read_prompts(table: PromptTable, axes: int) -> Prompts:
    """The prompts of a table.

    Args:
        table: ``(N, 1 + 2 d)``, see :class:`Prompts`; an array, a tensor, or a list of rows as JSON gives it. An empty
            list has no prompts.
        axes: d, the number of spatial axes of the image.

    Raises:
        ValueError: for another shape, a class other than 0 and 1, or values that are not finite.

    Example:
        >>> prompts = read_prompts([[1, 20.0, 30.0, 0, 0], [0, 5.0, 6.0, 0, 0]], axes=2)
        >>> prompts.kind.tolist()
        [1, 0]
        >>> prompts.centre.tolist()
        [[20.0, 30.0], [5.0, 6.0]]
    """
    rows: NDArray[Any] = numpy_array(table, "prompts").astype(np.float64)
    rows = rows.reshape(0, 1 + 2 * axes) if rows.shape == (0,) else rows
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


def within(points: NDArray[np.float64], shape: Sequence[int]) -> NDArray[np.float64]:
    """Points ``(N, d)`` in voxels, those outside of an image moved to its nearest voxel."""
    last = np.asarray(shape) - 1
    outside = (points < -0.5) | (points >= last + 0.5)
    return np.where(outside, np.clip(points, 0, last), points)


def place_prompts(prompts: Prompts, shape: Sequence[int], outside: OutsideRule) -> Prompts:
    """Apply a rule to the prompts that are outside of an image of the given shape; see :data:`OutsideRule`.

    Raises:
        ValueError: for such a prompt and the rule "refuse".
    """
    if outside == "clip":
        return prompts._replace(centre=within(prompts.centre, shape))
    beyond = np.maximum(-0.5 - prompts.centre, prompts.centre - (np.asarray(shape) - 0.5)).max(axis=1, initial=0.0)
    if outside == "refuse" and (beyond > _NEAR).any():
        row = int(beyond.argmax())
        raise ValueError(
            f"a prompt is at voxel {np.round(prompts.centre[row], 2).tolist()}, outside of the image of "
            f"{' x '.join(str(s) for s in shape)} voxels; check its frame and the order of its coordinates, or choose "
            "outside='clip' (move it to the nearest voxel) or 'keep' (for an image that was cropped)"
        )
    return prompts


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
