"""The manifest of a cohort: one JSON line for every case that ended, appended and flushed to the disk at once."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, NamedTuple

from medseg.io.bounded.atomic import json_text
from medseg.io.bounded.errors import DataError

__all__ = ["Manifest", "ManifestLines", "manifest_name", "read_manifests"]


class ManifestLines(NamedTuple):
    """What the manifests of a folder say.

    Attributes:
        records: the last record of every case, by its name.
        torn: number of lines that were cut off by a crash and are ignored.
    """

    records: dict[str, dict[str, Any]]
    torn: int


def manifest_name(part: int, parts: int) -> str:
    """``manifest.jsonl``, or ``manifest-PART-of-PARTS.jsonl`` for one of several parts (counted from 0)."""
    return "manifest.jsonl" if parts == 1 else f"manifest-{part}-of-{parts}.jsonl"


class Manifest:
    """An append-only file of records, open for writing.

    Every line is flushed to the disk before `append` returns, so what a killed run had finished is known afterwards. A
    last line that a crash cut off is ended, never removed: readers ignore it.

    Args:
        path: the file, made if missing.
    """

    def __init__(self, path: str | Path) -> None:
        path = Path(path)
        torn = path.is_file() and path.stat().st_size > 0 and path.read_bytes()[-1:] != b"\n"
        self._descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
        if torn:
            os.write(self._descriptor, b"\n")

    def append(self, record: Mapping[str, Any]) -> None:
        """Write one record; the time is added as ``finished``."""
        now = datetime.now(timezone.utc).isoformat(timespec="milliseconds")
        line = json_text({**record, "finished": now}, indent=None) + "\n"
        data = line.encode()
        if os.write(self._descriptor, data) != len(data):
            raise OSError("the manifest could not be written whole; is the disk full?")
        os.fsync(self._descriptor)

    def close(self) -> None:
        """Close the file."""
        os.close(self._descriptor)

    def __enter__(self) -> Manifest:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def read_manifests(folder: str | Path) -> ManifestLines:
    """All manifests of a cohort folder as one: of several records of a case the latest counts.

    Raises:
        DataError: if a line is whole JSON but no record of this program.
    """
    records: dict[str, dict[str, Any]] = {}
    torn = 0
    for path in sorted(Path(folder).glob("manifest*.jsonl")):
        for number, line in enumerate(path.read_bytes().split(b"\n"), start=1):
            if not line:
                continue
            try:
                record = json.loads(line)
            except ValueError:
                torn += 1
                continue
            if not isinstance(record, dict) or not {"case", "status", "finished"} <= record.keys():
                raise DataError(f"{path}: line {number} is no record of a case; move the file away or mend the line")
            known = records.get(record["case"])
            if known is None or known["finished"] <= record["finished"]:
                records[record["case"]] = record
    return ManifestLines(records, torn)
