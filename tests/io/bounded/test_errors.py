"""One line for people instead of an operating system's error number."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from medseg.io.bounded.atomic import write_text
from medseg.io.bounded.errors import os_error_line, os_reason


@pytest.mark.parametrize(
    ("number", "says"),
    [
        (errno.EACCES, "permission denied; ask its owner for access, or choose another place"),
        (errno.EROFS, "the file system is read-only; choose another place to write to"),
        (errno.ENOSPC, "the disk is full; free some space and run again"),
        (errno.ENOTEMPTY, "another program wrote there at the same time; run again when it has ended"),
        (errno.EXDEV, "invalid cross-device link"),  # a number without words of its own keeps the system's
    ],
)
def test_an_error_number_becomes_words_with_what_helps(number: int, says: str) -> None:
    error = OSError(number, os.strerror(number), "out/ct.nii.gz")
    assert os_error_line(error) == f"out/ct.nii.gz: {says}"
    assert os_reason(error) == says.split(";")[0]
    assert f"[Errno {number}]" in str(error), "which is what people saw"


def test_of_a_renaming_the_place_that_was_aimed_at_is_named() -> None:
    error = OSError(errno.EROFS, os.strerror(errno.EROFS), ".tmp-1-out", None, "out")
    assert os_error_line(error).startswith("out: the file system is read-only")
    assert os_error_line(OSError("the manifest is cut off")) == "the manifest is cut off"


@pytest.mark.parametrize("step", ["tempfile.mkstemp", "os.replace"])
def test_a_write_that_fails_names_the_file_and_not_the_temporary_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(tmp_path / ".tmp-1"))

    monkeypatch.setattr(step, refuse)
    with pytest.raises(OSError) as caught:
        write_text(tmp_path / "a.json", "x")
    assert os_error_line(caught.value) == (
        f"{tmp_path / 'a.json'}: the file system is read-only; choose another place to write to"
    )
    assert list(tmp_path.iterdir()) == []
