"""Questions to the process group, each with its answer for a single process."""

from __future__ import annotations

from typing import Any, TypeVar

import torch
import torch.distributed as dist

__all__ = ["any_rank", "gathered", "is_writer", "processes", "rank"]

T = TypeVar("T")


def processes() -> int:
    """Number of processes in the group; 1 without a group.

    >>> processes()
    1
    """
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def rank() -> int:
    """Number of this process in the group, from 0; 0 without a group.

    >>> rank()
    0
    """
    return dist.get_rank() if dist.is_available() and dist.is_initialized() else 0


def is_writer() -> bool:
    """Whether this process writes files and the log: the one of rank 0.

    >>> is_writer()
    True
    """
    return rank() == 0


def any_rank(flag: bool) -> bool:
    """Whether the flag is true in any process. Every process has to ask.

    >>> any_rank(False), any_rank(True)
    (False, True)
    """
    if processes() == 1:
        return flag
    device = "cuda" if dist.get_backend() == "nccl" else "cpu"
    told = torch.tensor(int(flag), dtype=torch.int32, device=device)
    dist.all_reduce(told, dist.ReduceOp.MAX)
    return bool(told)


def gathered(value: T) -> list[T]:
    """The values of all processes in the order of their ranks. Every process has to ask.

    Args:
        value: anything that can be pickled, such as a list of names or a tensor on the CPU.

    >>> gathered("a.nii.gz")
    ['a.nii.gz']
    """
    if processes() == 1:
        return [value]
    found: list[Any] = [None] * processes()
    dist.all_gather_object(found, value)
    return found
