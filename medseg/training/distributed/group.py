"""Start and end the group of processes that torchrun has started, and let one of them speak."""

from __future__ import annotations

import logging
import os
import sys
import time
from collections.abc import Callable
from datetime import timedelta
from types import TracebackType

import torch
import torch.distributed as dist

from medseg.io.bounded.errors import DataError
from medseg.training.distributed.errors import EveryProcessError, is_loss_of_a_process
from medseg.training.distributed.ranks import processes, rank

__all__ = ["finish_group", "process_device", "start_group"]

_LOG = logging.getLogger(__name__)
_SAID = "medseg/error"
_PAUSE_S = 1.0  # torchrun stops all as soon as one has ended; the one that speaks must have spoken by then
_VARIABLES = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
_Hook = Callable[[type[BaseException], BaseException, TracebackType | None], object]


def process_device() -> torch.device:
    """The device of this process: the GPU with the process's number on its node, or the CPU without a GPU.

    Raises:
        DataError: if the node has more processes than GPUs.

    >>> process_device().type in ("cuda", "cpu")
    True
    """
    if not torch.cuda.is_available():
        return torch.device("cpu")
    local, found = int(os.environ.get("LOCAL_RANK", "0")), torch.cuda.device_count()
    if local >= found:
        raise DataError(
            f"process {local + 1} of this node has no GPU: found {found}, expected one for each process; start with "
            f"--nproc_per_node={found}"
        )
    return torch.device("cuda", local)


def start_group(device: torch.device, minutes: float = 30.0) -> None:
    """Join the group of all processes: with NCCL on GPUs, with gloo on CPUs. First of all in ``initialize``.

    Started without torchrun, it logs a warning and goes on as a single process. Processes other than the first log
    warnings and errors only. An error of one process ends all: it is printed once, by the process that it came from or,
    if all raise it, by the first.

    Args:
        device: of this process, see `process_device`.
        minutes: how long a process waits for the others before it gives up; the first epoch may include the filling of
            a cache.

    Raises:
        DataError: if the time is not above 0.

    >>> start_group(torch.device("cpu"))  # not started by torchrun
    >>> finish_group()
    """
    if not 0 < minutes < 1e6:
        raise DataError(f"group_timeout_minutes is {minutes}, expected a number of minutes above 0")
    if dist.is_initialized():
        return
    missing = [name for name in _VARIABLES if name not in os.environ]
    if missing:
        _LOG.warning(
            "%s is not set, so this is a single process; for several start with torchrun --standalone "
            "--nproc_per_node=2 -m monai.bundle run ...",
            missing[0],
        )
        return
    cuda = device.type == "cuda"
    if cuda:
        torch.cuda.set_device(device)
    store, number, world = next(iter(dist.rendezvous("env://", timeout=timedelta(minutes=minutes))))
    dist.init_process_group(
        "nccl" if cuda else "gloo",
        store=dist.PrefixStore("medseg", store),
        rank=number,
        world_size=world,
        timeout=timedelta(minutes=minutes),
        device_id=device if cuda and device.index is not None else None,
    )
    _tell_ignite()
    sys.excepthook = _hook_before(sys.excepthook, store)
    if number:
        logging.getLogger().setLevel(logging.WARNING)
        for handler in logging.getLogger().handlers:
            handler.addFilter(_name_process)
    _LOG.info("%d processes, %s", world, dist.get_backend())


def finish_group() -> None:
    """Leave the group after the run, when all processes have come so far.

    >>> finish_group()  # without a group nothing is done
    """
    if dist.is_available() and dist.is_initialized():
        dist.barrier()
        dist.destroy_process_group()


def _tell_ignite() -> None:
    """Ignite looks at a group by an exchange of its own: all processes have to be there, so not at some later time."""
    import ignite.distributed as idist

    # In a job of Slurm ignite takes the number of the task on its node, which is that of torchrun, for every process.
    os.environ["SLURM_LOCALID"] = os.environ.get("LOCAL_RANK", "0")
    idist.sync()


def _name_process(record: logging.LogRecord) -> bool:
    mark = f"[rank{rank()}]: "  # as torch marks the errors of a process
    if not str(record.msg).startswith(mark):
        record.msg = f"{mark}{record.msg}"
    return True


def _hook_before(before: _Hook, store: dist.Store) -> _Hook:
    def hook(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        try:
            if _is_of_all(error):
                speaks = rank() == 0
            elif is_loss_of_a_process(error):
                # The process that failed has said so before it left; one that was killed has not.
                speaks = not store.check([_SAID])
                error = error if not speaks else _lost_process()
            else:
                speaks = store.add(_SAID, 1) == 1
        except RuntimeError:  # the store has gone with the process that kept it
            speaks = not is_loss_of_a_process(error)
        if not speaks:
            time.sleep(_PAUSE_S)
        else:
            before(type(error), error, error.__traceback__ or trace)
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        logging.shutdown()
        # An ordinary exit would wait for exchanges that no other process takes part in any more.
        os._exit(1)

    return hook


def _lost_process() -> DataError:
    try:
        raise DataError(
            f"process {rank()} of {processes()} has lost another process, which ended without a word (killed, perhaps "
            "for memory); look for its exit code in the lines of torchrun"
        )
    except DataError as error:
        return error


def _is_of_all(error: BaseException | None) -> bool:
    while error is not None:
        if isinstance(error, EveryProcessError):
            return True
        error = error.__cause__
    return False
