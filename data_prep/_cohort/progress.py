"""Progress of a long run on stderr: a bar on a terminal, one line for every case otherwise."""

from __future__ import annotations

import sys
from types import TracebackType
from typing import Any

__all__ = ["Progress"]


class Progress:
    """Counts cases as they end; failures are always printed as a line of their own.

    Args:
        total: number of cases that will end.
    """

    def __init__(self, total: int) -> None:
        self._total = total
        self._count = 0
        self._bar: Any = None
        if sys.stderr.isatty() and total:
            from tqdm import tqdm

            self._bar = tqdm(total=total, unit="case", file=sys.stderr)

    def __enter__(self) -> Progress:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.close()

    def case(self, record: dict[str, Any]) -> None:
        """Count a case that ended, from its manifest record."""
        self._count += 1
        text = f"[{self._count}/{self._total}] {record['case']}: {_words(record)}"
        if self._bar is None:
            print(text, file=sys.stderr, flush=True)
            return
        if record["status"] not in ("done", "skipped"):
            self._bar.write(text, file=sys.stderr)
        self._bar.update()


def _words(record: dict[str, Any]) -> str:
    if record["status"] not in ("done", "skipped"):
        return f"{record['status'].upper()}: {record['error']}"
    if record.get("kept"):
        return "was there already, input and output unchanged"
    if record["status"] == "skipped":
        return "exists, left as it is"
    warnings = f", {record['warnings']} warning(s)" if record.get("warnings") else ""
    return f"done in {record['seconds']:.1f} s, {record['peak_rss_mb']:.0f} MB{warnings}"
