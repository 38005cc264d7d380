"""A whole CT from file to mask: ``medseg segment`` and the bundle's own run against MONAI's parts.

The cases are phantoms of 512 x 512 x 300 and 512 x 512 x 700 voxels, gzipped NIfTI. Every row is a whole process, from
its start to its files, with the same network, weights, windows, overlap, blending and precision. ``medseg segment``
also checks the image, measures it, and writes statistics, a picture and a report; MONAI's way writes the mask alone.
Times are CPU seconds, which a busy second core changes less than the clock; ``peak_mb`` is the highest resident memory.

Before anything is reported, the masks are compared: ours may differ from MONAI's only where, on the grid of the image,
the two classes lie within 2e-4 of each other (before the largest component is kept), and in at most 1e-5 of the voxels.

The weights of the liver bundle can be given (``--liver-weights demo_output/model.pt``); the other ones are drawn from a
seed, with a bias that leaves about one voxel in 200 in the foreground.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import _harness as harness

BUNDLES = Path(__file__).resolve().parents[1] / "bundles"
# Bundle, spacing of the phantom in mm, bars: share of MONAI's CPU time, and peak in GB.
CASES = {"lits_liver_segmentation": ("liver", 0.5, 1.2), "lidc_nodule_segmentation": ("nodule", 0.65, 1.6)}
FULL, QUICK = (300, 700), (60,)
MOST_DIFFERENT = 1e-5

# The process reports its own peak: what the parent reads of a child also holds the parent's.
_END = """
print(next(line for line in open("/proc/self/status") if line.startswith("VmHWM")))
"""
_SEGMENT = "import sys; from medseg.apps.cli import main\nif main(sys.argv[1:]): raise SystemExit(1)" + _END
_BUNDLE_RUN = "from fire import Fire; from monai.bundle import run\nFire({'run': run})" + _END


def make_case(folder: Path, name: str, slices: int) -> Path:
    """Write a phantom of the bundle's kind, once."""
    from medseg.datasets.phantom import abdomen_phantom, chest_phantom
    from medseg.io.volumes.nifti import write_nifti

    path = folder / f"{name}_{slices}.nii.gz"
    if not path.exists():
        make = abdomen_phantom if name == "lits_liver_segmentation" else chest_phantom
        side = 512
        spacing = (360 / side, 360 / side, min(1.0, 330 / slices))
        phantom = make(0, spacing_mm=spacing, shape=(side, side, slices), orientation="LPS", supersample=1)
        write_nifti(path, phantom.image, phantom.affine_ras)
    return path


