"""The tables of the study, from the record of its runs."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import Any

from benchmarks._classification.data import describe
from benchmarks._classification.record import ClassificationRecord
from benchmarks._classification.rows import BASELINE
from benchmarks._classification.statistics import METRICS, difference, interval
from benchmarks._study.report import effort, mean_of, percent, table_head, table_row

WHY_3D = (
    "28^3 volumes padded to 32^3 have four halvings, not six, and a step costs several times as much: only the plain "
    "CNN, 4SD and the Recipe are run. Patch sides 8, 4, 2, 1 keep 64 patches at every halving (p = 1 at the last)."
)


def report(data: str, record: ClassificationRecord, command: str) -> str:
    """Everything about a data set as Markdown.

    Args:
        data: its name.
        record: its runs.
        command: makes the runs again.
    """
    names = record.names()
    if not names:
        return f"{data}: no finished run yet; {command}"
    parts = [f"### {data}", "", f"{describe(data)}.", "", f"`{command}`", "", *_main_table(record, names)]
    parts += ["", *_seed_table(record, names), "", *_health_table(record, names), "", *_notes(data, record)]
    return "\n".join(parts)


def _main_table(record: ClassificationRecord, names: Sequence[str]) -> list[str]:
    lines = table_head(
        ["row", "n", "accuracy %", "minus max pool", "AUC %", "minus max pool", "parameters", "MMAC", "s", "epochs"]
    )
    for name in names:
        runs, seeds = record.runs_of(name), record.predictions(name)
        cells = [name, str(len(runs))]
        for metric in METRICS:
            cells += [percent(interval(seeds, metric)), _against_baseline(record, name, metric)]
        cells += [
            mean_of(runs, "parameters"),
            mean_of(runs, "macs", 1e-6, "{:.2f}"),
            mean_of(runs, "cpu_seconds"),
            mean_of(runs, "epochs"),
        ]
        lines.append(table_row(cells))
    return lines


def _against_baseline(record: ClassificationRecord, name: str, metric: str) -> str:
    shared = {run["seed"] for run in record.runs_of(name)} & {run["seed"] for run in record.runs_of(BASELINE)}
    if name == BASELINE or not shared:
        return "-"
    seeds = sorted(shared)
    found = difference(record.predictions(name, seeds), record.predictions(BASELINE, seeds), metric)
    return percent(found, sign=True)


def _seed_table(record: ClassificationRecord, names: Sequence[str]) -> list[str]:
    seeds = sorted({run["seed"] for run in record.runs})
    lines = ["Accuracy / AUC in % for each seed:", "", *table_head(["row", *map(str, seeds), "mean", "sd"])]
    for name in names:
        by_seed = dict(zip([run["seed"] for run in record.runs_of(name)], record.predictions(name), strict=True))
        values = {
            seed: [100 * function(found.scores, found.labels) for function in METRICS.values()]
            for seed, found in by_seed.items()
        }
        cells = [_pair(values[seed]) if seed in values else "" for seed in seeds]
        columns = list(zip(*values.values(), strict=True))
        spread = [statistics.stdev(column) if len(column) > 1 else float("nan") for column in columns]
        lines.append(table_row([name, *cells, _pair([statistics.fmean(c) for c in columns]), _pair(spread)]))
    return lines


def _health_table(record: ClassificationRecord, names: Sequence[str]) -> list[str]:
    kinds = list(dict.fromkeys(k for name in names for run in record.runs_of(name) for k in run.get("health", {})))
    if not kinds:
        return []
    lines = ["What was chosen, mean over seeds (a list: one value a layer or round):", "", *table_head(["row", *kinds])]
    for name in names:
        found = [run.get("health", {}) for run in record.runs_of(name)]  # a row without a network has none
        cells = [_mean_health([health[k] for health in found if k in health]) for k in kinds]
        if any(cells):
            lines.append(table_row([name, *cells]))
    return lines


def _mean_health(values: Sequence[Any]) -> str:
    if not values:
        return ""
    if isinstance(values[0], list):
        return " ".join(f"{statistics.fmean(column):.2f}" for column in zip(*values, strict=True))
    return f"{statistics.fmean(values):.2f}"


def _notes(data: str, record: ClassificationRecord) -> list[str]:
    notes = [
        "Accuracy and AUC: mean over seeds, in brackets the 95 % bootstrap interval over test cases (patients where "
        "there are patients); differences are paired. MMAC: counted multiply-adds of one test image; s: processor "
        "seconds of training on one thread.",
        effort(record.runs, "trained runs", "epochs"),
    ]
    notes += [f"capped: {run['row']}, seed {run['seed']}" for run in record.runs if run.get("capped")]
    if data == "adrenal":
        notes.append(WHY_3D)
    return [f"- {note}" for note in notes]


def _pair(values: Sequence[float]) -> str:
    return " / ".join(f"{value:.1f}" for value in values)
