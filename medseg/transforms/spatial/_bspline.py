"""Cubic B-splines of control points: weights, interpolation, and a bound of the derivative by Bezier coefficients."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

# Bezier points of one cell from its four B-spline coefficients (Boehm's knot insertion), and of its derivative, raised
# to the same degree 3. Rows are convex combinations, so all values are in the convex hull of the points.
_VALUES = np.array([[1, 4, 1, 0], [0, 4, 2, 0], [0, 2, 4, 0], [0, 1, 4, 1]]) / 6
_QUADRATIC = 3 * np.diff(_VALUES, axis=0)
_SLOPES = np.array([[3, 0, 0], [1, 2, 0], [0, 2, 1], [0, 0, 3]]) / 3 @ _QUADRATIC


def cubic_weights(f: Array) -> tuple[Array, Array, Array, Array]:
    """Weights of the four control points around fraction f of a cell."""
    g = 1 - f
    return g**3 / 6, (3 * f**3 - 6 * f**2 + 4) / 6, (3 * g**3 - 6 * g**2 + 4) / 6, f**3 / 6


def interpolating_coefficients(values: Array) -> Array:
    """Coefficients ``(d, *grid)`` of the spline that has the given values at its control points (edges repeated)."""
    result: NDArray[Any] = values
    for axis in range(1, values.ndim):
        n = values.shape[axis]
        matrix = np.zeros((n, n))
        for offset, weight in ((-1, 1 / 6), (0, 4 / 6), (1, 1 / 6)):
            np.add.at(matrix, (np.arange(n), np.clip(np.arange(n) + offset, 0, n - 1)), weight)
        moved = np.moveaxis(result, axis, 0)
        solved = np.linalg.solve(matrix, moved.reshape(n, -1)).reshape(moved.shape)
        result = np.moveaxis(solved, 0, axis)
    return result


def _cells(points: int, table: Array) -> Array:
    """``(cells, 4, points)``: Bezier coefficients of every cell of an axis, edges repeated."""
    first = np.arange(-2, points)  # of the four control points of a cell; further out the spline is constant
    matrix = np.zeros((len(first), 4, points))
    for j in range(4):
        at = np.clip(first + j, 0, points - 1)
        for row, column in enumerate(at):
            matrix[row, :, column] += table[:, j]
    return matrix


def contraction_bound(control: Array, spacing: Array) -> float:
    """Upper bound over all positions of the largest row sum of ``|du_a / dp_b|``.

    The matrix of the derivative is a convex combination of its Bezier coefficients, all of degree 3, so its norm is at
    most the largest norm among them. One layer of cells is processed at a time to limit the memory.

    Args:
        control: ``(d, *grid)``, in the unit of ``spacing``.
        spacing: distance of control points along every axis.
    """
    d, grid = control.shape[0], control.shape[1:]
    values = [_cells(n, _VALUES) for n in grid]
    slopes = [_cells(n, _SLOPES) / h for n, h in zip(grid, spacing, strict=True)]
    largest = 0.0
    for layer in range(values[0].shape[0]):
        total: Array | float = 0.0
        for by in range(d):
            part = np.tensordot(control, (slopes if by == 0 else values)[0][layer], ((1,), (1,)))
            for axis in range(1, d):
                matrix = (slopes if by == axis else values)[axis].reshape(-1, grid[axis])
                # The contracted axis becomes the last one, so the next axis is axis 1 again.
                part = np.tensordot(part, matrix, ((1,), (1,)))
            total = total + np.abs(part)
        largest = max(largest, float(np.max(total)))
    return largest
