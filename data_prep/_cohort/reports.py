"""What a cohort's manifests say as a whole: ``summary.json`` and ``failed.csv``."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from medseg.io.bounded.atomic import write_json, write_text
from medseg.io.cohort.manifest import ManifestLines, read_manifests
from medseg.io.cohort.tree import digest_of

__all__ = ["summarise", "write_reports"]

REPORTS = FAILED, SUMMARY = ("failed.csv", "summary.json")
FAILED_COLUMNS = ("case", "status", "error", "attempts", "seconds", "finished")


def summarise(cases: Sequence[str], lines: ManifestLines, facts: Mapping[str, Any]) -> dict[str, Any]:
    """Counts and the digest of all outputs, over the parts that have run so far.

    Args:
        cases: names of all cases of the cohort, of every part.
        lines: what the manifests say.
        facts: further entries, e.g. the command and its versions.
    """
    records = [lines.records[case] for case in cases if case in lines.records]
    done = [record for record in records if record["status"] == "done"]
    trees = {record["case"]: record["tree_sha256"] for record in done}
    return {
        **facts,
        "cases": len(cases),
        "done": len(done),
        "failed": sum(record["status"] not in ("done", "skipped") for record in records),
        "skipped": sum(record["status"] == "skipped" for record in records),
        "not_run": len(cases) - len(records),
        "seconds_of_work": round(sum(record.get("seconds", 0.0) for record in records), 3),
        "peak_rss_mb": max((record.get("peak_rss_mb", 0.0) for record in records), default=0.0),
        "input_bytes": sum(record.get("input_bytes", 0) for record in done),
        "output_bytes": sum(record.get("output_bytes", 0) for record in done),
        "tree_sha256": digest_of(trees),
        "torn_manifest_lines": lines.torn,
    }


def write_reports(folder: str | Path, cases: Sequence[str], facts: Mapping[str, Any]) -> dict[str, Any]:
    """Write ``summary.json`` and ``failed.csv`` from all manifests of the folder and return the summary.

    One process at a time may do this for a folder; it also removes what a killed one left half written.
    """
    folder = Path(folder)
    for left in [path for name in REPORTS for path in folder.glob(f".tmp-*-{name}")]:
        left.unlink(missing_ok=True)
    lines = read_manifests(folder)
    summary = summarise(cases, lines, facts)
    known = (lines.records[case] for case in cases if case in lines.records)
    write_text(folder / FAILED, _table(record for record in known if record["status"] not in ("done", "skipped")))
    write_json(folder / SUMMARY, summary)
    return summary


def _table(records: Iterable[Mapping[str, Any]]) -> str:
    stream = io.StringIO()
    writer = csv.DictWriter(stream, FAILED_COLUMNS, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerows(records)
    return stream.getvalue()
