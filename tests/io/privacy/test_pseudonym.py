from __future__ import annotations

import hashlib
import hmac
from datetime import date, timedelta
from pathlib import Path

import pytest

from medseg.io.bounded.errors import DataError
from medseg.io.privacy.pseudonym import Pseudonymiser, append_link, write_key

KEY = bytes(range(32))


def test_a_uid_is_the_first_128_bits_of_an_hmac() -> None:
    digest = hmac.new(KEY, b"uid\x001.2.3.4", hashlib.sha256).digest()
    assert Pseudonymiser(KEY).uid("1.2.3.4") == f"2.25.{int(digest[:16].hex(), 16)}"


def test_names_depend_on_the_key_and_the_text_alone() -> None:
    names, other = Pseudonymiser(KEY), Pseudonymiser(KEY[::-1])
    assert names.patient("A") == Pseudonymiser(KEY).patient(" A ")
    assert len({names.patient("A"), names.patient("B"), other.patient("A")}) == 3
    assert len({names.uid("1.2.3.4"), names.uid("1.2.3.5"), other.uid("1.2.3.4")}) == 3
    assert names.key_id != other.key_id


def test_a_uid_is_legal_and_those_of_the_standard_stay() -> None:
    names = Pseudonymiser(KEY)
    assert all(len(names.uid(f"1.2.3.{n}")) <= 64 for n in range(100))
    assert names.uid("1.2.840.10008.1.2.1") == "1.2.840.10008.1.2.1"
    assert names.uid("") == ""
    assert names.series("1.2.3.4#2") == names.uid("1.2.3.4") + "#2"


def test_uids_in_a_message_are_replaced_and_numbers_are_not() -> None:
    names = Pseudonymiser(KEY)
    text = "series 1.2.3.4: 2.500 mm, version 3.0.2"
    assert names.hide_uids(text) == f"series {names.uid('1.2.3.4')}: 2.500 mm, version 3.0.2"


def test_a_day_shift_is_a_patients_own_and_never_none() -> None:
    shifts = [Pseudonymiser(KEY).day_shift(f"{n}") for n in range(500)]
    assert all(-3650 <= days <= -1 for days in shifts)
    assert len(set(shifts)) > 400
    assert shifts[0] == Pseudonymiser(KEY).day_shift("0")


def test_a_key_file_is_private_and_is_never_replaced(tmp_path: Path) -> None:
    key_id = write_key(tmp_path / "key")
    assert (tmp_path / "key").stat().st_mode & 0o077 == 0
    assert Pseudonymiser.from_file(tmp_path / "key").key_id == key_id
    with pytest.raises(DataError, match="never replaced"):
        write_key(tmp_path / "key")


def test_a_key_that_others_can_read_is_refused(tmp_path: Path) -> None:
    write_key(tmp_path / "key")
    (tmp_path / "key").chmod(0o640)
    with pytest.raises(DataError, match="chmod 600"):
        Pseudonymiser.from_file(tmp_path / "key")


@pytest.mark.parametrize("text", ["", "secret\n", "medseg-pseudonym-key-1 00\n"])
def test_what_is_no_key_is_refused_without_quoting_it(text: str, tmp_path: Path) -> None:
    (tmp_path / "key").write_text(text)
    (tmp_path / "key").chmod(0o600)
    with pytest.raises(DataError, match="not a pseudonym key") as refused:
        Pseudonymiser.from_file(tmp_path / "key")
    assert "secret" not in str(refused.value)


def test_a_missing_key_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="make one with"):
        Pseudonymiser.from_file(tmp_path / "absent")


def test_a_link_file_grows_by_lines(tmp_path: Path) -> None:
    for number in (1, 2):
        append_link(tmp_path / "link", {"n": number})
    assert (tmp_path / "link").read_text() == '{"n": 1}\n{"n": 2}\n'
    assert (tmp_path / "link").stat().st_mode & 0o077 == 0


def test_dates_of_a_patient_move_together_and_keep_their_interval() -> None:
    key = Pseudonymiser(bytes(range(32)))
    first, second = key.date("S-1", "20200131"), key.date("S-1 ", "20200301")
    assert first is not None and second is not None
    assert date.fromisoformat(second) - date.fromisoformat(first) == timedelta(days=30)
    assert date.fromisoformat(first) == date(2020, 1, 31) + timedelta(days=key.day_shift("S-1"))
    assert key.date("S-2", "20200131") != first


@pytest.mark.parametrize("text", ["", "2020", "CANARY", "20201332"])
def test_what_is_no_date_is_not_written(text: str) -> None:
    assert Pseudonymiser(bytes(range(32))).date("S-1", text) is None
