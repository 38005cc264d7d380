"""The list of a cohort's cases: found once, kept in a file, and searched again when any input file has changed."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from medseg.io.bounded.atomic import write_json
from medseg.io.cohort.cases import Case, Cohort, FileStats, case_name, damaged_case, discover, file_stats, stats_digest

__all__ = ["Inputs", "find_inputs"]

_FORMAT = 1


class Inputs(NamedTuple):
    """The input of a cohort.

    Attributes:
        cohort: its cases.
        roots: the folders ``dicom`` and ``xml`` that the names of files are relative to.
        stats: size and time of change of the files, by folder as in ``roots``.
    """

    cohort: Cohort
    roots: dict[str, str]
    stats: dict[str, FileStats]

    def stats_of(self, case: Case) -> str:
        """Digest of names, sizes and times of change of a case's files."""
        return stats_digest(self.stats["dicom"], case.files) + stats_digest(self.stats["xml"], case.xml)


def find_inputs(
    root: Path,
    xml_root: Path | None,
    index: Path | None = None,
    *,
    check: Callable[[], None] = lambda: None,
    name_of: Callable[[str], str] = case_name,
) -> Inputs:
    """Find the cases under a folder, or take them from an index file if it is still valid.

    The index names the input files; keep it where the originals are. It is true as long as no file's name, size or
    time of change differs, which costs one look at each file and no reading.

    Args:
        root: folder with DICOM files.
        xml_root: folder with LIDC annotation files, or None if there are none to assign.
        index: file to read the cases from, written if it is missing or no longer true.
        check: called between folders; raise in it to stop the search.
        name_of: output name of a series.
    """
    roots = {"dicom": str(root.resolve()), "xml": str((xml_root or root).resolve())}
    stats = {"dicom": file_stats(root)}
    stats["xml"] = stats["dicom"] if roots["xml"] == roots["dicom"] else file_stats(roots["xml"])
    head: dict[str, Any] = {"format": _FORMAT, "roots": roots, "annotations": xml_root is not None}
    head["name"] = name_of("1.2.3")  # tells ways to name apart
    head["stats"] = [stats_digest(stats["dicom"]), stats_digest(stats["xml"])]
    known = _read(index)
    if known is not None and {key: known.get(key) for key in head} == head:
        return Inputs(Cohort.from_json(known["cohort"]), roots, stats)
    cohort = discover(root, stats["dicom"], check=check, name_of=name_of)
    if xml_root is not None:
        _assign_xml(cohort, Path(roots["xml"]), stats["xml"], check)
    if index is not None:
        write_json(index, {**head, "cohort": cohort.to_json()})
    return Inputs(cohort, roots, stats)


def _read(index: Path | None) -> dict[str, Any] | None:
    try:
        value = json.loads(index.read_text(encoding="utf-8")) if index is not None else None
    except (OSError, ValueError):
        return None
    return value if isinstance(value, dict) else None


def _assign_xml(cohort: Cohort, root: Path, stats: FileStats, check: Callable[[], None]) -> None:
    """Give every annotation file to the case whose series it reads; damaged ones to all cases of their folder."""
    from medseg.datasets.lidc.xml import OtherReadError, read_xml
    from medseg.io.bounded.errors import DataError

    readings: dict[str, list[str]] = {}
    damaged: dict[str, list[tuple[str, str]]] = {}
    for name in (name for name in stats if name.lower().endswith(".xml")):
        check()
        try:
            readings.setdefault(read_xml(root / name).series_uid, []).append(name)
        except OtherReadError:
            cohort.other_reads += 1
        except DataError as error:
            damaged.setdefault(os.path.dirname(name), []).append((name, str(error).removeprefix(f"{root / name}: ")))
    used: set[str] = set()
    for number, case in enumerate(cohort.cases):
        beside = {os.path.dirname(name) for name in case.files} & damaged.keys()
        used |= beside
        own = readings.pop(case.series.partition("#")[0], []) if case.error is None else []
        cohort.cases[number] = replace(case, xml=_sorted(own, damaged, beside))
    cohort.cases += [damaged_case(folder, damaged[folder], "xml") for folder in sorted(damaged.keys() - used)]
    cohort.cases.sort(key=lambda case: case.name)
    cohort.absent_series += len(readings)


def _sorted(own: Sequence[str], damaged: dict[str, list[tuple[str, str]]], folders: set[str]) -> tuple[str, ...]:
    return tuple(sorted({*own, *(name for folder in folders for name, _ in damaged[folder])}))
