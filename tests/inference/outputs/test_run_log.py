"""The log takes every library's records, keeps the terminal clean and hides names."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator

import pytest

from medseg.inference.outputs.run_log import RunLog


class Shown(logging.Handler):
    """What the handler of a program gets to see."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())


@pytest.fixture
def shown() -> Iterator[list[str]]:
    """Messages that reach a handler of the root logger, whose level is WARNING."""
    root, handler = logging.getLogger(), Shown()
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.WARNING)
    yield handler.lines
    root.removeHandler(handler)
    root.setLevel(level)


@pytest.mark.parametrize("exclusive", [True, False])
def test_records_and_warnings_are_collected_without_hidden_words(
    capsys: pytest.CaptureFixture[str], exclusive: bool
) -> None:
    with RunLog(exclusive) as log:
        log.hide(["MUSTERMANN", "/data/MUSTERMANN.nii"])
        logging.getLogger("some.library").info("reading /data/MUSTERMANN.nii")
        warnings.warn("odd header of MUSTERMANN", stacklevel=1)
    text = log.text()
    assert "INFO some.library: reading CASE\n" in text
    assert "odd header of CASE" in text
    assert "MUSTERMANN" not in text
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize("exclusive", [True, False])
def test_logging_is_as_before_afterwards(exclusive: bool) -> None:
    root, show = logging.getLogger(), warnings.showwarning
    before = (root.level, root.handlers[:])
    with pytest.raises(ValueError, match="broken"), RunLog(exclusive):
        raise ValueError("broken")
    assert (root.level, root.handlers) == before
    assert warnings.showwarning is show


def test_a_programs_own_handlers_see_what_they_would_see_without_the_log(shown: list[str]) -> None:
    talkative = logging.getLogger("a.talkative.library")
    talkative.setLevel(logging.DEBUG)
    with RunLog() as log:
        logging.getLogger("a.library").info("not shown")
        logging.getLogger("a.library").warning("shown")
        talkative.debug("shown, since this logger has a level of its own")
    assert shown == ["shown", "shown, since this logger has a level of its own"]
    assert "not shown" in log.text()


def test_an_exclusive_log_keeps_records_from_other_handlers(shown: list[str]) -> None:
    with RunLog(exclusive=True) as log:
        logging.getLogger("a.library").warning("collected")
    assert shown == []
    assert "WARNING a.library: collected" in log.text()


def test_a_block_inside_the_block_changes_nothing(shown: list[str]) -> None:
    with RunLog(exclusive=True) as log:
        with log:
            logging.getLogger("a.library").warning("once")
        logging.getLogger("a.library").warning("still collected")
    assert shown == []
    assert log.text().count("once") == log.text().count("still collected") == 1


def test_a_copy_goes_on_by_itself_with_the_same_hidden_words() -> None:
    with RunLog() as log:
        log.hide(["MUSTERMANN"])
        logging.getLogger("a.library").warning("of MUSTERMANN")
    with log.copy() as twin:
        logging.getLogger("a.library").warning("saving MUSTERMANN")
    assert "saving" not in log.text()
    assert twin.text().splitlines()[0] == log.text().splitlines()[0]
    assert "saving CASE" in twin.text()
