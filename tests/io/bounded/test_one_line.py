"""One line instead of a traceback: only for refusals, and only in MONAI's commands."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from medseg.io.bounded.errors import DataError
from medseg.io.bounded.one_line import caller_prints_errors, one_line_errors, refusal_of
from medseg.io.bounded.weights import load_weights
from medseg.transforms import HUWindow


def caught(call: Callable[[], object]) -> BaseException:
    """The error of a call as MONAI hands it up: below two wrappers."""
    try:
        try:
            try:
                call()
            except Exception as error:
                raise RuntimeError("applying transform X") from error
        except Exception as error:
            raise RuntimeError("Failed to evaluate Y") from error
    except RuntimeError as error:
        return error
    raise AssertionError("nothing was raised")


def fail_in_torch() -> None:
    torch.zeros(2).reshape(3)


def test_a_refusal_is_found_below_the_wrappers(tmp_path: Path) -> None:
    line = refusal_of(caught(lambda: load_weights(torch.nn.Linear(1, 1), tmp_path / "gone.pt")))
    assert line == f"{tmp_path}/gone.pt: no weights there; train the bundle first or pass the path of a trained model"


def test_a_refusal_that_was_itself_caused_by_another_error_is_the_one_that_is_shown(tmp_path: Path) -> None:
    (tmp_path / "w.pt").write_text("no weights")
    line = refusal_of(caught(lambda: load_weights(torch.nn.Linear(1, 1), tmp_path / "w.pt")))
    assert line is not None and line.startswith(f"{tmp_path}/w.pt: not a weights file")


def test_a_plain_value_error_of_medseg_is_a_refusal() -> None:
    assert (
        refusal_of(caught(lambda: HUWindow("lung", out_min=1, out_max=0)))
        == "out_min (1) must be below out_max (0), both finite"
    )


def test_errors_of_other_libraries_are_not_refusals_even_below_medseg() -> None:
    assert refusal_of(caught(fail_in_torch)) is None
    assert refusal_of(caught(lambda: load_weights(torch.nn.Linear(1, 1), object()))) is None  # type: ignore[arg-type]
    assert refusal_of(ValueError("raised nowhere")) is None


def test_a_refusal_in_a_worker_is_found_in_the_text_that_the_worker_sends() -> None:
    text = (
        "Caught RuntimeError in DataLoader worker process 0.\nOriginal Traceback (most recent call last):\n"
        '  File "x.py", line 1, in f\nmedseg.io.bounded.errors.DataError: a.nii.gz: 3 voxels\n\nThe above exception '
        "was the direct cause of the following exception:\n\nRuntimeError: applying transform X\n"
    )
    assert refusal_of(RuntimeError(text)) == "a.nii.gz: 3 voxels"


@pytest.fixture
def in_a_bundle_command(monkeypatch: pytest.MonkeyPatch) -> list[type[BaseException]]:
    """This process as ``python -m monai.bundle``; what reached the hook that was there before is collected."""
    passed_on: list[type[BaseException]] = []
    monkeypatch.setattr(sys, "excepthook", lambda kind, error, trace: passed_on.append(kind))
    main = SimpleNamespace(__spec__=SimpleNamespace(name="monai.bundle.__main__"))
    monkeypatch.setitem(sys.modules, "__main__", main)
    return passed_on


def test_in_a_bundle_command_refusals_are_printed_and_all_else_is_passed_on(
    in_a_bundle_command: list[type[BaseException]], capsys: pytest.CaptureFixture[str]
) -> None:
    one_line_errors()
    refusal = caught(lambda: HUWindow("lung", out_min=1, out_max=0))
    sys.excepthook(type(refusal), refusal, None)
    assert capsys.readouterr().err == "error: out_min (1) must be below out_max (0), both finite\n"
    assert in_a_bundle_command == []
    bug = caught(fail_in_torch)
    sys.excepthook(type(bug), bug, None)
    assert in_a_bundle_command == [RuntimeError]


def test_announcements_of_the_error_by_ignite_are_left_out_of_the_log_and_nothing_else(
    in_a_bundle_command: list[type[BaseException]], monkeypatch: pytest.MonkeyPatch
) -> None:
    handler = logging.StreamHandler()
    monkeypatch.setattr(logging.getLogger(), "handlers", [handler])
    one_line_errors()
    made = [
        logging.makeLogRecord({"msg": text}) for text in ("Engine run is terminating due to exception: x", "epoch 1")
    ]
    assert [bool(handler.filter(record)) for record in made] == [False, True]


def test_under_a_command_that_prints_errors_itself_the_hook_stays_and_announcements_go(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    handler, before = logging.StreamHandler(), sys.excepthook
    monkeypatch.setattr(logging.getLogger(), "handlers", [handler])
    record = logging.makeLogRecord({"msg": "Current run is terminating due to exception: x"})
    one_line_errors()
    assert handler.filter(record)
    with caller_prints_errors("medseg run"):
        one_line_errors()
    assert not handler.filter(record)
    assert sys.excepthook is before


def test_elsewhere_nothing_is_changed(monkeypatch: pytest.MonkeyPatch) -> None:
    before = sys.excepthook
    one_line_errors()
    assert sys.excepthook is before
    assert issubclass(DataError, ValueError)
