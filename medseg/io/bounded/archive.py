"""Unpack zip and tar archives of unknown origin, with limits on names, links, bytes, ratio and number of files."""

from __future__ import annotations

import os
import shutil
import stat
import struct
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Any, NamedTuple

from medseg.io.bounded.errors import DataError, UnreadableFileError, os_reason
from medseg.io.bounded.limits import file_size
from medseg.io.bounded.voxel_data import one_line

__all__ = ["ARCHIVE_SUFFIXES", "ArchiveLimits", "extract_archive", "is_archive", "unpacked"]

ARCHIVE_SUFFIXES = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")
"""Endings of the names of archives that commands take where they take a folder."""

_CHUNK = 1024 * 1024
_FREE_BYTES = 64 * 1024 * 1024  # up to this size the ratio is not checked
_MAX_NAME = 1000
_MAX_EXTENDED = 1024 * 1024
_DAMAGED = (zipfile.BadZipFile, tarfile.TarError, zlib.error, EOFError, OSError, RuntimeError, ValueError, struct.error)


@dataclass(frozen=True)
class ArchiveLimits:
    """The largest archive that is unpacked.

    Attributes:
        max_bytes: bytes of all files as they are written.
        max_files: number of files and folders.
        max_ratio: written bytes for each byte of the archive, checked beyond 64 MiB. Archives that hold only empty
            masks may need more than the default.
    """

    max_bytes: int = 256 * 1024**3
    max_files: int = 1_000_000
    max_ratio: float = 100.0


class _Member(NamedTuple):
    """A file or folder of an archive: its checked name, and what opens it (None for a folder)."""

    name: PurePosixPath
    opener: Any


def is_archive(path: str | Path) -> bool:
    """True for a file whose name ends in one of ``ARCHIVE_SUFFIXES``; upper and lower case do not matter."""
    path = Path(path)
    return path.name.lower().endswith(ARCHIVE_SUFFIXES) and path.is_file()


@contextmanager
def unpacked(path: str | Path, limits: ArchiveLimits | None = None) -> Iterator[Path]:
    """Give a folder with the files of an archive while the block runs, so that code that reads folders reads archives.

    The folder lies in the system's folder for temporary files (set TMPDIR to choose another disk), can be read by its
    owner only, and is removed when the block ends. Its last part is the archive's name: a message that names a file in
    it names the archive too.

    Args:
        path: the archive. Every other path, such as a folder, is given as it is.
        limits: the bounds, by default those of :class:`ArchiveLimits`.

    Yields:
        The folder, or ``path`` itself.

    Raises:
        DataError: as `extract_archive`.
    """
    path = Path(path)
    if not is_archive(path):
        yield path
        return
    with tempfile.TemporaryDirectory(prefix="medseg-") as temporary:
        folder = Path(temporary) / path.name
        extract_archive(path, folder, limits)
        yield folder


def extract_archive(path: str | Path, folder: str | Path, limits: ArchiveLimits | None = None) -> list[Path]:
    """Unpack a ``.zip``, ``.tar``, ``.tar.gz``, ``.tgz``, ``.tar.bz2`` or ``.tar.xz`` archive into a new folder.

    The folder appears complete or not at all. Bytes are counted while they are written, whatever the archive declares.
    Owners and permissions in the archive are ignored.

    Args:
        path: the archive; its kind is found from the contents.
        folder: the folder to make; it must not exist, or be empty.
        limits: the bounds, by default those of :class:`ArchiveLimits`.

    Returns:
        The files, in the order of their names.

    Raises:
        DataError: one line naming the archive and the member: a path that leads out of the folder, a link or device, a
            name given twice, an encrypted member, too many files or bytes, a damaged archive, or a folder that is not
            empty.
    """
    path, folder, limits = Path(path), Path(folder), limits or ArchiveLimits()
    stored = file_size(path)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise DataError(f"{folder}: exists already, expected a new or empty folder to unpack {path.name} into")
    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=".tmp-", suffix="-" + folder.name, dir=folder.parent))
    try:
        names = _unpack(path, temporary, stored, limits)
        temporary.chmod(0o755)
        if folder.exists():
            folder.rmdir()
        os.replace(temporary, folder)
    except DataError:
        raise
    except _DAMAGED as error:
        if isinstance(error, OSError) and error.errno is not None:  # the system's, such as a full disk
            raise DataError(f"{path}: cannot be unpacked into {folder.parent}: {os_reason(error, True)}") from error
        raise UnreadableFileError(
            f"{path}: cannot be unpacked as a zip or tar archive ({one_line(error)}); fetch the archive again"
        ) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return sorted(folder / name for name in names)


def _unpack(path: Path, target: Path, stored: int, limits: ArchiveLimits) -> list[PurePosixPath]:
    """Write all members under ``target`` and return the names of the files."""
    allowed = min(limits.max_bytes, max(_FREE_BYTES, int(limits.max_ratio * stored)))
    written = 0
    seen: set[str] = set()
    files: list[PurePosixPath] = []
    for member in _members(path, limits):
        if len(seen) >= limits.max_files:
            raise DataError(f"{path}: more than {limits.max_files} members; if that is right, unpack it by hand")
        # Names that differ only in case are one file on some file systems.
        if str(member.name).casefold() in seen:
            if member.opener is None:
                continue
            raise DataError(
                f"{path}: the member {str(member.name)!r} occurs twice, expected once; fetch the archive again"
            )
        seen.add(str(member.name).casefold())
        place = target / member.name
        if member.opener is None:
            place.mkdir(parents=True, exist_ok=True)
            continue
        place.parent.mkdir(parents=True, exist_ok=True)
        with member.opener() as source, place.open("xb") as sink:
            written += _copy(path, source, sink, allowed - written, limits, stored)
        files.append(member.name)
    return files


