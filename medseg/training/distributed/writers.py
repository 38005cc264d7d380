"""One process writes: which handlers the others leave out."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from monai.handlers import CheckpointSaver, StatsHandler, TensorBoardHandler

from medseg.training.distributed.ranks import is_writer

__all__ = ["for_this_process"]

_WRITERS = (CheckpointSaver, StatsHandler, TensorBoardHandler)


def for_this_process(handlers: Iterable[Any]) -> list[Any]:
    """All handlers in the first process; in the others only those that write no files and no log.

    Handlers of medseg that write have the attribute ``writes = True``; give it to your own too. Of MONAI's, the savers
    of checkpoints and the handlers for the log and for TensorBoard are left out.

    Args:
        handlers: those of an engine, in their order.

    >>> for_this_process(["any handler"])  # a single process is the first one
    ['any handler']
    """
    return [handler for handler in handlers if is_writer() or not _writes(handler)]


def _writes(handler: Any) -> bool:
    return getattr(handler, "writes", False) is True or isinstance(handler, _WRITERS)
