"""The log takes every library's records, keeps the terminal clean and hides names."""

from __future__ import annotations

import logging
import warnings

import pytest

from medseg.inference.outputs.run_log import RunLog


def test_records_and_warnings_are_collected_without_hidden_words(capsys: pytest.CaptureFixture[str]) -> None:
    with RunLog() as log:
        log.hide(["MUSTERMANN", "/data/MUSTERMANN.nii"])
        logging.getLogger("some.library").info("reading /data/MUSTERMANN.nii")
        warnings.warn("odd header of MUSTERMANN", stacklevel=1)
    text = log.text()
    assert "INFO some.library: reading CASE\n" in text
    assert "odd header of CASE" in text
    assert "MUSTERMANN" not in text
    assert capsys.readouterr() == ("", "")


def test_logging_is_as_before_afterwards() -> None:
    root = logging.getLogger()
    before = (root.level, root.handlers[:])
    with pytest.raises(ValueError, match="broken"), RunLog():
        raise ValueError("broken")
    assert (root.level, root.handlers) == before
