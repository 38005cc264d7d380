"""The examples run as they are printed in the README."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.mark.slow
def test_the_example_of_the_adaptive_layers_runs_and_draws_its_picture(tmp_path: Path) -> None:
    picture = tmp_path / "partition.png"
    command = [sys.executable, "examples/adaptive_layers.py", str(picture)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert "31 % of the multiply-adds of the dense stack" in done.stdout
    assert "2 swapped, 0 left alone" in done.stdout
    assert picture.read_bytes().startswith(b"\x89PNG")


@pytest.mark.slow
def test_the_example_of_region_histograms_runs_on_a_photograph_and_draws_its_picture(tmp_path: Path) -> None:
    picture = tmp_path / "histograms.png"
    command = [sys.executable, "examples/region_histogram_rgb.py", str(picture)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert "histograms (3, 3, 32): regions x channels x bins" in done.stdout
    assert "disc           250.5  165.7  114.7" in done.stdout
    assert "nothing            -      -      -" in done.stdout
    assert picture.read_bytes().startswith(b"\x89PNG")
