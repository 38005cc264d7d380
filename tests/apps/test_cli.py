"""Exit codes, one-line errors and a light start of the ``medseg`` command."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from medseg import __version__
from medseg.apps.cli import main
from medseg.geometry import make_affine
from medseg.io.volumes.nifti import write_nifti
from tests.inference._tiny_bundle import make_tiny_bundle


def run_with(tmp_path: Path, expression: str) -> int:
    """Segment a small case with a bundle that evaluates ``expression`` while it runs."""
    bundle = make_tiny_bundle(tmp_path / "bundle", run=[expression])
    case = write_nifti(tmp_path / "case.nii", np.full((4, 4, 4), -1000, np.int16), make_affine((1, 1, 1)))
    return main(["segment", "-i", str(case), "-o", str(tmp_path / "out"), "--bundle", str(bundle), "--device", "cpu"])


def test_version_and_help_succeed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"medseg {__version__}\n"
    assert main(["segment", "--help"]) == 0
    assert "exit codes: 0 success" in capsys.readouterr().out


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["sgment"],
        ["segment"],
        ["doctor", "--jsn"],
        ["segment", "-i", "a", "-o", "b", "--bundle", "c", "--device", "gpu"],
    ],
)
def test_usage_errors_are_one_line_and_exit_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 2
    err = capsys.readouterr().err
    assert err.startswith("error: ")
    assert err.count("\n") == 1


def test_a_missing_case_or_bundle_exits_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bundle = make_tiny_bundle(tmp_path / "bundle")
    out = ["-o", str(tmp_path / "out")]
    assert main(["segment", "-i", "nowhere.nii", *out, "--bundle", str(bundle)]) == 2
    assert main(["segment", "-i", "nowhere.nii", *out, "--bundle", "nowhere"]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert lines[0].startswith("error: <CASE>: no such file")
    assert lines[1].startswith("error: nowhere: no such bundle folder")


def test_a_cuda_device_that_is_not_there_exits_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bundle = make_tiny_bundle(tmp_path / "bundle")
    case = write_nifti(tmp_path / "case.nii", np.zeros((4, 4, 4), np.int16), make_affine((1, 1, 1)))
    arguments = ["segment", "-i", str(case), "-o", str(tmp_path / "out"), "--bundle", str(bundle)]
    assert main([*arguments, "--device", "cuda:99"]) == 2
    assert "--device cuda:99" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("expression", "code", "words"),
    [
        ("$torch.empty(1 << 55)", 5, "out of memory"),
        ("$__import__('os').kill(__import__('os').getpid(), 15)", 75, "run the same command again"),
        ("$__import__('os').kill(__import__('os').getpid(), 2)", 130, "interrupted"),
        ("$int('no number')", 1, "no number"),
    ],
)
def test_failures_while_running_have_their_codes_and_leave_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], expression: str, code: int, words: str
) -> None:
    handler = signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job starts with it ignored
    try:
        assert run_with(tmp_path, expression) == code
    finally:
        signal.signal(signal.SIGINT, handler)
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith("error: ")
    assert words in last
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["bundle", "case.nii"]


def test_module_and_package_start_the_same_command() -> None:
    for module in ("medseg", "medseg.apps.cli"):
        done = subprocess.run([sys.executable, "-m", module, "--version"], capture_output=True, text=True, check=False)
        assert (done.returncode, done.stdout) == (0, f"medseg {__version__}\n")
