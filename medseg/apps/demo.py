"""``medseg demo``: all steps on synthetic abdomens, from DICOM to a scored liver mask."""

from __future__ import annotations

import argparse
import json
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from medseg.apps.failures import CommandError
from medseg.inference.errors import ConfigurationError
from medseg.io.bounded.atomic import write_json

__all__ = ["main"]

BUNDLE = "lits_liver_segmentation"
TRAINING, VALIDATION, HELD_OUT = 12, 2, 4
EPOCHS = 16
NETWORK_BAR, BASELINE_BAR = 0.90, 0.80
_MARKER = "demo.json"
_SHOWN = re.compile(r"epoch \d+/|best val|^wrote |^\[\d/\d\]|liver:|Epoch\[")


class _Folders(NamedTuple):
    root: Path
    bundle: Path

    @property
    def cases(self) -> Path:
        return self.root / "phantoms"

    def case(self, index: int) -> Path:
        return self.cases / f"abdomen_{index:04d}"


def main(args: argparse.Namespace) -> int:
    """Run the demo.

    Args:
        args: ``output`` (folder), ``device`` (or None), ``overwrite``, ``quiet``.

    Returns:
        0 if the network reached its bar on the held-out phantoms, 1 otherwise.

    Raises:
        ConfigurationError: if the output folder holds something else or the bundle cannot be found.
        CommandError: if one of the steps fails.
    """
    started = time.monotonic()
    folders = _Folders(_fresh_folder(Path(args.output), args.overwrite), _find_bundle())
    run = _Runner(folders.root / "demo.log", args.quiet)
    device = ["--device", f"$torch.device({args.device!r})"] if args.device else []

    run.say(f"1/6 synthetic abdomens ({TRAINING + VALIDATION + HELD_OUT} CT series in DICOM, no patient data)")
    count = TRAINING + VALIDATION + HELD_OUT
    run.python("medseg.datasets.phantom", "--kind", "abdomen", "--count", count, "--seed", 1, "--format", "dicom",
               "--out", folders.cases)  # fmt: skip
    run.say("2/6 data_prep: DICOM to NIfTI, training and held-out sets")
    _prepare(run, folders)
    run.say(f"3/6 train {BUNDLE}: {EPOCHS} epochs of {TRAINING} cases")
    weights = folders.root / "model.pt"
    configs = folders.bundle / "configs"
    run.python("monai.bundle", "run", "--config_file", configs / "train.json", "--bundle_root", folders.bundle,
               "--dataset_dir", folders.root / "train", "--output_dir", folders.root / "training",
               "--weights", weights, "--epochs", EPOCHS, "--val_interval", 4, "--cache_rate", 1.0, *device)  # fmt: skip
    run.say("4/6 infer and evaluate on the held-out phantoms")
    run.python("monai.bundle", "run", "--config_file", f"['{configs}/inference.json','{configs}/evaluate.json']",
               "--bundle_root", folders.bundle, "--dataset_dir", folders.root / "held_out", "--data_list_key",
               "training", "--output_dir", folders.root / "held_out_masks", "--weights", weights, "--progress", "False",
               *device)  # fmt: skip
    run.say("5/6 threshold, opening and largest component, tuned on the training phantoms")
    result = _score(folders)
    run.say("6/6 segment one held-out DICOM series: mask, statistics, preview")
    segment = ["-i", folders.case(TRAINING + VALIDATION) / "dicom", "-o", folders.root / "segmentation"]
    run.python("medseg", "segment", *segment, "--bundle", folders.bundle, "--weights", weights,
               *(["--device", args.device] if args.device else []))  # fmt: skip
    for name in ("preview.png", "statistics.json", "seg.nii.gz"):
        shutil.copy2(folders.root / "segmentation" / name, folders.root / name)
    result["seconds"] = round(time.monotonic() - started, 1)
    result["state"] = "finished"
    write_json(folders.root / _MARKER, result)
    print(_table(result, folders.root))
    return 0 if result["network_mean"] >= NETWORK_BAR else 1


def _fresh_folder(root: Path, overwrite: bool) -> Path:
    if root.exists() and (not root.is_dir() or any(root.iterdir())):
        if not (root / _MARKER).is_file():
            raise ConfigurationError(f"{root}: holds something that is not a demo; choose a new folder with -o")
        if not overwrite:
            raise ConfigurationError(f"{root}: holds an earlier demo; use --overwrite or another folder with -o")
        shutil.rmtree(root)
    root.mkdir(parents=True, exist_ok=True)
    write_json(root / _MARKER, {"state": "running"})
    return root.resolve()


def _find_bundle() -> Path:
    places = [Path("bundles"), Path(__file__).resolve().parents[2] / "bundles"]
    for place in places:
        if (place / BUNDLE / "configs" / "train.json").is_file():
            return (place / BUNDLE).resolve()
    raise ConfigurationError(f"bundles/{BUNDLE}: not found; run the demo in a checkout of medseg, where bundles/ is")


