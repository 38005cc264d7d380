"""LiTS files found in any folders, paired and sorted by number."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from medseg.io.bounded.errors import DataError

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
        fault: why the case cannot be used: a file is missing or there twice; "" if it can.

    >>> from pathlib import Path
    >>> LitsCase("volume-3", 3, False, Path("volume-3.nii"), Path("segmentation-3.nii")).number
    3
    """

    name: str
    number: int
    is_test: bool
    image: Path
    label: Path | None
    fault: str = ""


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


def find_cases(images: str | Path, labels: str | Path | None = None, *, allow_partial: bool = False) -> list[LitsCase]:
    """Find the cases in two folders: training cases first, each set sorted by number (2 before 10).

    Sub-folders, such as the two batches of the training set, do not matter. Images and labels may be in one folder.

    Args:
        images: folder searched for ``volume-N`` and ``test-volume-N`` with suffix ``.nii`` or ``.nii.gz``.
        labels: folder searched for ``segmentation-N``; None: the images' folder.
        allow_partial: return cases too of which a file is missing or there twice, with the reason in ``fault``.

    Raises:
        DataError: if a folder is missing or holds no such file; without ``allow_partial`` also if a number occurs
            twice, or an image or label of the training set has no counterpart.

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
    keys = sorted({*image_paths, *label_paths})
    cases = [_case(key, image_paths, label_paths, Path(images), Path(labels or images)) for key in keys]
    bad = [case for case in cases if case.fault]
    if bad and not allow_partial:
        more = f" (and {len(bad) - 1} more cases)" if len(bad) > 1 else ""
        raise DataError(f"{bad[0].fault}{more}")
    return cases


_Key = tuple[bool, int]  # whether it is a test case, and its number


def _case(
    key: _Key,
    image_paths: Mapping[_Key, Sequence[Path]],
    label_paths: Mapping[_Key, Sequence[Path]],
    images: Path,
    labels: Path,
) -> LitsCase:
    is_test, number = key
    name = f"{'test-' if is_test else ''}volume-{number}"
    found, drawn = image_paths.get(key, ()), label_paths.get(key, ())
    fault = ""
    if len(found) > 1 or len(drawn) > 1:
        first, second = (found if len(found) > 1 else drawn)[:2]
        fault = f"{second} and {first} are the same case {number}, expected one file; remove one of them"
    elif not found:
        fault = f"{images}: no {name} for segmentation-{number}; fetch the image or move this label away"
    elif not drawn and not is_test:
        fault = f"{labels}: no segmentation-{number} for {name}; fetch the label or move this image away"
    image = found[0] if found else images / f"{name}.nii"
    return LitsCase(name, number, is_test, image, drawn[0] if drawn and not is_test else None, fault)


def _by_number(
    folder: str | Path, pattern: re.Pattern[str], example: str, may_be_empty: bool = False
) -> dict[_Key, list[Path]]:
    folder = Path(folder)
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder, expected one with LiTS files ({example})")
    found: dict[_Key, list[Path]] = {}
    for path in sorted(folder.rglob("*")):
        match = pattern.fullmatch(path.name)
        if not match or not path.is_file():
            continue
        is_test = pattern is _IMAGE and match[1] is not None
        number = int(match[2] if pattern is _IMAGE else match[1])
        found.setdefault((is_test, number), []).append(path)
    if not found and not may_be_empty:
        raise DataError(f"{folder}: no file is named like {example} or {example}.gz, sub-folders included")
    return found
