"""A pool of supervised worker processes: crashes and kills are reported as results with a cause."""

from __future__ import annotations

import multiprocessing
import os
import time
from collections import deque
from collections.abc import Sequence
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess

from data_prep._cohort.worker import Job, Outcome, cause_of_death, serve

__all__ = ["Job", "Outcome", "ProcessPool"]

START_LIMIT_S = 300.0
"""Time a new process has to load its modules before it counts as hung."""

_JOIN_S = 10.0


class _Worker:
    """A process with the job that it runs."""

    def __init__(self, memory_limit: int | None) -> None:
        # Spawn: nothing of the parent (threads, locks, open files) is copied into the child.
        context = multiprocessing.get_context("spawn")
        self.connection: Connection
        self.connection, theirs = context.Pipe()
        self.process: SpawnProcess = context.Process(
            target=serve, args=(theirs, os.getpid(), memory_limit), daemon=True
        )
        self.process.start()
        theirs.close()  # from now on a dead worker shows as end of file
        self.job: Job | None = None
        self.deadline = 0.0

    def give(self, job: Job) -> None:
        self.job, self.deadline = job, time.monotonic() + START_LIMIT_S
        self.connection.send((job.function, job.arguments))

    def kill(self) -> None:
        self.process.kill()
        self.process.join(_JOIN_S)
        self.connection.close()


class ProcessPool:
    """Executor on this machine: spawned processes that are watched while they work.

    A worker serves many jobs. One that dies or takes too long is replaced by a new one. All methods must be called from
    one thread, and that thread must outlive the pool: the kernel kills the workers when it ends.

    Args:
        workers: processes at most, at least 1; they start when there is work.
        timeout_s: time for one job; then its process is killed.
        memory_limit: address space of a worker in bytes, or None for no limit.
    """

    def __init__(self, workers: int, timeout_s: float, memory_limit: int | None = None) -> None:
        self.capacity = workers
        self._timeout_s = timeout_s
        self._memory_limit = memory_limit
        self._queue: deque[Job] = deque()
        self._workers: list[_Worker] = []

    def submit(self, job: Job) -> None:
        """Take a job; it starts as soon as a worker is free."""
        self._queue.append(job)
        self._assign()

    def poll(self, timeout_s: float) -> list[Outcome]:
        """The jobs that ended; returns at the first one, or after the given time with none."""
        self._assign()
        busy = [worker for worker in self._workers if worker.job is not None]
        if not busy:
            return []
        rest = max(0.0, min(worker.deadline for worker in busy) - time.monotonic())
        wait([item for worker in busy for item in (worker.connection, worker.process.sentinel)], min(timeout_s, rest))
        outcomes = [outcome for worker in busy if (outcome := self._outcome(worker)) is not None]
        self._assign()
        return outcomes

    def cancel(self) -> None:
        """Kill all workers and forget all jobs; the pool can be used again."""
        self._queue.clear()
        for worker in self._workers:
            worker.process.kill()
        for worker in self._workers:
            worker.kill()
        self._workers.clear()

    @property
    def pids(self) -> Sequence[int]:
        """Process ids of the workers."""
        return [worker.process.pid for worker in self._workers if worker.process.pid is not None]

    def _assign(self) -> None:
        while self._queue:
            free = next((worker for worker in self._workers if worker.job is None), None)
            if free is None:
                if len(self._workers) >= self.capacity:
                    return
                free = _Worker(self._memory_limit)
                self._workers.append(free)
            job = self._queue.popleft()
            try:
                free.give(job)
            except OSError:  # it died while idle: no fault of the job
                free.job = None
                self._queue.appendleft(job)
                self._drop(free)

    def _outcome(self, worker: _Worker) -> Outcome | None:
        job = worker.job
        assert job is not None
        alive = worker.process.is_alive()  # asked first: a last message may come between its arrival and its end
        try:
            while worker.connection.poll():
                status, value = worker.connection.recv()
                if status == "started":
                    worker.deadline = time.monotonic() + self._timeout_s
                    continue
                worker.job = None
                returned = status == "returned"
                return Outcome(job, status, value if returned else None, None if returned else value)
        except (EOFError, OSError):
            return self._dead(worker, job)
        if not alive:
            return self._dead(worker, job)
        if time.monotonic() >= worker.deadline:
            pid = worker.process.pid
            self._drop(worker)
            return Outcome(
                job, "timeout", None, f"took longer than {self._timeout_s:g} s; its worker (pid {pid}) was killed"
            )
        return None

    def _dead(self, worker: _Worker, job: Job) -> Outcome:
        worker.process.join(_JOIN_S)
        pid, exit_code = worker.process.pid, worker.process.exitcode
        self._drop(worker)
        return Outcome(job, "died", None, f"its worker (pid {pid}) {cause_of_death(exit_code)}")

    def _drop(self, worker: _Worker) -> None:
        worker.kill()
        self._workers.remove(worker)
