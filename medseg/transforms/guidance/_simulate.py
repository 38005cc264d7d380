"""Simulated users: rules that draw prompts for a target mask, one function per kind of prompt."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
from numpy.random import RandomState
from numpy.typing import NDArray

from medseg.transforms.guidance._draw import nearest_voxel
from medseg.transforms.guidance.prompts import Prompts

__all__ = ["boxes", "clicks_deepigeos", "clicks_dins", "ellipse_mid_slice", "robust_moments", "scribbles"]

Mask = NDArray[np.bool_]
Array = NDArray[np.float64]
BALL_SIGMA = 0.5149
"""Robust sigma of a solid ball divided by its radius; for an ellipse it is 0.5989."""
_FAR = 1e6


def robust_moments(mask: Mask) -> tuple[Array, Array]:
    """Median of the foreground along every axis, and 1.4826 times its median absolute deviation.

    A voxel is treated as an interval of width 1, not as a point, so that both values are continuous: for a solid
    ellipse the second one is 0.5989 of the semi-axes, and not a multiple of half a voxel.
    """
    moments = []
    for axis in range(mask.ndim):
        counts = mask.sum(axis=tuple(a for a in range(mask.ndim) if a != axis))
        edges = np.arange(counts.size + 1) - 0.5
        mass = np.concatenate([[0.0], np.cumsum(counts) / counts.sum()])
        middle = float(np.interp(0.5, mass, edges))
        reach = np.sort(np.abs(np.append(edges, middle) - middle))
        within = np.interp(middle + reach, edges, mass) - np.interp(middle - reach, edges, mass)
        moments.append((middle, 1.4826 * float(np.interp(0.5, within, reach))))
    centre, sigma = np.array(moments).T
    return centre, sigma


def ellipse_mid_slice(
    target: Mask,
    pred: Mask,
    axis: int,
    random: RandomState,
    *,
    centre_jitter: float = 0.2,
    sigma_jitter: float = 1.4,
    min_sigma: float = 2.0,
) -> Prompts:
    """An ellipse for every object, from the robust moments of its middle slice and its range of slices.

    The centre moves by ``U(-centre_jitter, centre_jitter)`` sigmas and sigma is scaled by
    ``U(1 / sigma_jitter, sigma_jitter)`` along each axis, then raised to ``min_sigma`` voxels. The sigma across the
    slices is that of a ball over their range.
    """
    rows = []
    for box, own in _objects(target):
        low = np.array([s.start for s in box], dtype=np.float64)
        if target.ndim == 2:
            centre, sigma = robust_moments(own)
        else:
            deep = own.shape[axis]
            middle = (deep - 1) // 2
            flat_centre, flat_sigma = robust_moments(np.take(own, middle, axis))
            centre, sigma = np.insert(flat_centre, axis, middle), np.insert(flat_sigma, axis, BALL_SIGMA * deep / 2)
        moved = low + centre + sigma * random.uniform(-centre_jitter, centre_jitter, target.ndim)
        scaled = sigma * random.uniform(1 / sigma_jitter, sigma_jitter, target.ndim)
        rows.append((moved, np.maximum(scaled, min_sigma)))
    return _prompts([(1, *row) for row in rows], target.ndim)


def clicks_dins(
    target: Mask,
    pred: Mask,
    axis: int,
    random: RandomState,
    *,
    most: int = 10,
    margin: float = 3.0,
    apart: float = 10.0,
    band: float = 40.0,
) -> Prompts:
    """``U{1..most}`` clicks inside the target and ``U{0..most}`` around it; distances are in voxels in the slices.

    Foreground clicks have a distance of ``margin`` from the border (in an object without such voxels, only the centre
    can be clicked) and at least ``apart`` from each other in a slice. Background clicks are in a band of width ``band``
    outside of the margin. They are drawn uniformly or, in half of the calls, each as far as possible from the previous
    ones.
    """
    inside, outside = _slice_distance(~target, axis), _slice_distance(target, axis)
    candidates = inside > margin
    for box, own in _objects(target):
        if not candidates[box][own].any():
            candidates[box][_central_voxel(own)] = True
    wanted = random.randint(1, most + 1)
    clicks = _apart(np.argwhere(candidates), wanted, apart, axis if target.ndim == 3 else None, random)
    ring = np.argwhere((outside > margin) & (outside <= margin + band) & ~target)
    others = _farthest if random.random_sample() < 0.5 else _uniform
    negatives = others(ring, random.randint(0, most + 1), random)
    return _clicks(clicks, negatives, target.ndim)


def clicks_deepigeos(
    target: Mask, pred: Mask, axis: int, random: RandomState, *, least: int = 30, per_click: int = 100
) -> Prompts:
    """Clicks on errors: ``ceil(N / per_click)`` random voxels of every wrong region of N voxels, if N >= ``least``.

    False negative regions get foreground clicks, false positive regions background clicks. In 3-D, three slices are
    clicked: for each axis, the slice with the most errors. Without a prediction the whole target is false negative.
    """
    found: list[NDArray[np.int64]] = []
    for wrong in (target & ~pred, pred & ~target):
        points = [np.zeros((0, target.ndim), np.int64)]
        for cut in _worst_slices(wrong):
            for box, own in _objects(wrong[cut]):
                size = int(own.sum())
                count = 0 if size < least else math.ceil(size / per_click)
                at = _uniform(np.argwhere(own), count, random) + np.array([s.start for s in box])
                points.append(_into_volume(at, cut))
        found.append(np.concatenate(points))
    return _clicks(found[0], found[1], target.ndim)


def boxes(target: Mask, pred: Mask, axis: int, random: RandomState, *, margin: int = 10) -> Prompts:
    """The bounding box of every object, each side moved outwards by ``U{0..margin}`` voxels, inside the image."""
    rows = []
    for box, _ in _objects(target):
        low = np.array([s.start for s in box]) - random.randint(0, margin + 1, target.ndim)
        high = np.array([s.stop for s in box]) + random.randint(0, margin + 1, target.ndim)
        low, high = np.maximum(low, 0), np.minimum(high, target.shape)
        rows.append((1, (low + high - 1) / 2, (high - low) / 2))
    return _prompts(rows, target.ndim)


def scribbles(
    target: Mask, pred: Mask, axis: int, random: RandomState, *, length: float = 20.0, margin: float = 3.0
) -> Prompts:
    """A foreground stroke along the skeleton of the middle slice of every object, and a background stroke near it.

    A stroke consists of the voxels of a curve within ``length / 2`` of a random voxel of the curve. The curve of the
    background is at ``margin`` voxels from the target. Every voxel of a stroke is one row of the table.
    """
    from skimage.morphology import skeletonize

    strokes: list[list[NDArray[np.int64]]] = [[np.zeros((0, target.ndim), np.int64)] for _ in range(2)]
    for box, own in _objects(target):
        cut: tuple[slice | int, ...] = (slice(None),) * target.ndim
        if target.ndim == 3:
            middle = box[axis].start + (own.shape[axis] - 1) // 2
            cut = tuple(middle if a == axis else slice(None) for a in range(3))
            own = np.take(own, (own.shape[axis] - 1) // 2, axis)
            box = tuple(side for a, side in enumerate(box) if a != axis)
        curve = np.argwhere(skeletonize(own)) + np.array([s.start for s in box])
        plane = target[cut]
        whole = np.zeros(plane.shape, bool)
        whole[box] = own
        away, any_target = _slice_distance(whole, None), _slice_distance(plane, None)
        ring = np.argwhere((np.abs(away - margin) <= 0.5) & (any_target > margin - 0.5))
        for to, points in zip(strokes, (curve, ring), strict=True):
            to.append(_into_volume(_stroke(points, length, random), cut))
    return _clicks(np.concatenate(strokes[0]), np.concatenate(strokes[1]), target.ndim)


def _objects(mask: Mask) -> Iterator[tuple[tuple[slice, ...], Mask]]:
    """Bounding box of every connected component (8 or 26 neighbours), and its mask in the box."""
    from skimage.measure import label, regionprops

    numbered = label(mask, connectivity=mask.ndim)
    for region in regionprops(numbered):
        yield region.slice, np.asarray(region.image, bool)


def _slice_distance(mask: Mask, axis: int | None) -> Array:
    """Distance in voxels to the nearest True in the same slice across ``axis``; very large if there is none."""
    from scipy.ndimage import distance_transform_edt

    if not mask.any():
        return np.full(mask.shape, _FAR)
    sampling = [_FAR if mask.ndim == 3 and a == axis else 1.0 for a in range(mask.ndim)]
    distance: Array = distance_transform_edt(~mask, sampling=sampling)
    return distance


def _central_voxel(mask: Mask) -> tuple[int, ...]:
    """The foreground voxel that is nearest to the median of all foreground voxels."""
    points = np.argwhere(mask)
    middle = nearest_voxel(np.median(points, axis=0))
    chosen = points[np.argmin(((points - middle) ** 2).sum(axis=1))]
    return tuple(int(v) for v in chosen)


def _uniform(points: NDArray[np.int64], count: int, random: RandomState) -> NDArray[np.int64]:
    chosen: NDArray[np.int64] = points[random.permutation(len(points))[:count]]
    return chosen


def _farthest(points: NDArray[np.int64], count: int, random: RandomState) -> NDArray[np.int64]:
    """A random point, then repeatedly the point that is farthest from all chosen points."""
    if not len(points) or count == 0:
        return points[:0]
    chosen = [int(random.randint(len(points)))]
    nearest = ((points - points[chosen[0]]) ** 2).sum(axis=1)
    while len(chosen) < min(count, len(points)):
        chosen.append(int(nearest.argmax()))
        nearest = np.minimum(nearest, ((points - points[chosen[-1]]) ** 2).sum(axis=1))
    return points[chosen]


def _apart(
    points: NDArray[np.int64], count: int, apart: float, axis: int | None, random: RandomState
) -> NDArray[np.int64]:
    """Random points; two points in the same slice across ``axis`` are at least ``apart`` from each other."""
    chosen, left = [points[:0]], points
    while len(left) and len(chosen) <= count:
        new = left[random.randint(len(left))]
        chosen.append(new[None])
        near = ((left - new) ** 2).sum(axis=1) < apart**2
        if axis is not None:
            near &= left[:, axis] == new[axis]
        left = left[~near]
    return np.concatenate(chosen)


def _worst_slices(wrong: Mask) -> Iterator[tuple[slice | int, ...]]:
    """In 3-D, for every axis the slice with the most errors; in 2-D the image."""
    whole = (slice(None),) * wrong.ndim
    if wrong.ndim == 2:
        yield whole
        return
    for axis in range(3):
        worst = int(wrong.sum(axis=tuple(a for a in range(3) if a != axis)).argmax())
        yield tuple(worst if a == axis else slice(None) for a in range(3))


def _into_volume(points: NDArray[np.int64], cut: tuple[slice | int, ...]) -> NDArray[np.int64]:
    """Points of a slice with the coordinate of the slice added."""
    for axis, at in enumerate(cut):
        if isinstance(at, int):
            points = np.insert(points, axis, at, axis=1)
    return points


def _stroke(curve: NDArray[np.int64], length: float, random: RandomState) -> NDArray[np.int64]:
    if not len(curve):
        return curve
    start = curve[random.randint(len(curve))]
    near: NDArray[np.int64] = curve[((curve - start) ** 2).sum(axis=1) <= (length / 2) ** 2]
    return near


def _prompts(rows: list[tuple[int, Array, Array]], axes: int) -> Prompts:
    kinds = np.array([row[0] for row in rows], dtype=np.int64)
    centres, extents = (np.array([row[i] for row in rows], dtype=np.float64).reshape(-1, axes) for i in (1, 2))
    return Prompts(kinds, centres, extents)


def _clicks(foreground: NDArray[np.int64], background: NDArray[np.int64], axes: int) -> Prompts:
    centre = np.concatenate([foreground, background]).astype(np.float64).reshape(-1, axes)
    kind = np.repeat(np.array([1, 0]), [len(foreground), len(background)])
    return Prompts(kind.astype(np.int64), centre, np.zeros_like(centre))
