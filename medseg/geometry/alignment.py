"""How the grids of two volumes differ: not at all, in axis order, by a wrong sign in a header, or in position."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from medseg.geometry.affine import corner_displacement_mm, spacing_of
from medseg.geometry.regrid import SAME_GRID_MM, Reordering, find_reordering

__all__ = ["Alignment", "AlignmentKind", "compare_grids"]

AlignmentKind = Literal["same", "reordered", "header_flipped", "misregistered"]
"""How a grid relates to its reference grid:

* "same": equal shapes, and no corner voxel is displaced by more than the tolerance;
* "reordered": the same physical points, stored with axes permuted or reversed;
* "header_flipped": equal shapes, spacings and axis lines, but one header reverses some axes and the volumes do not
  cover the same space. Programs that change a sign in the header and not the array leave such files;
* "misregistered": anything else.
"""

_DIRECTION_FRACTION = 1e-3  # of the spacing: how far the columns may differ apart from their sign


class Alignment(NamedTuple):
    """The relation of a grid to a reference grid.

    Attributes:
        kind: see :data:`AlignmentKind`.
        displacement_mm: largest distance between corner voxels of equal index; infinite if the shapes differ.
        reordering: the axis order and directions that bring the grid closest to the reference.
        flipped_axes: array axes whose direction is reversed with respect to the reference ("header_flipped" only).
    """

    kind: AlignmentKind
    displacement_mm: float
    reordering: Reordering
    flipped_axes: tuple[int, ...] = ()

    def describe(self) -> str:
        """The relation in words with its numbers, for messages."""
        if self.kind == "same":
            return f"same grid (corners within {self.displacement_mm:.2g} mm)"
        if self.kind == "reordered":
            return f"the same grid stored in another order: {self.reordering.describe()}"
        if self.kind == "header_flipped":
            return (
                f"array axes {self.flipped_axes} run the other way and cover another space "
                f"(corners up to {self.displacement_mm:.3f} mm apart{self._if_reordered()}): one of the headers has a "
                "wrong sign or origin"
            )
        if np.isinf(self.displacement_mm):
            return f"grids of different shapes{self._if_reordered()}"
        return f"corners lie up to {self.displacement_mm:.3f} mm apart{self._if_reordered()}"

    def _if_reordered(self) -> str:
        """The displacement that remains after re-ordering, in words; small if the grid is otherwise only shifted."""
        order = self.reordering
        if order.is_identity or np.isinf(order.displacement_mm):
            return ""
        return f", {order.displacement_mm:.3f} mm if re-ordered by {order.describe()}"


def compare_grids(
    affine: ArrayLike,
    shape: Sequence[int],
    reference_affine: ArrayLike,
    reference_shape: Sequence[int],
    tolerance_mm: float = SAME_GRID_MM,
) -> Alignment:
    """Compare a grid with a reference grid by affines and shapes alone.

    A header cannot tell whether it is right: a label whose array belongs to the image index by index, but whose header
    reverses an axis *and* moves the origin to the other end, is "reordered" here. Only the voxel values can show that.

    Args:
        affine: 4 x 4 affine of the grid, voxel to mm.
        shape: its three lengths.
        reference_affine: affine of the reference in the same world frame.
        reference_shape: its three lengths.
        tolerance_mm: largest corner displacement that counts as rounding.

    Raises:
        ValueError: for a matrix that is not an affine, or a shape without three lengths.
    """
    for name, lengths in (("shape", shape), ("reference_shape", reference_shape)):
        if len(lengths) != 3:
            raise ValueError(f"{name} is {tuple(lengths)}, expected three lengths")
    for matrix in (affine, reference_affine):
        spacing_of(matrix)  # refuses what is not an affine
    equal_shapes = tuple(shape) == tuple(reference_shape)
    shift = corner_displacement_mm(affine, reference_affine, shape) if equal_shapes else float("inf")
    order = find_reordering(affine, shape, reference_affine, reference_shape)
    if shift <= tolerance_mm:
        return Alignment("same", shift, order)
    if order.displacement_mm <= tolerance_mm:
        return Alignment("reordered", shift, order)
    flipped = _reversed_axes(affine, reference_affine) if equal_shapes else ()
    return Alignment("header_flipped" if flipped else "misregistered", shift, order, flipped)


def _reversed_axes(affine: ArrayLike, reference: ArrayLike) -> tuple[int, ...]:
    """Axes whose columns are opposite, if every column equals the reference's up to its sign; otherwise none."""
    columns, wanted = np.asarray(affine, np.float64)[:3, :3], np.asarray(reference, np.float64)[:3, :3]
    tolerance = _DIRECTION_FRACTION * spacing_of(reference)
    opposite = np.abs(columns + wanted).max(axis=0) <= tolerance
    equal = np.abs(columns - wanted).max(axis=0) <= tolerance
    return tuple(np.flatnonzero(opposite).tolist()) if np.all(opposite | equal) else ()
