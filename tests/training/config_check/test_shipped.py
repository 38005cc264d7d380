"""Every shipped configuration and every command in the documents passes the check as it is."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any, NamedTuple

import fire
import pytest

from medseg.training.config_check import check_configuration

ROOT = Path(__file__).resolve().parents[3]
PAGES = [ROOT / "README.md", *(ROOT / "docs").glob("*.md"), *(ROOT / "bundles").glob("*/docs/README.md")]
OVERLAYS = {
    "train.json": ["slices.json", "clicks_train.json", "texture_train.json", "multi_gpu_train.json"],
    "inference.json": ["slices.json", "clicks_inference.json", "texture_inference.json"],
}


class Shown(NamedTuple):
    """A command of a page."""

    files: list[str]
    values: dict[str, Any]


def commands() -> dict[str, Shown]:
    """All commands that run a bundle, by their text, read as MONAI's command line reads them."""
    found = {}
    for page in PAGES:
        for line in page.read_text(encoding="utf-8").splitlines():
            if re.match(r"(python|torchrun) .*-m monai\.bundle run ", line):
                words = shlex.split(line)
                words = words[words.index("run") + 1 :]
                values = {
                    key[2:]: fire.parser.DefaultParseValue(value)
                    for key, value in zip(words[::2], words[1::2], strict=True)
                }
                files = values.pop("config_file")
                found[line] = Shown([files] if isinstance(files, str) else list(files), values)
    return found


SHOWN = commands()
CONFIGS = [path for path in (ROOT / "bundles").glob("*/configs/*.json") if path.name != "metadata.json"]


@pytest.fixture(autouse=True)
def at_the_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)


def test_the_commands_show_every_shipped_configuration() -> None:
    named = {str(ROOT / file) for shown in SHOWN.values() for file in shown.files}
    shipped = {str(path) for path in [*CONFIGS, *(ROOT / "examples").rglob("*.json")]}
    assert shipped <= named
    assert len(SHOWN) > 20


@pytest.mark.parametrize("command", SHOWN)
def test_a_documented_command_passes(command: str) -> None:
    assert check_configuration(SHOWN[command].files, SHOWN[command].values) == []


@pytest.mark.parametrize("bundle", sorted(path.parent.parent.name for path in CONFIGS if path.name == "train.json"))
@pytest.mark.parametrize("base", OVERLAYS)
def test_every_overlay_passes_over_either_bundle(bundle: str, base: str) -> None:
    configs = ROOT / "bundles" / bundle / "configs"
    assert check_configuration([configs / base]) == []
    for name in OVERLAYS[base]:
        (overlay,) = [*(ROOT / "examples").rglob(name), *configs.glob(name)]
        assert check_configuration([configs / base, overlay]) == [], name


def test_a_misspelt_key_in_any_of_them_is_found() -> None:
    """The check of documented commands can fail: the same commands with one more key do."""
    for shown in SHOWN.values():
        (finding,) = check_configuration(shown.files, {**shown.values, "bundle_rot": "."})
        assert str(finding) == "--bundle_rot: bundle_rot is a key that nothing reads; did you mean bundle_root?"
