"""Where the cases of a cohort run: processes of this machine, or a Dask cluster, behind three methods."""

from __future__ import annotations

import importlib.util
import time
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from data_prep._cohort.pool import ProcessPool
from data_prep._cohort.worker import Job, Outcome, run_in_child
from data_prep._options.command_line import UsageError

if TYPE_CHECKING:
    from distributed import Client, Future

__all__ = ["EXECUTORS", "DaskExecutor", "Executor", "Limits", "make_executor"]

EXECUTORS = ("pool", "dask")


class Limits(NamedTuple):
    """What a job may use.

    Attributes:
        workers: jobs at a time.
        timeout_s: seconds for one job.
        memory_limit: bytes of address space for one worker, or None.
    """

    workers: int
    timeout_s: float
    memory_limit: int | None = None


class Executor(Protocol):
    """Runs jobs somewhere. ``capacity`` is the number of jobs that it can run at a time."""

    capacity: int

    def submit(self, job: Job) -> None:
        """Accept a job."""

    def poll(self, timeout_s: float) -> list[Outcome]:
        """The jobs that ended: at once when there are any, or after the given time with none."""

    def cancel(self) -> None:
        """Stop all jobs and give back what they hold."""


def make_executor(kind: str, limits: Limits, scheduler: str | None = None) -> Executor:
    """The executor of a name.

    Args:
        kind: ``pool`` or ``dask``.
        limits: what jobs may use.
        scheduler: for Dask its address, or ``local`` for a cluster on this machine that lives as long as the executor.

    Raises:
        UsageError: if a package or the scheduler is missing.
    """
    if kind == "pool":
        return ProcessPool(limits.workers, limits.timeout_s, limits.memory_limit)
    if importlib.util.find_spec("distributed") is None:
        raise UsageError("--executor dask needs the package distributed: pip install 'medseg[dask]'")
    return DaskExecutor(scheduler or "local", limits)


class DaskExecutor:
    """Executor on a Dask cluster; every job runs in an interpreter of its own, so that it can be killed when it hangs.

    Input and output folders must be reachable by the same paths from every Dask worker, and medseg must be installed
    there. After `cancel`, a job that had begun on a remote worker ends by itself; its output is whole or absent.

    Args:
        scheduler: address such as ``tcp://host:8786``, or ``local``.
        limits: what jobs may use; the number of workers counts for ``local`` only, a cluster has as many as it has.

    Raises:
        UsageError: if no scheduler answers at the address.
    """

    def __init__(self, scheduler: str, limits: Limits) -> None:
        from distributed import Client, LocalCluster

        self._limits = limits
        self._cluster: Any = None
        if scheduler == "local":
            # Threads: each only waits for the interpreter that does the work.
            self._cluster = LocalCluster(
                n_workers=1, threads_per_worker=limits.workers, processes=False, dashboard_address=None
            )
        try:
            self._client: Client = Client(self._cluster or scheduler, timeout=20)
        except (OSError, ValueError) as error:
            raise UsageError(f"--scheduler {scheduler}: no Dask scheduler answers there ({error})") from error
        self.capacity = max(1, sum(self._client.nthreads().values()))
        self._running: dict[Future, Job] = {}

    def submit(self, job: Job) -> None:
        """Send a job to the cluster."""
        function = f"{job.function.__module__}:{job.function.__qualname__}"
        limits = self._limits
        future = self._client.submit(
            run_in_child, function, job.arguments, limits.timeout_s, limits.memory_limit, pure=False, retries=0
        )
        self._running[future] = job

    def poll(self, timeout_s: float) -> list[Outcome]:
        """The jobs that ended."""
        end = time.monotonic() + timeout_s
        while not (ended := [future for future in self._running if future.done()]) and time.monotonic() < end:
            time.sleep(min(0.02, timeout_s))
        return [self._outcome(future, self._running.pop(future)) for future in ended]

    def cancel(self) -> None:
        """Forget all jobs and leave the cluster; one of this machine is closed."""
        self._client.cancel(list(self._running))
        self._running.clear()
        self._client.close()
        if self._cluster is not None:
            self._cluster.close()

    @staticmethod
    def _outcome(future: Future, job: Job) -> Outcome:
        if future.status != "finished":
            error = future.exception() if future.status == "error" else None
            text = " ".join(str(error or future.status).split())
            return Outcome(job, "died", None, f"its Dask worker was lost ({text})")
        status, value = future.result()
        returned = status == "returned"
        return Outcome(job, status, value if returned else None, None if returned else value)
