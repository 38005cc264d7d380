"""RunKeeper: a run that was killed, stopped or made longer gives what one run gives."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from ignite.engine import Events

from medseg.io.bounded.errors import DataError
from medseg.io.bounded.weights import load_weights
from medseg.training.resume.run_file import read_run
from tests.training.resume._small_run import STEPS, SmallRun


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """Sums in another number of threads are rounded otherwise, and other processes do not know what this one uses."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> SmallRun:
    run = SmallRun(tmp_path_factory.mktemp("whole"))
    run.run()
    return run


def records(run: SmallRun) -> list[dict[str, Any]]:
    return [{key: value for key, value in record.items() if key != "seconds"} for record in run.history.records]


def same_end(run: SmallRun, expected: SmallRun) -> None:
    assert torch.equal(run.weights(), expected.weights())
    assert records(run) == records(expected)
    assert (run.best.best, run.best.epoch, run.best.name) == (
        expected.best.best,
        expected.best.epoch,
        expected.best.name,
    )
    ours, theirs = (torch.load(r.best.path, weights_only=True) for r in (run, expected))
    assert all(torch.equal(ours[key], theirs[key]) for key in theirs)


@pytest.mark.parametrize("step", [2, STEPS, STEPS + 1, 2 * STEPS, 2 * STEPS + 2, 4 * STEPS])
def test_killed_and_resumed_is_uninterrupted_bit_for_bit(tmp_path: Path, whole: SmallRun, step: int) -> None:
    SmallRun(tmp_path).run(die_after=step)
    again = SmallRun(tmp_path)
    again.run()
    same_end(again, whole)
    done = (step - 1) // STEPS * STEPS
    assert again.losses == whole.losses[done:]
    assert again.rates == whole.rates[done:]


def test_killed_again_and_again_it_still_comes_to_the_same_end(tmp_path: Path, whole: SmallRun) -> None:
    for step in (2, 5, 6, 9, 11):
        SmallRun(tmp_path).run(die_after=step)
    last = SmallRun(tmp_path, workers=2)
    last.run()
    same_end(last, whole)


def stop_in(run: SmallRun, step: int) -> int:
    """Send SIGTERM in the middle of a step; the exit code."""

    def send(engine: Any) -> None:
        if engine.state.iteration == step:
            os.kill(os.getpid(), signal.SIGTERM)

    run.trainer.add_event_handler(Events.ITERATION_STARTED, send)
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(SystemExit) as stopped:
        run.run()
    assert signal.getsignal(signal.SIGTERM) == before
    return int(stopped.value.code or 0)


@pytest.mark.parametrize("step", [1, 2, STEPS, STEPS + 2, 2 * STEPS])
def test_sigterm_finishes_the_step_exits_with_75_and_loses_nothing(tmp_path: Path, whole: SmallRun, step: int) -> None:
    stopped = SmallRun(tmp_path)
    assert stop_in(stopped, step) == 75
    state = read_run(tmp_path / "last.pt")
    assert state is not None
    assert state["iteration"] == step
    again = SmallRun(tmp_path)
    again.run()
    assert stopped.losses + again.losses == whole.losses
    same_end(again, whole)


def test_a_finished_run_says_so_and_trains_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    first = SmallRun(tmp_path, epochs=2)
    first.run()
    caplog.clear()
    again = SmallRun(tmp_path, epochs=2)
    again.run()
    assert again.losses == []
    assert torch.equal(again.weights(), first.weights())
    assert "has finished its 2 epochs already" in caplog.text
    assert sorted(path.name for path in tmp_path.glob("*.pt")) == ["last.pt", "model.pt"]


def test_more_epochs_go_on_with_the_rates_of_the_longer_run(tmp_path: Path) -> None:
    SmallRun(tmp_path, epochs=2).run()
    longer = SmallRun(tmp_path, epochs=5)
    longer.run()
    from_start = SmallRun(tmp_path / "other", epochs=5)
    from_start.run()
    assert longer.rates == pytest.approx(from_start.rates[2 * STEPS :], rel=1e-12)
    assert [record["epoch"] for record in longer.history.records] == [1, 2, 3, 4, 5]


