"""The commands of docs/configuration.md run as they are printed, on synthetic data and with small patches."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path
from typing import Any

import fire
import numpy as np
import pytest
from monai.bundle import ConfigWorkflow

from medseg.transforms import LoadPrompts
from tests.bundles.conftest import BUNDLES, SMALL, data_of_phantoms, history
from tests.bundles.test_docs import config_files, options

ROOT = BUNDLES.parent
PAGE = (ROOT / "docs" / "configuration.md").read_text()
# Of the page itself only places differ, and what makes a run small.
QUICK: dict[str, Any] = {
    **{key: value for key, value in SMALL.items() if not key.startswith("network_def")},
    "pixdim": [1.0] * 3,
    "cropped": True,
}
TRAINING = {"epochs": 1, "val_interval": 1, "patches_per_image": 1}


def commands() -> list[list[str]]:
    blocks = re.findall(r"```bash\n(.*?)```", PAGE, re.DOTALL)
    lines = [line for block in blocks for line in block.splitlines()]
    return [shlex.split(line) for line in lines if "-m monai.bundle" in line]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = data_of_phantoms(tmp_path_factory.mktemp("data"), side=40, spacing_mm=1.0)
    clicks = {f"ball_{number}.nii.gz": [[1, -40.0, 10.0, 20.0]] for number in (0, 1)}
    (folder / "prompts.json").write_text(json.dumps(clicks))
    return folder


def run(command: list[str], data: Path, root: Path) -> None:
    """Do what the command does, in this process."""
    printed = options(command)
    bundle = printed.pop("bundle_root")
    values = {
        key: fire.parser.DefaultParseValue(value.replace(bundle, str(root)).replace("data/liver", str(data)))
        for key, value in printed.items()
        if key != "config_file"
    }
    files = [str(ROOT / file) for file in config_files(command)]
    training = files[0].endswith("train.json")
    quick = {**QUICK, **(TRAINING if training else {"progress": False})}
    if any("slices" in file for file in files):
        quick["roi_size"] = [32, 32, 16]
    work = ConfigWorkflow(files, logging_file=False, **{**quick, **values, "bundle_root": str(root)})
    work.initialize()
    work.run()
    work.finalize()
    if training:
        assert np.isfinite(history(root)[0]["loss"])
    else:
        assert len(list(Path(values["output_dir"]).glob("*_seg.nii.gz"))) == (1 if "evaluate" in str(files) else 2)


def groups() -> dict[str, list[list[str]]]:
    """A training, and the commands after it, which use its weights."""
    found: dict[str, list[list[str]]] = {}
    for command in commands():
        files = config_files(command)
        if Path(files[0]).name == "train.json":
            name = Path(files[-1]).stem
        found.setdefault(name, []).append(command)
    return found


@pytest.mark.parametrize("name", groups())
def test_printed_commands_run_one_after_the_other(name: str, data: Path, tmp_path: Path) -> None:
    for command in groups()[name]:
        assert command[:4] == ["python", "-m", "monai.bundle", "run"]
        run(command, data, tmp_path)


def test_the_page_shows_every_example_configuration() -> None:
    shown = {file for command in commands() for file in config_files(command) if file.startswith("examples/")}
    assert shown == {str(path.relative_to(ROOT)) for path in (ROOT / "examples").rglob("*.json")}
    assert list(groups()) == ["train", "slices", "clicks_train", "texture_train"]


def test_the_printed_prompts_are_what_the_transform_reads(tmp_path: Path) -> None:
    from monai.data import MetaTensor

    (block,) = re.findall(r"```json\n(.*?)```", PAGE, re.DOTALL)
    (tmp_path / "prompts.json").write_text(block)
    image = MetaTensor(np.zeros((1, 4, 4, 4)), meta={"filename_or_obj": "image_0000.nii.gz"})
    assert LoadPrompts(tmp_path / "prompts.json")(image)[:, :4].tolist() == [[1, 92, -14.5, 130], [0, 20, -60, 130]]
