"""The batches of an epoch as a function of the seed and the epoch, divided among processes."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from torch.utils.data import Sampler

__all__ = ["EpochBatches"]


class EpochBatches(Sampler[list[int]]):
    """Batch sampler whose order depends on the seed and the epoch alone.

    Args:
        length: number of samples.
        batch_size: samples of one process in a batch; together the processes take ``batch_size * world``.
        seed: of the order.
        shuffle: a new order in every epoch, or that of the data set.
        rank: number of this process.
        world: number of processes.

    >>> [sorted(batch) for batch in EpochBatches(3, 3)]
    [[0, 1, 2]]
    """

    def __init__(
        self, length: int, batch_size: int, seed: int = 0, shuffle: bool = True, rank: int = 0, world: int = 1
    ) -> None:
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
