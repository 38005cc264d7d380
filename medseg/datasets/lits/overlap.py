"""Collections that hold the same patients as LiTS, so that none of them is used as an external test set."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple

from medseg.io.bounded.errors import DataError, shorten

__all__ = ["Source", "refuse_shared_patients", "source_of"]

_FIRST_IRCADB = 28  # volume-28 to volume-47 have the slice numbers of patients 1 to 20, in this order
_PATTERNS = (
    ("LiTS", re.compile(r"(?:volume|segmentation)[-_]0*(\d+)")),
    ("LiTS test", re.compile(r"test-(?:volume|segmentation)[-_]0*(\d+)")),
    ("MSD Task03", re.compile(r"liver_0*(\d+)")),
    ("3D-IRCADb", re.compile(r"3d-?ircadb[-_]?0?1[._-]0*(\d+)")),
)


class Source(NamedTuple):
    """What a file name says about its origin.

    Attributes:
        collection: ``LiTS``, ``LiTS test``, ``MSD Task03``, ``3D-IRCADb``, or an empty string if unknown.
        number: the case's number there.
    """

    collection: str
    number: int


def source_of(name: str) -> Source:
    """Collection and number from a case's name, with or without suffix; ``("", -1)`` for other names.

    >>> source_of("liver_012.nii.gz")
    Source(collection='MSD Task03', number=12)
    """
    stem = re.sub(r"(_0000)?(\.nii(\.gz)?)?$", "", name.lower().rsplit("/", 1)[-1])
    for collection, pattern in _PATTERNS:
        match = pattern.fullmatch(stem)
        if match:
            return Source(collection, int(match[1]))
    return Source("", -1)


def refuse_shared_patients(training: Iterable[str], external: Iterable[str]) -> None:
    """Refuse an external test set that holds patients of the training set.

    Patients 1 to 20 of 3D-IRCADb-01 are volumes 28 to 47 of LiTS. Task 03 (Liver) of the Medical Segmentation Decathlon
    is LiTS under other names, so the two collections share patients, whatever their numbers are; the same is
    true for Task 03 and 3D-IRCADb.

    Args:
        training: names of the training cases or their files.
        external: names of the cases meant for testing.

    Raises:
        DataError: naming the shared cases and the reason.

    >>> from medseg.io.bounded.errors import DataError
    >>> try:
    ...     refuse_shared_patients(["volume-28.nii"], ["3Dircadb1.1"])
    ... except DataError as error:
    ...     print(str(error).split(":")[0])
    3Dircadb1.1 is not an external case
    """
    ours = [(name, source_of(name)) for name in training]
    for name in external:
        source = source_of(name)
        shared = [other for other, own in ours if _same_patient(own, source)]
        if shared or name in (other for other, _ in ours):
            reason = f" ({source.collection} {source.number} is in {shorten(shared, 3)})" if shared else ""
            raise DataError(
                f"{name} is not an external case: its patient is in the training data too{reason}; LiTS, MSD Task03 "
                "and 3D-IRCADb overlap, test on another collection"
            )


def _same_patient(a: Source, b: Source) -> bool:
    if not a.collection or not b.collection:
        return False
    pair = {a.collection, b.collection}
    if len(pair) == 1:
        return a.number == b.number
    if pair == {"LiTS", "3D-IRCADb"}:
        lits, ircadb = (a, b) if a.collection == "LiTS" else (b, a)
        return lits.number == ircadb.number + _FIRST_IRCADB - 1
    return "MSD Task03" in pair  # one collection repackaged: its numbering is not relied upon
