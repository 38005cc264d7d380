"""Samples as a function of seed, epoch and number: the same for all numbers of workers and processes."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import torch
from monai.transforms import Randomizable
from torch.utils.data import Dataset, Sampler

__all__ = ["EpochBatches", "SampleKey", "SeededDataset", "derived_seed", "step_seed"]

_STEP = 1  # keeps the seeds of steps apart from those of samples


class SampleKey(NamedTuple):
    """Which sample, and in which epoch.

    Attributes:
        epoch: from 1.
        number: place in the data set, from 0.
    """

    epoch: int
    number: int


def derived_seed(*numbers: int) -> int:
    """A seed of 32 bits for a tuple of whole numbers from 0; near tuples give unrelated seeds.

    >>> derived_seed(0, 1, 2) == derived_seed(0, 1, 2), derived_seed(0, 1, 2) == derived_seed(0, 2, 1)
    (True, False)
    """
    return int(np.random.SeedSequence(numbers).generate_state(1)[0])


def step_seed(seed: int, step: int, rank: int = 0) -> int:
    """The seed for what a training step draws itself, such as dropout.

    Args:
        seed: of the run.
        step: number of the step over all epochs, from 1.
        rank: number of the process.

    >>> step_seed(0, 1) == step_seed(0, 1), step_seed(0, 1) == step_seed(0, 2)
    (True, False)
    """
    return derived_seed(seed, _STEP, step, rank)


class EpochBatches(Sampler[list[SampleKey]]):
    """Batch sampler whose order depends on the seed and the epoch alone, divided among processes.

    All processes draw one order and cut it into batches of ``batch_size * world`` samples; process ``rank`` takes every
    ``world``-th sample of each of them. So the samples of a step do not depend on how many processes share it. Where
    the last batch has no sample for a process, that process gets the first sample of the batch, so that all do the same
    steps (`medseg.training.distributed.StandIns` gives it no weight).

    Args:
        length: number of samples.
        batch_size: samples of one process in a batch; together the processes take ``batch_size * world``.
        seed: of the order.
        shuffle: a new order in every epoch, or that of the data set.
        rank: number of this process.
        world: number of processes.

    Raises:
        ValueError: for numbers out of range.

    >>> batches = EpochBatches(length=5, batch_size=2, shuffle=False)
    >>> [[key.number for key in batch] for batch in batches]
    [[0, 1], [2, 3], [4]]
    >>> [[key.epoch for key in batch] for batch in batches]
    [[2, 2], [2, 2], [2]]
    """

    def __init__(
        self, length: int, batch_size: int, seed: int = 0, shuffle: bool = True, rank: int = 0, world: int = 1
    ) -> None:
        if length < 0 or batch_size < 1 or seed < 0 or not 0 <= rank < world:
            raise ValueError(
                f"EpochBatches: length {length}, batch_size {batch_size}, seed {seed}, rank {rank} of {world}; "
                "expected length and seed from 0, batch_size from 1, and rank below the number of processes"
            )
        self.length, self.batch_size, self.seed, self.shuffle = length, batch_size, seed, shuffle
        self.rank, self.world = rank, world
        self._next = (1, 0)

    def set_epoch(self, epoch: int, done: int = 0) -> None:
        """What the next iteration gives: the epoch, without its first ``done`` batches."""
        self._next = (epoch, done)

    def __len__(self) -> int:
        return -(-self.length // (self.batch_size * self.world))

    def __iter__(self) -> Iterator[list[SampleKey]]:
        epoch, done = self._next
        self._next = (epoch + 1, 0)
        order = np.arange(self.length)
        if self.shuffle:
            order = np.random.default_rng([self.seed, epoch]).permutation(self.length)
        whole = self.batch_size * self.world
        for start in range(done * whole, self.length, whole):
            batch = order[start : start + whole].tolist()
            yield [SampleKey(epoch, index) for index in batch[self.rank :: self.world] or batch[:1]]


class SeededDataset(Dataset[Any]):
    """A data set whose random transforms are seeded for every sample, by seed, epoch and index.

    A sample is then the same in the main process, in any number of workers, in any process of a group, and after a
    resume. Transforms that draw from the global generators of torch, NumPy or Python are seeded, too; in the main
    process the state of these generators is put back.

    Args:
        dataset: such as MONAI's ``Dataset`` or ``CacheDataset``, with its transforms in ``transform``.
        seed: at least 0.

    >>> from monai.data import Dataset as MonaiDataset
    >>> from monai.transforms import RandScaleIntensity
    >>> data = SeededDataset(MonaiDataset([torch.ones(1, 1)] * 4, RandScaleIntensity(0.5, prob=1.0)), seed=3)
    >>> float(data[SampleKey(1, 2)]) == float(data[SampleKey(1, 2)]), float(data[SampleKey(1, 2)]) == float(data[1, 3])
    (True, False)
    """

    def __init__(self, dataset: Dataset[Any], seed: int = 0) -> None:
        self.dataset, self.seed = dataset, seed

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, key: SampleKey | tuple[int, int]) -> Any:
        """The sample.

        Args:
            key: epoch and index, as `EpochBatches` gives them.

        Raises:
            TypeError: for an index alone, which does not say the epoch.
        """
        if not isinstance(key, tuple) or len(key) != 2:
            raise TypeError(
                f"SeededDataset: the key is {key!r}; expected (epoch, index), as medseg.training.EpochBatches gives it"
            )
        epoch, index = key
        seed = derived_seed(self.seed, epoch, index)
        transform = getattr(self.dataset, "transform", None)
        if isinstance(transform, Randomizable):
            transform.set_random_state(seed=seed)
        numpy_state, python_state = np.random.get_state(), random.getstate()
        try:
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(seed)
                np.random.seed(seed)
                random.seed(seed)
                return self.dataset[index]
        finally:
            np.random.set_state(numpy_state)
            random.setstate(python_state)
