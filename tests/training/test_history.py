"""The record of a training run, driven by real Ignite engines with losses and scores chosen by the test."""

from __future__ import annotations

import json
import logging
import math
from pathlib import Path

import pytest
from ignite.engine import Engine, Events
from PIL import Image

from medseg.training.history import HistoryHandler, plot_history


def evaluator_with(scores: list[float]) -> Engine:
    """An engine that reports the next score in every run, as a MONAI evaluator does."""
    engine = Engine(lambda engine, batch: None)
    engine.state.key_metric_name = "val_mean_dice"
    remaining = iter(scores)

    @engine.on(Events.EPOCH_COMPLETED)
    def _report(engine: Engine) -> None:
        engine.state.metrics["val_mean_dice"] = next(remaining)

    return engine


def run(
    folder: Path,
    losses: list[list[float]],
    scores: list[float] | None = None,
    validate_at: tuple[int, ...] = (),
    every: int = 1,
    as_list: bool = True,
) -> HistoryHandler:
    """One trainer epoch per inner list; epochs in ``validate_at`` are validated before the record is closed."""

    def step(engine: Engine, batch: int) -> object:
        output = {"loss": losses[engine.state.epoch - 1][batch]}
        return [output] if as_list else output

    trainer = Engine(step)
    evaluator = evaluator_with(scores or [])

    @trainer.on(Events.EPOCH_COMPLETED)
    def _validate(engine: Engine) -> None:
        if engine.state.epoch in validate_at:
            evaluator.run([0])

    handler = HistoryHandler(folder, evaluator if scores else None, every)
    handler.attach(trainer)
    trainer.run(range(len(losses[0])), max_epochs=len(losses))
    return handler


def history(folder: Path) -> list[dict[str, float | None]]:
    return json.loads((folder / "history.json").read_text())


@pytest.mark.parametrize("as_list", [True, False], ids=["decollated", "plain"])
def test_each_epoch_has_its_mean_loss_and_growing_seconds(tmp_path: Path, as_list: bool) -> None:
    run(tmp_path, [[4.0, 2.0], [1.0, 0.5]], as_list=as_list)
    records = history(tmp_path)
    assert [record["epoch"] for record in records] == [1, 2]
    assert [record["loss"] for record in records] == [3.0, 0.75]
    assert 0 <= records[0]["seconds"] <= records[1]["seconds"]


def test_score_stands_only_in_the_epochs_that_were_validated(tmp_path: Path) -> None:
    run(tmp_path, [[1.0]] * 4, scores=[0.25, 0.5], validate_at=(2, 4))
    assert [record.get("score") for record in history(tmp_path)] == [None, 0.25, None, 0.5]
    assert ["score" in record for record in history(tmp_path)] == [False, True, False, True]


def test_memory_and_file_hold_the_same_records(tmp_path: Path) -> None:
    handler = run(tmp_path, [[1.0], [2.0]], scores=[0.1], validate_at=(1,))
    assert handler.records == history(tmp_path)


@pytest.mark.parametrize("bad", [math.nan, math.inf], ids=["nan", "inf"])
def test_a_loss_that_is_no_number_is_recorded_as_null_and_the_epoch_is_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, bad: float
) -> None:
    run(tmp_path, [[1.0], [bad], [2.0]])
    assert [record["loss"] for record in history(tmp_path)] == [1.0, None, 2.0]
    warnings = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert warnings == [f"epoch 2: mean loss is {bad}, recorded as null; lower learning_rate or check the images"]


def test_a_score_that_is_no_number_is_recorded_as_null(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    run(tmp_path, [[1.0], [1.0]], scores=[math.nan, 0.5], validate_at=(1, 2))
    assert [record["score"] for record in history(tmp_path)] == [None, 0.5]
    assert "epoch 1: validation score is nan" in caplog.text


def test_an_undefined_score_is_said_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    run(tmp_path, [[1.0]] * 3, scores=[math.nan, math.nan, 0.5], validate_at=(1, 2, 3))
    assert [record["score"] for record in history(tmp_path)] == [None, None, 0.5]
    assert caplog.text.count("validation score is nan") == 1


def test_log_lines_come_every_so_many_epochs_and_at_the_end(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger="medseg.training.history")
    run(tmp_path, [[0.5]] * 5, scores=[0.75], validate_at=(2,), every=2)
    lines = [record.getMessage() for record in caplog.records if record.name == "medseg.training.history"]
    assert [line.split(":")[0] for line in lines] == ["epoch 2/5", "epoch 4/5", "epoch 5/5"]
    assert lines[0].startswith("epoch 2/5: mean loss 0.5000, validation score 0.7500 (")
    assert "score" not in lines[1]


def test_the_curve_is_a_picture_that_shows_loss_and_score(tmp_path: Path) -> None:
    records = [{"epoch": epoch, "loss": 1.0 / epoch, "seconds": 1.0} for epoch in range(1, 6)]
    plain = Image.open(plot_history(records, tmp_path / "plain.png")).convert("RGB")
    scored = [dict(record, score=0.2 * record["epoch"]) for record in records]
    both = Image.open(plot_history(scored, tmp_path / "both.png")).convert("RGB")
    blue, orange = (31, 119, 180), (255, 127, 14)
    assert plain.size == both.size == (700, 400)
    assert blue in set(plain.getdata())
    assert orange not in set(plain.getdata())
    assert {blue, orange} <= set(both.getdata())


def test_the_curve_leaves_a_gap_where_there_is_no_number(tmp_path: Path) -> None:
    records = [{"epoch": 1, "loss": 1.0, "seconds": 1.0}, {"epoch": 2, "loss": None, "seconds": 2.0, "score": None}]
    assert Image.open(plot_history(records, tmp_path / "gap.png")).size == (700, 400)


def test_nothing_but_the_two_files_is_left(tmp_path: Path) -> None:
    run(tmp_path / "made" / "here", [[1.0], [2.0]])
    assert sorted(path.name for path in (tmp_path / "made" / "here").iterdir()) == ["history.json", "loss_curve.png"]


def test_curves_for_tensorboard_hold_the_values_of_the_records(tmp_path: Path) -> None:
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    trainer = Engine(lambda engine, batch: {"loss": batch})
    history = HistoryHandler(tmp_path, tensorboard=True)
    history.attach(trainer)
    trainer.run([0.5, 0.3], max_epochs=3)
    events = accumulator.EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    assert [(event.step, round(event.value, 6)) for event in events.Scalars("loss")] == [(1, 0.4), (2, 0.4), (3, 0.4)]
