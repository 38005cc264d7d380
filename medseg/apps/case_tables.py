"""``summary.csv`` and ``failed.csv`` of a folder of segmented cases."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from medseg.io.bounded.atomic import write_text
from medseg.io.bounded.checksum import sha256_of
from medseg.io.cohort.manifest import read_manifests

__all__ = ["FAILED_COLUMNS", "case_row", "write_tables"]

FAILED_COLUMNS = ("case", "code", "message")
_MEASURES = {"volume_ml": "ml", "n_voxels": "voxels", "n_components": "components"}


def case_row(folder: Path, seconds: float) -> dict[str, Any]:
    """What ``summary.csv`` tells of one result.

    Args:
        folder: the result's files.
        seconds: wall time of the case.

    Returns:
        ``seconds``, ``peak_memory_mb`` (highest resident memory while this case was worked on), the number of
        ``warnings``, and ``classes``: by name the volume in ml and the numbers of voxels and components.
    """
    report = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    measured = json.loads((folder / "statistics.json").read_text(encoding="utf-8"))
    classes = {c["name"]: {word: c[key] for key, word in _MEASURES.items()} for c in measured["classes"]}
    peak = round(report["peak_rss_bytes"] / 2**20, 1)
    return {
        "seconds": round(seconds, 3),
        "peak_memory_mb": peak,
        "warnings": len(report["warnings"]),
        "classes": classes,
    }


def write_tables(out: Path, cases: Sequence[str], labels: Mapping[int, str]) -> dict[str, dict[str, Any]]:
    """Write both tables from the manifests of all parts; one process at a time may do this for a folder.

    Args:
        out: the folder of the cohort.
        cases: names of all cases, of every part.
        labels: class names by mask value; 0 is the background.

    Returns:
        The last record of every case. One whose result was published before its run was killed counts as done; where it
        was killed earlier, there is none.
    """
    for left in (path for name in ("summary", "failed") for path in out.glob(f".tmp-*-{name}.csv")):
        left.unlink(missing_ok=True)
    found = {name: record for name, record in read_manifests(out).records.items() if name in cases}
    records = {name: known for name, record in found.items() if (known := _settled(out, record)) is not None}
    ordered = [records[name] for name in cases if name in records]
    names = [name for value, name in labels.items() if value]
    columns = [f"{name}_{word}" for name in names for word in _MEASURES.values()]
    done = (_flat(record) for record in ordered if record["status"] == "done")
    write_text(out / "summary.csv", _table(("case", *columns, "seconds", "peak_memory_mb", "warnings"), done))
    failed = ({**r, "message": r["error"]} for r in ordered if r["status"] == "failed")
    write_text(out / "failed.csv", _table(FAILED_COLUMNS, failed))
    return records


def _settled(out: Path, record: dict[str, Any]) -> dict[str, Any] | None:
    if record["status"] != "publishing":
        return record
    report = out / "cases" / record["case"] / "run.json"
    published = report.is_file() and sha256_of(report) == record["run_sha256"]
    return {**record, "status": "done"} if published else None


def _flat(record: Mapping[str, Any]) -> dict[str, Any]:
    row = record["row"]
    values = {f"{name}_{word}": value for name, found in row["classes"].items() for word, value in found.items()}
    return {"case": record["case"], **row, **values}


def _table(columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> str:
    stream = io.StringIO()
    writer = csv.DictWriter(stream, columns, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return stream.getvalue()