class _Runner:
    """Runs ``python -m MODULE ...`` as a user would; all output goes to the log, important lines to the terminal."""

    def __init__(self, log: Path, quiet: bool) -> None:
        self.log = log
        self.quiet = quiet

    def say(self, text: str) -> None:
        if not self.quiet:
            print(text, flush=True)

    def python(self, module: str, *arguments: Any) -> None:
        words = [sys.executable, "-m", module, *map(str, arguments)]
        with open(self.log, "a", encoding="utf-8") as log:
            log.write(f"\n$ python -m {module} {_quoted(words[3:])}\n")
            log.flush()
            process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
            last = ""
            assert process.stdout is not None
            for line in process.stdout:
                log.write(line)
                last = line.strip() or last
                if _SHOWN.search(line) and not self.quiet:
                    print("    " + line.strip(), flush=True)
        if process.wait() != 0:
            raise CommandError(f"python -m {module} failed: {last} (all output is in {self.log})")


def _quoted(words: Sequence[str]) -> str:
    return " ".join(f'"{word}"' if re.search(r"[\s'$\[]", word) else word for word in words)


def _prepare(run: _Runner, folders: _Folders) -> None:
    """Make the training folder, and a folder of held-out cases that are not used in training."""

    def pairs(option: str, first: int, count: int) -> list[Any]:
        cases = [folders.case(index) for index in range(first, first + count)]
        return [word for case in cases for word in (option, case / "dicom", case / "label.nii.gz")]

    names = ["--names", "1=liver", "2=tumour"]
    training = pairs("--pair", 0, TRAINING) + pairs("--validation-pair", TRAINING, VALIDATION)
    run.python("data_prep.dataset", *training, *names, "--out", folders.root / "train")
    held_out = pairs("--pair", TRAINING + VALIDATION, HELD_OUT)
    run.python("data_prep.dataset", *held_out, *names, "--out", folders.root / "held_out")


def _score(folders: _Folders) -> dict[str, Any]:
    """Dice of the network's masks and of the tuned threshold rule on the same held-out cases."""
    from medseg.inference.threshold_baseline import tune_threshold
    from medseg.io.volumes.nifti import read_nifti
    from medseg.metrics import dice_score
    from medseg.transforms.output.save_mask import case_name

    def load(folder: Path) -> list[tuple[str, Any, Any]]:
        listed = json.loads((folder / "dataset.json").read_text(encoding="utf-8"))["training"]
        return [(case_name(e["image"]), read_nifti(folder / e["image"]).array, read_nifti(folder / e["label"]).array)
                for e in listed]  # fmt: skip

    rule, tuned = tune_threshold([(image, label) for _, image, label in load(folders.root / "train")])
    cases: list[dict[str, Any]] = []
    for name, image, label in load(folders.root / "held_out"):
        mask = read_nifti(folders.root / "held_out_masks" / f"{name}_seg.nii.gz").array
        cases.append({"case": name, "network": dice_score(mask, label),
                      "threshold": dice_score(rule.segment(image), label)})  # fmt: skip
    return {
        "data": "synthetic",
        "score": "liver Dice (tumours count as liver)",
        "threshold_rule": {**rule._asdict(), "dice_on_training_phantoms": tuned},
        "held_out": cases,
        "network_mean": sum(c["network"] for c in cases) / len(cases),
        "threshold_mean": sum(c["threshold"] for c in cases) / len(cases),
    }


def _table(result: dict[str, Any], root: Path) -> str:
    rule = result["threshold_rule"]
    lines = [
        "",
        "Liver Dice on held-out synthetic abdomens",
        f"{'case':24s} {'network':>8s} {'threshold':>10s}",
        *(f"{c['case']:24s} {c['network']:8.3f} {c['threshold']:10.3f}" for c in result["held_out"]),
        f"{'mean':24s} {result['network_mean']:8.3f} {result['threshold_mean']:10.3f}",
        f"threshold rule: {rule['lower_hu']:.0f} to {rule['upper_hu']:.0f} HU, opening {rule['opening']}, largest "
        f"component; {rule['dice_on_training_phantoms']:.3f} on the training phantoms it was tuned on",
        f"bars: network >= {NETWORK_BAR:.2f} {_verdict(result['network_mean'] >= NETWORK_BAR)}, "
        f"threshold <= {BASELINE_BAR:.2f} {_verdict(result['threshold_mean'] <= BASELINE_BAR)}",
        f"finished in {result['seconds'] / 60:.1f} minutes; look at {root}/preview.png, statistics.json, "
        "training/loss_curve.png",
    ]
    return "\n".join(lines)


def _verdict(passed: bool) -> str:
    return "(met)" if passed else "(MISSED)"
