"""Parts of the tables that studies print: Markdown lines, cells, and the note on the runs behind them."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import Any

from benchmarks._study.intervals import Interval

MOST_CAPPED = 0.2
"""A study with a larger share of runs that hit their cap is not finished."""


def table_head(cells: Sequence[str]) -> list[str]:
    """The first two lines of a table."""
    return [table_row(cells), table_row(["---"] * len(cells))]


def table_row(cells: Sequence[str]) -> str:
    """One line of a table."""
    return "| " + " | ".join(cells) + " |"


def percent(found: Interval, sign: bool = False) -> str:
    """An interval in %, with one decimal; ``sign`` for a difference."""
    form = "{:+.1f} ({:+.1f}, {:+.1f})" if sign else "{:.1f} ({:.1f}, {:.1f})"
    return form.format(100 * found.mean, 100 * found.low, 100 * found.high)


def mean_of(runs: Sequence[dict[str, Any]], key: str, scale: float = 1, form: str = "{:.0f}") -> str:
    """Mean over those runs that have a figure; "-" if none has."""
    values = [run[key] for run in runs if key in run]
    return form.format(scale * statistics.fmean(values)) if values else "-"


def effort(runs: Sequence[dict[str, Any]], kind: str, unit: str) -> str:
    """How many runs there are, what they cost, and how many hit their cap.

    Args:
        runs: all of them, with ``cpu_seconds``; those that can hit a cap have ``capped``.
        kind: what those are called, such as "trained runs".
        unit: what the cap counts, such as "epochs".
    """
    stopping = [run for run in runs if "capped" in run]
    capped = sum(run["capped"] for run in stopping)
    text = f"{len(runs)} runs, {sum(run['cpu_seconds'] for run in runs) / 3600:.2f} core hours; "
    text += f"{capped} of {len(stopping)} {kind} hit the cap of {unit}"
    return text + (": MORE THAN A FIFTH, NOT FINISHED." if capped > MOST_CAPPED * len(stopping) else ".")
