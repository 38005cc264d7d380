"""Errors in a group of processes: each is said once."""

from __future__ import annotations

from medseg.io.bounded.errors import DataError

__all__ = ["EveryProcessError", "is_loss_of_a_process"]

# What gloo and NCCL say where another process of the group has gone.
_LOST = ("Connection closed by peer", "Connection reset by peer", "Broken pipe", "remote process", "gloo/transport")


class EveryProcessError(DataError):
    """An error that every process of the group raises at the same place, so that one of them says it for all.

    >>> raise EveryProcessError("epoch 3: the loss is nan")
    Traceback (most recent call last):
        ...
    medseg.training.distributed.errors.EveryProcessError: epoch 3: the loss is nan
    """


def is_loss_of_a_process(error: BaseException) -> bool:
    """Whether an error, or one that it was raised from, says that another process of the group has gone.

    Args:
        error: as it arrives at the top.

    >>> is_loss_of_a_process(RuntimeError("[gloo/transport/tcp/pair.cc:547] Connection closed by peer [127.0.0.1]"))
    True
    >>> is_loss_of_a_process(RuntimeError("CUDA out of memory"))
    False
    """
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, RuntimeError) and any(words in str(cause) for words in _LOST):
            return True
        cause = cause.__cause__
    return False
