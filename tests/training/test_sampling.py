"""Samples depend on seed, epoch and place in the data set alone."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest
import torch
from monai.data import CacheDataset, DataLoader, Dataset
from monai.transforms import Compose, Lambda, RandGaussianNoise, RandScaleIntensity

from medseg.training.sampling import EpochBatches, SampleKey, SeededDataset, derived_seed


def global_noise(image: torch.Tensor) -> torch.Tensor:
    """A transform that draws from all global generators, as users' own often do."""
    return image + torch.rand(1) + np.random.rand() + random.random()


def transforms() -> Compose:
    return Compose(
        [Lambda(lambda x: x * 2), RandScaleIntensity(0.5, prob=0.7), RandGaussianNoise(), Lambda(global_noise)]
    )


IMAGES = [torch.full((1, 3, 3), float(n + 1)) for n in range(7)]


def plain() -> Any:
    return Dataset(IMAGES, transforms())


def cached() -> Any:
    return CacheDataset(IMAGES, transforms(), progress=False)


def epochs(dataset: Any, workers: int = 0, seed: int = 0, count: int = 2, **batches: Any) -> list[torch.Tensor]:
    sampler = EpochBatches(len(IMAGES), 2, seed=seed, **batches)
    loader = DataLoader(SeededDataset(dataset, seed), batch_sampler=sampler, num_workers=workers)
    return [torch.as_tensor(batch) for _ in range(count) for batch in loader]


def equal(first: list[torch.Tensor], second: list[torch.Tensor]) -> bool:
    return len(first) == len(second) and all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


@pytest.mark.parametrize("make", [plain, cached])
def test_the_number_of_workers_changes_no_sample(make: Any) -> None:
    expected = epochs(make())
    for workers in (1, 2):
        assert equal(epochs(make(), workers), expected)


def test_another_seed_another_epoch_and_another_sample_draw_otherwise() -> None:
    data = SeededDataset(plain(), 0)
    first = data[SampleKey(1, 0)]
    assert torch.equal(data[SampleKey(1, 0)], first)
    assert not torch.equal(data[SampleKey(2, 0)], first)
    assert not torch.equal(data[SampleKey(1, 1)] / 2, first)
    assert not torch.equal(SeededDataset(plain(), 1)[SampleKey(1, 0)], first)


@pytest.mark.parametrize("world", [2, 3])
def test_processes_take_interleaved_shares_of_the_batches_of_one(world: int) -> None:
    one = list(EpochBatches(len(IMAGES), 2 * world, seed=4))
    shares = [list(EpochBatches(len(IMAGES), 2, seed=4, rank=rank, world=world)) for rank in range(world)]
    for step, batch in enumerate(one):
        for rank in range(world):
            assert shares[rank][step] == (batch[rank::world] or batch[:1])
    assert {len(share) for share in shares} == {len(one)} == {len(EpochBatches(len(IMAGES), 2, world=world))}


def test_every_sample_comes_once_in_an_epoch_and_in_another_order_in_the_next() -> None:
    batches = EpochBatches(20, 3)
    orders = [[key.number for batch in batches for key in batch] for _ in range(3)]
    assert all(sorted(order) == list(range(20)) for order in orders)
    assert len({tuple(order) for order in orders}) == 3


def test_an_epoch_can_begin_in_its_middle() -> None:
    batches = EpochBatches(20, 3, seed=2)
    batches.set_epoch(5)
    whole = list(batches)
    batches.set_epoch(5, done=4)
    assert list(batches) == whole[4:]
    assert {key.epoch for batch in batches for key in batch} == {6}  # and goes on with the next one
    assert len(batches) == 7


def test_the_global_generators_are_left_as_they_were() -> None:
    data = SeededDataset(plain())
    torch.manual_seed(1), np.random.seed(1), random.seed(1)
    expected = torch.rand(1), np.random.rand(), random.random()
    torch.manual_seed(1), np.random.seed(1), random.seed(1)
    data[SampleKey(1, 0)]
    assert (torch.rand(1), np.random.rand(), random.random()) == expected


def test_seeds_of_near_numbers_have_nothing_in_common() -> None:
    seeds = [derived_seed(s, e, n) for s in range(5) for e in range(10) for n in range(20)]
    assert len(set(seeds)) == len(seeds)
    assert 0.45 < np.mean([seed > 2**31 for seed in seeds]) < 0.55


@pytest.mark.parametrize("arguments", [(-1, 1), (3, 0), (3, 1, -1), (3, 1, 0, True, 2, 2)])
def test_numbers_out_of_range_are_refused(arguments: tuple[Any, ...]) -> None:
    with pytest.raises(ValueError, match="EpochBatches: length"):
        EpochBatches(*arguments)


def test_an_index_without_its_epoch_is_refused() -> None:
    with pytest.raises(TypeError, match=r"the key is 3; expected \(epoch, index\)"):
        SeededDataset(plain())[3]  # type: ignore[index]
