"""Does knowing a tumour's grey values or place help to segment it? A study with one trunk and equal training.

``MEDSEG_DATA=DIR python -m benchmarks.guided_segmentation [--seeds 0 1 2 3 4] [--out DIR]``

Livers of synthetic abdomens hold tumours of one contrast a case, from hypodense to hyperdense, among benign lesions of
other contrasts. For each seed a U-Net is trained; then six nets are trained further from its weights: the U-Net itself,
and with it histograms (row "density"), texture, a guide map, histograms and guide map, and both given at random. They
are tested on phantoms of another fold, and on a real CT with outlines of real tumours painted into its liver
(semi-synthetic, test only; left out without ``MEDSEG_DATA``). Every finished run is one line of ``OUT/runs.jsonl``;
``--report`` prints the tables.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable, Sequence
from functools import cache, lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from benchmarks._guided.cases import phantom_cases
from benchmarks._guided.painted import painted_cases
from benchmarks._guided.prepared import Prepared, prepare
from benchmarks._guided.record import GuidedRecord
from benchmarks._guided.report import report
from benchmarks._guided.rows import CHANNELS, HEAD, NETS, PLAIN, Net, row_name, trials_of
from benchmarks._guided.testing import score_case
from benchmarks._guided.threshold import NAME as THRESHOLD
from benchmarks._guided.threshold import threshold_dice
from benchmarks._guided.training import CLASS_WEIGHTS, Settings, Trained, fit

SEEDS = 5
TRUNK = "trunk"
DRAWS = 2
"""Sets of lesions drawn for every phantom that is trained on; validation and test use only the first."""
RESULTS = Path(__file__).parent / "results" / "guided_segmentation"
COMMAND = "MEDSEG_DATA=DIR python -m benchmarks.guided_segmentation"


class Size(NamedTuple):
    """How much is done.

    Attributes:
        test: phantoms tested in each fold; there are five times as many.
        validation: of the other phantoms, those that decide when to stop.
        training: of the others, those trained on at most.
        painted: semi-synthetic cases.
        trunk: evaluations that the common trunk is trained for.
        settings: of the nets.
    """

    test: int = 14
    validation: int = 10
    training: int = 46
    painted: int = 16
    trunk: int = 30
    settings: Settings = Settings()


QUICK = Size(1, 1, 2, 1, 1, Settings(most=1, steps=2, batch=2, slices=2))


class Fold(NamedTuple):
    """What one seed trains, selects and tests on; ``tests`` are by name of the set."""

    training: list[Prepared]
    validation: list[Prepared]
    tests: dict[str, list[Prepared]]


@cache
def _phantom(number: int, training: bool) -> list[Prepared]:
    cases = phantom_cases(number, DRAWS)
    return [prepare(case, training, DRAWS * number + i) for i, case in enumerate(cases if training else cases[:1])]


@lru_cache(maxsize=1)
def _painted(folder: Path, count: int) -> list[Prepared]:
    return [prepare(case, False, 0) for case in painted_cases(folder, count)]


def load_fold(seed: int, size: Size, data: Path | None) -> Fold:
    """The phantoms of a seed's fold, and the painted cases if there is data for them."""
    count = SEEDS * size.test
    order = [(seed * size.test + i) % count for i in range(count)]
    first = size.test + size.validation
    tests = {"phantoms": [case for n in order[: size.test] for case in _phantom(n, False)]}
    if data is not None:
        tests["painted"] = _painted(data, size.painted)
    return Fold(
        [case for n in order[first : first + size.training] for case in _phantom(n, True)],
        [case for n in order[size.test : first] for case in _phantom(n, False)],
        tests,
    )


def train_trunk(fold: Fold, seed: int, size: Size, path: Path, record: GuidedRecord) -> dict[str, Tensor]:
    """Weights that all nets of a seed start from, kept in a file so that a stopped study can continue."""
    if path.exists():
        found: dict[str, Tensor] = torch.load(path, weights_only=True)
        return found
    wall, cpu = time.perf_counter(), time.process_time()
    trained = fit(
        PLAIN, fold.training, fold.validation, 1000 + seed, size.settings._replace(most=size.trunk, patience=size.trunk)
    )
    weights: dict[str, Tensor] = trained.module.backbone.state_dict()
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save(weights, path)
    if not record.has(TRUNK, seed):
        told = {key: value for key, value in trained.record.items() if key != "capped"}
        record.add({"net": TRUNK, "seed": seed, **told, **_times(wall, cpu), "dice": {}})
    return weights


