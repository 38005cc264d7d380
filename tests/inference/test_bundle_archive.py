"""A bundle in an archive is read like the folder that it was made from, and nothing of it stays behind."""

from __future__ import annotations

import shutil
import tempfile
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from medseg.inference.bundle import read_bundle
from medseg.inference.bundle_archive import open_bundle
from medseg.inference.errors import ConfigurationError
from medseg.io.bounded.archive import ArchiveLimits
from tests.inference.test_bundle import make_bundle


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder for temporary files."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


def pack(folder: Path, kind: str, *, inside: str | None) -> Path:
    """An archive of a folder: its contents at the top, or the folder itself in a folder ``inside``."""
    root, base = (folder, None) if inside is None else (folder.parent, inside)
    return Path(shutil.make_archive(str(folder.parent / "packed"), kind, root, base))


def refusal(path: Path) -> str:
    with pytest.raises(ConfigurationError) as caught, open_bundle(path):
        pytest.fail("the block must not run")
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value) or path.name in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("kind", ["zip", "gztar", "tar"])
@pytest.mark.parametrize("inside", [None, "liver"], ids=["at the top", "in a top folder"])
def test_it_says_what_its_folder_says(tmp_path: Path, temporary: Path, kind: str, inside: str | None) -> None:
    folder = make_bundle(tmp_path / "liver")
    expected = read_bundle(folder)
    archive = pack(folder, kind, inside=inside)
    with open_bundle(archive) as bundle:
        places = {"root": folder, "config": expected.config, "metadata": expected.metadata, "archive": None}
        assert replace(bundle, **places) == expected  # type: ignore[arg-type]
        assert bundle.archive == archive
        assert bundle.config.read_bytes() == expected.config.read_bytes()
        assert bundle.root.is_relative_to(temporary)
    assert not list(temporary.iterdir())


def test_a_folder_is_read_where_it_lies(tmp_path: Path) -> None:
    folder = make_bundle(tmp_path / "liver")
    with open_bundle(folder) as bundle:
        assert bundle == read_bundle(folder)
    assert folder.is_dir()


def test_a_folder_whose_name_ends_like_an_archive_is_a_folder(tmp_path: Path) -> None:
    with open_bundle(make_bundle(tmp_path / "liver.zip")) as bundle:
        assert bundle.archive is None


def test_notes_of_macos_beside_the_top_folder_do_not_matter(tmp_path: Path) -> None:
    archive = pack(make_bundle(tmp_path / "liver"), "zip", inside="liver")
    with zipfile.ZipFile(archive, "a") as stream:
        stream.writestr("__MACOSX/liver/._configs", b"")
        stream.writestr(".DS_Store", b"")
    with open_bundle(archive) as bundle:
        assert bundle.root.name == "liver"


def test_files_beside_the_bundle_are_there_while_the_block_runs(tmp_path: Path) -> None:
    folder = make_bundle(tmp_path / "liver")
    (folder / "models").mkdir()
    (folder / "models/model.pt").write_bytes(b"weights")
    with open_bundle(pack(folder, "zip", inside="liver")) as bundle:
        assert (bundle.root / "models/model.pt").read_bytes() == b"weights"


def two_folders(tmp_path: Path) -> Path:
    make_bundle(tmp_path / "in/liver")
    make_bundle(tmp_path / "in/lung")
    return pack(tmp_path / "in", "zip", inside=None)


def no_configs(tmp_path: Path) -> Path:
    (tmp_path / "in/models").mkdir(parents=True)
    return pack(tmp_path / "in", "zip", inside=None)


def empty(tmp_path: Path) -> Path:
    zipfile.ZipFile(tmp_path / "a.zip", "w").close()
    return tmp_path / "a.zip"


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (two_folders, "the archive holds liver, lung, expected a bundle: the folder configs at the top"),
        (no_configs, "the archive holds models, expected a bundle"),
        (empty, "the archive holds nothing, expected a bundle"),
    ],
)
def test_an_archive_without_one_bundle_is_refused(
    tmp_path: Path, temporary: Path, make: Callable[[Path], Path], words: str
) -> None:
    assert words in refusal(make(tmp_path))
    assert not list(temporary.iterdir())


def test_a_damaged_archive_and_one_beyond_the_limits_are_refused(
    tmp_path: Path, temporary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = pack(make_bundle(tmp_path / "liver"), "gztar", inside="liver")
    (tmp_path / "cut.tar.gz").write_bytes(archive.read_bytes()[:100])
    assert "cannot be unpacked as a zip or tar archive" in refusal(tmp_path / "cut.tar.gz")
    monkeypatch.setattr("medseg.inference.bundle_archive.BUNDLE_LIMITS", ArchiveLimits(max_files=1))
    assert "more than 1 members" in refusal(archive)
    assert not list(temporary.iterdir())


def test_members_that_lead_out_of_the_folder_are_refused(tmp_path: Path) -> None:
    archive = pack(make_bundle(tmp_path / "liver"), "zip", inside="liver")
    with zipfile.ZipFile(archive, "a") as stream:
        stream.writestr("../evil.py", b"")
    assert "leads out of the folder" in refusal(archive)
    assert not (tmp_path / "evil.py").exists()


def test_what_is_wrong_with_the_bundle_names_the_archive(tmp_path: Path) -> None:
    folder = make_bundle(tmp_path / "liver", config={"run": ""})
    text = refusal(pack(folder, "zip", inside="liver"))
    assert "packed.zip/liver/configs/inference.json: key 'bundle_root' is missing" in text


def test_a_file_that_is_no_archive_is_refused_with_the_endings(tmp_path: Path) -> None:
    (tmp_path / "model.pt").touch()
    assert "is a file, expected a bundle folder (with configs/inference.json) or an archive" in (
        text := refusal(tmp_path / "model.pt")
    )
    assert ".tar.gz" in text
