"""LiTS files found in any folders, paired and sorted by number."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from medseg.io.bounded.errors import DataError, shorten

__all__ = ["LitsCase", "find_cases", "lits_number"]

_IMAGE = re.compile(r"(test-)?volume-(\d+)\.nii(\.gz)?", re.IGNORECASE)
_LABEL = re.compile(r"segmentation-(\d+)\.nii(\.gz)?", re.IGNORECASE)


class LitsCase(NamedTuple):
    """One LiTS case on disk.

    Attributes:
        name: ``volume-N`` or ``test-volume-N``, with the number without leading zeros.
        number: N.
        is_test: whether it belongs to the test set, which has no labels.
        image: the image file.
        label: the label file; None for a test case.

    >>> from pathlib import Path
    >>> LitsCase("volume-3", 3, False, Path("volume-3.nii"), Path("segmentation-3.nii")).number
    3
    """

    name: str
    number: int
    is_test: bool
    image: Path
    label: Path | None


def lits_number(name: str) -> int | None:
    """The N of ``volume-N``, ``test-volume-N`` or ``segmentation-N``, with or without suffix; None for other names.

    >>> lits_number("test-volume-07.nii.gz"), lits_number("liver_7.nii.gz")
    (7, None)
    """
    for pattern, group in ((_IMAGE, 2), (_LABEL, 1)):
        match = pattern.fullmatch(name if ".nii" in name.lower() else name + ".nii")
        if match:
            return int(match[group])
    return None


def find_cases(images: str | Path, labels: str | Path | None = None) -> list[LitsCase]:
    """Find the cases in two folders: training cases first, each set sorted by number (2 before 10).

    Sub-folders, such as the two batches of the training set, do not matter. Images and labels may be in one folder.

    Args:
        images: folder searched for ``volume-N`` and ``test-volume-N`` with suffix ``.nii`` or ``.nii.gz``.
        labels: folder searched for ``segmentation-N``; None: the images' folder.

    Raises:
        DataError: if a folder is missing or holds no such file, a number occurs twice, or an image or label of the
            training set has no counterpart.

    >>> from pathlib import Path
    >>> for name in ("volume-10.nii", "segmentation-10.nii", "volume-2.nii", "segmentation-2.nii"):
    ...     Path(name).touch()
    >>> [case.name for case in find_cases(".")]
    ['volume-2', 'volume-10']
    """
    image_paths = _by_number(images, _IMAGE, "volume-N.nii")
    label_paths = _by_number(
        labels or images, _LABEL, "segmentation-N.nii", may_be_empty=all(t for t, _ in image_paths)
    )
    training = {number: path for (is_test, number), path in image_paths.items() if not is_test}
    segmentations = {number: path for (_, number), path in label_paths.items()}
    _refuse_unpaired(training, segmentations, images, labels or images)
    return [
        LitsCase(
            f"{'test-' if test else ''}volume-{number}", number, test, path, None if test else segmentations[number]
        )
        for (test, number), path in sorted(image_paths.items())
    ]


def _by_number(
    folder: str | Path, pattern: re.Pattern[str], example: str, may_be_empty: bool = False
) -> dict[tuple[bool, int], Path]:
    folder = Path(folder)
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder, expected one with LiTS files ({example})")
    found: dict[tuple[bool, int], Path] = {}
    for path in sorted(folder.rglob("*")):
        match = pattern.fullmatch(path.name)
        if not match or not path.is_file():
            continue
        is_test = pattern is _IMAGE and match[1] is not None
        number = int(match[2] if pattern is _IMAGE else match[1])
        other = found.setdefault((is_test, number), path)
        if other != path:
            raise DataError(f"{path} and {other} are the same case {number}, expected one file; remove one of them")
    if not found and not may_be_empty:
        raise DataError(f"{folder}: no file is named like {example} or {example}.gz, sub-folders included")
    return found


def _refuse_unpaired(
    training: dict[int, Path], segmentations: dict[int, Path], images: str | Path, labels: str | Path
) -> None:
    def names(kind: str, numbers: Iterable[int]) -> str:
        return shorten([f"{kind}-{number}" for number in sorted(numbers)], 5)

    if lacking := training.keys() - segmentations.keys():
        raise DataError(
            f"{labels}: no segmentation-N for {names('volume', lacking)}; fetch the labels or move these images away"
        )
    if lacking := segmentations.keys() - training.keys():
        raise DataError(
            f"{images}: no volume-N for {names('segmentation', lacking)}; fetch the images or move these labels away"
        )
