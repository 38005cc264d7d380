"""The batches of an epoch as a function of the seed and the epoch, divided among processes."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from torch.utils.data import Sampler

__all__ = ["EpochBatches"]


class EpochBatches(Sampler[list[int]]):
    """Batch sampler whose order depends on the seed and the epoch alone; every start of an iteration is a new epoch.

    Process r of n takes samples r, r + n, r + 2n ... of every joint batch, so the joint batches are those of one
    process with n times the batch size. A process without a share of the last one takes its first sample (see
    `medseg.training.distributed.StandIns`), so that all processes do the same number of steps.

    Args:
        length: number of samples.
        batch_size: samples of one process in a batch; together the processes take ``batch_size * world``.
        seed: of the order.
        shuffle: a new order in every epoch, or that of the data set.
        rank: number of this process.
        world: number of processes.

    Raises:
        ValueError: for a batch size below 1.

    >>> [sorted(batch) for batch in EpochBatches(3, 3)]
    [[0, 1, 2]]
    """

    def __init__(
        self, length: int, batch_size: int, seed: int = 0, shuffle: bool = True, rank: int = 0, world: int = 1
    ) -> None:
        if batch_size < 1:
            raise ValueError(f"batch_size is {batch_size}; expected at least 1")
        self.length, self.batch_size, self.seed, self.shuffle = length, batch_size, seed, shuffle
        self.rank, self.world, self.epoch = rank, world, 0

    def __len__(self) -> int:
        return -(-self.length // (self.batch_size * self.world))

    def __iter__(self) -> Iterator[list[int]]:
        self.epoch += 1
        order = np.arange(self.length)
        if self.shuffle:
            order = np.random.default_rng([self.seed, self.epoch]).permutation(self.length)
        whole = self.batch_size * self.world
        for start in range(0, self.length, whole):
            batch = order[start : start + whole].tolist()
            yield batch[self.rank :: self.world] or batch[:1]