def make_weights(folder: Path, name: str, case: Path) -> Path:
    """Draw weights whose foreground is about one voxel in 200 of a part of the case."""
    import torch
    from monai.bundle import ConfigParser

    from medseg.io.volumes.nifti import read_nifti
    from medseg.transforms import HUWindow

    config = json.loads((BUNDLES / name / "configs" / "inference.json").read_text())
    torch.manual_seed(0)
    network = ConfigParser(config).get_parsed_content("network_def").eval()
    array = read_nifti(case).array
    middle = tuple(slice(n // 2 - 16, n // 2 + 16) for n in array.shape)
    part = HUWindow(config["window"])(array[middle][None, None].astype(np.float32))
    with torch.no_grad():
        logits = network(torch.as_tensor(part))
        state = network.state_dict()
        last = [key for key in state if key.endswith("bias")][-1]
        state[last] -= torch.stack([torch.zeros(()), (logits[:, 1] - logits[:, 0]).quantile(0.995)])
    path = folder / f"{name}.pt"
    torch.save(state, path)
    return path


def run(words: Sequence[str], threads: int) -> dict[str, float]:
    """Run a process and return its CPU seconds, wall seconds and peak memory."""
    limits = {f"{name}_NUM_THREADS": str(threads) for name in ("OMP", "MKL", "OPENBLAS")}
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    done = subprocess.run(
        [sys.executable, *words], capture_output=True, text=True, check=False, env={**os.environ, **limits}
    )
    wall, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        raise RuntimeError(f"{' '.join(words[:3])} failed: {done.stderr.strip().splitlines()[-1:]}")
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    last = done.stdout.strip().splitlines()[-1]
    peak = json.loads(last)["peak_mb"] if last.startswith("{") else int(last.split()[1]) / 1024
    return {"cpu_s": cpu, "wall_s": wall, "peak_mb": peak}


def commands(name: str, image: Path, weights: Path, folder: Path) -> dict[str, list[str]]:
    """The processes that are compared, by name; each writes its mask into ``folder``."""
    bundle = str(BUNDLES / name)
    plain = ["-m", "benchmarks._inference.plain_monai", "--bundle", bundle, "--image", str(image)]
    plain += ["--weights", str(weights)]
    ours = ["segment", "-i", str(image), "-o", str(folder / "ours"), "--bundle", bundle, "--weights", str(weights)]
    ours += ["--device", "cpu", "--overwrite", "--quiet"]
    keys = {
        "config_file": f"{bundle}/configs/inference.json",
        "bundle_root": bundle,
        "input_files": str([str(image)]),
        "weights": str(weights),
        "output_dir": str(folder),
        "output_name": "bundle",
        "overwrite": "True",
        "progress": "False",
        "device": "cpu",
    }
    words = [word for key, value in keys.items() for word in (f"--{key}", value)]
    return {
        "medseg segment": ["-c", _SEGMENT, *ours],
        "medseg segment, bfloat16": ["-c", _SEGMENT, *ours, "--precision", "bfloat16"],
        "monai.bundle run": ["-c", _BUNDLE_RUN, "run", *words],
        "MONAI": [*plain, "--mask", str(folder / "monai.nii.gz")],
        "MONAI, Adapt": [*plain, "--mask", str(folder / "adapt.nii.gz"), "--inferer", "SlidingWindowInfererAdapt"],
    }


def compare(found: Path, expected: Path, ties: Path, largest: bool) -> dict[str, float]:
    """Voxels in which two masks differ, as a share and per class; RuntimeError where they may not differ."""
    from medseg.io.volumes.nifti import read_nifti

    ours, theirs = read_nifti(found).array, read_nifti(expected).array
    near = np.unpackbits(np.load(ties)["near"])[: ours.size].reshape(ours.shape).astype(bool)
    differ = ours != theirs
    outside = int(np.count_nonzero(differ & ~near))
    share = np.count_nonzero(differ) / differ.size
    # A voxel at a tie can join two components, so that more than that voxel changes with the largest one.
    if (outside and not largest) or share > MOST_DIFFERENT:
        raise RuntimeError(f"{found}: {outside} voxels differ from {expected} away from ties; {share:.1e} in all")
    return {"differing_voxels": int(differ.sum()), "foreground": int((theirs > 0).sum())}


def rows_of(name: str, slices: int, options: argparse.Namespace, folder: Path) -> list[harness.Row]:
    """Measure one bundle on one phantom."""
    short, most_cpu, most_gb = CASES[name]
    image = make_case(options.data or folder, name, slices)
    given = options.liver_weights if name == "lits_liver_segmentation" else None
    weights = given or make_weights(folder, name, image)
    todo = commands(name, image, weights, folder)
    ties = folder / "ties.npz"
    run([*todo["MONAI"], "--ties", str(ties)], options.threads)
    found = {who: run(words, options.threads) for who, words in todo.items() if who not in options.skip}
    largest = name == "lits_liver_segmentation"
    masks = {"medseg segment": folder / "ours" / "seg.nii.gz", "monai.bundle run": folder / "bundle.nii.gz"}
    if "medseg segment, bfloat16" in found:  # its mask lies where that of float32 has to be
        changed = _changed(masks["medseg segment"], folder / "monai.nii.gz")
        run(todo["medseg segment"], options.threads)
    rows = []
    for who, value in found.items():
        row: harness.Row = {"case": f"{short} 512 x 512 x {slices}", "who": who, **value}
        row["cpu_ratio"] = value["cpu_s"] / found["MONAI"]["cpu_s"]
        if who in masks:
            row.update(compare(masks[who], folder / "monai.nii.gz", ties, largest))
            if options.quick:
                rows.append(row)
                continue
            row["bar"] = f"cpu <= {most_cpu}x, peak <= {most_gb} GB"
            row["pass"] = row["cpu_ratio"] <= most_cpu and value["peak_mb"] * 2**20 <= most_gb * 1e9
        elif who == "medseg segment, bfloat16":
            row.update(changed)
        rows.append(row)
    return rows


def _changed(found: Path, expected: Path) -> dict[str, Any]:
    """What bfloat16 changed: voxels, and the relative change of the foreground's volume."""
    from medseg.io.volumes.nifti import read_nifti

    ours, theirs = read_nifti(found).array > 0, read_nifti(expected).array > 0
    volume = int(theirs.sum())
    return {
        "differing_voxels": int(np.count_nonzero(ours != theirs)),
        "foreground": volume,
        "volume_change": float((int(ours.sum()) - volume) / max(1, volume)),
    }


def main(argv: Sequence[str] | None = None) -> int:
    """Run the benchmark; see the module."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--quick", action="store_true", help="one small phantom a bundle")
    parser.add_argument("--threads", type=int, default=1, help="threads of every process (1)")
    parser.add_argument("--json", type=Path, default=None, help="write header and rows to this file")
    parser.add_argument("--data", type=Path, default=None, help="folder in which the phantoms are kept")
    parser.add_argument("--liver-weights", type=Path, default=None, help="trained weights of the liver bundle")
    parser.add_argument("--slices", type=int, nargs="+", default=FULL, help="slices of the phantoms (300 700)")
    parser.add_argument("--skip", nargs="*", default=[], help="rows that are left out, by name")
    options = parser.parse_args(argv)
    if options.data is not None:
        options.data.mkdir(parents=True, exist_ok=True)
    head = harness.header(options.threads, "whole processes", monai=_version("monai"))
    rows: list[Mapping[str, Any]] = []
    for name in CASES:
        for slices in QUICK if options.quick else options.slices:
            with tempfile.TemporaryDirectory() as folder:
                rows += rows_of(name, slices, options, Path(folder))
    return harness.finish(options, head, [dict(row) for row in rows], NOTES)


NOTES = ("Synthetic phantoms. CPU seconds of whole processes, interpreter and imports included.",)


def _version(package: str) -> str:
    import importlib.metadata

    return importlib.metadata.version(package)


if __name__ == "__main__":
    raise SystemExit(main())
