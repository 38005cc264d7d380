"""Tiny data sets of synthetic balls, and each bundle trained on them once for all tests."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from data_prep.dataset import main as make_dataset
from medseg.geometry import make_affine
from medseg.io.volumes.nifti import write_nifti

BUNDLES = Path(__file__).resolve().parents[2] / "bundles"
NAMES = sorted(path.name for path in BUNDLES.iterdir() if (path / "configs").is_dir())
SIDE = 40

# What makes a run small: patches of 32 voxels, a narrow network, no bars. The same keys as in a real run.
SMALL: dict[str, Any] = {
    "device": "$torch.device('cpu')",
    "amp": False,
    "roi_size": [32, 32, 32],
    "network_def::channels": [4, 8, 8, 16, 16],
}


def read_config(name: str, config: str) -> dict[str, Any]:
    return json.loads((BUNDLES / name / "configs" / config).read_text())


def ball_scan(foreground: bool = True, seed: int = 0, side: int = SIDE) -> tuple[np.ndarray, np.ndarray]:
    """HU and label of a bright ball (label 1) with a core (label 2), off the middle of grey noise."""
    image = np.random.default_rng(seed).normal(-700, 30, (side,) * 3)
    label = np.zeros((side,) * 3, np.uint8)
    if foreground:
        i, j, k = np.indices(label.shape)
        distance = np.sqrt((i - 16.0) ** 2 + (j - 20.0) ** 2 + (k - 22.0) ** 2)
        label[distance <= 10], label[distance <= 4] = 1, 2
        image[label > 0] += 850
    return image.astype(np.int16), label


def write_case(folder: Path, name: str, spacing_mm: float, codes: str, foreground: bool = True) -> list[str]:
    """Write image and label with array axes along ``codes`` and return the two paths."""
    image, label = ball_scan(foreground, seed=len(name))
    affine = make_affine((spacing_mm,) * 3, (-20.0, 31.5, 7.0), codes)
    paths = folder / f"{name}.nii.gz", folder / f"{name}_label.nii.gz"
    write_nifti(paths[0], image, affine)
    write_nifti(paths[1], label, affine)
    return [str(path) for path in paths]


@dataclass(frozen=True)
class TrainedBundle:
    """A bundle after a short training run.

    Attributes:
        name: folder name under ``bundles``.
        root: the run's bundle_root, with ``models`` and ``eval``.
        dataset_dir: folder with ``dataset.json``.
        spacing_mm: the bundle's working spacing, which is also the tiny cases' own.
        missing: what ``check_properties`` found missing in the training workflow.
    """

    name: str
    root: Path
    dataset_dir: Path
    spacing_mm: float
    missing: list[str] | None


def workflow(name: str, configs: str | list[str], kind: str, **overrides: Any) -> Any:
    """The bundle's real workflow with the small overrides; nothing is written into the checkout."""
    from monai.bundle import ConfigWorkflow

    files = [
        str(BUNDLES / name / "configs" / config) for config in ([configs] if isinstance(configs, str) else configs)
    ]
    values = {key: str(value) if isinstance(value, Path) else value for key, value in overrides.items()}
    return ConfigWorkflow(files, workflow_type=kind, logging_file=False, **{**SMALL, **values})


@contextmanager
def single_thread() -> Iterator[None]:
    """Keep torch to one thread: patches this small are not worth sharing, and on busy cores waiting costs most time."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Every test of the bundles runs on one thread."""
    with single_thread():
        yield


@pytest.fixture(scope="session", params=NAMES)
def bundle(request: pytest.FixtureRequest) -> str:
    """Name of each bundle in turn."""
    return request.param


@pytest.fixture(scope="session")
def dataset_dir(bundle: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two training cases, one of them without foreground, and one for validation, made by ``data_prep.dataset``."""
    source = tmp_path_factory.mktemp("scans")
    spacing = read_config(bundle, "train.json")["pixdim"][0]
    arguments = ["--pair", *write_case(source, "scan", spacing, "LPS")]
    arguments += ["--pair", *write_case(source, "phantom", spacing, "RAS", foreground=False)]
    arguments += ["--validation-pair", *write_case(source, "other", spacing, "SAL")]
    target = tmp_path_factory.mktemp("dataset") / bundle
    assert make_dataset([*arguments, "--out", str(target)]) == 0
    return target


@pytest.fixture(scope="session")
def trained(bundle: str, dataset_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> TrainedBundle:
    """The bundle after four small epochs."""
    root = tmp_path_factory.mktemp("run") / bundle
    run = workflow(bundle, "train.json", "train", bundle_root=root, dataset_dir=dataset_dir, epochs=4, val_interval=2)
    with single_thread():
        run.initialize()
        missing = run.check_properties()
        run.run()
        run.finalize()
    return TrainedBundle(bundle, root, dataset_dir, read_config(bundle, "train.json")["pixdim"][0], missing)


@pytest.fixture
def infer(trained: TrainedBundle) -> Callable[..., Any]:
    """Run the trained bundle's inference config with overrides and return the workflow."""

    def run(configs: str | list[str] = "inference.json", **overrides: Any) -> Any:
        values = {"bundle_root": trained.root, "dataset_dir": trained.dataset_dir, "progress": False, **overrides}
        work = workflow(trained.name, configs, "infer", **values)
        work.initialize()
        work.run()
        work.finalize()
        return work

    return run


def data_of_phantoms(folder: Path, side: int, spacing_mm: float) -> Path:
    """Two synthetic balls in noise as ``images``, ``labels`` and ``dataset.json``; the second is validated, too."""
    cases = []
    for number in range(2):
        image, label = ball_scan(seed=number, side=side)
        case = {}
        for key, array in (("image", image), ("label", label)):
            case[key] = f"{key}s/ball_{number}.nii.gz"
            (folder / f"{key}s").mkdir(parents=True, exist_ok=True)
            write_nifti(folder / case[key], array, make_affine((spacing_mm,) * 3, (-20.0, 31.5, 7.0), "LPS"))
        cases.append(case)
    (folder / "dataset.json").write_text(json.dumps({"training": cases, "validation": cases[1:]}))
    return folder


def history(root: Path) -> list[dict[str, Any]]:
    """The epochs of a run, as it recorded them."""
    epochs: list[dict[str, Any]] = json.loads((root / "eval" / "history.json").read_text())
    return epochs
