"""Archives are unpacked whole within bounds, or refused in one line with nothing left behind."""

from __future__ import annotations

import errno
import io
import struct
import tarfile
import tempfile
import zipfile
from pathlib import Path

import pytest

from medseg.io.bounded.archive import ArchiveLimits, extract_archive, is_archive, unpacked
from medseg.io.bounded.errors import DataError

FILES = {"a.nii": b"one", "sub/b.txt": b"two" * 1000, "sub/deep/c": b""}


def make_zip(path: Path, files: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


def make_tar(path: Path, files: dict[str, bytes], mode: str = "w:gz") -> Path:
    with tarfile.open(path, mode) as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return path


def special_tar(path: Path, kind: bytes, target: str = "") -> Path:
    with tarfile.open(path, "w") as archive:
        info = tarfile.TarInfo("member")
        info.type, info.linkname = kind, target
        archive.addfile(info)
    return path


def refused(path: Path, folder: Path, words: str, limits: ArchiveLimits | None = None) -> None:
    before = sorted(folder.parent.iterdir())
    with pytest.raises(DataError, match=words) as caught:
        extract_archive(path, folder, limits)
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)
    assert sorted(folder.parent.iterdir()) == before


@pytest.mark.parametrize("kind", ["zip", "w", "w:gz", "w:bz2", "w:xz"])
def test_every_kind_of_archive_is_unpacked(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "archive"
    (make_zip(path, FILES) if kind == "zip" else make_tar(path, FILES, kind))
    found = extract_archive(path, tmp_path / "out")
    assert {str(file.relative_to(tmp_path / "out")): file.read_bytes() for file in found} == FILES
    assert sorted(p.name for p in tmp_path.iterdir()) == ["archive", "out"]


def test_folders_of_an_archive_are_made_and_an_empty_target_is_taken(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("empty/", b"")
        archive.writestr("sub/", b"")
        archive.writestr("sub/a", b"1")
    (tmp_path / "out").mkdir()
    assert extract_archive(tmp_path / "a.zip", tmp_path / "out") == [tmp_path / "out/sub/a"]
    assert (tmp_path / "out/empty").is_dir()


def test_a_tar_that_begins_with_its_own_folder_is_unpacked(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in/a").write_bytes(b"1")
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        archive.add(tmp_path / "in", "./")
    assert extract_archive(tmp_path / "a.tar", tmp_path / "out") == [tmp_path / "out/a"]


@pytest.mark.parametrize("name", ["../evil", "a/../../evil", "/evil", "a\\..\\evil", "C:/evil", "a\nb", "x" * 1001])
@pytest.mark.parametrize("make", [make_zip, make_tar])
def test_names_that_leave_the_folder_are_refused(tmp_path: Path, make: object, name: str) -> None:
    path = make(tmp_path / "archive", {"fine": b"1", name: b"2"})  # type: ignore[operator]
    refused(path, tmp_path / "out", "leads out of the folder or is not portable")


@pytest.mark.parametrize(
    ("kind", "target"),
    [(tarfile.SYMTYPE, "/etc"), (tarfile.LNKTYPE, "a"), (tarfile.CHRTYPE, ""), (tarfile.FIFOTYPE, "")],
)
def test_links_and_devices_in_tar_are_refused(tmp_path: Path, kind: bytes, target: str) -> None:
    refused(special_tar(tmp_path / "a.tar", kind, target), tmp_path / "out", "is a link or device")


def test_links_and_encrypted_members_in_zip_are_refused(tmp_path: Path) -> None:
    info = zipfile.ZipInfo("link")
    info.external_attr = 0o120777 << 16
    with zipfile.ZipFile(tmp_path / "link.zip", "w") as archive:
        archive.writestr(info, "/etc")
    refused(tmp_path / "link.zip", tmp_path / "out", "is a link or device")
    content = bytearray(make_zip(tmp_path / "secret.zip", {"a": b"1"}).read_bytes())
    place = content.index(b"PK\x01\x02")
    content[place + 8] |= 1
    (tmp_path / "secret.zip").write_bytes(content)
    refused(tmp_path / "secret.zip", tmp_path / "out", "is encrypted")


@pytest.mark.parametrize("make", [make_zip, make_tar])
def test_a_bomb_stops_at_its_ratio(tmp_path: Path, make: object) -> None:
    path = make(tmp_path / "bomb", {"zeros": bytes(66 * 1024 * 1024)})  # type: ignore[operator]
    assert path.stat().st_size < 200_000
    refused(path, tmp_path / "out", "unpacks to more than .* or 100 times its")
    assert len(extract_archive(path, tmp_path / "wanted", ArchiveLimits(max_ratio=2000))) == 1


@pytest.mark.parametrize("make", [make_zip, make_tar])
def test_bytes_and_files_are_counted_over_all_members(tmp_path: Path, make: object) -> None:
    path = make(tmp_path / "archive", {f"file{n}": bytes(600) for n in range(5)})  # type: ignore[operator]
    refused(path, tmp_path / "out", "unpacks to more than 2999 bytes", ArchiveLimits(max_bytes=2999))
    refused(path, tmp_path / "out", "more than 4 members", ArchiveLimits(max_files=4))
    assert len(extract_archive(path, tmp_path / "out", ArchiveLimits(max_bytes=3000, max_files=5))) == 5


def test_a_size_that_the_zip_directory_understates_does_not_matter(tmp_path: Path) -> None:
    content = bytearray(make_zip(tmp_path / "a.zip", {"zeros": bytes(5000)}).read_bytes())
    struct.pack_into("<I", content, content.index(b"PK\x01\x02") + 24, 10)
    (tmp_path / "a.zip").write_bytes(content)
    refused(tmp_path / "a.zip", tmp_path / "out", r"a\.zip: ")


def test_a_zip_whose_list_of_members_would_fill_the_memory_is_not_opened(tmp_path: Path) -> None:
    path = make_zip(tmp_path / "a.zip", {f"{n:0250}": b"" for n in range(20)})
    refused(path, tmp_path / "out", "bytes of member names, expected at most 10 members", ArchiveLimits(max_files=10))


def test_an_extended_header_of_megabytes_is_not_read(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "a.tar", "w", format=tarfile.PAX_FORMAT) as archive:
        info = tarfile.TarInfo("a")
        info.pax_headers = {"comment": "x" * 2_000_000}
        archive.addfile(info)
    refused(tmp_path / "a.tar", tmp_path / "out", "an extended tar header of")


@pytest.mark.parametrize("names", [("a", "a"), ("a", "A")])
def test_a_name_given_twice_is_refused(tmp_path: Path, names: tuple[str, str]) -> None:
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        for name in names:
            archive.addfile(tarfile.TarInfo(name))
    refused(tmp_path / "a.tar", tmp_path / "out", "occurs twice")


@pytest.mark.parametrize("make", [make_zip, make_tar])
def test_damage_is_one_line(tmp_path: Path, make: object) -> None:
    whole = make(tmp_path / "whole", {"a": bytes(range(256)) * 50}).read_bytes()  # type: ignore[operator]
    for n, content in enumerate([b"", b"no archive", whole[: len(whole) // 2], whole[:40] + b"\xff" * 20 + whole[60:]]):
        (tmp_path / f"part{n}").write_bytes(content)
        refused(tmp_path / f"part{n}", tmp_path / "out", "cannot be unpacked as a zip or tar archive|no end record")


def test_a_folder_with_files_is_never_written_into(tmp_path: Path) -> None:
    path = make_zip(tmp_path / "a.zip", FILES)
    (tmp_path / "out").mkdir()
    (tmp_path / "out/mine").touch()
    with pytest.raises(DataError, match="expected a new or empty folder"):
        extract_archive(path, tmp_path / "out")
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["mine"]


def test_a_full_disk_is_not_taken_for_a_damaged_archive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("medseg.io.bounded.archive._copy", full)
    path = make_zip(tmp_path / "a.zip", FILES)
    refused(
        path, tmp_path / "out", r"a\.zip: cannot be unpacked into .*: the disk is full; free some space and run again$"
    )


class TestUnpacked:
    @pytest.fixture(autouse=True)
    def temporary(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        """An empty folder for temporary files."""
        folder = tmp_path / "temporary"
        folder.mkdir()
        monkeypatch.setattr(tempfile, "tempdir", str(folder))
        return folder

    @pytest.mark.parametrize("name", ["cases.zip", "CASES.ZIP", "cases.tar", "cases.tar.gz", "cases.tgz", "a.tar.xz"])
    def test_an_archive_is_a_folder_of_its_name_while_the_block_runs(
        self, tmp_path: Path, temporary: Path, name: str
    ) -> None:
        path = (make_zip if name.lower().endswith("zip") else make_tar)(tmp_path / name, FILES)
        with unpacked(path) as folder:
            assert folder.name == name
            assert folder.parent.parent == temporary
            assert folder.parent.stat().st_mode & 0o077 == 0, "others cannot read what may be patient data"
            assert {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()} == FILES
        assert not list(temporary.iterdir())

    def test_nothing_is_left_after_an_error_in_the_block(self, tmp_path: Path, temporary: Path) -> None:
        path = make_zip(tmp_path / "a.zip", FILES)
        with pytest.raises(RuntimeError, match="of the block"), unpacked(path):
            raise RuntimeError("error of the block")
        assert not list(temporary.iterdir())

    def test_nothing_is_left_after_a_refusal(self, tmp_path: Path, temporary: Path) -> None:
        path = make_zip(tmp_path / "a.zip", FILES)
        words = "more than 2 members; if that is right, unpack it by hand"
        with pytest.raises(DataError, match=words), unpacked(path, ArchiveLimits(max_files=2)):
            pytest.fail("the block must not run")
        assert not list(temporary.iterdir())

    @pytest.mark.parametrize("name", ["folder", "folder.zip", "file.nii", "absent", "absent.zip"])
    def test_any_other_path_is_given_as_it_is(self, tmp_path: Path, name: str) -> None:
        path = tmp_path / name
        if name.startswith("folder"):
            path.mkdir()
        elif name.startswith("file"):
            path.touch()
        assert not is_archive(path)
        with unpacked(path) as found:
            assert found == path
