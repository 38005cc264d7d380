"""The memory estimate against what whole commands take."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from monai.bundle import ConfigParser

from medseg.inference.bundle import read_bundle
from medseg.inference.case import read_case
from medseg.inference.memory import available_memory, plan_memory
from medseg.io.volumes.nifti import write_nifti
from tests.bundles.conftest import BUNDLES, NAMES, read_config
from tests.inference._tiny_bundle import make_tiny_bundle

# 4, 24 and 68 million voxels; the larger two of a patient's size on the grid of the liver bundle.
SHAPES = [(256, 256, 64), (400, 400, 150), (512, 512, 260)]
SPACING_MM = (0.6, 0.6, 0.8)

# VmHWM and not ru_maxrss, which a process inherits from the one that starts it.
MEASURE = """
import sys
from medseg.apps.cli import main
code = main(sys.argv[1:])
print(next(line for line in open("/proc/self/status") if line.startswith("VmHWM")))
raise SystemExit(code)
"""


def weights_without_foreground(name: str, path: Path) -> Path:
    torch.manual_seed(0)
    state = ConfigParser(read_config(name, "inference.json")).get_parsed_content("network_def").state_dict()
    last = [key for key in state if key.endswith("bias")][-1]
    state[last] = torch.tensor([50.0, 0.0])
    torch.save(state, path)
    return path


@pytest.mark.skipif(sys.platform != "linux", reason="resident memory is counted as Linux counts it")
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("name", NAMES)
def test_the_peak_of_the_whole_command_is_within_a_quarter_of_the_estimate(
    tmp_path: Path, name: str, shape: tuple[int, int, int]
) -> None:
    array = np.full(shape, -1000, np.int16)
    array[30:-30, 30:-30, 5:-5] = np.random.default_rng(0).integers(0, 80, shape[2] - 10)
    case = write_nifti(tmp_path / "case.nii", array, np.diag([*SPACING_MM, 1.0]))
    weights = weights_without_foreground(name, tmp_path / "model.pt")
    estimate = plan_memory(read_bundle(BUNDLES / name), read_case(case)).peak
    out = tmp_path / "out"
    arguments = ["segment", "-i", case, "-o", out, "--bundle", BUNDLES / name, "--weights", weights, "--device", "cpu"]
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, *map(str, arguments)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    peak = 1024 * int(done.stdout.split("VmHWM:")[-1].split()[0])
    assert 0.75 * estimate <= peak <= 1.25 * estimate, f"{peak / 2**20:.0f} MiB, estimated {estimate / 2**20:.0f}"
    report = json.loads((out / "run.json").read_text())
    assert report["estimated_peak_bytes"] == estimate
    assert report["peak_rss_bytes"] == pytest.approx(peak, rel=0.1)


@pytest.mark.parametrize("name", NAMES)
def test_more_voxels_need_more_memory_in_every_stage(name: str) -> None:
    plans = [
        plan_memory(read_bundle(BUNDLES / name), read_case(np.zeros(shape, np.int16), affine_ras=np.diag([2, 2, 2, 1])))
        for shape in ((200, 200, 100), (200, 200, 200))
    ]
    small, large = plans
    assert large.image == 2 * small.image
    assert all(large.stages[stage] > small.stages[stage] for stage in small.stages)
    assert large.peak == large.base + large.image + large.stages[large.largest]


def test_bundles_that_resample_with_whole_grids_are_planned_with_them(tmp_path: Path) -> None:
    bundle = read_bundle(make_tiny_bundle(tmp_path / "bundle"))
    found = plan_memory(bundle, read_case(np.zeros((100, 100, 100), np.int16), affine_ras=np.eye(4)))
    assert found.stages["prepare and invert"] == 56 * 10**6


def test_free_memory_is_positive_where_it_is_known() -> None:
    free = available_memory()
    assert free is None or free > 1 << 20
