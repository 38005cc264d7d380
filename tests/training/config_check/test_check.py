"""Files, overlays, overrides and macros: merged as MONAI does it, and every finding names its place."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from monai.bundle import ConfigWorkflow

from medseg.training.config_check import check_configuration
from medseg.training.config_check.load import load

BASE: dict[str, Any] = {
    "epochs": 5,
    "rate": 0.1,
    "window": "lung",
    "sizes": [64, 64, 64],
    "folder": "$@window + '/out'",
    "network": {"_target_": "monai.networks.nets.BasicUNet", "spatial_dims": 2},
    "train": {"steps": [{"_target_": "torch.nn.Identity"}], "first": "@train::steps::0"},
    "run": ["$len(@sizes) + @epochs + @rate", "$@network.eval()", "$@folder", "$@train::first"],
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """``configs`` of a bundle with ``base.json``."""
    configs = tmp_path / "bundle" / "configs"
    configs.mkdir(parents=True)
    (configs / "base.json").write_text(json.dumps(BASE))
    return configs


def found(files: list[Path], overrides: dict[str, Any] | None = None, **options: Any) -> list[str]:
    """Findings without the folders of their files."""
    lines = [str(finding) for finding in check_configuration(files, overrides, **options)]
    return [line.replace(f"{files[0].parent}/", "") for line in lines]


def overlay(folder: Path, content: dict[str, Any], name: str = "overlay.json") -> list[Path]:
    (folder / name).write_text(json.dumps(content))
    return [folder / "base.json", folder / name]


def test_the_base_passes_in_json_and_in_yaml(folder: Path) -> None:
    assert found([folder / "base.json"]) == []
    (folder / "base.yaml").write_text(yaml.safe_dump(BASE))
    assert found([folder / "base.yaml"]) == []


@pytest.mark.parametrize(
    ("content", "line"),
    [
        ({"epoch": 6}, "overlay.json: epoch is a key that nothing reads; did you mean epochs?"),
        ({"zzz": 6}, "overlay.json: zzz is a key that nothing reads; expected one of the configuration: look for"),
        ({"epochs": 6.5}, "overlay.json: epochs is 6.5; expected a whole number, such as 5"),
        ({"epochs": True}, "overlay.json: epochs is True; expected a whole number, such as 5"),
        ({"rate": "fast"}, "overlay.json: rate is 'fast'; expected a number, such as 0.1"),
        ({"window": 3}, "overlay.json: window is 3; expected a text, such as 'lung'"),
        ({"folder": 3}, "overlay.json: folder is 3; expected a text"),
        ({"sizes": 64}, "overlay.json: sizes is 64; expected a list, such as [64, 64, 64]"),
        (
            {"sizes": [64, 0.5]},
            "overlay.json: sizes is [64, 0.5]; expected a list such as [64, 64, 64]: a whole number",
        ),
        ({"network": "unet"}, "overlay.json: network is 'unet'; expected a mapping"),
        ({"network::spatial_dim": 3}, "overlay.json: network::spatial_dim has the argument 'spatial_dim', which Basi"),
        ({"train::stepps": []}, "overlay.json: train::stepps is a key that nothing reads; did you mean train::steps?"),
        ({"nothing::deep": 1}, "overlay.json: nothing::deep is a key that nothing reads"),
        ({"+epochs": 1}, "overlay.json: epochs is 1; expected a list or a mapping to add to"),
        ({"run": ["$@epoch"]}, "overlay.json: run::0 refers to @epoch, which is not there; expected @epochs"),
        ({"train::first": "@train::step::0"}, "overlay.json: train::first refers to @train::step::0, which is not"),
    ],
)
def test_an_overlay_with_a_mistake_has_one_finding(folder: Path, content: dict[str, Any], line: str) -> None:
    (finding,) = found(overlay(folder, content))
    assert finding.startswith(line)


@pytest.mark.parametrize(
    "content",
    [
        {"epochs": 6, "rate": 1, "window": "$'a'", "sizes": "@others", "others": [1, 2]},
        {"+sizes": [3], "+network": {"in_channels": 2}, "+train::steps": [{"_target_": "torch.nn.Identity"}]},
        {"network::out_channels": 3, "network::_disabled_": False, "train::steps::0::_desc_": "see https://monai.io"},
        {"network": {"_target_": "UNet", **dict.fromkeys(("spatial_dims", "in_channels", "out_channels"), 1)}}
        | {"network::channels": [1, 2], "network::strides": [1]},
        {"epochs": "%rate", "train#first": "@train#steps#0"},
        {"initialize": [], "finalize": []},
    ],
)
def test_an_overlay_may_change_what_is_there(folder: Path, content: dict[str, Any]) -> None:
    assert found(overlay(folder, content)) == []


@pytest.mark.parametrize(
    ("overrides", "line"),
    [
        ({"epoch": 6}, "--epoch: epoch is a key that nothing reads; did you mean epochs?"),
        ({"train#steps#0#inplace": True}, ""),  # Identity takes everything
        ({"+sizes": [1]}, "--+sizes: sizes begins with +, which options cannot; expected an overlay file"),
        ({"rate": None}, "--rate: rate is None, which MONAI leaves out as an option; expected null in an overlay"),
        ({"check_only": True}, "--check_only: check_only is a key that nothing reads"),
        ({"rate": "$@epoch / 2"}, "--rate: rate refers to @epoch, which is not there; expected @epochs"),
    ],
)
def test_an_override_with_a_mistake_names_the_option(folder: Path, overrides: dict[str, Any], line: str) -> None:
    findings = found([folder / "base.json"], overrides)
    assert findings[0].startswith(line) if line else findings == []


def test_a_misspelt_standard_key_of_the_first_file_is_found(folder: Path) -> None:
    (folder / "base.json").write_text(json.dumps({**BASE, "initialise": ["$1"], "a_note": "kept"}))
    assert found([folder / "base.json"]) == [
        "base.json: initialise is a key that nothing reads; did you mean initialize?"
    ]


def test_macros_read_files_of_the_bundle_only(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for place in (folder, tmp_path):
        (place / "other.json").write_text(json.dumps({"epochs": 7, "bad": {"_target_": "os.system"}}))
    inside = folder.relative_to(tmp_path) / "other.json"
    assert found([folder / "base.json"], {"epochs": f"%{inside}::epochs"}) == []
    (finding,) = found([folder / "base.json"], {"epochs": "%other.json::epochs"})
    assert "epochs reads 'other.json'; expected a file inside the bundle folder" in finding
    (finding,) = found([folder / "base.json"], {"network": f"%{inside}::bad"})
    assert finding.startswith("--network: network _target_ is 'os.system'")
    (finding,) = found([folder / "base.json"], {"epochs": "%nowhere::deep"})
    assert "has a macro (%) or a relative id that leads nowhere" in finding
    (folder / "other.json").write_text(json.dumps({"epochs": "%../more.json::a"}))
    (finding,) = found([folder / "base.json"], {"epochs": f"%{inside}::epochs"})
    assert "epochs reads '../more.json'; expected a file inside" in finding


def test_a_link_out_of_the_bundle_is_not_inside(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "other.json").write_text(json.dumps({"epochs": 7}))
    (folder / "linked.json").symlink_to(tmp_path / "other.json")
    (finding,) = found([folder / "base.json"], {"epochs": f"%{folder / 'linked.json'}::epochs"})
    assert "expected a file inside the bundle folder" in finding


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("{", "base.json: is no configuration (Expecting property name"),
        ("[1]", "base.json: holds [1]; expected keys and values"),
        ('{"a": 1, "a": 2}', "base.json: is no configuration (Duplicate key"),
        ("[" * 100000, "base.json: is no configuration"),
        ('{"a": ' + "[" * 700 + "]" * 700 + "}", "base.json: is nested too deep"),
    ],
)
def test_a_file_that_is_no_configuration_is_one_line(folder: Path, text: str, line: str) -> None:
    (folder / "base.json").write_text(text)
    (finding,) = found([folder / "base.json"])
    assert finding.startswith(line)


def test_a_missing_file_is_one_line(folder: Path) -> None:
    assert found([folder / "gone.json"]) == ["gone.json: no such file; check its path"]


def test_metadata_and_logging_beside_the_configuration_are_checked(folder: Path) -> None:
    (folder / "metadata.json").write_text(json.dumps({"intended_use": "https://monai.io", "x": "$import os.path"}))
    (folder / "logging.conf").write_text("[handler_a]\nclass=StreamHandler\nargs=(sys.stdout,)\n")
    assert found([folder / "base.json"]) == []
    (folder / "metadata.json").write_text(json.dumps({"x": "$import shutil"}))
    (folder / "logging.conf").write_text("[handler_a]\nclass=handlers.SMTPHandler\nargs=(open('x', 'w'),)\n")
    findings = found([folder / "base.json"])
    assert [line.split(" ")[0] for line in findings] == ["logging.conf:", "metadata.json:"]


def test_the_ids_that_are_run_exist(folder: Path) -> None:
    assert found([folder / "base.json"], run_id="runn")[0].endswith(
        "runn is not there, but --run_id names it; expected run"
    )
    assert found([folder / "base.json"], run_id="folder", init_id="run") == []
    assert found([folder / "base.json"], final_id="end")[0].startswith("configuration: end is not there")


def test_a_finding_holds_no_codes_of_a_terminal(folder: Path) -> None:
    (finding,) = found(overlay(folder, {"\x1b[31mred": 1}))
    assert finding.startswith("overlay.json: ?[31mred is a key that nothing reads")


def test_yaml_that_contains_itself_is_one_line(folder: Path) -> None:
    (folder / "base.yaml").write_text("a: &a [*a]\nrun: []\n")
    assert found([folder / "base.yaml"]) == ["base.yaml: is nested too deep; expected fewer levels"]


def test_references_in_a_circle_are_one_line(folder: Path) -> None:
    (finding,) = found(overlay(folder, {"folder": "@window", "window": "@folder"}))
    assert "which refers back to it; expected references without circles" in finding


def test_a_chain_of_references_may_be_long_but_not_endless(folder: Path) -> None:
    chain = {f"a{number}": f"@a{number + 1}" for number in range(60)}
    assert found(overlay(folder, {**{key: chain[key] for key in list(chain)[:40]}, "a40": 1, "run": ["$@a0"]})) == []
    findings = found(overlay(folder, {**chain, "a60": 1, "run": ["$@a0"]}))
    assert findings and all("refers over more than 50 other ids; expected fewer" in one for one in findings)


def test_the_check_merges_as_monai_does(folder: Path) -> None:
    files = overlay(folder, {"+sizes": [3], "train#first": "@##epochs", "network::out_channels": 3, "rate": "%epochs"})
    names = [str(file) for file in files]
    overrides = {"epochs": 9, "train::steps": []}
    workflow = ConfigWorkflow(names, logging_file=False, **overrides)
    workflow.parser.parse()
    assert load(names, overrides).parser.get() == workflow.parser.get()
