"""Hostile configurations: each is refused in one line with its id, and nothing of it is instantiated or evaluated."""

from __future__ import annotations

import contextlib
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from medseg.training.config_check import check_configuration
from tests.training.config_check._hostile import CASES

HARMFUL = [name for name, case in CASES.items() if case.harm]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a module whose import leaves the file."""
    done = tmp_path / "done"
    (tmp_path / "hostile_module.py").write_text(f"open({str(done)!r}, 'w')\ndef run(): pass\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "hostile_module", raising=False)
    return tmp_path


def written(folder: Path, config: dict[str, Any]) -> str:
    text = json.dumps({**config, "run": ["$@x"] if "x" in config else []})
    path = folder / "hostile.json"
    path.write_text(text.replace("FILE", str(folder / "done")))
    return str(path)


def test_there_are_more_than_forty() -> None:
    assert len(CASES) > 40


@pytest.mark.parametrize("name", CASES)
def test_a_hostile_configuration_is_refused_and_runs_nothing(
    name: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import monai.bundle.config_item as config_item

    def never(*args: Any, **kwargs: Any) -> None:
        pytest.fail("something was instantiated or evaluated")

    monkeypatch.setattr(config_item, "instantiate", never)
    monkeypatch.setattr(config_item.ConfigExpression, "evaluate", never)
    file = written(folder, CASES[name].config)
    findings = check_configuration([file])
    assert CASES[name].id in [finding.id for finding in findings]
    for finding in findings:
        assert str(finding).startswith(f"{file}: {finding.id}") and "\n" not in str(finding)
    assert not (folder / "done").exists()


@pytest.mark.parametrize("name", HARMFUL)
def test_monai_alone_would_run_it(name: str, folder: Path) -> None:
    """The file appears without the check, so its absence above means something."""
    from monai.bundle import ConfigParser

    file = Path(written(folder, CASES[name].config))
    parser = ConfigParser(json.loads(file.read_text()))
    with contextlib.suppress(Exception):  # some fail after the harm is done
        parser.get_parsed_content("x")
    assert (folder / "done").exists()
