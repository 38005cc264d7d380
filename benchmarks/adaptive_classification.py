"""Do sparse downsampling and quadtree convolution help a small classifier? A study with equal depth, size and folds.

``python -m benchmarks.adaptive_classification --data phantom_nodule lidc_shape pneumonia adrenal [--workers N]``

One CNN whose six halvings (four in 3-D) are max pooling, sparse downsampling as first described ("literal") or as the
Recipe has it, or an unlearned pick of the patches with the largest norm; and the same CNN with one to three rounds of
quadtree convolution or their dense equal. The study is resumable: every finished run is one line of
``OUT/DATA.jsonl``. ``--report`` prints the tables of what is there.
"""

from __future__ import annotations

import argparse
import multiprocessing
import sys
from collections.abc import Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from benchmarks._classification.adaptive_stage import ROOT, SMOOTHING
from benchmarks._classification.data import TEST, TRAIN, VALIDATION, Fold, load_fold, names
from benchmarks._classification.diameter import fit_diameter
from benchmarks._classification.network import ADAPTIVE_STAGE, CHANNELS, CONTENT_QUERIES
from benchmarks._classification.record import ClassificationRecord
from benchmarks._classification.report import report
from benchmarks._classification.rows import BUDGET, DIAMETER, LITERAL_EPS, PATCH, PLACEMENTS, Row, rows_of
from benchmarks._classification.statistics import accuracy, auc
from benchmarks._classification.training import Settings, train_and_test

SEEDS = 5
RESULTS = Path(__file__).parent / "results" / "adaptive_classification"
QUICK = Settings(epochs=2, evaluations=1, patience=1, warmup=1)


class Job(NamedTuple):
    """One run to be made."""

    data: str
    row: Row
    seed: int
    settings: Settings
    quick: bool


class Finished(NamedTuple):
    """A run with the cases it was tested on."""

    job: Job
    scores: list[float]
    found: dict[str, Any]
    labels: list[int]
    groups: list[int]


@lru_cache(maxsize=1)
def _fold(data: str, seed: int, quick: bool) -> Fold:
    fold = load_fold(data, seed)
    if not quick:
        return fold
    train, validation, test = (
        part.take(np.arange(min(n, len(part.labels)))) for part, n in zip(fold[:3], (96, 64, 64), strict=True)
    )
    return Fold(train, validation, test, fold.groups[: len(test.labels)], fold.symmetric)


def run(job: Job) -> Finished:
    """Make one run on one thread."""
    torch.set_num_threads(1)
    fold = _fold(job.data, job.seed, job.quick)
    known = job.row == DIAMETER
    result = fit_diameter(fold) if known else train_and_test(job.row, fold, job.seed, job.settings)
    labels = fold.test.labels.numpy()
    scores = np.asarray(result.scores)
    found = {"data": job.data, "accuracy": accuracy(scores, labels), "auc": auc(scores, labels), **result.record}
    return Finished(job, result.scores, found, labels.tolist(), fold.groups)


def fixed(settings: Settings) -> dict[str, Any]:
    """Everything that all runs of a record share."""
    return {
        **settings._asdict(),
        "images": [TRAIN, VALIDATION, TEST],
        "channels": CHANNELS,
        "patch": PATCH,
        "placements": PLACEMENTS,
        "content_queries": CONTENT_QUERIES,
        "rounds": {"stage": ADAPTIVE_STAGE, "root": ROOT, "budget": BUDGET, "guide_smoothing": SMOOTHING},
        "literal_eps": LITERAL_EPS,
    }


def make_runs(jobs: Sequence[Job], record: ClassificationRecord, workers: int) -> None:
    """Make all runs and record each as soon as it is finished."""
    done: Iterable[Finished]
    if workers == 1:
        done = map(run, jobs)
        _write_down(done, record, len(jobs))
        return
    with ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn")) as pool:
        _write_down(pool.map(run, jobs), record, len(jobs))


def _write_down(done: Iterable[Finished], record: ClassificationRecord, count: int) -> None:
    for number, item in enumerate(done, start=1):
        record.add_cases(item.job.seed, item.labels, item.groups)
        record.add_run(item.job.row, item.job.seed, item.scores, item.found)
        found = item.found
        capped = ", capped" if found.get("capped") else ""
        print(
            f"[{number}/{count}] {item.job.data}, {item.job.row.name}, seed {item.job.seed}: accuracy "
            f"{100 * found['accuracy']:.1f}, AUC {100 * found['auc']:.1f}, {found.get('epochs', 0)} epochs{capped}, "
            f"{found['cpu_seconds']:.0f} s {found.get('health', {})}",
            flush=True,
        )


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Options of the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.adaptive_classification", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("--data", choices=names(), nargs="+", required=True, help="data sets, one after the other")
    parser.add_argument("--rows", nargs="+", help="only these rows, by their names in the table")
    parser.add_argument("--explore", action="store_true", help="also rows tried after the table was fixed")
    parser.add_argument("--seeds", type=int, nargs="+", default=list(range(SEEDS)), help="default: 0 1 2 3 4")
    parser.add_argument("--workers", type=int, default=1, help="processes, each of one thread")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder of the records")
    parser.add_argument("--report", action="store_true", help="only print the tables of the runs that are there")
    parser.add_argument("--quick", action="store_true", help="few images and epochs: only shows that every row runs")
    options = parser.parse_args(argv)
    if options.workers < 1 or not all(0 <= seed < SEEDS for seed in options.seeds):
        parser.error(f"expected at least 1 worker and seeds from 0 to {SEEDS - 1}")
    if options.quick and options.out == RESULTS:
        parser.error("--quick must not write into the record of the study; name another folder with --out")
    return options


def main(argv: Sequence[str] | None = None) -> int:
    """Run the study or print its tables."""
    options = parse(argv)
    settings = QUICK if options.quick else Settings()
    for data in options.data:
        record = ClassificationRecord(options.out / f"{data}.jsonl", fixed(settings))
        rows = rows_of(data, options.explore)
        unknown = set(options.rows or ()) - {row.name for row in rows}
        if unknown:
            sys.exit(f"{data} has no row {sorted(unknown)[0]!r}; it has: {', '.join(row.name for row in rows)}")
        rows = tuple(row for row in rows if not options.rows or row.name in options.rows)
        jobs = [
            Job(data, row, seed, settings, options.quick)
            for seed in options.seeds
            for row in rows
            if not record.has(row.name, seed)
        ]
        if not options.report:
            make_runs(jobs, record, options.workers)
        print(report(data, record, f"python -m benchmarks.adaptive_classification --data {data}"), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
