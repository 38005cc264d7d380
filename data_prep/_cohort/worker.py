"""The life of a worker process: it serves jobs one by one, keeps to its limits and dies with its parent."""

from __future__ import annotations

import ctypes
import importlib
import json
import os
import signal
import subprocess
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from medseg.io.bounded.atomic import json_text

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

__all__ = ["Job", "Outcome", "cause_of_death", "run_in_child", "serve"]

_PR_SET_PDEATHSIG = 1
_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


class Job(NamedTuple):
    """One piece of work that can be sent to another process.

    Attributes:
        name: what the job is called in messages.
        function: a function at the top level of a module; it returns a plain JSON object.
        arguments: its keyword arguments, plain JSON values.
    """

    name: str
    function: Callable[..., dict[str, Any]]
    arguments: dict[str, Any]


class Outcome(NamedTuple):
    """How a job ended.

    Attributes:
        job: the job.
        status: ``returned``, ``raised`` (an exception left the function), ``died`` (its process ended on the way) or
            ``timeout`` (its process was killed for taking too long).
        value: what the function returned, or None.
        error: one line that names the cause, or None.
    """

    job: Job
    status: str
    value: dict[str, Any] | None
    error: str | None


def serve(connection: Connection, parent: int, memory_limit: int | None) -> None:
    """Main function of a worker: receive ``(function, arguments)`` until the other end is closed.

    For every job it sends ``("started", None)`` and then ``("returned", value)`` or ``("raised", text)``.

    Args:
        connection: duplex pipe to the parent.
        parent: process id of the parent.
        memory_limit: address space in bytes, or None.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the parent decides what it means
    _enter(parent, memory_limit)
    while True:
        try:
            function, arguments = connection.recv()
        except EOFError:
            return
        connection.send(("started", None))
        connection.send(_call(function, arguments))


def _enter(parent: int, memory_limit: int | None) -> None:
    for name in _THREADS:  # one core a worker; must come before NumPy is loaded
        os.environ.setdefault(name, "1")
    _die_with_parent(parent)
    if memory_limit is not None:
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (memory_limit, memory_limit))


def _die_with_parent(parent: int) -> None:
    """Ask the kernel for SIGKILL when the parent ends, however it ends, so that no orphan works on."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:  # it ended before the request
        os._exit(1)


def _call(function: Callable[..., dict[str, Any]], arguments: dict[str, Any]) -> tuple[str, Any]:
    try:
        return "returned", function(**arguments)
    except Exception as error:
        if isinstance(error, OSError) and error.errno:
            from medseg.io.bounded.errors import os_error_line

            return "raised", os_error_line(error)
        frame = traceback.extract_tb(error.__traceback__)[-1]
        text = " ".join(str(error).split())
        return "raised", f"{type(error).__name__}: {text} ({Path(frame.filename).name}:{frame.lineno})"


def cause_of_death(exit_code: int | None) -> str:
    """What an exit code says: ``was killed by SIGKILL (exit code -9), likely out of memory``."""
    if exit_code is None:
        return "ended without an exit code"
    if exit_code >= 0:
        return f"ended with exit code {exit_code}"
    try:
        name = signal.Signals(-exit_code).name
    except ValueError:
        name = f"signal {-exit_code}"
    hint = ", likely out of memory" if exit_code == -signal.SIGKILL else ""
    return f"was killed by {name} (exit code {exit_code}){hint}"


def run_in_child(
    function: str, arguments: dict[str, Any], timeout_s: float, memory_limit: int | None
) -> tuple[str, Any]:
    """Run one job in a fresh interpreter under supervision: for schedulers that cannot kill a running job.

    Args:
        function: ``module:function``.
        arguments: its keyword arguments, plain JSON values.
        timeout_s: the child is killed after this time.
        memory_limit: its address space in bytes, or None.

    Returns:
        Status and value, or error, as in `Outcome`.
    """
    order = json_text([function, arguments, os.getpid(), memory_limit], indent=None)
    command = [sys.executable, "-m", "data_prep._cohort.worker"]
    # The folder that holds this package, so that the child finds it wherever it was imported from.
    path = os.pathsep.join(filter(None, [str(Path(__file__).resolve().parents[2]), os.environ.get("PYTHONPATH")]))
    environment = {**os.environ, "PYTHONPATH": path}
    try:
        done = subprocess.run(
            command, input=order, stdout=subprocess.PIPE, text=True, timeout=timeout_s, check=False, env=environment
        )
    except subprocess.TimeoutExpired:
        return "timeout", f"took longer than {timeout_s:g} s; its worker was killed"
    if done.returncode:
        return "died", f"its worker {cause_of_death(done.returncode)}"
    status, value = json.loads(done.stdout.splitlines()[-1])
    return status, value


def _child() -> None:
    """Serve the one order on stdin; whatever libraries print goes to stderr, the answer alone to stdout."""
    answer = os.dup(1)
    os.dup2(2, 1)
    name, arguments, parent, memory_limit = json.load(sys.stdin)
    _enter(parent, memory_limit)
    module, _, function = name.partition(":")
    status, value = _call(getattr(importlib.import_module(module), function), arguments)
    with os.fdopen(answer, "w") as stream:
        stream.write(json_text([status, value], indent=None) + "\n")


if __name__ == "__main__":
    _child()