def test_another_setting_is_refused_with_both_values_and_nothing_is_touched(tmp_path: Path) -> None:
    SmallRun(tmp_path, epochs=1).run()
    before = {path.name: path.read_bytes() for path in tmp_path.glob("*.pt")}
    with pytest.raises(DataError, match=r"last.pt: holds another run \(learning_rate was 0.05 and is 0.01\)") as caught:
        SmallRun(tmp_path, epochs=1, rate=0.01).run()
    assert "--restart true" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert {path.name: path.read_bytes() for path in tmp_path.glob("*.pt")} == before


def test_restart_begins_anew_and_keeps_the_files_under_the_name_of_their_run(tmp_path: Path) -> None:
    first = SmallRun(tmp_path, epochs=2)
    first.run()
    second = SmallRun(tmp_path, epochs=2, rate=0.01, restart=True)
    second.run()
    assert len(second.losses) == 2 * STEPS
    kept = read_run(tmp_path / f"last.{first.keeper.run_id}.pt")
    assert kept is not None and kept["id"] == first.keeper.run_id
    assert (tmp_path / f"model.{first.keeper.run_id}.pt").is_file()
    now = read_run(tmp_path / "last.pt")
    assert now is not None and now["id"] == second.keeper.run_id != first.keeper.run_id


def test_best_weights_of_other_validation_cases_are_not_compared_with(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    SmallRun(tmp_path, epochs=2).run()
    first = (tmp_path / "model.pt").read_bytes()
    again = SmallRun(tmp_path, epochs=4, validation=1)
    again.run()
    assert "best weights are sought anew" in caplog.text
    assert again.best.epoch == 4
    assert [path.read_bytes() for path in tmp_path.glob("model.*.pt")] == [first]


def test_a_worse_score_does_not_replace_the_best_weights(tmp_path: Path) -> None:
    SmallRun(tmp_path, epochs=2).run()
    state = torch.load(tmp_path / "last.pt", weights_only=True)
    state["best"]["best"] = 1.0
    torch.save(state, tmp_path / "last.pt")
    before = (tmp_path / "model.pt").read_bytes()
    SmallRun(tmp_path, epochs=4).run()
    assert (tmp_path / "model.pt").read_bytes() == before


def test_the_file_is_read_as_weights_without_running_code(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    run = SmallRun(tmp_path, epochs=1)
    run.run()
    caplog.clear()
    fresh = SmallRun(tmp_path / "other", seed=7)
    load_weights(fresh.network, tmp_path / "last.pt")
    assert torch.equal(fresh.weights(), run.weights())
    assert caplog.text == ""


def test_files_of_other_programs_are_set_aside_and_damaged_ones_are_refused(tmp_path: Path) -> None:
    torch.save({"weight": torch.ones(1)}, tmp_path / "last.pt")
    SmallRun(tmp_path, epochs=1).run()
    assert len(list(tmp_path.glob("last.*.pt"))) == 1
    (tmp_path / "last.pt").write_bytes(b"no checkpoint")
    with pytest.raises(DataError, match="not the state of a run that can be loaded safely") as caught:
        SmallRun(tmp_path, epochs=1).run()
    assert "--restart true" in str(caught.value)
    SmallRun(tmp_path, epochs=1, restart=True).run()
    assert read_run(tmp_path / "last.pt") is not None


SCRIPT = """
import sys, time
import torch
torch.set_num_threads(1)
from pathlib import Path
from ignite.engine import Events
from tests.training.resume._small_run import SmallRun
run = SmallRun(Path(sys.argv[1]))
def say(engine):
    print(engine.state.iteration, flush=True)
    time.sleep(0.2)
run.trainer.add_event_handler(Events.ITERATION_COMPLETED, say)
run.run()
"""


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 75), (signal.SIGKILL, -9)])
def test_a_process_that_is_ended_leaves_a_run_that_goes_on(
    tmp_path: Path, whole: SmallRun, number: signal.Signals, code: int
) -> None:
    process = subprocess.Popen([sys.executable, "-c", SCRIPT, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    while int(process.stdout.readline()) < STEPS + 2:
        pass
    time.sleep(0.05)
    process.send_signal(number)
    assert process.wait(60) == code
    again = SmallRun(tmp_path)
    again.run()
    same_end(again, whole)
    assert json.loads((tmp_path / "eval" / "history.json").read_text())[-1]["epoch"] == 4
