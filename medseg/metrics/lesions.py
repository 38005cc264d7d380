"""Lesions as objects: connected components of two masks, which of them belong together, and how many were found."""

from __future__ import annotations

from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from medseg.geometry.label_values import component_sizes
from medseg.metrics.boxes import union_box
from medseg.metrics.overlap import foreground_pair

__all__ = ["DetectionCounts", "LesionMatch", "LesionMatching", "LesionRule", "match_lesions"]

LesionRule = Literal["lits", "one-to-one"]
"""Which lesions of a prediction and a reference belong together, see `match_lesions`."""

_CONNECTIVITY = {"lits": 1, "one-to-one": 3}


class DetectionCounts(NamedTuple):
    """How many lesions were found, lost and invented; counts of several cases are added with ``+``.

    Attributes:
        true_positive: found lesions.
        false_positive: predicted lesions without a partner.
        false_negative: reference lesions without a partner.

    >>> total = DetectionCounts(3, 1, 2) + DetectionCounts(0, 1, 0)
    >>> total.precision, total.recall, round(total.f1, 3)
    (0.6, 0.6, 0.6)
    """

    true_positive: int
    false_positive: int
    false_negative: int

    def __add__(self, other: object) -> DetectionCounts:
        if not isinstance(other, DetectionCounts):
            return NotImplemented
        return DetectionCounts(*(a + b for a, b in zip(self, other, strict=True)))

    @property
    def precision(self) -> float:
        """Share of the predicted lesions that are true; NaN if there is no predicted lesion."""
        return _ratio(self.true_positive, self.true_positive + self.false_positive)

    @property
    def recall(self) -> float:
        """Share of the reference lesions that were found; NaN if there is no reference lesion."""
        return _ratio(self.true_positive, self.true_positive + self.false_negative)

    @property
    def f1(self) -> float:
        """Harmonic mean of both, 2 TP / (2 TP + FP + FN); NaN if there is no lesion at all."""
        return _ratio(2 * self.true_positive, 2 * self.true_positive + self.false_positive + self.false_negative)


class LesionMatch(NamedTuple):
    """Lesions that belong together.

    Attributes:
        predicted: numbers of the prediction's components, from 1.
        reference: numbers of the reference's components, from 1.
        predicted_voxels: of all these together.
        reference_voxels: of all these together.
        common_voxels: of both.

    >>> mask = np.array([1, 1, 0, 1], bool)
    >>> match_lesions(mask, mask, "one-to-one").matches[0].common_voxels
    2
    """

    predicted: tuple[int, ...]
    reference: tuple[int, ...]
    predicted_voxels: int
    reference_voxels: int
    common_voxels: int

    @property
    def iou(self) -> float:
        """Intersection over union."""
        return self.common_voxels / (self.predicted_voxels + self.reference_voxels - self.common_voxels)


class LesionMatching(NamedTuple):
    """The lesions of two masks and their partners.

    Attributes:
        matches: lesions that belong together; every one overlaps its partner.
        lost: components of the reference without a partner; those that are counted as one lesion stand together.
        invented: components of the prediction without a partner.
        predicted_labels: number of the component of every voxel of the prediction, within ``box``.
        reference_labels: the same of the reference.
        box: where both lie in the masks.

    >>> mask = np.array([1, 1, 0, 1], bool)
    >>> match_lesions(mask, mask, "one-to-one").lost
    ()
    """

    matches: tuple[LesionMatch, ...]
    lost: tuple[tuple[int, ...], ...]
    invented: tuple[int, ...]
    predicted_labels: NDArray[np.int32]
    reference_labels: NDArray[np.int32]
    box: tuple[slice, ...]

    def counts(self, min_iou: float = 0.0) -> DetectionCounts:
        """Lesions that were found, invented and lost, where only an IoU *above* a limit counts as found.

        Args:
            min_iou: from 0 to below 1.
        """
        if not 0 <= min_iou < 1:
            raise ValueError(f"min_iou is {min_iou}, expected from 0 to below 1")
        found = sum(match.iou > min_iou for match in self.matches)
        pairs = len(self.matches)
        return DetectionCounts(found, pairs + len(self.invented) - found, pairs + len(self.lost) - found)