def _copy(path: Path, source: IO[bytes], sink: IO[bytes], left: int, limits: ArchiveLimits, stored: int) -> int:
    count = 0
    while chunk := source.read(min(_CHUNK, left - count + 1)):
        count += len(chunk)
        if count > left:
            raise DataError(
                f"{path}: unpacks to more than {limits.max_bytes} bytes or {limits.max_ratio:g} times its {stored} "
                "bytes; if that is right, unpack it by hand"
            )
        sink.write(chunk)
    return count


def _members(path: Path, limits: ArchiveLimits) -> Iterator[_Member]:
    with path.open("rb") as stream:
        start = stream.read(4)
    if start in (b"PK\x03\x04", b"PK\x05\x06"):
        return _zip_members(path, limits)
    return _tar_members(path)


def _zip_members(path: Path, limits: ArchiveLimits) -> Iterator[_Member]:
    _check_directory(path, limits)
    with zipfile.ZipFile(path) as archive:
        for info in archive.infolist():
            name = _safe_name(path, info.filename)
            mode = info.external_attr >> 16
            if mode and stat.S_IFMT(mode) not in (0, stat.S_IFREG, stat.S_IFDIR):
                raise DataError(
                    f"{path}: member {info.filename[:80]!r} is a link or device, expected files and folders"
                )
            if info.flag_bits & 1:
                raise DataError(f"{path}: member {info.filename[:80]!r} is encrypted; unpack the archive by hand")
            yield _Member(name, None if info.is_dir() else lambda info=info: archive.open(info))


def _check_directory(path: Path, limits: ArchiveLimits) -> None:
    """Refuse a zip file whose list of members alone would fill the memory: zipfile reads all of it on opening.

    The end record of the archive gives the size of the list: at least 46 bytes for each member, and a name.
    """
    with path.open("rb") as stream:
        stream.seek(max(file_size(path) - 65536 - 22, 0))
        tail = stream.read(65536 + 22)
    place = tail.rfind(b"PK\x05\x06")
    if place < 0 or len(tail) < place + 22:
        raise UnreadableFileError(f"{path}: the zip archive has no end record; it is cut off, fetch it again")
    (size,) = struct.unpack_from("<I", tail, place + 12)
    if size == 0xFFFFFFFF:
        record = tail.rfind(b"PK\x06\x06", 0, place)
        if record < 0 or len(tail) < record + 56:
            raise UnreadableFileError(f"{path}: the zip archive has no end record of 64 bits; fetch it again")
        (size,) = struct.unpack_from("<Q", tail, record + 40)
    if size > limits.max_files * (46 + 256):
        raise DataError(f"{path}: {size} bytes of member names, expected at most {limits.max_files} members")


class _BoundedTarInfo(tarfile.TarInfo):
    """A tar header that refuses long extended headers, which tarfile would read into memory, and sparse files."""

    def _proc_member(self, archive: tarfile.TarFile) -> Any:
        extended = (tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE)
        long_name = (tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK)
        if self.type in extended + long_name and self.size > _MAX_EXTENDED:
            raise DataError(
                f"{os.fsdecode(archive.name or b'')}: an extended tar header of {self.size} bytes; damaged?"
            )
        if self.type == tarfile.GNUTYPE_SPARSE:
            raise DataError(
                f"{os.fsdecode(archive.name or b'')}: member {self.name[:80]!r} is a sparse file, expected plain files"
            )
        return super()._proc_member(archive)  # type: ignore[misc]


def _tar_members(path: Path) -> Iterator[_Member]:
    with tarfile.open(path, "r|*", tarinfo=_BoundedTarInfo) as archive:
        for info in archive:
            archive.members = []  # type: ignore[attr-defined]  # a million of them would take a GiB of memory
            name = _safe_name(path, info.name)
            if not (info.isreg() or info.isdir()):
                raise DataError(f"{path}: member {info.name[:80]!r} is a link or device, expected files and folders")
            yield _Member(name, None if info.isdir() else lambda info=info: archive.extractfile(info))


def _safe_name(path: Path, name: str) -> PurePosixPath:
    """The member's place relative to the folder.

    Raises:
        DataError: for names that are absolute, lead out of the folder, or mean another place on another system.
    """
    parts = PurePosixPath(name).parts
    strange = "\\" in name or "\0" in name or not name.isprintable() or len(name) > _MAX_NAME
    unnamed = not parts and name not in (".", "./")
    if strange or unnamed or name.startswith("/") or ".." in parts or ":" in "".join(parts[:1]):
        raise DataError(f"{path}: member {name[:80]!r} has a path that leads out of the folder or is not portable")
    return PurePosixPath(*parts)
