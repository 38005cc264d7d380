"""Two processes that share cases and samples find what a single one finds, and wait for nothing."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.multiprocessing as mp

from tests.training.distributed._two_processes import PROCESSES, evaluated, trained, work


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """What each process found; they run once for all tests."""
    if not torch.distributed.is_available() or not torch.distributed.is_gloo_available():
        pytest.skip("this torch has no gloo")
    folder = tmp_path_factory.mktemp("group")
    mp.spawn(work, (str(folder),), nprocs=PROCESSES)
    return [torch.load(Path(folder) / f"{rank}.pt", weights_only=True) for rank in range(PROCESSES)]


def test_a_flag_of_one_process_is_known_to_all(answers: list[dict[str, Any]]) -> None:
    assert [found["any"] for found in answers] == [[False, True, True]] * PROCESSES
    assert [found["gathered"] for found in answers] == [[["0.nii"], ["1.nii"]]] * PROCESSES


@pytest.mark.parametrize("number", [1, 2, 5])
def test_the_score_and_the_files_of_shared_cases_are_those_of_one_process_to_the_last_bit(
    number: int, answers: list[dict[str, Any]], tmp_path: Path
) -> None:
    one = evaluated(number, tmp_path)
    found = [answer["evaluated"][number] for answer in answers]
    assert [f["score"] for f in found] == [one["score"]] * PROCESSES
    assert [f["cases"] for f in found] == [(number + 1) // 2, number // 2], "no case is evaluated twice"
    assert found[0]["files"] == one["files"] and f"case_{number - 1}.nii" in str(one["files"])


def test_without_any_foreground_the_score_is_undefined(answers: list[dict[str, Any]]) -> None:
    assert all(math.isnan(found["undefined"]["score"]) for found in answers)


def test_all_processes_validate_in_the_same_epochs_also_without_a_case_of_their_own(
    answers: list[dict[str, Any]],
) -> None:
    for found in answers:
        assert found["validations"] == {0: [], 1: [2, 3], 2: [2, 3]}


def test_a_loss_that_is_not_finite_in_one_process_stops_all_and_names_the_cases_of_all(
    answers: list[dict[str, Any]],
) -> None:
    line = (
        "epoch 1, iteration 2 (cases: 0.nii, 1.nii): the loss is nan, so the training was stopped; lower learning_rate"
    )
    for found in answers:
        assert found["guard"].startswith(line)
        assert found["fine"] == ""


@pytest.mark.parametrize("length", [1, 3, 4])
def test_epochs_whose_last_batch_is_smaller_than_the_group_are_those_of_one_process(
    length: int, answers: list[dict[str, Any]]
) -> None:
    one = trained(length, PROCESSES)
    for answer in answers:
        found = answer["trained"][length]
        assert found["losses"] == pytest.approx(one["losses"], abs=1e-12)
        torch.testing.assert_close(found["weights"], one["weights"], rtol=0, atol=1e-10)


def test_one_process_writes(answers: list[dict[str, Any]]) -> None:
    writers = ["BestWeightsSaver", "LastWeightsSaver", "HistoryHandler", "StatsHandler"]
    assert [found["handlers"] for found in answers] == [[*writers, "FiniteLossGuard"], ["FiniteLossGuard"]]
