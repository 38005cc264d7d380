"""Two processes that share the batches train as one process with the whole batches, with every loss."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import monai.losses
import pytest
import torch
import torch.multiprocessing as mp
from torch import nn

import medseg.losses
from medseg.losses import AcrossRanks, CrossEntropyLoss, DiceCELoss, DiceLoss
from tests.losses._two_ranks import DTYPES, PROCESSES, batch, cases, trained, work

NAMES = list(cases(torch.float32))
TOLERANCE = {torch.float64: 1e-10, torch.float32: 1e-5}


@pytest.fixture(scope="module")
def processes(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """What each process found; they run once for all tests."""
    if not torch.distributed.is_available() or not torch.distributed.is_gloo_available():
        pytest.skip("this torch has no gloo")
    folder = tmp_path_factory.mktemp("group")
    mp.spawn(work, (str(folder),), nprocs=PROCESSES)
    return [torch.load(Path(folder) / f"{rank}.pt", weights_only=True) for rank in range(PROCESSES)]


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("name", NAMES)
def test_three_steps_of_two_processes_are_those_of_one_with_the_whole_batch(
    name: str, dtype: torch.dtype, processes: list[dict[str, Any]]
) -> None:
    one, tolerance = trained(name, dtype, None), TOLERANCE[dtype]
    for process in processes:
        found = process["found"][f"{name} {dtype}"]
        torch.testing.assert_close(found["parameters"], one["parameters"], rtol=0, atol=tolerance)
        assert found["losses"] == pytest.approx(one["losses"], abs=tolerance, rel=tolerance)


@pytest.mark.parametrize("name", ["Dice + CE of the batch", "V-Net Dice", "cross entropy with weights"])
def test_the_mean_over_processes_would_be_another_loss(name: str) -> None:
    """So the comparison above can fail."""
    image, label, weight = batch(0, torch.float64)
    logits, function = torch.cat([image, 2 * image.flip(2)], 1), cases(torch.float64)[name][1]
    shares = [function(logits[rank::2], label[rank::2], weight[rank::2]).item() for rank in range(PROCESSES)]
    assert abs(sum(shares) / PROCESSES - function(logits, label, weight).item()) > 1e-3


def test_every_loss_of_medseg_adds_over_the_processes() -> None:
    kinds = [value for value in map(medseg.losses.__dict__.get, medseg.losses.__all__) if isinstance(value, type)]
    losses = [kind for kind in kinds if issubclass(kind, nn.Module) and kind is not AcrossRanks]
    assert len(losses) >= 11
    assert [kind.__name__ for kind in losses if getattr(kind, "reduces_over_ranks", False) is not True] == []


@pytest.mark.parametrize(
    ("name", "line"),
    [
        (
            "DiceCELoss",
            "loss: monai's DiceCELoss with batch=True divides by sums over the batch of one process, expected sums "
            "over all processes; use medseg.losses.DiceCELoss with the same arguments",
        ),
        ("TverskyLoss", "loss: monai's TverskyLoss with batch=True divides by sums over the batch of one process"),
        ("CrossEntropyLoss", "loss: torch's CrossEntropyLoss with class weights divides by the weights of the voxels"),
        ("of_the_batch", "loss: of_the_batch of a batch is "),
        ("own", ""),
    ],
)
def test_what_is_no_mean_over_samples_is_refused_in_one_line_that_names_the_loss_to_use(
    name: str, line: str, processes: list[dict[str, Any]]
) -> None:
    for process in processes:
        said = process["said"][name]
        assert said.startswith(line) and "\n" not in said
        assert bool(said) == bool(line) and ("use medseg.losses." in said) == bool(line)


def test_in_one_process_every_loss_is_taken_and_called_as_it_is() -> None:
    logits, label = torch.randn(2, 2, 6, 6), torch.randint(2, (2, 1, 6, 6))
    loss = monai.losses.DiceCELoss(to_onehot_y=True, softmax=True, batch=True)
    assert torch.equal(AcrossRanks(loss)(logits, label), loss(logits, label))


@pytest.mark.parametrize(
    "options",
    [
        {"batch": True},
        {"batch": True, "include_background": False, "lambda_ce": 0.5},
        {"weight": torch.tensor([0.5, 2.0]), "label_smoothing": 0.2, "squared_pred": True},
        {"weight": torch.tensor([0.5, 2.0]), "include_background": False, "reduction": "sum"},
    ],
)
def test_in_one_process_dice_and_cross_entropy_are_those_of_monai_to_the_last_bit(options: dict[str, Any]) -> None:
    logits, label = torch.randn(3, 2, 6, 6), torch.randint(2, (3, 1, 6, 6))
    options = {"to_onehot_y": True, "softmax": True, **options}
    values = [kind(**options)(logits, label) for kind in (DiceCELoss, monai.losses.DiceCELoss)]
    assert torch.equal(*values)
    for name in ("label_smoothing", "lambda_ce"):
        options.pop(name, None)
    if options.get("include_background") is False and "weight" in options:
        options["weight"] = options["weight"][1:]
    assert torch.equal(*(kind(**options)(logits, label) for kind in (DiceLoss, monai.losses.DiceLoss)))


def test_in_one_process_cross_entropy_is_that_of_torch_to_the_last_bit() -> None:
    logits, label = torch.randn(3, 2, 6, 6), torch.randint(2, (3, 6, 6))
    options: dict[str, Any] = {"weight": torch.tensor([0.5, 2.0]), "ignore_index": 0, "label_smoothing": 0.1}
    assert torch.equal(*(kind(**options)(logits, label) for kind in (CrossEntropyLoss, nn.CrossEntropyLoss)))
