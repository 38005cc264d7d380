"""Validation every few epochs and always after the last one."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from medseg.training.epoch_validation import EpochValidation
from tests.training._trainer import Run


def validated(folder: Path, epochs: int, interval: int) -> list[int]:
    from ignite.engine import Events

    run, found = Run(folder, epochs=epochs, interval=interval), []
    run.evaluator.add_event_handler(Events.COMPLETED, lambda engine: found.append(engine.state.epoch))
    run()
    return found


@pytest.mark.parametrize(
    ("epochs", "interval", "expected"),
    [(2, 5, [2]), (5, 5, [5]), (7, 3, [3, 6, 7]), (6, 3, [3, 6]), (3, 1, [1, 2, 3]), (1, 1, [1])],
)
def test_every_interval_and_the_last_epoch_once(
    tmp_path: Path, epochs: int, interval: int, expected: list[int]
) -> None:
    assert validated(tmp_path, epochs, interval) == expected


def test_an_interval_below_one_is_refused() -> None:
    with pytest.raises(ValueError, match="val_interval is 0; expected at least 1 epoch"):
        EpochValidation(object(), 0)  # type: ignore[arg-type]


def test_an_empty_validation_is_said_once_and_not_run(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING, logger="medseg.training")
    Run(tmp_path, validation=(), epochs=4, interval=1)()
    assert caplog.text.count("there are no validation cases") == 1
