"""``medseg run``: what is checked, what is printed, and that MONAI then runs the same."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from medseg.apps.cli import main
from medseg.io.bounded.errors import DataError
from tests.bundles.conftest import BUNDLES, SMALL, data_of_phantoms
from tests.training.config_check._hostile import CASES

ROOT = BUNDLES.parent
TRAIN = "bundles/lits_liver_segmentation/configs/train.json"


@pytest.fixture(autouse=True)
def at_the_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)


@pytest.fixture
def called(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What MONAI's function was called with, instead of a run."""
    import monai.bundle

    calls: list[dict[str, Any]] = []
    monkeypatch.setattr(monai.bundle, "run", lambda **values: calls.append(values))
    return calls


def errors(capsys: pytest.CaptureFixture[str]) -> list[str]:
    return capsys.readouterr().err.splitlines()


def test_the_same_command_of_monai_is_printed_and_run(
    called: list[dict[str, Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["run", TRAIN, "--epochs", "5", "--roi_size=[64, 64, 64]", "--restart", "true"]) == 0
    assert capsys.readouterr().out == (
        f"python -m monai.bundle run --config_file {TRAIN} --bundle_root bundles/lits_liver_segmentation --epochs 5 "
        "--roi_size '[64, 64, 64]' --restart True\n"
    )
    values = {"epochs": 5, "roi_size": [64, 64, 64], "restart": True}
    assert called == [{"config_file": TRAIN, "bundle_root": "bundles/lits_liver_segmentation", **values}]


def test_several_files_and_options_of_monai_are_passed_on(called: list[dict[str, Any]]) -> None:
    files = [TRAIN, "examples/networks/slices.json"]
    options = ["--bundle_root", "elsewhere", "--workflow_type", "train", "--run_id", "run"]
    assert main(["run", files[0], *options, files[1]]) == 0
    assert called == [
        {"config_file": files, "bundle_root": "elsewhere", "workflow_type": "train", "run_id": "run"},
    ]


def test_a_dry_run_prints_the_command_and_runs_nothing(
    called: list[dict[str, Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["run", TRAIN, "--dry-run"]) == 0
    assert capsys.readouterr().out.splitlines()[1] == "checked; nothing was run (--dry-run)"
    assert called == []


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["--epoch", "5"], "--epoch: epoch is a key that nothing reads; did you mean epochs?"),
        (["--epochs", "ten"], "--epochs: epochs is 'ten'; expected a whole number, such as 200"),
        (["--epochs", "2.5"], "--epochs: epochs is 2.5; expected a whole number, such as 200"),
        (["--amp", "yes"], "--amp: amp is 'yes'; expected true or false"),
        (
            ["--device", "cpu"],
            "device is 'cpu'; expected an expression that makes a device, such as $torch.device('cuda:0' if",
        ),
        (["--window", "5"], "--window: window is 5; expected a text, such as 'abdomen'"),
        (
            ["--roi_size", "[64, 'a', 64]"],
            "roi_size is [64, 'a', 64]; expected a list such as [96, 96, 64]: a whole number each",
        ),
        (
            ["--network_def::chanels", "[8, 16]"],
            "network_def::chanels has the argument 'chanels', which UNet does not have; did you mean",
        ),
        (["--network_def::bias", "maybe"], "network_def::bias has bias = 'maybe'; expected true or false"),
        (["--check_only", "true"], "check_only is True: without data and weights there is nothing to run"),
        (["--weights", "http://localhost/model.pt"], "weights has the address http://...; expected a file"),
        (["--amp", "$open('hostile', 'w')"], "amp has the name 'open', which is neither imported nor committed"),
        (["--initial_weights", "null", "--seed", "null"], "seed is None, which MONAI leaves out as an option"),
        (["--run_id", "runs"], "runs is not there, but --run_id names it; expected run"),
        (["--logging_file", "nowhere.conf"], "nowhere.conf: cannot be read as a logging configuration"),
        (["--dryrun", "1"], "dryrun is a key that nothing reads; did you mean run? (or --dry-run?)"),
        (["--zzz", "1"], "zzz is a key that nothing reads; expected one of the configuration"),
    ],
)
def test_a_finding_is_one_line_and_nothing_runs(
    words: list[str], line: str, called: list[dict[str, Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["run", TRAIN, *words]) == 2
    found, total = errors(capsys)
    assert found.startswith("error: ") and line in found
    assert total == "error: 1 finding, nothing was run; --trust runs a configuration that you have read unchecked"
    assert called == []


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["--epochs"], "error: --epochs has no value; expected --epochs VALUE"),
        (["--epochs", "1", "--epochs=2"], "error: --epochs is given twice; expected one value"),
        (["--roi_size", "[64"], "error: --roi_size: '[64' is no list or mapping; expected JSON"),
        (["--meta_file", "['a.json', 'b.json']"], "error: --meta_file is ['a.json', 'b.json']; expected one text"),
        (["--config_file", TRAIN], "error: --config_file is an option of monai.bundle that is not taken here; give"),
        (["--workflow_name", "os.system"], "error: --workflow_name is an option of monai.bundle that is not taken"),
        (["--args_file", "a.json"], "error: --args_file is an option of monai.bundle that is not taken here; give"),
        (["--tracking", "mlflow"], "error: --tracking is an option of monai.bundle that is not taken here; it sends"),
    ],
)
def test_wrong_usage_is_one_line(
    words: list[str], line: str, called: list[dict[str, Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["run", TRAIN, *words]) == 2
    (found,) = errors(capsys)
    assert found.startswith(line)
    assert called == []


def test_trust_lifts_the_check(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = tmp_path / "hostile.json"
    config.write_text(json.dumps({"run": [f"$open({str(tmp_path / 'done')!r}, 'w')"]}))
    assert main(["run", str(config)]) == 2
    assert not (tmp_path / "done").exists()
    assert "run::0 has the name 'open'" in capsys.readouterr().err
    with pytest.warns(UserWarning, match="parsing config_file"):
        assert main(["run", str(config), "--trust"]) == 0
    assert (tmp_path / "done").exists()


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if case.harm])
def test_no_hostile_configuration_reaches_monai(
    name: str, tmp_path: Path, called: list[dict[str, Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "hostile.json").write_text(json.dumps({**CASES[name].config, "run": []}))
    assert main(["run", str(tmp_path / "hostile.json")]) == 2
    lines = errors(capsys)
    assert len(lines) > 1 and all(line.startswith("error: ") for line in lines)
    assert called == []


def test_the_code_of_a_run_that_was_stopped_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    import monai.bundle

    def stopped(**values: Any) -> None:
        raise SystemExit(75)

    monkeypatch.setattr(monai.bundle, "run", stopped)
    assert main(["run", TRAIN]) == 75


def test_what_medseg_refuses_in_a_run_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import monai.bundle

    def refused(**values: Any) -> None:
        try:
            raise DataError("data/dataset.json: no such file")
        except DataError as error:
            raise RuntimeError("Failed to evaluate") from error

    monkeypatch.setattr(monai.bundle, "run", refused)
    assert main(["run", TRAIN]) == 1
    assert errors(capsys) == ["error: data/dataset.json: no such file"]


def documented() -> list[str]:
    pages = [ROOT / "README.md", *(ROOT / "docs").glob("*.md"), *BUNDLES.glob("*/docs/README.md")]
    return [line for page in pages for line in page.read_text().splitlines() if line.startswith("medseg run ")]


@pytest.mark.parametrize("command", documented())
def test_a_documented_command_passes_the_check(
    command: str, called: list[dict[str, Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(shlex.split(command)[1:]) == 0
    assert capsys.readouterr().err == ""


def test_the_refusal_in_the_documents_is_the_one_that_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    page = (ROOT / "docs" / "configuration.md").read_text()
    command, printed = re.findall(r"^```\n\$ medseg (.*)\n(error: (?:.*\n)+?)```", page, re.MULTILINE)[0]
    assert main(shlex.split(command)) == 2
    assert capsys.readouterr().err == printed


def test_help_says_what_is_checked(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "--help"]) == 0
    text = " ".join(capsys.readouterr().out.split())
    assert "misspelt keys, wrong types, and what could run code" in text


def test_a_training_runs_from_the_command_line(tmp_path: Path) -> None:
    data = data_of_phantoms(tmp_path / "data", side=40, spacing_mm=3.0)
    small = {**SMALL, "epochs": 1, "val_interval": 1, "patches_per_image": 1, "num_workers": 0}
    words = [word for key, value in small.items() for word in (f"--{key}", str(value))]
    places = ["--bundle_root", str(tmp_path), "--dataset_dir", str(data)]
    done = subprocess.run(
        [sys.executable, "-m", "medseg", "run", str(ROOT / TRAIN), *places, *words],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""},
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.startswith("python -m monai.bundle run --config_file ")
    assert re.search(r"epoch 1/1: mean loss", done.stdout)
    assert (tmp_path / "models" / "model.pt").is_file()
