"""The commands in every bundle's README: they name keys that exist, and they run as they are printed."""

from __future__ import annotations

import ast
import importlib.util
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import fire
import pytest

from tests.bundles.conftest import BUNDLES, SMALL, TrainedBundle, read_config, workflow

ROOT = BUNDLES.parent
RESULT = ["eval/history.json", "eval/loss_curve.png", "models/last.pt", "models/model.pt"]
MADE_SMALL = ["--epochs", "1", "--val_interval", "1", "--roi_size", "[32,32,32]", "--patches_per_image", "1"]


def readme(name: str) -> str:
    return (BUNDLES / name / "docs" / "README.md").read_text()


def commands(name: str) -> list[list[str]]:
    """Every command line of the README's shell blocks, split as a shell would."""
    blocks = re.findall(r"```bash\n(.*?)```", readme(name), re.DOTALL)
    return [shlex.split(line) for block in blocks for line in block.splitlines()]


def options(command: list[str]) -> dict[str, str]:
    """Those of the bundle; torchrun's own stand before them."""
    command = command[command.index("monai.bundle") :]
    return {name[2:]: value for name, value in zip(command, [*command[1:], ""], strict=True) if name.startswith("--")}


def config_files(command: list[str]) -> list[str]:
    value = options(command)["config_file"]
    return ast.literal_eval(value) if value.startswith("[") else [value]


def bundle_runs(name: str) -> list[list[str]]:
    return [command for command in commands(name) if "-m monai.bundle run" in " ".join(command)]


def test_the_readme_shows_training_evaluation_and_inference(bundle: str) -> None:
    shown = {tuple(Path(file).name for file in config_files(command)) for command in bundle_runs(bundle)}
    assert {files for files in shown if not any("multi_gpu" in file for file in files)} == {
        ("train.json",),
        ("inference.json", "evaluate.json"),
        ("train.json", "evaluate.json"),
        ("inference.json",),
    }


def test_the_readme_shows_the_other_commands_of_a_bundle(bundle: str) -> None:
    shown = {command[3] for command in commands(bundle) if command[1:3] == ["-m", "monai.bundle"]}
    assert shown == {"run", "ckpt_export", "onnx_export", "verify_net_in_out", "verify_metadata"}


def test_commands_name_files_and_keys_that_exist(bundle: str) -> None:
    for command in bundle_runs(bundle):
        keys: set[str] = set()
        for file in config_files(command):
            assert (ROOT / file).is_file(), file
            keys |= set(read_config(bundle, Path(file).name))
        assert set(options(command)) - {"config_file"} <= keys, shlex.join(command)
        assert options(command)["bundle_root"] == f"bundles/{bundle}"


def test_the_table_of_keys_names_those_of_the_configs(bundle: str) -> None:
    table = readme(bundle).split("## Keys")[1].split("##")[0]
    named = {key for row in re.findall(r"^\| (`.*?) \|", table, re.MULTILINE) for key in re.findall(r"`(\w+)`", row)}
    configs = ("train", "inference", "evaluate", "multi_gpu_train", "multi_gpu_evaluate")
    known = {key for config in configs for key in read_config(bundle, f"{config}.json")}
    plain = {
        key
        for config in ("train", "inference", "multi_gpu_train", "multi_gpu_evaluate")
        for key, value in read_config(bundle, f"{config}.json").items()
        if not isinstance(value, (dict, list)) and key not in ("network", "datalist") and "::" not in key
    }
    assert named <= known
    assert plain <= named


def test_relative_paths_in_the_readme_exist(bundle: str) -> None:
    for path in ("LICENSE", "docs/data_license.txt"):
        assert f"`{path}`" in readme(bundle)
        assert (BUNDLES / bundle / path).is_file()


def in_this_process(command: list[str], changes: dict[str, str], **more: object) -> None:
    """Call the function behind a printed command with the printed options, as python-fire would."""
    import monai.bundle

    values: dict[str, object] = {}
    for key, value in options(command).items():
        for old, new in changes.items():
            value = value.replace(old, new)
        values[key] = fire.parser.DefaultParseValue(value)
    getattr(monai.bundle, command[3])(**{**values, **more})


def test_the_other_printed_commands_run(
    bundle: str, trained: TrainedBundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In this process, with a narrow network; only the folder into which an export is written differs."""
    monkeypatch.chdir(ROOT)
    copy = tmp_path / bundle
    shutil.copytree(BUNDLES / bundle, copy, ignore=shutil.ignore_patterns("models", "eval"))
    shutil.copytree(trained.root / "models", copy / "models")
    schema = shutil.copy(ROOT / "tests" / "data" / "metadata_schema.json", tmp_path)
    changes = {f"bundles/{bundle}": str(copy), "tests/data/metadata_schema.json": str(schema)}
    narrow = {"network_def::channels": SMALL["network_def::channels"]}
    for command in commands(bundle):
        if command[1:3] != ["-m", "monai.bundle"] or command[3] == "run":
            continue
        if command[3] == "onnx_export" and not all(importlib.util.find_spec(n) for n in ("onnx", "onnxscript")):
            continue
        in_this_process(command, changes, **({} if command[3] == "verify_metadata" else narrow))
    assert (copy / "models" / "model.ts").is_file()


@pytest.mark.parametrize("over", ["train.json", "inference.json"])
def test_the_printed_evaluations_and_inference_run(
    bundle: str, trained: TrainedBundle, tmp_path: Path, over: str
) -> None:
    for command in bundle_runs(bundle):
        files = [Path(file).name for file in config_files(command)]
        if files[0] != over or files == ["train.json"] or any("multi_gpu" in file for file in files):
            continue
        printed = {key: value for key, value in options(command).items() if key != "config_file"}
        assert sorted(printed) == ["bundle_root", "dataset_dir", "output_dir"]
        out = tmp_path / Path(printed["output_dir"]).name
        data = trained.dataset_dir / ("images" if printed["dataset_dir"].endswith("/images") else "")
        run = workflow(bundle, files, "infer", bundle_root=trained.root, dataset_dir=data, output_dir=out)
        run.initialize()
        run.run()
        assert len(list(out.glob("*_seg.nii.gz"))) == (3 if files == ["inference.json"] else 1)


@pytest.mark.slow
def test_the_printed_training_command_runs_in_a_process_of_its_own(
    bundle: str, dataset_dir: Path, tmp_path: Path
) -> None:
    """Only the places differ from the print, and keys that make the run small are added."""
    printed = next(command for command in bundle_runs(bundle) if config_files(command)[0].endswith("train.json"))
    places = {f"bundles/{bundle}": str(tmp_path), options(printed)["dataset_dir"]: str(dataset_dir)}
    done = subprocess.run(
        [sys.executable, *[places.get(word, word) for word in printed[1:]], *MADE_SMALL],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""},
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert "epoch 1/1: mean loss" in done.stdout
    files = sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file())
    assert files == RESULT
    assert [record["epoch"] for record in json.loads((tmp_path / RESULT[0]).read_text())] == [1]
