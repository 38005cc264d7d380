"""The cases of a cohort: which CT series lie under a folder, in which files, and which part they fall to."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from medseg.io.cohort.tree import digest_of

if TYPE_CHECKING:
    from medseg.io.ct.scan import SeriesListing

__all__ = [
    "Case",
    "Cohort",
    "FileStats",
    "Named",
    "case_name",
    "damaged_case",
    "discover",
    "file_stats",
    "part_of",
    "stats_digest",
]


class Named(Protocol):
    """What has the name of a case."""

    @property
    def name(self) -> str:
        """Unique in the cohort."""


AnyCase = TypeVar("AnyCase", bound=Named)

FileStats = dict[str, tuple[int, int]]
"""Bytes and time of change (ns) of every file, by its path relative to the folder."""

_NO_VOLUMES = frozenset({"localizer", "secondary capture"})
_UID = re.compile(r"[0-9]+(\.[0-9]+)*")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}")


@dataclass(frozen=True)
class Case:
    """One unit of work: a CT series, or damaged files that belong to none.

    Attributes:
        name: name of the output folder; unique in the cohort.
        series: what ``--series`` takes to choose this series among its files.
        files: its files, relative to the input folder, sorted: those of the series, and unreadable DICOM files beside
            them, because nobody can tell that they are not slices of it.
        xml: its annotation files, relative to their folder, sorted.
        choose: whether the files hold further series, so that ``--series`` is needed.
        error: set where nothing can be converted: the reason.
    """

    name: str
    series: str
    files: tuple[str, ...]
    xml: tuple[str, ...] = ()
    choose: bool = False
    error: str | None = None


@dataclass
class Cohort:
    """What was found under the input folder.

    Attributes:
        cases: by name.
        not_ct: number of image series of other modalities, by modality.
        localizers: number of CT series that are localizers or secondary captures.
        other_files: number of files that are no DICOM images.
        other_reads: number of XML files that are no LIDC CT reads.
        absent_series: number of series that an LIDC CT read is of and that are not there.
    """

    cases: list[Case] = field(default_factory=list)
    not_ct: dict[str, int] = field(default_factory=dict)
    localizers: int = 0
    other_files: int = 0
    other_reads: int = 0
    absent_series: int = 0

    def to_json(self) -> dict[str, Any]:
        """The cohort as plain JSON values."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Cohort:
        """The cohort that `to_json` described."""
        cases = [Case(**{**case, "files": tuple(case["files"]), "xml": tuple(case["xml"])}) for case in value["cases"]]
        return cls(**{**value, "cases": cases})


@dataclass
class _Series:
    """One SeriesInstanceUID on its way to cases: its files and folders, and (selector, modality, no volume) of each
    series that a reader tells apart under this UID."""

    files: list[str] = field(default_factory=list)
    folders: list[str] = field(default_factory=list)
    kinds: list[tuple[str, str, bool]] = field(default_factory=list)


def case_name(series: str) -> str:
    """The series' UID as a folder name; a digest where the header holds something that is no UID.

    Header text never becomes a path as it is: a UID of dots and slashes would lead out of the output folder.
    """
    uid, mark, group = series.partition("#")
    if len(uid) <= 64 and _UID.fullmatch(uid) and (not mark or group.isdecimal()):
        return uid + (f"_{group}" if mark else "")
    return "series-" + hashlib.sha256(series.encode()).hexdigest()[:16]


def file_stats(folder: str | Path) -> FileStats:
    """Size and time of change of every file under a folder, sorted; links to folders are not followed."""
    stats: FileStats = {}
    pending = [str(folder)]
    while pending:
        with os.scandir(pending.pop()) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    pending.append(entry.path)
                elif entry.is_file():
                    facts = entry.stat()
                    stats[os.path.relpath(entry.path, folder)] = (facts.st_size, facts.st_mtime_ns)
    return dict(sorted(stats.items()))


def stats_digest(stats: FileStats, names: Sequence[str] | None = None) -> str:
    """Digest of names, sizes and times of change: unchanged files have an unchanged digest without being read."""
    return digest_of([[name, *stats[name]] for name in (stats if names is None else names)])


def part_of(cases: Sequence[AnyCase], part: int, parts: int) -> list[AnyCase]:
    """The cases of one part. The parts differ in size by at most one case, and depend on the cases' names alone.

    Args:
        cases: all cases of the cohort, in any order; anything that has a ``name``.
        part: number of the part, from 0.
        parts: number of parts.
    """
    dealt = sorted(cases, key=lambda case: hashlib.sha256(case.name.encode()).hexdigest())
    return sorted(dealt[part::parts], key=lambda case: case.name)


