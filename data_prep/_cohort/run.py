"""Runs the cases of one part: under a lock, supervised, with a record of how every case ended."""

from __future__ import annotations

import shutil
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from data_prep._cohort.executors import Executor
from data_prep._cohort.plan import Plan
from data_prep._cohort.stop import StopSignal
from data_prep._cohort.worker import Job, Outcome
from data_prep._options.command_line import UsageError
from medseg.io.cohort.locks import PartBusyError, part_lock
from medseg.io.cohort.manifest import Manifest

__all__ = ["run_jobs", "workplace"]

_POLL_S = 0.25
_MESSAGES = frozenset({"error", "first_attempt"})


@contextmanager
def workplace(out: Path, part: int, parts: int) -> Iterator[Path]:
    """Hold one part of a cohort and give an empty folder for its work in progress.

    What a killed run of the same part left there is removed first: the lock says that it runs no more.

    Args:
        out: the cohort's output folder, made if missing.
        part: number of the part, from 0.
        parts: number of parts.

    Raises:
        UsageError: if another run holds the part.
    """
    private = out / ".cohort"
    private.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        try:
            stack.enter_context(part_lock(private, part, parts))
        except PartBusyError as error:
            raise UsageError(str(error)) from None
        staging = private / f"work-{part}-of-{parts}"
        staging.mkdir(exist_ok=True)
        for left in staging.iterdir():  # a worker of the killed run may be dying in it at this moment
            shutil.rmtree(left, ignore_errors=True)
        try:
            yield staging.resolve()
        finally:
            shutil.rmtree(staging, ignore_errors=True)


def run_jobs(
    plan: Plan,
    executor: Executor,
    manifest: Manifest,
    stop: StopSignal,
    report: Callable[[dict[str, Any]], None],
    hide: Callable[[str], str] = str,
    shows_names: bool = False,
) -> None:
    """Run the jobs of a plan; every one that ends is in the manifest before the next is looked at.

    A job whose process died is tried once more when all others are through, with the machine to itself: most such
    deaths are the system's answer to a lack of memory.

    Args:
        plan: from `plan_part`.
        executor: where the jobs run.
        manifest: where the records go.
        stop: raises `RunInterruptedError` between two steps.
        report: called with every record.
        hide: replaces the names of input files in a message; the manifest never holds them.
        shows_names: let ``report`` have the messages as they are.

    Raises:
        RunInterruptedError: after a signal; all jobs were stopped before.
    """

    def note(record: dict[str, Any]) -> None:
        private = {key: hide(record[key]) if record.get(key) else record.get(key) for key in _MESSAGES & record.keys()}
        manifest.append(record | private)
        report(record if shows_names else record | private)

    for record in plan.records:
        note(record)
    waiting, again = deque(plan.jobs), deque[Job]()
    attempts: dict[str, list[str]] = {job.name: [] for job in plan.jobs}
    running = 0
    try:
        while waiting or again or running:
            stop.check()
            while waiting and running < executor.capacity:
                executor.submit(waiting.popleft())
                running += 1
            if again and not running:
                executor.submit(again.popleft())
                running += 1
            for outcome in executor.poll(_POLL_S):
                running -= 1
                deaths = attempts[outcome.job.name]
                if outcome.status == "died":
                    deaths.append(outcome.error or "")
                    if len(deaths) < 2:
                        again.append(outcome.job)
                        continue
                note({**plan.facts[outcome.job.name], **_record(outcome, deaths)})
    except BaseException:
        executor.cancel()
        raise


def _record(outcome: Outcome, deaths: Sequence[str]) -> dict[str, Any]:
    """The manifest record of a job that ended and is not tried again."""
    base = {"case": outcome.job.name, "attempts": len(deaths) + (outcome.status != "died")}
    if outcome.status == "returned":
        return {**base, **(outcome.value or {}), **({"first_attempt": deaths[0]} if deaths else {})}
    error = outcome.error or ""
    if outcome.status == "died":
        error = f"{deaths[0]}; tried once more alone: {deaths[-1]}; give it more memory, or look at this case by itself"
    if outcome.status == "timeout":
        error += "; raise --timeout if the case is that large"
    status = "failed" if outcome.status == "raised" else outcome.status
    return {**base, "status": status, "error": error}
