"""The tables of the study, from the record of its runs."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence

from benchmarks._guided.lesions import FAINT_HU
from benchmarks._guided.record import GuidedRecord
from benchmarks._guided.rows import NETS, PLAIN, row_name, trials_of
from benchmarks._guided.statistics import Scores, difference, interval
from benchmarks._guided.threshold import NAME as THRESHOLD
from benchmarks._study.report import effort, mean_of, percent, table_head, table_row

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


def report(record: GuidedRecord, command: str) -> str:
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
    lines = table_head(["row", "Dice %", "minus U-Net", *(f"seed {seed}" for seed in seeds)])
    for row in rows:
        means = [_mean(scores[row].get(seed)) for seed in seeds]
        against = "-" if row == PLAIN.name else _compared(scores, row, PLAIN.name)
        lines.append(table_row([row, percent(interval(scores[row])), against, *means]))
    return lines


def _differences(scores: dict[str, dict[int, dict[str, float]]]) -> list[str]:
    lines = table_head(["row", "minus", "Dice points"])
    lines += [table_row([ours, theirs, _compared(scores, ours, theirs)]) for ours, theirs in EXPECTED if ours in scores]
    return lines


def _by_contrast(
    scores: dict[str, dict[int, dict[str, float]]], rows: Sequence[str], contrast_hu: Mapping[str, float]
) -> list[str]:
    """Mean Dice of the cases with dark, faint and bright tumours; nothing where contrasts are not known."""
    known = {name for row in rows for cases in scores[row].values() for name in cases if name in contrast_hu}
    if not known:
        return []
    lines = table_head(
        ["Dice % by contrast (n scores)", f"below {-FAINT_HU:.0f} HU", "between", f"above {FAINT_HU:.0f} HU"]
    )
    for row in rows:
        groups: dict[int, list[float]] = {-1: [], 0: [], 1: []}
        for cases in scores[row].values():
            for name in cases.keys() & known:
                groups[int(contrast_hu[name] > FAINT_HU) - int(contrast_hu[name] < -FAINT_HU)].append(cases[name])
        cells = [
            f"{100 * statistics.fmean(values):.1f} (n = {len(values)})" if values else "" for values in groups.values()
        ]
        lines.append(table_row([row, *cells]))
    return [*lines, ""]


def _compared(scores: dict[str, dict[int, dict[str, float]]], ours: str, theirs: str) -> str:
    first, second = _of_common_seeds(scores, ours, theirs)
    return percent(difference(first, second), sign=True) if first else "-"


def _of_common_seeds(scores: dict[str, dict[int, dict[str, float]]], ours: str, theirs: str) -> tuple[Scores, Scores]:
    seeds = scores.get(ours, {}).keys() & scores.get(theirs, {}).keys()
    return {s: scores[ours][s] for s in seeds}, {s: scores[theirs][s] for s in seeds}


def _net_table(record: GuidedRecord) -> list[str]:
    lines = table_head(["net", "runs", "parameters", "evaluations", "capped", "processor s"])
    for name in record.names():
        runs = record.runs_of(name)
        stopping = [run["capped"] for run in runs if "capped" in run]
        figures = [mean_of(runs, key) for key in ("parameters", "evaluations", "cpu_seconds")]
        capped = str(sum(stopping)) if stopping else "-"
        lines.append(table_row([name, str(len(runs)), *figures[:2], capped, figures[2]]))
    return lines


def _notes(record: GuidedRecord) -> list[str]:
    return [f"- {note}" for note in (*NOTES, effort(record.runs, "runs", "evaluations"))]


def _mean(cases: dict[str, float] | None) -> str:
    return f"{100 * statistics.fmean(cases.values()):.1f}" if cases else ""