def discover(
    root: str | Path,
    stats: FileStats,
    *,
    check: Callable[[], None] = lambda: None,
    name_of: Callable[[str], str] = case_name,
) -> Cohort:
    """Find the CT series under a folder from the files' headers, one folder at a time.

    Args:
        root: the input folder.
        stats: its files, from `file_stats`.
        check: called between folders; raise in it to stop the search.
        name_of: gives the output name of a series from its UID, UID#N for one of several grids; a series without a UID
            is called after its folder.

    Raises:
        ValueError: if two series get the same name, or a name is no plain file name.
    """
    from medseg.io.ct.scan import list_series

    root = Path(root)
    cohort = Cohort()
    series: dict[str, _Series] = {}
    damaged: dict[str, list[tuple[str, str]]] = {}
    for folder, names in _by_folder(stats):
        check()
        _look_into(root, folder, names, cohort, series, damaged)
    for uid, found in sorted(series.items()):
        check()
        if len(found.folders) > 1:  # what a reader tells apart is known only with all files before it
            found.kinds = _kinds_by_uid(list_series(root, [root / name for name in found.files]))[uid]
        beside = {name for folder in found.folders for name, _ in damaged.get(folder, ())}
        _add_cases(cohort, uid, found, tuple(sorted({*found.files, *beside})), name_of)
    used = {folder for found in series.values() for folder in found.folders}
    cohort.cases += [damaged_case(folder, files) for folder, files in sorted(damaged.items()) if folder not in used]
    cohort.cases.sort(key=lambda case: case.name)
    _check_names(cohort.cases)
    return cohort


def _by_folder(stats: FileStats) -> Iterator[tuple[str, list[str]]]:
    names = sorted((os.path.dirname(name), name) for name in stats)
    for folder, group in groupby(names, key=lambda pair: pair[0]):
        yield folder, [name for _, name in group]


def _look_into(
    root: Path,
    folder: str,
    names: list[str],
    cohort: Cohort,
    series: dict[str, _Series],
    damaged: dict[str, list[tuple[str, str]]],
) -> None:
    from medseg.io.ct.scan import list_series

    listing = list_series(root / folder, [root / name for name in names])
    cohort.other_files += listing.ignored + listing.other_objects
    lost = [(os.path.relpath(path, root), reason) for path, reason in listing.unreadable]
    paths: dict[str, list[str]] = {}
    for entry in listing.series:
        names = sorted({os.path.relpath(header.path, root) for header in entry.headers})
        paths.setdefault(entry.uid, []).extend(names)
    for uid, kinds in _kinds_by_uid(listing).items():
        if not uid and len(paths) > 1:
            lost += [(path, "SeriesInstanceUID is empty, so it can be of any series beside it") for path in paths[uid]]
            continue
        # Without a UID the folder is all that holds a series together; no UID looks like this key.
        found = series.setdefault(uid or f"folder {folder}", _Series())
        found.files += paths[uid]
        found.folders.append(folder)
        found.kinds = kinds
    if lost:
        damaged[folder] = lost


def _kinds_by_uid(listing: SeriesListing) -> dict[str, list[tuple[str, str, bool]]]:
    kinds: dict[str, list[tuple[str, str, bool]]] = {}
    for entry in listing.series:
        kinds.setdefault(entry.uid, []).append((entry.name, entry.modality, entry.kind in _NO_VOLUMES))
    return kinds


def _add_cases(cohort: Cohort, uid: str, found: _Series, files: tuple[str, ...], name_of: Callable[[str], str]) -> None:
    for selector, modality, localizer in found.kinds:
        if modality != "CT":
            cohort.not_ct[modality or "unknown"] = cohort.not_ct.get(modality or "unknown", 0) + 1
        elif localizer:
            cohort.localizers += 1
        else:
            name = name_of(uid + "".join(selector.partition("#")[1:]))
            cohort.cases.append(Case(name, selector, files, choose=len(found.kinds) > 1))


def damaged_case(folder: str, files: Sequence[tuple[str, str]], kind: str = "dicom") -> Case:
    """The case that stands for damaged files of a folder without a series, so that they are counted as a failure.

    Args:
        folder: relative to the input folder.
        files: name and reason of each file.
        kind: ``dicom`` or ``xml``.
    """
    name = "damaged-" + hashlib.sha256(f"{kind}/{folder}".encode()).hexdigest()[:16]
    path, reason = files[0]
    more = f"; {len(files) - 1} more such file(s) in this folder" if len(files) > 1 else ""
    reason = reason.removeprefix("header cannot be read: ")
    says_itself = ";" in reason and "fetch" not in reason  # such as what helps where permission is denied
    advice = "" if says_itself else ", fetch the files again"
    error = f"{path}: {reason}{more}; no readable series lies beside it{advice}"
    names = tuple(sorted(name for name, _ in files))
    return Case(name, "", names if kind == "dicom" else (), names if kind == "xml" else (), error=error)


def _check_names(cases: Sequence[Case]) -> None:
    seen: dict[str, Case] = {}
    for case in cases:
        if not _NAME.fullmatch(case.name):
            raise ValueError(f"series {case.series}: output name is {case.name!r}, expected a plain file name")
        other = seen.setdefault(case.name, case)
        if other is not case:
            raise ValueError(f"series {other.series} and {case.series} would both be written as {case.name}")