def match_lesions(
    prediction: ArrayLike,
    reference: ArrayLike,
    rule: LesionRule = "one-to-one",
    connectivity: int | None = None,
) -> LesionMatching:
    """Find the lesions of two masks and which of them belong together.

    * "one-to-one": every lesion has at most one partner. Among all ways the one with the largest sum of IoU is taken. A
      prediction that joins two lesions finds at most one of them; of two predictions in one lesion at most one is true.
    * "lits": as the scripts of the LiTS challenge. Reference lesions that overlap the same prediction more than any
      other prediction are merged into one. Then every prediction goes to the merged lesion that it overlaps most, and
      all predictions of one lesion are merged. Merged lesions count once, so that a prediction that joins two
      neighbours can be fully right. (The scripts compute the union from mixed-up numbers of objects; here it is the
      union of both objects.)

    If both masks are empty there is no lesion: all counts are 0, precision, recall and F1 NaN.

    Args:
        prediction: mask or label map of two or three axes; values above 0 are lesions.
        reference: the same of the same shape.
        rule: see above.
        connectivity: the largest number of axes along which neighbours of one lesion are displaced; None takes 1 for
            "lits" (6 neighbours, as the scripts) and all axes for "one-to-one" (26).

    Raises:
        ValueError: for other shapes, masks of values that are not whole, an unknown rule or connectivity.

    >>> reference, prediction = np.zeros((2, 3, 9), bool)
    >>> reference[1, 1:4] = reference[1, 5:8] = prediction[1, 1:8] = True  # one prediction joins two lesions
    >>> match_lesions(prediction, reference, "lits").counts(0.5)
    DetectionCounts(true_positive=1, false_positive=0, false_negative=0)
    >>> match_lesions(prediction, reference, "one-to-one").counts(0.0)
    DetectionCounts(true_positive=1, false_positive=0, false_negative=1)
    """
    if rule not in _CONNECTIVITY:
        raise ValueError(f"rule is {rule!r}, expected 'lits' or 'one-to-one'")
    first, second = foreground_pair(prediction, reference)
    reach = min(_CONNECTIVITY[rule], first.ndim) if connectivity is None else connectivity
    if not 1 <= reach <= first.ndim:
        raise ValueError(f"connectivity is {connectivity}, expected 1 to {first.ndim}")
    box = union_box(first, second)
    labels = [_components(mask[box], reach) for mask in (first, second)]
    common = _common_voxels(*labels)
    groups = _lits_groups(common) if rule == "lits" else _one_to_one(common, *map(_sizes, labels))
    return _matching(groups, common, labels[0], labels[1], box)


def _components(mask: NDArray[np.bool_], connectivity: int) -> NDArray[np.int32]:
    from scipy import ndimage

    labels = np.zeros(mask.shape, np.int32)
    ndimage.label(mask, ndimage.generate_binary_structure(mask.ndim, connectivity), output=labels)
    return labels


def _sizes(labels: NDArray[np.int32]) -> NDArray[np.int64]:
    """Voxels of every component."""
    return component_sizes(labels, int(labels.max(initial=0)))


def _common_voxels(predicted: NDArray[np.int32], reference: NDArray[np.int32]) -> NDArray[np.int64]:
    """Voxels that every predicted component (row) shares with every component of the reference (column)."""
    rows, columns = int(predicted.max(initial=0)), int(reference.max(initial=0))
    both = (predicted > 0) & (reference > 0)
    pairs = (predicted[both].astype(np.int64) - 1) * columns + reference[both] - 1
    return np.bincount(pairs, minlength=rows * columns).reshape(rows, columns)


_Group = tuple[tuple[int, ...], tuple[int, ...]]


def _lits_groups(common: NDArray[np.int64]) -> list[_Group]:
    """Predictions and reference lesions that are merged, numbers from 0; either may be missing."""
    rows, columns = common.shape
    owner = common.argmax(axis=0) if rows else np.zeros(columns, np.intp)
    merged: dict[int, list[int]] = {}
    for column in range(columns):
        alone = not rows or not common[:, column].any()
        merged.setdefault(-1 - column if alone else int(owner[column]), []).append(column)
    objects = sorted(merged.values())
    shared = np.array([common[:, members].sum(axis=1) for members in objects]).reshape(len(objects), rows)
    predictions: dict[int, list[int]] = {}
    for row in range(rows):
        if len(objects) and shared[:, row].any():
            predictions.setdefault(int(shared[:, row].argmax()), []).append(row)
    groups: list[_Group] = [(tuple(predictions.get(n, ())), tuple(members)) for n, members in enumerate(objects)]
    used = {row for members in predictions.values() for row in members}
    return [*groups, *(((row,), ()) for row in range(rows) if row not in used)]


def _one_to_one(common: NDArray[np.int64], predicted: NDArray[np.int64], reference: NDArray[np.int64]) -> list[_Group]:
    from scipy.optimize import linear_sum_assignment

    union = predicted[:, None] + reference[None, :] - common
    rows, columns = linear_sum_assignment(common / np.maximum(union, 1), maximize=True)
    partner = {int(r): int(c) for r, c in zip(rows, columns, strict=True) if common[r, c]}
    groups: list[_Group] = [((row,), (column,)) for row, column in partner.items()]
    groups += [((row,), ()) for row in range(len(predicted)) if row not in partner]
    return groups + [((), (column,)) for column in range(len(reference)) if column not in set(partner.values())]


def _matching(
    groups: list[_Group],
    common: NDArray[np.int64],
    predicted: NDArray[np.int32],
    reference: NDArray[np.int32],
    box: tuple[slice, ...],
) -> LesionMatching:
    sizes_p, sizes_r = _sizes(predicted), _sizes(reference)
    matches = []
    for rows, columns in groups:
        if rows and columns:
            p, r = list(rows), list(columns)
            voxels = int(sizes_p[p].sum()), int(sizes_r[r].sum()), int(common[np.ix_(p, r)].sum())
            matches.append(LesionMatch(_numbers(rows), _numbers(columns), *voxels))
    lost = tuple(_numbers(columns) for rows, columns in groups if not rows)
    invented = tuple(rows[0] + 1 for rows, columns in groups if not columns)
    return LesionMatching(tuple(matches), lost, invented, predicted, reference, box)


def _numbers(indices: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(index + 1 for index in indices)


def _ratio(part: int, whole: int) -> float:
    return part / whole if whole else float("nan")
