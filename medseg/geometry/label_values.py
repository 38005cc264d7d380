"""The check that a label map contains labels, i.e. whole numbers: one rule for losses, metrics, transforms and readers.

It works on NumPy arrays and on tensors of any device, without importing torch.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "check_whole_labels",
    "component_sizes",
    "component_sizes_of_points",
    "components_of_points",
    "foreground_box",
    "label_counts",
]

_FEW = 8
_CAUSE = (
    "were the labels interpolated? Resample them with mode 'nearest', also in lazy transforms, or round them if they "
    "are inexact only by rounding errors"
)


def check_whole_labels(labels: Any, what: str) -> None:
    """Raises ValueError if a label map contains a number that is not whole.

    A conversion to integers would cut off the fraction: 0.99 would become class 0. NaN and infinity are not whole.

    Args:
        labels: NumPy array or tensor of any shape and type.
        what: name of the label map for the message, such as "target" or a file.

    Raises:
        ValueError: with the first such number, its index and the likely cause.

    Example:
        >>> check_whole_labels(np.array([[0.0, 1.0]]), "label")
        >>> check_whole_labels(np.array([[0.0, 0.99]]), "label")
        Traceback (most recent call last):
            ...
        ValueError: label contains 0.99 at [0, 1], expected whole numbers; were the labels interpolated? ...
    """
    plain = labels.as_tensor() if hasattr(labels, "as_tensor") else labels  # a MetaTensor is slow to compute with
    if not _is_floating(plain):
        return
    with np.errstate(invalid="ignore"):  # infinity - infinity is NaN, which is different from 0, as it should be
        wrong = (plain - plain.round()) != 0
    if not bool(wrong.any()):
        return
    mask = np.asarray(wrong.cpu() if hasattr(wrong, "cpu") else wrong)
    index = tuple(int(i) for i in np.unravel_index(int(mask.argmax()), mask.shape))
    value = float(plain[index])
    cause = _CAUSE if np.isfinite(value) else "labels must be finite"
    raise ValueError(f"{what} contains {value:.6g} at {list(index)}, expected whole numbers; {cause}")


def _is_floating(labels: Any) -> bool:
    # Tensor types say so themselves; NumPy types have a kind.
    return bool(getattr(labels.dtype, "is_floating_point", getattr(labels.dtype, "kind", "") == "f"))


def label_counts(labels: NDArray[Any]) -> dict[float, int]:
    """How many voxels hold each value, in increasing order of the values.

    It goes plane by plane, in the order of the memory: ``np.unique`` would sort a copy of the volume, and
    ``np.bincount`` would make one in 64 bits.

    Args:
        labels: a label map of any real type.

    Example:
        >>> label_counts(np.array([[0, 2], [2, 1]], np.uint8))
        {0: 1, 1: 1, 2: 2}
    """
    planes = labels.T if labels.flags.f_contiguous else labels
    planes = planes if planes.ndim > 1 else planes[None]
    if labels.dtype == np.uint8:
        totals = sum((_counts_of_bytes(plane) for plane in planes), np.zeros(256, np.int64))
        return {int(value): int(totals[value]) for value in np.flatnonzero(totals)}
    found: dict[float, int] = {}
    for plane in planes:
        for value, count in zip(*np.unique(plane, return_counts=True), strict=True):
            found[value.item()] = found.get(value.item(), 0) + int(count)
    return dict(sorted(found.items()))


def _counts_of_bytes(plane: NDArray[np.uint8]) -> NDArray[np.int64]:
    highest = int(plane.max(initial=0))
    if highest > _FEW:
        return np.bincount(plane.ravel(), minlength=256)
    # Comparisons of bytes are vectorised; bincount takes as long as 30 of them.
    counts = np.zeros(256, np.int64)
    for value in range(1, highest + 1):
        counts[value] = np.count_nonzero(plane == value)
    counts[0] = plane.size - counts.sum()
    return counts


def foreground_box(labels: NDArray[Any]) -> tuple[slice, ...] | None:
    """The smallest box that holds all voxels other than 0; None if there is none.

    Args:
        labels: a mask or label map without negative values, of any real type and number of axes.

    Example:
        >>> foreground_box(np.array([[0, 0, 0], [0, 2, 1]], np.uint8))
        (slice(1, 2, None), slice(1, 3, None))
    """
    # The largest value of a plane is found several times as fast as whether any value is true.
    rest = labels.view(np.uint8) if labels.dtype == np.bool_ else labels
    # The slowest axis in memory first: whole planes are read in order, and the other axes read what is left.
    order = sorted(range(rest.ndim), key=lambda axis: -abs(rest.strides[axis]))
    result = [slice(0, 0)] * rest.ndim
    for axis in order:
        others = tuple(other for other in range(rest.ndim) if other != axis)
        used = np.flatnonzero(rest.max(axis=others, initial=0))
        if not len(used):
            return None
        result[axis] = slice(int(used[0]), int(used[-1]) + 1)
        rest = rest[(slice(None),) * axis + (result[axis],)]
    return tuple(result)


def component_sizes(components: NDArray[Any], count: int) -> NDArray[np.int64]:
    """Number of voxels of the components 1 to ``count`` in a map of component numbers, as `scipy.ndimage.label` makes.

    Args:
        components: whole numbers from 0 to ``count``.
        count: number of components.

    Returns:
        ``count`` numbers.

    Example:
        >>> component_sizes(np.array([[1, 1, 0], [0, 0, 2]]), 2).tolist()
        [2, 1]
    """
    sizes = np.zeros(count + 1, np.int64)
    for plane in components if components.ndim > 1 else components[None]:
        sizes += np.bincount(plane.ravel(), minlength=count + 1)
    return sizes[1:]


def component_sizes_of_points(points: NDArray[np.integer[Any]], shape: Sequence[int]) -> NDArray[np.int64]:
    """Number of voxels of every component of a few voxels in a large volume; 26 neighbours in three axes.

    Args:
        points: different indices ``(n, axes)`` in the order of `numpy.argwhere`.
        shape: lengths of the volume's axes.

    Returns:
        A number for every component, in the order of their first voxels.

    Example:
        >>> component_sizes_of_points(np.array([[0, 0, 0], [1, 1, 1], [5, 5, 5]]), (6, 6, 6)).tolist()
        [2, 1]
    """
    return np.bincount(components_of_points(points, shape))


def components_of_points(points: NDArray[np.integer[Any]], shape: Sequence[int]) -> NDArray[np.integer[Any]]:
    """The component of each of a few voxels in a large volume; 26 neighbours in three axes.

    `scipy.ndimage.label` reads the whole volume. This looks up the neighbours of the voxels alone.

    Args:
        points: different indices ``(n, axes)`` in the order of `numpy.argwhere`.
        shape: lengths of the volume's axes.

    Returns:
        A number from 0 for every voxel, ``(n,)``; components are numbered in the order of their first voxels.

    Example:
        >>> components_of_points(np.array([[0, 0, 0], [1, 1, 1], [5, 5, 5]]), (6, 6, 6)).tolist()
        [0, 0, 1]
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    count = len(points)
    # A border of one voxel: a step over the end of a row does not arrive in the next one.
    padded = tuple(length + 2 for length in shape)
    keys = np.ravel_multi_index(tuple((points + 1).T), padded)
    strides = np.array([int(np.prod(padded[axis + 1 :])) for axis in range(len(shape))])
    steps = sorted(int(np.dot(step, strides)) for step in product((-1, 0, 1), repeat=len(shape)))
    starts, ends = [], []
    for step in steps[len(steps) // 2 + 1 :]:  # half of the directions: the others are the same pairs
        place = np.searchsorted(keys, keys + step)
        linked = np.flatnonzero(keys[np.minimum(place, count - 1)] == keys + step)
        starts.append(linked)
        ends.append(place[linked])
    pairs = (np.concatenate(starts), np.concatenate(ends))
    graph = coo_array((np.ones(len(pairs[0]), np.int8), pairs), shape=(count, count))
    numbers: NDArray[np.integer[Any]] = connected_components(graph, directed=False)[1]
    return numbers
