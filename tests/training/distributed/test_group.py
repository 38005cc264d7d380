"""The group of processes: which device, which errors, and who says them."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import pytest
import torch

from medseg.io.bounded.errors import DataError
from medseg.training.distributed import EveryProcessError, group, process_device, start_group

LOST = "[gloo/transport/tcp/pair.cc:547] Connection closed by peer [127.0.0.1]:1234"


class Store:
    """What the processes know of each other, here a dictionary."""

    def __init__(self, gone: bool = False) -> None:
        self.counts: dict[str, int] = {}
        self.gone = gone

    def add(self, key: str, amount: int) -> int:
        if self.gone:
            raise RuntimeError("the store has gone")
        self.counts[key] = self.counts.get(key, 0) + amount
        return self.counts[key]

    def check(self, keys: list[str]) -> bool:
        return all(key in self.counts for key in keys)


@pytest.fixture
def ended(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """Exit codes with which processes ended."""
    codes: list[int] = []
    monkeypatch.setattr(group.os, "_exit", codes.append)
    monkeypatch.setattr(group.logging, "shutdown", lambda: None)
    monkeypatch.setattr(group, "_PAUSE_S", 0.0)
    return codes


def says(error: BaseException, store: Store, number: int, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What the process of this number prints when the error arrives at the top."""
    said: list[str] = []
    monkeypatch.setattr(group, "rank", lambda: number)
    monkeypatch.setattr(group, "processes", lambda: 2)
    hook = group._hook_before(lambda kind, error, trace: said.append(str(error)), store)
    hook(type(error), error, None)
    return said


def test_the_first_process_that_fails_says_why_and_the_others_end_without_a_word(
    ended: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store()
    assert says(DataError("a.nii: cut off"), store, 1, monkeypatch) == ["a.nii: cut off"]
    assert says(RuntimeError(LOST), store, 0, monkeypatch) == []
    assert says(DataError("b.nii: cut off"), store, 0, monkeypatch) == []
    assert ended == [1, 1, 1]


def test_a_process_that_is_killed_is_reported_by_one_that_misses_it(
    ended: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    wrapped = RuntimeError("Failed to evaluate '$@train::trainer.run()'")
    wrapped.__cause__ = RuntimeError(LOST)
    (line,) = says(wrapped, Store(), 0, monkeypatch)
    assert line.startswith("process 0 of 2 has lost another process, which ended without a word") and "\n" not in line
    assert ended == [1]


def test_what_all_processes_refuse_is_said_by_the_first(ended: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    error = EveryProcessError("epoch 3: the loss is nan")
    assert [says(error, Store(), number, monkeypatch) for number in (0, 1)] == [["epoch 3: the loss is nan"], []]


def test_without_the_store_a_process_still_says_its_own_error(
    ended: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert says(DataError("a.nii: cut off"), Store(gone=True), 1, monkeypatch) == ["a.nii: cut off"]
    assert ended == [1]


def test_more_processes_than_gpus_are_refused_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert process_device() == torch.device("cuda", 1)
    monkeypatch.setenv("LOCAL_RANK", "2")
    with pytest.raises(DataError, match=r"^process 3 of this node has no GPU: found 2, .* --nproc_per_node=2$"):
        process_device()


@pytest.mark.parametrize("minutes", [0, -1, float("nan")])
def test_a_time_to_wait_has_to_be_above_0(minutes: float) -> None:
    with pytest.raises(DataError, match=r"^group_timeout_minutes is .*, expected a number of minutes above 0$"):
        start_group(torch.device("cpu"), minutes)


def test_a_single_process_keeps_its_own_hook(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    for name in ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.delenv(name, raising=False)
    before = sys.excepthook
    start_group(torch.device("cpu"))
    assert sys.excepthook is before
    assert "RANK is not set, so this is a single process; for several start with torchrun" in caplog.text
