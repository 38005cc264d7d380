"""What does a network need to segment a volume of 512 x 512 x 100 voxels: memory and time of the whole pass?

``python -m benchmarks.network_memory [--quick] [--threads N] [--json FILE] [--only NAME ...]``

Every segmentation network of the registry, float32 on the CPU, one process each: 2-D networks slice by slice, those
without padding in overlapping tiles of every slice, 3-D ones by MONAI's sliding window. Memory is the peak of the
resident set above that of the process with its libraries: weights, the input volume, its logits of two classes and the
buffers that assemble them, all of full size, and the feature maps of the network. Time is extrapolated: a few windows
are computed, the last result is used again for the others, and the mean of the timed ones is multiplied by the number
of windows; what the rest of the pass takes (cutting, blending, copying) is measured over all windows.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence

import monai
import torch

from benchmarks import _harness as harness
from benchmarks._network_memory.cases import (
    CASES,
    CLASSES,
    QUICK,
    QUICK_VOLUME,
    VOLUME,
    Case,
    build,
    macs,
    parameters,
    predictor,
    quick_version,
)
from benchmarks._network_memory.passes import OVERLAP, Pass, run_pass
from medseg.io.bounded.atomic import json_text

MOST_CALLS, MOST_SECONDS = 5, 20.0


def measure(case: Case, volume_size: Sequence[int]) -> harness.Row:
    """The row of one case, in a process of its own."""
    found: list[tuple[int, Pass]] = []

    def whole() -> None:
        net = build(case)
        channels = 1 if case.way == "triplets" else case.channels
        volume = torch.randn(channels, *volume_size, generator=torch.Generator().manual_seed(0))
        call = predictor(case, net)
        passed = run_pass(case.way, volume, CLASSES, case.window, call, MOST_CALLS, MOST_SECONDS)
        found.append((parameters(net), passed))

    peak = harness.peak_rise_mb(whole)
    count, passed = found[0]
    return {
        "case": case.title,
        "way": case.way,
        "window": "x".join(map(str, case.window)),
        "windows": passed.windows,
        "timed": passed.timed,
        "parameters_m": count / 1e6,
        "gmacs": macs(case) * passed.windows / 1e9,
        "s_per_window": passed.window_seconds,
        "seconds": passed.seconds,
        "peak_mb": peak,
    }


def in_child(case: Case, quick: bool) -> harness.Row:
    """The row of one case, from a child process with as many threads."""
    words = ["--row", case.title, str(torch.get_num_threads()), str(int(quick))]
    row: harness.Row = json.loads(harness.in_child("benchmarks.network_memory", *words))
    return row


def child(title: str, threads: str, quick: str) -> None:
    """What the child process does."""
    torch.set_num_threads(int(threads))
    case = next(case for case in CASES if case.title == title)
    print(json_text(measure(quick_version(case), QUICK_VOLUME) if int(quick) else measure(case, VOLUME), indent=None))


def parse(argv: Sequence[str]) -> tuple[argparse.Namespace, list[str]]:
    """The options of every benchmark, and the networks to measure."""
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("--only", nargs="+", choices=sorted({case.name for case in CASES}), default=None)
    known, rest = parser.parse_known_args(argv)
    return harness.arguments(__doc__, rest), known.only


def main() -> int:
    """Runs the benchmark; returns the exit status."""
    if sys.argv[1:2] == ["--row"]:
        child(*sys.argv[2:5])
        return 0
    options, only = parse(sys.argv[1:])
    head = harness.header(options.threads, "fresh output in every call", monai=monai.__version__)
    chosen = [case for case in CASES if (case.title in QUICK or not options.quick) and (not only or case.name in only)]
    rows: list[harness.Row] = []
    left_out = []
    for case in chosen:
        free = harness.available_bytes() / 2**30
        if free < case.needs_gib:
            left_out.append(f"Left out: {case.title} wants {case.needs_gib:g} GiB of free memory, found {free:.1f}.")
            continue
        rows.append(in_child(case, options.quick))
        print(f"{case.title}: {rows[-1]['seconds']:.1f} s, {rows[-1]['peak_mb']:.0f} MiB", file=sys.stderr, flush=True)
    size, most = QUICK_VOLUME if options.quick else VOLUME, MOST_CALLS - 1
    notes = [
        f"Volume of {'x'.join(map(str, size))} voxels of noise, {CLASSES} classes, float32; sliding windows overlap by "
        f"{OVERLAP:.0%}, Gaussian weights.",
        f"seconds: extrapolated from the timed windows (at most {most} after one rehearsal, none begun after "
        f"{MOST_SECONDS:g} s) by the number of windows, except where there is a single one; gmacs: of all windows.",
        "peak_mb: MiB above the process with its libraries, weights and all buffers of the volume included.",
        *left_out,
    ]
    return harness.finish(options, head, rows, notes)


if __name__ == "__main__":
    sys.exit(main())