def run_net_of_seed(net: Net, fold: Fold, seed: int, size: Size, trunk: dict[str, Tensor]) -> dict[str, Any]:
    """Train and test one net; the line of its run."""
    wall, cpu = time.perf_counter(), time.process_time()
    trained = fit(net, fold.training, fold.validation, seed, size.settings, trunk)
    dice: dict[str, dict[str, dict[str, float]]] = {}
    for name, cases in fold.tests.items():
        dice[name] = {row_name(net, trial): _scores(trained, net, trial, cases) for trial in trials_of(net)}
    return {"net": net.name, "seed": seed, **trained.record, **_times(wall, cpu), "dice": dice}


def _scores(trained: Trained, net: Net, trial: Any, cases: Sequence[Prepared]) -> dict[str, float]:
    return {case.name: round(score_case(trained, net, trial, case), 4) for case in cases}


def run_threshold(fold: Fold, seed: int) -> dict[str, Any]:
    """Test the known grey value; the line of its run."""
    wall, cpu = time.perf_counter(), time.process_time()
    dice = {}
    for name, cases in fold.tests.items():
        values = threshold_dice(fold.validation, cases)
        dice[name] = {THRESHOLD: {case.name: round(v, 4) for case, v in zip(cases, values, strict=True)}}
    return {"net": THRESHOLD, "seed": seed, **_times(wall, cpu), "dice": dice}


def _times(wall: float, cpu: float) -> dict[str, float]:
    return {
        "seconds": round(time.perf_counter() - wall, 1),
        "cpu_seconds": round(time.process_time() - cpu, 1),
    }


def make_runs(seeds: Sequence[int], nets: Sequence[Net], size: Size, data: Path | None, out: Path) -> None:
    """Make all missing runs, seed after seed, and record each as soon as it is finished."""
    record = GuidedRecord(out / "runs.jsonl", fixed(size, data))
    for seed in seeds:
        missing = [net for net in nets if not record.has(net.name, seed)]
        if not missing and record.has(THRESHOLD, seed):
            continue
        fold = load_fold(seed, size, data)
        record.add_contrasts({case.name: case.contrast_hu for cases in fold.tests.values() for case in cases})
        jobs: list[Callable[[], dict[str, Any]]] = []
        if not record.has(THRESHOLD, seed):
            jobs.append(lambda: run_threshold(fold, seed))  # noqa: B023 - called before the next turn
        if missing:
            trunk = train_trunk(fold, seed, size, out / f"trunk_{seed}.pt", record)
            jobs += [lambda net=net: run_net_of_seed(net, fold, seed, size, trunk) for net in missing]  # type: ignore[misc]  # noqa: B023
        for job in jobs:
            run = job()
            record.add(run)
            _tell(run)


def _tell(run: dict[str, Any]) -> None:
    means = {
        f"{name}, {row}": round(100 * sum(cases.values()) / len(cases), 1)
        for name, rows in run["dice"].items()
        for row, cases in rows.items()
    }
    capped = ", capped" if run.get("capped") else ""
    print(
        f"seed {run['seed']}, {run['net']}: {means}, {run.get('evaluations', 0)} evaluations{capped}, "
        f"{run['cpu_seconds']:.0f} s",
        flush=True,
    )


def fixed(size: Size, data: Path | None) -> dict[str, Any]:
    """Everything that all runs of a record share."""
    return {
        **size._asdict(),
        "settings": size.settings._asdict(),
        "painted": size.painted if data else 0,
        "draws": DRAWS,
        "channels": CHANNELS,
        "head": HEAD,
        "class_weights": CLASS_WEIGHTS,
    }


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Options of the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.guided_segmentation", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("--seeds", type=int, nargs="+", default=list(range(SEEDS)), help="default: 0 1 2 3 4")
    parser.add_argument("--nets", nargs="+", choices=[net.name for net in NETS], help="only these; default: all")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder of the record")
    parser.add_argument("--report", action="store_true", help="only print the tables of the runs that are there")
    parser.add_argument("--quick", action="store_true", help="few cases and steps: only shows that every row runs")
    options = parser.parse_args(argv)
    if not all(0 <= seed < SEEDS for seed in options.seeds):
        parser.error(f"--seeds is {options.seeds}, expected numbers from 0 to {SEEDS - 1}")
    if options.quick and options.out == RESULTS:
        parser.error("--quick must not write into the record of the study; name another folder with --out")
    return options


def main(argv: Sequence[str] | None = None) -> int:
    """Run the study or print its tables."""
    options = parse(argv)
    torch.set_num_threads(1)
    data = Path(os.environ["MEDSEG_DATA"]) if os.environ.get("MEDSEG_DATA") else None
    size = QUICK if options.quick else Size()
    nets = [net for net in NETS if not options.nets or net.name in options.nets]
    if not options.report:
        torch.set_flush_denormal(True)  # tiny activations would slow down the convolutions
        try:
            make_runs(options.seeds, nets, size, data, options.out)
        finally:
            torch.set_flush_denormal(False)
    print(report(GuidedRecord(options.out / "runs.jsonl", None), COMMAND), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
