"""The Slurm script for training: valid, complete, and run with two local processes that stand for two nodes."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from data_prep.dataset import main as make_dataset
from tests.bundles._torchrun import SMALL
from tests.bundles.conftest import BUNDLES, read_config, write_case

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "examples" / "slurm_train.sbatch"
BUNDLE = "lits_liver_segmentation"
PATIENCE_S = 240.0

# Slurm starts the command once on every node and passes SIGTERM on to it.
SRUN = """#!/bin/bash
"$@" & first=$!
"$@" & second=$!
trap 'kill -TERM "$first" "$second"' TERM
wait "$first"; code=$?
[ "$code" -le 128 ] || { wait "$first"; code=$?; }
wait "$second" || code=$?
exit "$code"
"""
SCONTROL = """#!/bin/bash
if [ "$1" = show ]; then echo localhost; else echo "$@" >> "$REQUEUED"; fi
"""
PYTHON = f"""#!/bin/bash
exec "{sys.executable}" "$@"
"""

Start = Callable[..., "subprocess.Popen[str]"]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("localhost", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def start(tmp_path: Path) -> Start:
    """Start the script as Slurm would on two nodes, with a small training; its log is the file ``log``."""
    spacing = read_config(BUNDLE, "train.json")["pixdim"][0]
    pairs = [write_case(tmp_path, name, spacing, "RAS") for name in ("scan", "other")]
    assert make_dataset(["--pair", *pairs[0], "--validation-pair", *pairs[1], "--out", str(tmp_path / "set")]) == 0
    shutil.copytree(BUNDLES / BUNDLE, tmp_path / "bundle")
    for name, text in {"srun": SRUN, "scontrol": SCONTROL, "python": PYTHON}.items():
        (tmp_path / "bin").mkdir(exist_ok=True)
        (tmp_path / "bin" / name).write_text(text)
        (tmp_path / "bin" / name).chmod(0o755)
    slurm = {"SLURM_JOB_ID": "77", "SLURM_NNODES": "2", "SLURM_JOB_NODELIST": "node[1-2]", "SLURM_LOCALID": "0"}
    variables = {
        **os.environ,
        **slurm,
        "PORT": str(free_port()),
        "PATH": f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "CUDA_VISIBLE_DEVICES": "",
        "REQUEUED": str(tmp_path / "requeued"),
    }
    options = [word for key, value in SMALL.items() for word in (f"--{key}", value)]

    def run(*more: str) -> subprocess.Popen[str]:
        words = ["bash", str(SCRIPT), str(tmp_path / "bundle"), str(tmp_path / "set"), *options, *more]
        log = (tmp_path / "log").open("w")
        return subprocess.Popen(words, env=variables, stdout=log, stderr=subprocess.STDOUT, text=True)

    return run


def test_the_script_is_valid_shell_with_a_complete_header() -> None:
    done = subprocess.run(["bash", "-n", str(SCRIPT)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    text = SCRIPT.read_text()
    header = dict(re.findall(r"^#SBATCH --([a-z-]+)(?:=(\S+))?$", text, flags=re.MULTILINE))
    assert header["signal"].startswith("B:TERM@") and header["ntasks-per-node"] == "1" and "requeue" in header
    assert "#SBATCH" not in text.split("set -u", 1)[1], "Slurm ignores what stands after the first command"


def test_without_a_bundle_the_usage_is_printed() -> None:
    done = subprocess.run(["bash", str(SCRIPT)], capture_output=True, text=True, check=False)
    assert done.returncode == 2 and done.stderr.startswith("usage: sbatch")


@pytest.mark.slow
def test_two_nodes_train_together_and_a_job_that_is_told_to_stop_is_queued_again(start: Start, tmp_path: Path) -> None:
    job = start("--epochs", "5000", "--val_interval", "1")
    end = time.monotonic() + PATIENCE_S
    while "epoch 2/5000" not in (tmp_path / "log").read_text() and time.monotonic() < end:
        time.sleep(0.05)
    job.send_signal(signal.SIGTERM)
    assert job.wait(timeout=PATIENCE_S) == 75, (tmp_path / "log").read_text()[-3000:]
    assert (tmp_path / "requeued").read_text() == "requeue 77\n"
    log = (tmp_path / "log").read_text()
    assert len(re.findall(r"INFO 2 processes, gloo$", log, flags=re.MULTILINE)) == 1
    assert len(re.findall(r"INFO epoch 2/5000: mean loss \d\.\d+, validation score", log)) == 1
