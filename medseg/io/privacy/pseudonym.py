"""Pseudonyms with a secret key: the same patient and UID always get the same new name; only the key links them.

HMAC (RFC 2104) with SHA-256. Without the key nobody can find a name by trying names, as is possible with plain hashes.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
import re
import secrets
import stat
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

from medseg.io.bounded.atomic import json_text
from medseg.io.bounded.errors import DataError

__all__ = ["PatientFacts", "Pseudonymiser", "append_link", "check_outside", "patient_of", "write_key"]

_HEAD = "medseg-pseudonym-key-1"
_KEY_FILE = re.compile(rf"{_HEAD} ([0-9a-f]{{64}})\n")
_STANDARD = "1.2.840.10008."  # UIDs of the standard are the same for everybody


class Pseudonymiser:
    """Names derived from a secret key; the same key gives the same names on every machine.

    Args:
        key: 32 secret bytes.
    """

    def __init__(self, key: bytes) -> None:
        if len(key) != 32:
            raise DataError(f"the pseudonym key has {len(key)} bytes, expected 32; make one with data_prep.key")
        self._key = key

    @classmethod
    def from_file(cls, path: str | Path, outputs: Iterable[str | Path] = ()) -> Pseudonymiser:
        """Read a key that `write_key` made.

        Args:
            path: the key file.
            outputs: folders that will be shared; the key must not be inside them.

        Raises:
            DataError: if it is absent, not a key, inside an output, or can be read by other users.
        """
        path = Path(path)
        check_outside(path, outputs, "the pseudonym key")
        try:
            mode, text = path.stat().st_mode, path.read_text(encoding="ascii", errors="replace")
        except OSError as error:
            reason = error.strerror or type(error).__name__
            raise DataError(
                f"{path}: the pseudonym key cannot be read ({reason}); make one with data_prep.key"
            ) from None
        if os.name == "posix" and stat.S_IMODE(mode) & 0o077:
            raise DataError(f"{path}: the pseudonym key can be read by other users; run chmod 600 on it")
        found = _KEY_FILE.fullmatch(text)
        if found is None:
            raise DataError(f"{path}: not a pseudonym key (expected one line as data_prep.key writes it)")
        return cls(bytes.fromhex(found[1]))

    @property
    def key_id(self) -> str:
        """Eight letters that identify the key without revealing it."""
        return self._digest("key id", "").hex()[:8]

    def patient(self, patient_id: str) -> str:
        """The pseudonym of a patient, e.g. ``P-3K7QXO5WZ2MJ4AEB``: 80 bits.

        Args:
            patient_id: PatientID as in the header; blanks around it are ignored.
        """
        return "P-" + base64.b32encode(self._digest("patient", patient_id.strip())[:10]).decode()

    def uid(self, uid: str) -> str:
        """A new UID for a UID: ``2.25.`` and 128 bits (DICOM PS3.5 B.2); UIDs of the standard and "" are unchanged."""
        if not uid or uid.startswith(_STANDARD):
            return uid
        return f"2.25.{int.from_bytes(self._digest('uid', uid)[:16], 'big')}"

    def day_shift(self, patient_id: str) -> int:
        """By how many days the dates of a patient move: 1 to 3650, back in time, the same for all of them.

        Intervals between the dates of one patient are kept; intervals between patients have no meaning.
        """
        return -1 - int.from_bytes(self._digest("days", patient_id.strip())[:8], "big") % 3650

    def date(self, patient_id: str, date: str) -> str | None:
        """A date of a patient, moved by `day_shift`, as ``YYYY-MM-DD``.

        Args:
            patient_id: PatientID as in the header.
            date: DICOM's ``YYYYMMDD``.

        Returns:
            The shifted date; None if the text is not a date.
        """
        try:
            found = datetime.strptime(date.strip(), "%Y%m%d").date()
            return (found + timedelta(days=self.day_shift(patient_id))).isoformat()
        except (ValueError, OverflowError):
            return None

    def series(self, name: str) -> str:
        """The choice of a series, ``UID`` or ``UID#N``, with the new UID."""
        uid, mark, group = name.partition("#")
        return self.uid(uid) + mark + group

    def hide_uids(self, text: str) -> str:
        """A message with every UID replaced by its new one."""
        return re.sub(r"(?<![0-9.])[0-9]+(?:\.[0-9]+){3,}(?![0-9])", lambda found: self.uid(found[0]), text)

    def _digest(self, role: str, text: str) -> bytes:
        return hmac.new(self._key, f"{role}\0{text}".encode(), hashlib.sha256).digest()


def write_key(path: str | Path) -> str:
    """Make a new random key in a new file that only its owner can read.

    Returns:
        Its ``key_id``.

    Raises:
        DataError: if the file exists: a lost key cannot be made again.
    """
    path = Path(path)
    key = secrets.token_bytes(32)
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        raise DataError(f"{path} exists already; a key is never replaced, because names made with it need it") from None
    with os.fdopen(descriptor, "w", encoding="ascii") as stream:
        stream.write(f"{_HEAD} {key.hex()}\n")
        stream.flush()
        os.fsync(stream.fileno())
    return Pseudonymiser(key).key_id


def check_outside(path: str | Path, outputs: Iterable[str | Path], what: str) -> None:
    """Refuse a secret file inside a folder that will be shared.

    Raises:
        DataError: naming both.
    """
    for out in outputs:
        if Path(path).resolve().is_relative_to(Path(out).resolve()):
            raise DataError(f"{path}: {what} lies inside the output {out}; keep it elsewhere, it reveals the patients")


def append_link(path: str | Path, record: Mapping[str, Any]) -> None:
    """Add one line to a link file: the secret table that links results to their patients.

    Only its owner can read the file. Several processes may append at the same time: each line is one write.
    """
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        line = (json_text(record, indent=None) + "\n").encode()
        if os.write(descriptor, line) != len(line):
            raise OSError("the link file could not be written whole; is the disk full?")
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


class PatientFacts(NamedTuple):
    """The header values from which the pseudonyms of a series are made.

    Attributes:
        patient_id: PatientID, "" if no file has it.
        study_date: the earliest StudyDate, ``YYYYMMDD``, "" if no file has it.
    """

    patient_id: str
    study_date: str


def patient_of(files: Iterable[Path]) -> PatientFacts:
    """PatientID and StudyDate of the files of one series.

    Raises:
        DataError: if they name several patients.
    """
    import warnings

    import pydicom

    from medseg.io.bounded.dicom_stream import open_dicom

    found: dict[str, Path] = {}
    dates: set[str] = set()
    for path in dict.fromkeys(files):
        with warnings.catch_warnings(), open_dicom(path) as opened:
            warnings.simplefilter("ignore")
            wanted = ["PatientID", "StudyDate"]
            data = pydicom.dcmread(opened.stream, stop_before_pixels=True, specific_tags=wanted, force=True)
            found.setdefault(str(data.get("PatientID", "") or "").strip(), path)
            dates.add(str(data.get("StudyDate", "") or "").strip())
    if len(found) > 1:
        first, second = list(found.values())[:2]
        raise DataError(
            f"{second}: another PatientID than {first}, expected one patient in a series; separate the files first"
        )
    return PatientFacts(next(iter(found), ""), min(dates - {""}, default=""))
