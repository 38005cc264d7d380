"""The share of a list that belongs to one process, and the list put together again."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

from medseg.training.distributed.ranks import processes, rank

__all__ = ["interleaved", "share_of"]

T = TypeVar("T")


def share_of(cases: Sequence[T]) -> list[T]:
    """Every n-th case, from the one of this process's rank on, for n processes; no case is repeated.

    The shares differ by one case at most; with fewer cases than processes some are empty.

    Args:
        cases: the whole list, the same in all processes.

    >>> share_of(["a", "b", "c"])  # one process
    ['a', 'b', 'c']
    """
    return list(cases[rank() :: processes()])


def interleaved(shares: Sequence[Sequence[T]]) -> list[T]:
    """The whole list in its order, from the shares of all processes.

    Args:
        shares: what `share_of` gives in each process, by rank.

    >>> interleaved([["a", "c"], ["b"], []])
    ['a', 'b', 'c']
    """
    longest = max((len(share) for share in shares), default=0)
    return [share[at] for at in range(longest) for share in shares if at < len(share)]
