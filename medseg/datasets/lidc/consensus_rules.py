"""One mask from the masks of several readers: by votes, union, or STAPLE."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

__all__ = ["CONSENSUS_NAMES", "ConsensusRule", "consensus_mask", "staple_mask"]

CONSENSUS_NAMES = ("half", "half-of-four", "union", "at-least-2", "at-least-3", "at-least-4", "staple")
"""What ``ConsensusRule.parse`` takes; ``at-least-K`` works for any K from 1 on."""


@dataclass(frozen=True)
class ConsensusRule:
    """Which voxels a nodule's consensus holds.

    Attributes:
        kind: "half" of the readers *who marked the nodule*; "half-of-four": 2 of the four readers of the scan; "union"
            of all readers; "at-least" a number of readers; or "staple" (``staple_mask``).
        readers: the number for "at-least", else 0.

    Raises:
        ValueError: for an unknown kind or a number that does not fit it.

    >>> ConsensusRule.parse("at-least-3").describe()
    'voxels marked by at least 3 reader(s)'
    """

    kind: Literal["half", "half-of-four", "union", "at-least", "staple"] = "half"
    readers: int = 0

    def __post_init__(self) -> None:
        if self.kind not in ("half", "half-of-four", "union", "at-least", "staple"):
            raise ValueError(f"consensus is {self.kind!r}, expected one of {', '.join(CONSENSUS_NAMES)}")
        if (self.kind == "at-least") != (self.readers >= 1):
            raise ValueError(f"readers is {self.readers} for {self.kind!r}; only 'at-least' has one, of at least 1")

    @classmethod
    def parse(cls, text: str) -> ConsensusRule:
        """The rule of a name such as ``half`` or ``at-least-3``.

        Raises:
            ValueError: for any other text.
        """
        number = text.removeprefix("at-least-")
        if number != text and number.isdecimal():
            return cls("at-least", int(number))
        if text not in ("half", "half-of-four", "union", "staple"):
            raise ValueError(f"consensus is {text!r}, expected one of {', '.join(CONSENSUS_NAMES)}")
        return cls(text)  # type: ignore[arg-type]

    @property
    def text(self) -> str:
        """The name that ``parse`` reads."""
        return f"at-least-{self.readers}" if self.kind == "at-least" else self.kind

    def describe(self) -> str:
        """The rule in words, with its denominator."""
        return {
            "half": "voxels marked by at least 50 % of the readers who marked that nodule",
            "half-of-four": "voxels marked by at least 2 readers: 50 % of the four readers of the scan",
            "union": "voxels marked by any reader",
            "at-least": f"voxels marked by at least {self.readers} reader(s)",
            "staple": "voxels with a STAPLE probability above 0.5, estimated in the box around all readers' masks with "
            "a margin of one voxel",
        }[self.kind]

    def mask(self, masks: Sequence[NDArray[np.bool_]]) -> NDArray[np.bool_]:
        """The consensus of masks of one shape; it can be empty, e.g. if fewer readers marked the nodule than required.

        Args:
            masks: one bool mask for each reader who marked the nodule, at least one.

        Raises:
            RuntimeError: for STAPLE without SimpleITK.
        """
        if self.kind == "half":
            return consensus_mask(masks)
        if self.kind == "staple":
            return staple_mask(masks)
        needed = {"half-of-four": 2, "union": 1}.get(self.kind, self.readers)
        return np.asarray(_votes(masks) >= needed)


def consensus_mask(masks: Sequence[NDArray[np.bool_]], level: float = 0.5) -> NDArray[np.bool_]:
    """Voxels marked by at least a fraction of the readers.

    The denominator is the number of readers *who marked this nodule*, not the four readers of the scan: a nodule that
    two readers marked keeps every voxel that one of them marked at ``level`` 0.5.

    Args:
        masks: one bool mask for each reader, all of one shape.
        level: fraction of the readers, above 0 and at most 1.

    Raises:
        ValueError: for a level outside its range.

    >>> consensus_mask([np.array([True, True, False]), np.array([True, False, False])], level=0.75)
    array([ True, False, False])
    """
    if not 0 < level <= 1:
        raise ValueError(f"level is {level}, expected above 0 and at most 1")
    return np.asarray(_votes(masks) >= level * len(masks) - 1e-9)


def staple_mask(masks: Sequence[NDArray[np.bool_]]) -> NDArray[np.bool_]:
    """Simultaneous truth and performance level estimation (Warfield, Zou and Wells 2004), by SimpleITK.

    The prior is the mean share of marked voxels, so the result depends on the size of the array: here the
    masks' own box plus one voxel on every side. A single mask, and masks that all agree, are returned as they are.

    Args:
        masks: one bool mask for each reader, all of one shape.

    Returns:
        Voxels whose probability of being marked in truth is above 0.5.

    Raises:
        RuntimeError: if SimpleITK is not installed.

    >>> mask = np.zeros((4, 4, 4), bool)
    >>> mask[1:3, 1:3, 1:3] = True
    >>> bool((staple_mask([mask, mask]) == mask).all())
    True
    """
    votes = _votes(masks)
    if np.all((votes == 0) | (votes == len(masks))):
        return np.asarray(votes > 0)
    try:
        import SimpleITK as sitk  # noqa: N813
    except ImportError as error:
        raise RuntimeError("the STAPLE consensus needs SimpleITK; pip install 'medseg[itk]'") from error
    images = [sitk.GetImageFromArray(np.pad(mask, 1).astype(np.uint8)) for mask in masks]
    probability = sitk.GetArrayFromImage(sitk.STAPLE(images, 1.0))
    return np.asarray(probability[tuple(slice(1, -1) for _ in votes.shape)] > 0.5)


def _votes(masks: Sequence[NDArray[np.bool_]]) -> NDArray[np.int64]:
    if not len(masks):
        raise ValueError("a consensus needs at least one mask")
    return np.sum([np.asarray(mask, dtype=np.int64) for mask in masks], axis=0)
