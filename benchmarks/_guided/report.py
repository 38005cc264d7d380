"""The tables of the study, from the record of its runs."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks._guided.lesions import FAINT_HU
from benchmarks._guided.record import Record
from benchmarks._guided.rows import NETS, PLAIN, row_name, trials_of
from benchmarks._guided.statistics import Interval, Scores, difference, interval
from benchmarks._guided.threshold import NAME as THRESHOLD

MOST_CAPPED = 0.2
HEADS = {
    "phantoms": "Synthetic cases (phantom abdomens; every phantom is tested once, by the net that did not see it)",
    "painted": "Semi-synthetic cases (one real CT, outlines of real tumours painted into its liver; the same for all)",
}
EXPECTED = (
    ("density", "U-Net"),
    ("texture", "U-Net"),
    ("spatial", "density"),
    ("both", "spatial"),
    ("random, without", "U-Net"),
    ("random, with", "both"),
    ("U-Net, known range", "U-Net"),
    ("density", "U-Net, known range"),
    ("density, oracle", "density"),
    ("texture, oracle", "texture"),
    ("both, oracle", "both"),
)
NOTES = (
    "Given to the net in every row: the box of the true liver, in which it works, and for density the true liver's "
    "histogram of each slice. The tumours' histograms and texture come from each tumour's middle slice alone, and hold "
    "for its range of slices; guide maps are ellipsoids about the middle slice. Rows called oracle read the true "
    "tumour of every slice instead.",
    "known grey value: no net; voxels of the true liver near the tumours' known mean, in the tumours' slices. U-Net, "
    "known range: what the U-Net finds outside of the tumours' slices is dropped.",
    "Dice: tumour, mean over cases and seeds in %, in brackets the 95 % bootstrap interval over both; differences are "
    "paired by case and seed.",
)


def report(record: Record, command: str) -> str:
    """Everything about the study as Markdown.

    Args:
        record: its runs.
        command: makes the runs again.
    """
    if not record.test_sets():
        return f"no finished run yet; {command}"
    parts = [f"`{command}`", ""]
    for name in record.test_sets():
        scores = record.scores(name)
        rows = [row for row in _order() if row in scores]
        parts += [f"#### {HEADS[name]}", "", *_main_table(scores, rows), "", *_differences(scores), ""]
        parts += _by_contrast(scores, rows, record.contrast_hu)
    return "\n".join([*parts, *_net_table(record), "", *_notes(record)])


def _order() -> list[str]:
    rows = [row_name(net, trial) for net in NETS for trial in trials_of(net)]
    return [*rows[:2], THRESHOLD, *rows[2:]]


def _main_table(scores: dict[str, dict[int, dict[str, float]]], rows: Sequence[str]) -> list[str]:
    seeds = sorted({seed for row in rows for seed in scores[row]})
    lines = _head(["row", "Dice %", "minus U-Net", *(f"seed {seed}" for seed in seeds)])
    for row in rows:
        means = [_mean(scores[row].get(seed)) for seed in seeds]
        against = "-" if row == PLAIN.name else _compared(scores, row, PLAIN.name)
        lines.append(_line([row, _percent(interval(scores[row])), against, *means]))
    return lines


def _differences(scores: dict[str, dict[int, dict[str, float]]]) -> list[str]:
    lines = _head(["row", "minus", "Dice points"])
    lines += [_line([ours, theirs, _compared(scores, ours, theirs)]) for ours, theirs in EXPECTED if ours in scores]
    return lines


def _by_contrast(
    scores: dict[str, dict[int, dict[str, float]]], rows: Sequence[str], contrast_hu: Mapping[str, float]
) -> list[str]:
    """Mean Dice of the cases with dark, faint and bright tumours; nothing where contrasts are not known."""
    known = {name for row in rows for cases in scores[row].values() for name in cases if name in contrast_hu}
    if not known:
        return []
    lines = _head(["Dice % by contrast (n scores)", f"below {-FAINT_HU:.0f} HU", "between", f"above {FAINT_HU:.0f} HU"])
    for row in rows:
        groups: dict[int, list[float]] = {-1: [], 0: [], 1: []}
        for cases in scores[row].values():
            for name in cases.keys() & known:
                groups[int(contrast_hu[name] > FAINT_HU) - int(contrast_hu[name] < -FAINT_HU)].append(cases[name])
        cells = [
            f"{100 * statistics.fmean(values):.1f} (n = {len(values)})" if values else "" for values in groups.values()
        ]
        lines.append(_line([row, *cells]))
    return [*lines, ""]


def _compared(scores: dict[str, dict[int, dict[str, float]]], ours: str, theirs: str) -> str:
    first, second = _of_common_seeds(scores, ours, theirs)
    return _percent(difference(first, second), sign=True) if first else "-"


def _of_common_seeds(scores: dict[str, dict[int, dict[str, float]]], ours: str, theirs: str) -> tuple[Scores, Scores]:
    seeds = scores.get(ours, {}).keys() & scores.get(theirs, {}).keys()
    return {s: scores[ours][s] for s in seeds}, {s: scores[theirs][s] for s in seeds}


def _net_table(record: Record) -> list[str]:
    lines = _head(["net", "runs", "parameters", "evaluations", "capped", "processor s"])
    for name in dict.fromkeys(run["net"] for run in record.runs):
        runs = [run for run in record.runs if run["net"] == name]
        values = [_average(runs, key) for key in ("parameters", "evaluations", "capped", "cpu_seconds")]
        capped = "-" if values[2] == "-" else str(sum(run.get("capped", False) for run in runs))
        lines.append(_line([name, str(len(runs)), *values[:2], capped, values[3]]))
    return lines


def _notes(record: Record) -> list[str]:
    stopping = [run for run in record.runs if "capped" in run]
    capped = sum(run["capped"] for run in stopping)
    last = f"{capped} of {len(stopping)} runs hit the cap of evaluations"
    if capped > MOST_CAPPED * len(stopping):
        last += ": MORE THAN A FIFTH, NOT FINISHED"
    hours = sum(run["cpu_seconds"] for run in record.runs) / 3600
    return [f"- {note}" for note in (*NOTES, f"{len(record.runs)} runs, {hours:.2f} core hours; {last}.")]


def _average(runs: Sequence[dict[str, Any]], key: str) -> str:
    values = [run[key] for run in runs if key in run]
    return f"{statistics.fmean(values):.0f}" if values else "-"


def _mean(cases: dict[str, float] | None) -> str:
    return f"{100 * statistics.fmean(cases.values()):.1f}" if cases else ""


def _percent(found: Interval, sign: bool = False) -> str:
    form = "{:+.1f} ({:+.1f}, {:+.1f})" if sign else "{:.1f} ({:.1f}, {:.1f})"
    return form.format(100 * found.mean, 100 * found.low, 100 * found.high)


def _head(cells: Sequence[str]) -> list[str]:
    return [_line(cells), _line(["---"] * len(cells))]


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"
