"""The Slurm script for training: valid, complete, and run with two local processes that stand for two nodes."""

from __future__ import annotations

import json
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
from tests.bundles.test_runs import train

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "examples" / "slurm_train.sbatch"
BUNDLE = "lits_liver_segmentation"
SIDES = [48, 48, 48]  # the tiny scans, padded
PATIENCE_S = 240.0

# In place of torchrun: a run that ends with this code when it is told to.
STOPS = """#!/bin/bash
trap 'exit {code}' TERM
echo ready
for _ in $(seq 6000); do sleep 0.02; done
"""
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
    first, second, other = (write_case(tmp_path, name, spacing, "RAS") for name in ("scan", "second", "other"))
    words = ["--pair", *first, "--pair", *second, "--validation-pair", *other, "--out", str(tmp_path / "set")]
    assert make_dataset(words) == 0
    shutil.copytree(BUNDLES / BUNDLE, tmp_path / "bundle")
    (tmp_path / "bin").mkdir()
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

    def run(python: str, *more: str) -> subprocess.Popen[str]:
        for name, text in {"srun": SRUN, "scontrol": SCONTROL, "python": python}.items():
            (tmp_path / "bin" / name).write_text(text)
            (tmp_path / "bin" / name).chmod(0o755)
        nodes = {"PROCESSES": "1"} if python == PYTHON else {"SLURM_GPUS_ON_NODE": "3"}
        words = ["bash", str(SCRIPT), str(tmp_path / "bundle"), str(tmp_path / "set"), *options, *more]
        log = (tmp_path / "log").open("w")
        return subprocess.Popen(words, env=variables | nodes, stdout=log, stderr=subprocess.STDOUT, text=True)

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
def test_two_nodes_train_as_one_process_with_the_doubled_batch(start: Start, tmp_path: Path) -> None:
    options = {"epochs": 2, "val_interval": 1, "roi_size": SIDES, "window": "lung"}
    words = [word for key, value in options.items() for word in (f"--{key}", json.dumps(value).strip('"'))]
    assert start(PYTHON, *words).wait(timeout=PATIENCE_S) == 0, (tmp_path / "log").read_text()[-3000:]
    train(BUNDLE, tmp_path / "one", tmp_path / "set", batch_size=2, **options)
    two, one = (json.loads((tmp_path / n / "eval" / "history.json").read_text()) for n in ("bundle", "one"))
    assert [r["loss"] for r in two] == pytest.approx([r["loss"] for r in one], abs=1e-5)
    assert [r["score"] for r in two] == pytest.approx([r["score"] for r in one], abs=1e-3)
    log = (tmp_path / "log").read_text()
    assert len(re.findall(r"INFO 2 processes, gloo$", log, flags=re.MULTILINE)) == 1
    assert len(re.findall(r"INFO epoch 2/2: mean loss \d\.\d+, validation score", log)) == 1
    assert not (tmp_path / "requeued").exists()


@pytest.mark.parametrize(("code", "requeued"), [(1, "requeue 77\n"), (0, "")])
def test_a_job_that_is_told_to_stop_before_its_end_is_queued_again(
    code: int, requeued: str, start: Start, tmp_path: Path
) -> None:
    job = start(STOPS.format(code=code))
    end = time.monotonic() + PATIENCE_S
    while (tmp_path / "log").read_text().count("ready") < 2 and time.monotonic() < end:
        time.sleep(0.02)
    job.send_signal(signal.SIGTERM)
    assert job.wait(timeout=PATIENCE_S) == (75 if code else 0), (tmp_path / "log").read_text()
    found = tmp_path / "requeued"
    assert (found.read_text() if found.exists() else "") == requeued


def test_every_node_gets_the_same_command_and_the_place_to_meet(start: Start, tmp_path: Path) -> None:
    assert start('#!/bin/bash\necho "$@"\n', "--epochs", "7").wait(timeout=PATIENCE_S) == 0
    first, second = (tmp_path / "log").read_text().splitlines()
    assert first == second
    assert re.search(r"-m torch.distributed.run --nnodes 2 --nproc-per-node 3 .* --rdzv-endpoint localhost:\d+ ", first)
    assert "configs/multi_gpu_train.json" in first and first.endswith("--epochs 7")
