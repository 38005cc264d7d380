"""The last weights are always on the disk, no earlier file is overwritten, and the end says which file is which."""

from __future__ import annotations

import logging
import math
from pathlib import Path

import pytest
import torch

from medseg.training.weights_files import last_beside, set_aside
from tests.training._trainer import Run, case


def slope(path: Path) -> torch.Tensor:
    return torch.load(path, weights_only=True)["slope"]


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def said(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.name.startswith("medseg.training")]


@pytest.fixture(autouse=True)
def log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger="medseg.training")


def test_a_run_shorter_than_the_interval_of_validation_leaves_best_and_last_weights(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    run = Run(tmp_path, epochs=2, interval=5)
    run()
    assert names(tmp_path) == ["last.pt", "model.pt"]
    assert torch.equal(slope(tmp_path / "last.pt"), run.network.slope)
    assert said(caplog)[-1] == (
        f"training has ended; best weights (val_mean_dice_nonempty 1.0000, epoch 2): {tmp_path}/model.pt; "
        f"last weights (epoch 2): {tmp_path}/last.pt"
    )


def test_the_best_weights_stay_when_the_last_ones_are_worse(tmp_path: Path) -> None:
    run = Run(tmp_path, epochs=4, interval=1, rate=0.8)  # every epoch pulls both slopes down; foreground is lost
    start = run.network.slope.clone()
    run()
    assert run.best.epoch == 1
    assert not torch.equal(slope(tmp_path / "model.pt"), slope(tmp_path / "last.pt"))
    assert (slope(tmp_path / "last.pt") < slope(tmp_path / "model.pt")).all()
    assert (slope(tmp_path / "model.pt") < start).all()


def test_without_validation_cases_the_last_weights_are_left_and_it_is_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    Run(tmp_path, validation=(), epochs=3, interval=1)()
    assert names(tmp_path) == ["last.pt"]
    lines = said(caplog)
    assert lines[0] == "there are no validation cases: no score is measured and no best weights are kept"
    best, last = tmp_path / "model.pt", tmp_path / "last.pt"
    assert lines[-2] == f"no validation gave a score, so {best} was not written; {last} can be used in its place"
    assert lines[-1] == f"training has ended; last weights (epoch 3): {tmp_path}/last.pt"


def test_validation_cases_without_foreground_leave_the_last_weights_only(tmp_path: Path) -> None:
    run = Run(tmp_path, validation=[case("v.nii", foreground=False)] * 2, epochs=3, interval=1)
    run()
    assert math.isnan(run.evaluator.state.metrics["val_mean_dice_nonempty"])
    assert names(tmp_path) == ["last.pt"] and run.best.epoch is None


def test_files_of_an_earlier_run_are_renamed_at_the_start(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "model.pt").write_bytes(b"old best")
    (tmp_path / "last.pt").write_bytes(b"old last")
    (tmp_path / "model.earlier-1.pt").write_bytes(b"older")
    Run(tmp_path, validation=(), epochs=1)()
    assert names(tmp_path) == ["last.earlier-1.pt", "last.pt", "model.earlier-1.pt", "model.earlier-2.pt"]
    assert (tmp_path / "model.earlier-2.pt").read_bytes() == b"old best"
    assert (tmp_path / "last.earlier-1.pt").read_bytes() == b"old last"
    assert f"{tmp_path}/model.pt was written by an earlier run; it is kept as model.earlier-2.pt" in said(caplog)


@pytest.mark.parametrize("start", ["model.pt", "last.pt"])
def test_a_run_that_goes_on_keeps_its_files_until_they_are_replaced(tmp_path: Path, start: str) -> None:
    for name in ("model.pt", "last.pt"):
        (tmp_path / name).write_bytes(name.encode())
    Run(tmp_path, validation=(), epochs=1, initial_weights=tmp_path / start)()
    assert names(tmp_path) == ["last.earlier-1.pt", "last.pt", "model.pt"]
    assert (tmp_path / "model.pt").read_bytes() == b"model.pt", "no better weights were found"
    Run(tmp_path, epochs=1, interval=1, initial_weights=tmp_path / start)()
    assert (tmp_path / "model.earlier-1.pt").read_bytes() == b"model.pt"


def test_a_run_from_a_file_elsewhere_does_not_go_on_from_its_own(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "model.pt").write_bytes(b"old")
    (tmp_path / "other.pt").write_bytes(b"other")
    Run(tmp_path / "run", validation=(), epochs=1, initial_weights=tmp_path / "other.pt")()
    assert names(tmp_path / "run") == ["last.pt", "model.earlier-1.pt"]


def test_weights_that_diverged_in_the_last_step_of_an_epoch_are_not_saved(tmp_path: Path) -> None:
    class Diverging(Run):
        def __call__(self) -> None:
            self.trainer.add_event_handler(self.event(), self.spoil)
            super().__call__()

        @staticmethod
        def event() -> object:
            from ignite.engine import Events

            return Events.ITERATION_COMPLETED(once=4)  # the last of epoch 2

        def spoil(self, engine: object) -> None:
            self.network.slope.data[1] = math.nan

    run = Diverging(tmp_path, epochs=3)
    run.trainer.logger.setLevel(logging.CRITICAL)
    with pytest.raises(ValueError, match="weights were not saved: 'slope' holds 1 values of 2") as caught:
        run()
    line = str(caught.value)
    assert line.startswith("epoch 2: ") and line.endswith(f"last weights (epoch 1): {tmp_path}/last.pt")
    assert torch.isfinite(slope(tmp_path / "last.pt")).all()


def test_names_of_the_last_weights() -> None:
    assert last_beside("models/model.pt") == "models/last.pt"
    assert last_beside(Path("/a/fold_1.best.pt")) == "/a/fold_1.best_last.pt"


def test_setting_aside_never_takes_a_name_that_is_taken(tmp_path: Path) -> None:
    kept = []
    for number in range(3):
        (tmp_path / "model.pt").write_text(str(number))
        kept.append(set_aside(tmp_path / "model.pt"))
    assert [path.name for path in kept if path] == [f"model.earlier-{number}.pt" for number in (1, 2, 3)]
    assert [path.read_text() for path in kept if path] == ["0", "1", "2"]
    assert set_aside(tmp_path / "model.pt") is None
