"""The process pool: crashes and kills are reported as results with a cause, and the other jobs continue."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from data_prep._cohort.pool import ProcessPool
from data_prep._cohort.worker import Job, Outcome, cause_of_death, run_in_child
from tests.data_prep import _cohort_files as jobs

ROOT = Path(__file__).resolve().parents[3]
PATIENCE_S = 90.0


@pytest.fixture
def pool() -> Iterator[Callable[..., ProcessPool]]:
    made: list[ProcessPool] = []

    def make(workers: int = 1, timeout_s: float = PATIENCE_S, memory_limit: int | None = None) -> ProcessPool:
        made.append(ProcessPool(workers, timeout_s, memory_limit))
        return made[-1]

    yield make
    for item in made:
        item.cancel()


def job(function: Callable[..., dict[str, Any]], **arguments: Any) -> Job:
    return Job(f"{function.__name__} {arguments}", function, arguments)


def collect(pool: ProcessPool, count: int) -> list[Outcome]:
    end, outcomes = time.monotonic() + PATIENCE_S, []
    while len(outcomes) < count and time.monotonic() < end:
        outcomes += pool.poll(1.0)
    return outcomes


def run(pool: ProcessPool, *jobs: Job) -> list[Outcome]:
    for item in jobs:
        pool.submit(item)
    return collect(pool, len(jobs))


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def wait_until(condition: Callable[[], bool]) -> bool:
    end = time.monotonic() + PATIENCE_S
    while not condition() and time.monotonic() < end:
        time.sleep(0.02)
    return condition()


def test_results_come_back_and_one_process_serves_many_jobs(pool: Callable[..., ProcessPool]) -> None:
    outcomes = run(pool(), *(job(jobs.double, number=n) for n in (1, 2, 3)))
    assert [outcome.status for outcome in outcomes] == ["returned"] * 3
    values = [outcome.value or {} for outcome in outcomes]
    assert [value["value"] for value in values] == [2, 4, 6]
    assert len({value["pid"] for value in values}) == 1
    assert values[0]["pid"] != os.getpid()


def test_jobs_run_side_by_side_up_to_the_number_of_workers(pool: Callable[..., ProcessPool], tmp_path: Path) -> None:
    two = pool(workers=2)
    for name in ("a", "b", "c"):
        two.submit(job(jobs.sleep, seconds=60, witness=str(tmp_path / name)))
    assert wait_until(lambda: not two.poll(0.01) and (tmp_path / "a").exists() and (tmp_path / "b").exists())
    assert len(set(two.pids)) == 2
    assert not (tmp_path / "c").exists()


def test_every_way_to_end_is_named_and_the_pool_goes_on(pool: Callable[..., ProcessPool]) -> None:
    outcomes = run(
        pool(),
        job(jobs.fail, text="value 7 found,\nexpected 8"),
        job(jobs.end_by, number=signal.SIGKILL),
        job(jobs.end_by, number=signal.SIGSEGV),
        job(jobs.leave, code=3),
        job(jobs.double, number=21),
    )
    assert [outcome.status for outcome in outcomes] == ["raised", "died", "died", "died", "returned"]
    errors = [outcome.error or "" for outcome in outcomes]
    assert errors[0].startswith("ValueError: value 7 found, expected 8 (_cohort_files.py:")
    assert "was killed by SIGKILL (exit code -9), likely out of memory" in errors[1]
    assert "was killed by SIGSEGV (exit code -11)" in errors[2]
    assert "memory" not in errors[2]
    assert "ended with exit code 3" in errors[3]
    assert (outcomes[-1].value or {})["value"] == 42


def test_a_job_that_takes_too_long_is_killed_and_named(pool: Callable[..., ProcessPool], tmp_path: Path) -> None:
    impatient = pool(timeout_s=0.3)
    outcomes = run(impatient, job(jobs.sleep, seconds=600, witness=str(tmp_path / "pid")), job(jobs.double, number=1))
    assert [outcome.status for outcome in outcomes] == ["timeout", "returned"]
    told = re.fullmatch(r"took longer than 0.3 s; its worker \(pid (\d+)\) was killed", outcomes[0].error or "")
    assert told and not alive(int(told[1]))


def test_a_worker_that_died_while_idle_costs_no_job(pool: Callable[..., ProcessPool]) -> None:
    one = pool()
    (first,) = run(one, job(jobs.double, number=1))
    pid = (first.value or {})["pid"]
    os.kill(pid, signal.SIGKILL)
    assert wait_until(lambda: not alive(pid))
    (second,) = run(one, job(jobs.double, number=2))
    assert second.status == "returned"


def test_the_memory_limit_makes_a_large_case_fail_alone(pool: Callable[..., ProcessPool]) -> None:
    outcomes = run(pool(memory_limit=1 << 30), job(jobs.allocate, megabytes=2048), job(jobs.allocate, megabytes=1))
    assert [outcome.status for outcome in outcomes] == ["raised", "returned"]
    assert (outcomes[0].error or "").startswith("MemoryError")


def test_cancel_kills_what_runs(pool: Callable[..., ProcessPool], tmp_path: Path) -> None:
    one = pool()
    one.submit(job(jobs.sleep, seconds=600, witness=str(tmp_path / "pid")))
    assert wait_until(lambda: not one.poll(0.01) and (tmp_path / "pid").exists())
    pids = list(one.pids)
    one.cancel()
    assert not any(alive(pid) for pid in pids)
    assert one.poll(0.0) == []


def test_no_worker_outlives_a_parent_that_was_killed(tmp_path: Path) -> None:
    code = (
        "import sys, time\n"
        "from data_prep._cohort.pool import Job, ProcessPool\n"
        "from tests.data_prep import _cohort_files as jobs\n"
        "if __name__ == '__main__':\n"
        "    pool = ProcessPool(1, 600.0)\n"
        f"    pool.submit(Job('sleep', jobs.sleep, {{'seconds': 600, 'witness': {str(tmp_path / 'pid')!r}}}))\n"
        "    while True: pool.poll(1.0)\n"
    )
    script = tmp_path / "parent.py"
    script.write_text(code)
    parent = subprocess.Popen([sys.executable, str(script)], env={**os.environ, "PYTHONPATH": str(ROOT)})
    try:
        assert wait_until(lambda: (tmp_path / "pid").exists() and bool((tmp_path / "pid").read_text()))
        worker = int((tmp_path / "pid").read_text())
        assert alive(worker)
    finally:
        parent.kill()
        parent.wait()
    assert wait_until(lambda: not alive(worker))


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (-9, "was killed by SIGKILL (exit code -9), likely out of memory"),
        (-15, "was killed by SIGTERM (exit code -15)"),
        (-200, "was killed by signal 200 (exit code -200)"),
        (1, "ended with exit code 1"),
        (None, "ended without an exit code"),
    ],
)
def test_exit_codes_in_words(code: int | None, words: str) -> None:
    assert cause_of_death(code) == words


def test_a_job_in_an_interpreter_of_its_own_ends_in_the_same_ways(tmp_path: Path) -> None:
    module = "tests.data_prep._cohort_files"
    assert run_in_child(f"{module}:double", {"number": 4}, PATIENCE_S, None)[1]["value"] == 8
    status, error = run_in_child(f"{module}:fail", {"text": "no"}, PATIENCE_S, None)
    assert (status, error.partition(" (")[0]) == ("raised", "ValueError: no")
    status, error = run_in_child(f"{module}:end_by", {"number": int(signal.SIGKILL)}, PATIENCE_S, None)
    assert (status, error) == ("died", "its worker was killed by SIGKILL (exit code -9), likely out of memory")
    status, error = run_in_child(f"{module}:sleep", {"seconds": 60, "witness": str(tmp_path / "pid")}, 3.0, None)
    assert (status, error) == ("timeout", "took longer than 3 s; its worker was killed")
