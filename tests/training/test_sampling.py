"""Batches as a function of seed and epoch, shared among processes."""

from __future__ import annotations

import pytest

from medseg.training.sampling import EpochBatches


def epoch(**options: int | bool) -> list[list[int]]:
    return list(EpochBatches(7, **{"batch_size": 1, **options}))  # type: ignore[arg-type]


def test_the_shares_of_all_processes_are_the_batches_of_one() -> None:
    shares = [epoch(batch_size=2, rank=rank, world=2) for rank in range(2)]
    joint = epoch(batch_size=4)
    assert [len(batch) for batch in joint] == [4, 3]
    for first, second, whole in zip(*shares, joint, strict=True):
        assert (first, second) == (whole[0::2], whole[1::2])


def test_a_process_without_a_share_takes_a_sample_of_the_batch_and_does_as_many_steps() -> None:
    batches = [epoch(batch_size=1, rank=rank, world=3) for rank in range(3)]
    assert [len(found) for found in batches] == [3, 3, 3]
    assert batches[1][-1] == batches[2][-1] == batches[0][-1]


def test_every_epoch_has_an_order_of_its_own_that_another_run_repeats() -> None:
    sampler = EpochBatches(7, 7, seed=3)
    first, second = next(iter(sampler)), next(iter(sampler))
    assert first != second and sorted(first) == sorted(second) == list(range(7))
    again = EpochBatches(7, 7, seed=3)
    assert [next(iter(again)), next(iter(again))] == [first, second]
    assert next(iter(EpochBatches(7, 7, seed=4))) != first
    assert epoch(batch_size=7, shuffle=False) == [list(range(7))]


def test_a_batch_has_a_sample() -> None:
    with pytest.raises(ValueError, match=r"^batch_size is 0; expected at least 1$"):
        EpochBatches(7, 0)
