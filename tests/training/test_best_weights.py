"""Weights of the best validation score, driven by a real Ignite engine with scores chosen by the test."""

from __future__ import annotations

import logging
import math
from pathlib import Path

import pytest
import torch
from ignite.engine import Engine, Events

from medseg.training.best_weights import BestWeightsSaver


class Trial:
    """A network whose weight is set by hand and an evaluator whose score is set by hand."""

    def __init__(self, path: Path) -> None:
        self.network = torch.nn.Linear(1, 1)
        self.saver = BestWeightsSaver(self.network, path)
        self.score = 0.0
        self.engine = Engine(lambda engine, batch: None)
        self.engine.state.key_metric_name = "val_mean_dice"
        self.engine.add_event_handler(Events.EPOCH_COMPLETED, self._report)
        self.saver.attach(self.engine)

    def _report(self, engine: Engine) -> None:
        engine.state.metrics["val_mean_dice"] = self.score

    def validate(self, score: float, weight: float) -> None:
        self.score = score
        with torch.no_grad():
            self.network.weight.fill_(weight)
        self.engine.run([0])


def stored_weight(path: Path) -> float:
    return float(torch.load(path, weights_only=True)["weight"])


def test_the_best_score_s_weights_stay(tmp_path: Path) -> None:
    path = tmp_path / "models" / "model.pt"
    trial = Trial(path)
    kept = []
    for score, weight in [(0.3, 1.0), (0.6, 2.0), (0.5, 3.0), (0.6, 4.0), (0.7, 5.0)]:
        trial.validate(score, weight)
        kept.append(stored_weight(path))
    assert kept == [1.0, 2.0, 2.0, 2.0, 5.0]
    assert trial.saver.best == 0.7


def test_a_first_score_of_zero_is_kept_so_that_every_run_leaves_weights(tmp_path: Path) -> None:
    Trial(tmp_path / "model.pt").validate(0.0, 7.0)
    assert stored_weight(tmp_path / "model.pt") == 7.0


def test_nan_is_never_the_best(tmp_path: Path) -> None:
    path = tmp_path / "model.pt"
    trial = Trial(path)
    trial.validate(math.nan, 1.0)
    assert not path.exists()
    trial.validate(0.2, 2.0)
    trial.validate(math.nan, 3.0)
    trial.validate(0.1, 4.0)
    assert stored_weight(path) == 2.0


@pytest.mark.parametrize("undefined", [math.nan, math.inf, -math.inf])
def test_an_undefined_score_neither_wins_nor_loses(tmp_path: Path, undefined: float) -> None:
    trial = Trial(tmp_path / "model.pt")
    for score, weight in [(undefined, 1.0), (0.0, 2.0), (undefined, 3.0), (0.0, 4.0)]:
        trial.validate(score, weight)
    assert (trial.saver.best, stored_weight(tmp_path / "model.pt")) == (0.0, 2.0)


def test_a_file_of_an_earlier_run_is_renamed_before_the_first_save(tmp_path: Path) -> None:
    (tmp_path / "model.pt").write_bytes(b"old")
    trial = Trial(tmp_path / "model.pt")
    trial.validate(math.nan, 1.0)
    assert (tmp_path / "model.pt").read_bytes() == b"old"
    trial.validate(0.1, 2.0)
    trial.validate(0.2, 3.0)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model.earlier-1.pt", "model.pt"]
    assert (tmp_path / "model.earlier-1.pt").read_bytes() == b"old"


def test_weights_that_are_not_finite_are_never_the_best(tmp_path: Path) -> None:
    trial = Trial(tmp_path / "model.pt")
    trial.validate(0.1, 1.0)
    trial.engine.logger.setLevel(logging.CRITICAL)
    with pytest.raises(ValueError, match="weights were not saved: 'weight' holds 1 values of 1"):
        trial.validate(0.9, math.nan)
    assert stored_weight(tmp_path / "model.pt") == 1.0


def test_the_file_is_a_plain_state_dict(tmp_path: Path) -> None:
    trial = Trial(tmp_path / "model.pt")
    trial.validate(0.5, 1.5)
    state = torch.load(tmp_path / "model.pt", weights_only=True)
    assert list(state) == ["weight", "bias"]
    torch.testing.assert_close(state["bias"], trial.network.bias.detach())


def test_an_interrupted_save_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "model.pt"
    trial = Trial(path)
    trial.validate(0.5, 1.0)

    def broken_save(state: object, target: Path) -> None:
        target.write_bytes(b"half a file")
        raise OSError("disk full")

    monkeypatch.setattr(torch, "save", broken_save)
    trial.engine.logger.setLevel(logging.CRITICAL)
    with pytest.raises(OSError, match="disk full"):
        trial.validate(0.9, 2.0)
    assert stored_weight(path) == 1.0
    assert [file.name for file in tmp_path.iterdir()] == ["model.pt"]


def test_an_improvement_is_logged_with_score_and_file(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger="medseg.training.best_weights")
    trial = Trial(tmp_path / "model.pt")
    trial.validate(0.25, 1.0)
    trial.validate(0.20, 1.0)
    lines = [record.getMessage() for record in caplog.records if record.name == "medseg.training.best_weights"]
    assert lines == [f"best val_mean_dice so far 0.2500: weights saved to {tmp_path / 'model.pt'}"]


def test_a_twin_without_pickle_is_written_with_every_best_score(tmp_path: Path) -> None:
    from medseg.io.bounded.safetensors_file import read_safetensors

    (tmp_path / "model.safetensors").write_bytes(b"of an earlier run")
    network = torch.nn.Linear(2, 1)
    saver = BestWeightsSaver(network, tmp_path / "model.pt", safetensors=True)
    engine = Engine(lambda *_: None)
    engine.state.key_metric_name = "dice"
    for score, bias in ((0.5, 1.0), (0.4, 2.0), (0.6, 3.0)):
        network.bias.data.fill_(bias)
        engine.state.metrics["dice"] = score
        saver(engine)
        expected = 1.0 if score < 0.6 else 3.0
        assert read_safetensors(tmp_path / "model.safetensors")["bias"].item() == expected
    assert (tmp_path / "model.earlier-1.safetensors").read_bytes() == b"of an earlier run"
