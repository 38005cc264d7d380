"""The loop over the jobs of a part, with an executor whose outcomes the test decides."""

from __future__ import annotations

import io
import json
import os
import signal
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from data_prep._cohort.executors import Executor
from data_prep._cohort.plan import Plan
from data_prep._cohort.progress import Progress
from data_prep._cohort.run import run_jobs, workplace
from data_prep._cohort.stop import RunInterruptedError, StopSignal
from data_prep._cohort.worker import Job, Outcome
from medseg.io.cohort.manifest import Manifest

KILLED = "its worker (pid 7) was killed by SIGKILL (exit code -9), likely out of memory"


class Scripted:
    """An executor whose jobs end as the script says, one in every poll, in the order of submission."""

    def __init__(self, script: dict[str, list[str]], capacity: int = 2) -> None:
        self.capacity = capacity
        self.script = script
        self.running: list[Job] = []
        self.together: list[list[str]] = []
        self.cancelled = 0

    def submit(self, job: Job) -> None:
        self.running.append(job)
        self.together.append([item.name for item in self.running])

    def poll(self, timeout_s: float) -> list[Outcome]:
        job = self.running.pop(0)
        status = self.script[job.name].pop(0)
        value = {"status": "done", "kept": False, "seconds": 1.0, "peak_rss_mb": 9.0} if status == "returned" else None
        errors = {"died": KILLED, "timeout": "took longer than 5 s", "raised": "OSError: disk full"}
        return [Outcome(job, status, value, errors.get(status))]

    def cancel(self) -> None:
        self.cancelled += 1
        self.running.clear()


def run(tmp_path: Path, executor: Executor, names: str, stop: StopSignal | None = None) -> dict[str, dict[str, Any]]:
    jobs = [Job(name, dict, {}) for name in names]
    plan = Plan(jobs, [], {name: {"stats": f"stats of {name}"} for name in names}, 0, 0, 0)
    with Manifest(tmp_path / "manifest.jsonl") as manifest:
        run_jobs(plan, executor, manifest, stop or StopSignal(), lambda _: None)
    lines = [json.loads(line) for line in (tmp_path / "manifest.jsonl").read_text().splitlines()]
    assert len(lines) == len(names)
    return {line["case"]: line for line in lines}


def test_a_dead_case_is_tried_once_more_when_the_machine_is_its_own(tmp_path: Path) -> None:
    executor = Scripted({"a": ["died", "returned"], "b": ["returned"], "c": ["died", "died"], "d": ["returned"]})
    records = run(tmp_path, executor, "abcd")
    assert [records[name]["status"] for name in "abcd"] == ["done", "done", "died", "done"]
    assert [group for group in executor.together if group in (["a"], ["c"])] == [["a"], ["a"], ["c"]]
    assert executor.together[-2:] == [["a"], ["c"]], "alone, after all others"
    assert (records["a"]["attempts"], records["c"]["attempts"], records["b"]["attempts"]) == (2, 2, 1)
    assert records["a"]["first_attempt"] == KILLED
    assert records["c"]["error"].count("likely out of memory") == 2
    assert records["c"]["stats"] == "stats of c"


def test_what_takes_too_long_or_raises_is_not_tried_again(tmp_path: Path) -> None:
    records = run(tmp_path, Scripted({"a": ["timeout"], "b": ["raised"], "c": ["returned"]}), "abc")
    assert (records["a"]["status"], records["a"]["attempts"]) == ("timeout", 1)
    assert records["a"]["error"] == "took longer than 5 s; raise --timeout if the case is that large"
    assert (records["b"]["status"], records["b"]["error"]) == ("failed", "OSError: disk full")
    assert records["c"]["status"] == "done"


def test_no_more_jobs_are_out_than_can_run(tmp_path: Path) -> None:
    executor = Scripted({name: ["returned"] for name in "abcdefgh"}, capacity=3)
    run(tmp_path, executor, "abcdefgh")
    assert max(map(len, executor.together)) == 3


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_after_a_signal_nothing_runs_and_what_ended_is_kept(tmp_path: Path, number: signal.Signals) -> None:
    class Signalled(Scripted):
        def poll(self, timeout_s: float) -> list[Outcome]:
            os.kill(os.getpid(), number)
            return super().poll(timeout_s)

    executor = Signalled({name: ["returned"] for name in "abc"}, capacity=1)
    before = signal.getsignal(number)
    with StopSignal().watching() as stop, pytest.raises(RunInterruptedError, match=number.name):
        run(tmp_path, executor, "abc", stop)
    assert signal.getsignal(number) is before
    assert executor.cancelled == 1 and executor.running == []
    assert [json.loads(line)["case"] for line in (tmp_path / "manifest.jsonl").read_text().splitlines()] == ["a"]


def test_another_thread_watches_without_handlers() -> None:
    states: list[object] = []

    def body() -> None:
        with StopSignal().watching() as stop:
            stop.check()
            states.append(stop.received)

    thread = threading.Thread(target=body)
    thread.start()
    thread.join()
    assert states == [None]


def test_the_workplace_is_empty_at_first_and_gone_at_last(tmp_path: Path) -> None:
    left = tmp_path / ".cohort" / "work-0-of-2" / "case-x"
    other = tmp_path / ".cohort" / "work-1-of-2" / "case-y"
    left.mkdir(parents=True)
    other.mkdir(parents=True)
    with workplace(tmp_path, 0, 2) as place:
        assert list(place.iterdir()) == []
    assert not place.exists()
    assert other.exists(), "another part's work is not touched"


def test_without_a_terminal_every_case_is_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    with Progress(3) as progress:
        progress.case({"case": "a", "status": "done", "seconds": 1.25, "peak_rss_mb": 80.0, "warnings": 2})
        progress.case({"case": "b", "status": "died", "error": "no memory"})
        progress.case({"case": "c", "status": "done", "kept": True})
    assert capsys.readouterr().err.splitlines() == [
        "[1/3] a: done in 1.2 s, 80 MB, 2 warning(s)",
        "[2/3] b: DIED: no memory",
        "[3/3] c: was there already, input and output unchanged",
    ]


def test_on_a_terminal_there_is_a_bar_and_failures_stand_above_it(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    with Progress(2) as progress:
        progress.case({"case": "a", "status": "done", "seconds": 1.0, "peak_rss_mb": 80.0})
        progress.case({"case": "b", "status": "failed", "error": "cut off"})
    text = terminal.getvalue()
    assert "2/2" in text and "[2/2] b: FAILED: cut off\n" in text
    assert "a: done" not in text
