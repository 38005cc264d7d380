"""Result folders appear whole or not at all, and nothing foreign is ever destroyed."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from medseg.inference.errors import ConfigurationError
from medseg.inference.outputs.folder import describe_outputs, staged_folder


def write_result(target: Path, text: str, overwrite: bool = False) -> None:
    with staged_folder(target, overwrite) as folder:
        (folder / "run.json").write_text(text)


def names(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir())


def test_results_appear_under_the_target_name_only_at_the_end(tmp_path: Path) -> None:
    target = tmp_path / "deep" / "case"
    with staged_folder(target) as folder:
        (folder / "run.json").write_text("{}")
        assert not target.exists()
        assert folder.parent == target.parent
    assert names(target.parent) == ["case"]
    assert names(target) == ["run.json"]


def test_an_empty_folder_is_taken_over(tmp_path: Path) -> None:
    (tmp_path / "case").mkdir()
    write_result(tmp_path / "case", "{}")
    assert names(tmp_path / "case") == ["run.json"]


def test_an_earlier_result_is_refused_without_overwrite(tmp_path: Path) -> None:
    write_result(tmp_path / "case", "old")
    with pytest.raises(ConfigurationError, match="--overwrite"):
        write_result(tmp_path / "case", "new")
    assert (tmp_path / "case" / "run.json").read_text() == "old"


def test_overwrite_replaces_the_earlier_result_and_leaves_nothing_beside_it(tmp_path: Path) -> None:
    write_result(tmp_path / "case", "old")
    write_result(tmp_path / "case", "new", overwrite=True)
    assert (tmp_path / "case" / "run.json").read_text() == "new"
    assert names(tmp_path) == ["case"]


def test_a_failed_overwrite_shows_no_old_result_as_new_but_keeps_it(tmp_path: Path) -> None:
    write_result(tmp_path / "case", "old")
    with pytest.raises(RuntimeError), staged_folder(tmp_path / "case", overwrite=True):
        raise RuntimeError("broken")
    assert names(tmp_path) == ["case.previous"]
    assert (tmp_path / "case.previous" / "run.json").read_text() == "old"
    write_result(tmp_path / "case", "new", overwrite=True)
    assert names(tmp_path) == ["case"]


def test_a_failed_run_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), staged_folder(tmp_path / "case") as folder:
        (folder / "run.json").write_text("partial")
        raise KeyboardInterrupt
    assert names(tmp_path) == []


def test_a_folder_with_other_files_is_refused_even_with_overwrite(tmp_path: Path) -> None:
    (tmp_path / "thesis.docx").write_text("precious")
    with pytest.raises(ConfigurationError, match=r"thesis\.docx"):
        write_result(tmp_path, "new", overwrite=True)
    assert names(tmp_path) == ["thesis.docx"]


def test_a_file_is_no_result_folder(tmp_path: Path) -> None:
    (tmp_path / "case").write_text("a file")
    with pytest.raises(ConfigurationError, match="is a file"):
        write_result(tmp_path / "case", "new", overwrite=True)


def test_outputs_are_described_by_digest_and_size(tmp_path: Path) -> None:
    (tmp_path / "run.json").write_bytes(b"abc")
    digest = hashlib.sha256(b"abc").hexdigest()
    assert describe_outputs(tmp_path, ("run.json",)) == [{"path": "run.json", "sha256": digest, "bytes": 3}]
