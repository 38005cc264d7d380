"""The scripts for clusters parse, use options that exist, and do what they say where they can run."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from data_prep.cohort import _parser
from tests.data_prep._cohort_files import make_cohort

ROOT = Path(__file__).resolve().parents[2]
SBATCH = ROOT / "examples" / "slurm_array.sbatch"
SNAKEFILE = ROOT / "examples" / "Snakefile"
PATIENCE_S = 120.0


def options_of(text: str) -> set[str]:
    """The long options of every call of the cohort command in a script, up to the lone ``--``."""
    joined = re.sub(r"\\\n|\"\n\s*\"", " ", text)
    calls = [line.partition("python -m data_prep.cohort ")[2] for line in joined.splitlines()]
    return {word for call in calls for word in re.findall(r"--[a-z-]+", call.partition(" -- ")[0])}


def environment(**more: str) -> dict[str, str]:
    """An environment in which ``python`` is this interpreter and finds the packages."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return {**os.environ, "PATH": path, "PYTHONPATH": str(ROOT), **more}


@pytest.mark.parametrize("script", [SBATCH, SNAKEFILE], ids=lambda path: path.name)
def test_every_option_exists(script: Path) -> None:
    used = options_of(script.read_text())
    assert {"--num-parts", "--part-id", "--index"} <= used
    assert used <= {name for action in _parser()._actions for name in action.option_strings}


def test_the_batch_script_is_valid_shell_with_a_complete_header() -> None:
    done = subprocess.run(["bash", "-n", str(SBATCH)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    text = SBATCH.read_text()
    assert text.startswith("#!/bin/bash\n")
    header = dict(re.findall(r"^#SBATCH --([a-z-]+)(?:=(\S+))?$", text, flags=re.MULTILINE))
    assert header["signal"].startswith("B:TERM@") and "requeue" in header and "%a" in header["output"]
    body = text.split("set -u", 1)[1]
    assert "#SBATCH" not in body, "Slurm ignores what stands after the first command"


def test_the_tasks_of_an_array_share_the_cohort(tmp_path: Path) -> None:
    uids = make_cohort(tmp_path / "in", 3)
    for task in ("0", "1"):
        slurm = {"SLURM_ARRAY_TASK_ID": task, "SLURM_ARRAY_TASK_COUNT": "2", "SLURM_CPUS_PER_TASK": "1"}
        words = ["bash", str(SBATCH), str(tmp_path / "in"), str(tmp_path / "out"), "--overwrite"]
        refused = subprocess.run(words, env=environment(**slurm), capture_output=True, text=True, check=False)
        assert refused.returncode == 2, "an option that every case's command gets from the cohort"
        done = subprocess.run(words[:-1], env=environment(**slurm), capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert (summary["done"], summary["not_run"]) == (3, 0)
    assert sorted(path.name for path in (tmp_path / "out" / "cases").iterdir()) == uids


def test_a_task_that_is_told_to_stop_is_queued_again(tmp_path: Path) -> None:
    make_cohort(tmp_path / "in", 2)
    requeue = tmp_path / "bin" / "scontrol"
    requeue.parent.mkdir()
    requeue.write_text(f'#!/bin/bash\necho "$@" > "{tmp_path}/requeued"\n')
    requeue.chmod(0o755)
    slow = tmp_path / "bin" / "python"
    slow.write_text(
        f'#!/bin/bash\nexec "{sys.executable}" -c "'
        "import sys, data_prep._cohort.plan as plan, data_prep.cohort as cohort; "
        "from tests.data_prep import _cohort_files; plan.run_case = _cohort_files.very_slow_case; "
        'sys.exit(cohort.main(sys.argv[3:]))" "$@"\n'
    )
    slow.chmod(0o755)
    variables = environment(SLURM_JOB_ID="77")
    variables["PATH"] = f"{slow.parent}{os.pathsep}{variables['PATH']}"
    task = subprocess.Popen(["bash", str(SBATCH), str(tmp_path / "in"), str(tmp_path / "out")], env=variables)
    end = time.monotonic() + PATIENCE_S
    while not list(tmp_path.glob("out/.cohort/work-*")) and time.monotonic() < end:
        time.sleep(0.02)
    task.send_signal(signal.SIGTERM)
    assert task.wait(timeout=PATIENCE_S) == 75
    assert (tmp_path / "requeued").read_text() == "requeue 77\n"
    assert json.loads((tmp_path / "out" / "summary.json").read_text())["not_run"] == 2


def test_the_snakefile_plans_its_parts(tmp_path: Path) -> None:
    snakemake = shutil.which("snakemake")
    if snakemake is None:
        pytest.skip("snakemake is not installed")
    config = [f"input={tmp_path / 'in'}", f"output={tmp_path / 'out'}", "parts=3"]
    words = [snakemake, "--snakefile", str(SNAKEFILE), "--directory", str(tmp_path), "--dry-run", "--config", *config]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert re.search(r"^part\s+3$", done.stdout + done.stderr, flags=re.MULTILINE)
