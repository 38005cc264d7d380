"""One label for each nodule from the readers' malignancy scores, by a policy that can describe itself in words."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from medseg.datasets.lidc.consensus import Nodule
from medseg.datasets.lidc.records import RATING_RANGES, Annotation

__all__ = ["MalignancyPolicy", "malignancy_scores", "valid_scores"]

_MIDDLE = 3.0


@dataclass(frozen=True)
class MalignancyPolicy:
    """Rule that turns scores of 1 (highly unlikely) to 5 (highly suspicious) into benign 0 or malignant 1.

    The scores are opinions of radiologists, not pathology. Counts differ much between rules, so state ``describe()``
    with every result.

    Args:
        statistic: how the scores of a nodule are combined.
        minimum_readers: nodules with fewer scores get no label.
        margin: least distance of the combined score from 3 (0.5: at most 2.5 or at least 3.5). With 0 only a score of
            exactly 3 is ambiguous.
        ambiguous: what a score within the margin becomes.

    Raises:
        ValueError: for values outside the ranges above.

    >>> policy = MalignancyPolicy(minimum_readers=3)
    >>> policy.label([4, 5, 3]), policy.label([3, 3, 3]), policy.label([5])
    (1, None, None)
    >>> policy.describe()
    'median malignancy of at least 3 readers: benign < 3, malignant > 3, else dropped'
    """

    statistic: Literal["median", "mean"] = "median"
    minimum_readers: int = 3
    margin: float = 0.0
    ambiguous: Literal["drop", "benign", "malignant"] = "drop"

    def __post_init__(self) -> None:
        if self.statistic not in ("median", "mean"):
            raise ValueError(f"statistic is {self.statistic!r}, expected 'median' or 'mean'")
        if self.ambiguous not in ("drop", "benign", "malignant"):
            raise ValueError(f"ambiguous is {self.ambiguous!r}, expected 'drop', 'benign' or 'malignant'")
        if self.minimum_readers < 1:
            raise ValueError(f"minimum_readers is {self.minimum_readers}, expected at least 1")
        if not 0 <= self.margin < 2:
            raise ValueError(f"margin is {self.margin}, expected at least 0 and below 2")

    def label(self, scores: Sequence[int]) -> int | None:
        """0 benign, 1 malignant, None where the policy gives no label.

        Args:
            scores: one malignancy score for each reader.

        Raises:
            ValueError: for a score outside 1 to 5.
        """
        low, high = RATING_RANGES["malignancy"]
        wrong = [score for score in scores if not low <= score <= high]
        if wrong:
            raise ValueError(f"malignancy score is {wrong[0]}, expected {low} to {high}")
        if len(scores) < self.minimum_readers:
            return None
        distance = self.joined(scores) - _MIDDLE
        if abs(distance) > 1e-9 and abs(distance) >= self.margin - 1e-9:
            return int(distance > 0)
        return {"drop": None, "benign": 0, "malignant": 1}[self.ambiguous]

    def joined(self, scores: Sequence[int]) -> float:
        """The statistic of at least one score."""
        return float(np.median(scores) if self.statistic == "median" else np.mean(scores))

    def describe(self) -> str:
        """The policy in words, for tables and file headers."""
        if self.margin:
            bounds = f"benign <= {_MIDDLE - self.margin:g}, malignant >= {_MIDDLE + self.margin:g}"
        else:
            bounds = "benign < 3, malignant > 3"
        rest = "else dropped" if self.ambiguous == "drop" else f"else {self.ambiguous}"
        return f"{self.statistic} malignancy of at least {self.minimum_readers} readers: {bounds}, {rest}"


def malignancy_scores(nodule: Nodule) -> list[int]:
    """Malignancy scores of a nodule, see ``valid_scores``.

    >>> import numpy as np
    >>> from medseg.datasets.lidc import Annotation, Contour, Reading, build_nodules
    >>> ring = np.array([[10, 10], [16, 10], [16, 16], [10, 16]])
    >>> drawn = [Annotation(reader, "A", {"malignancy": 4}, (Contour(5.0, ring),)) for reader in (1, 2)]
    >>> reading = Reading("1.2.3", "xml", 4, tuple(drawn))
    >>> (nodule,) = build_nodules(reading, np.diag([0.7, 0.7, 2.5, 1.0]), shape=(64, 64, 8))
    >>> malignancy_scores(nodule)
    [4, 4]
    """
    return valid_scores([item for items in nodule.annotations.values() for item in items])


def valid_scores(annotations: Iterable[Annotation]) -> list[int]:
    """Malignancy scores, one for every annotation that has one within 1 to 5."""
    low, high = RATING_RANGES["malignancy"]
    scores = [item.ratings["malignancy"] for item in annotations if "malignancy" in item.ratings]
    return [score for score in scores if low <= score <= high]
