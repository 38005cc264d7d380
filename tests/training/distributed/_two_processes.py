"""What each of two processes finds when they evaluate, ask and fail together."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
import torch.distributed as dist
from ignite.engine import Engine, Events
from monai.data import DataLoader, Dataset, MetaTensor
from monai.engines import SupervisedEvaluator, SupervisedTrainer
from monai.handlers import StatsHandler
from torch import nn

from medseg.losses import AcrossRanks
from medseg.training import (
    BestWeightsSaver,
    EpochValidation,
    FiniteLossGuard,
    HistoryHandler,
    LastWeightsSaver,
    MeanDiceNonempty,
)
from medseg.training.distributed import (
    CaseMetricsSaver,
    EveryProcessError,
    StandIns,
    any_rank,
    finish_group,
    for_this_process,
    gathered,
    in_parallel,
    is_writer,
    processes,
    rank,
    run_evaluation,
    share_of,
)
from medseg.training.sampling import EpochBatches, SeededDataset

PROCESSES = 2
KEY = "val_mean_dice_nonempty"


def cases(number: int, foreground: bool = True) -> list[dict[str, Any]]:
    """Images and labels that agree in a different share of their voxels; every third label is empty."""
    random = torch.Generator().manual_seed(0)
    found = []
    for i in range(number):
        image = torch.rand(1, 8, 8, generator=random)
        label = (image > 0.3 + 0.1 * i).float() * (foreground and i % 3 != 1)
        found.append({"image": MetaTensor(image, meta={"filename_or_obj": f"case_{i}.nii"}), "label": label})
    return found


def evaluated(number: int, folder: Path, foreground: bool = True) -> dict[str, Any]:
    """The score and the files of an evaluation whose cases all processes share."""
    evaluator = SupervisedEvaluator(
        device=torch.device("cpu"),
        val_data_loader=DataLoader(Dataset(share_of(cases(number, foreground))), batch_size=1),
        network=nn.Identity(),
        key_val_metric={
            KEY: MeanDiceNonempty(
                output_transform=lambda found: ([(o["pred"] > 0.5).float() for o in found], [o["label"] for o in found])
            )
        },
        val_handlers=[
            CaseMetricsSaver(
                save_dir=str(folder),
                metrics=KEY,
                metric_details=KEY,
                batch_transform=lambda batch: [item["image"].meta for item in batch],
            )
        ],
    )
    evaluator.logger.setLevel(logging.ERROR)
    run_evaluation(evaluator)
    files = {path.name: path.read_text() for path in sorted(folder.glob("*.csv"))} if is_writer() else {}
    return {"score": evaluator.state.metrics[KEY], "cases": evaluator.state.iteration, "files": files}


def validations(number: int) -> list[int]:
    """Epochs that are validated, with ``number`` validation cases for all processes together."""
    epochs: list[int] = []

    class Validator(Engine):
        def run(self, epoch: int) -> None:  # type: ignore[override]
            epochs.append(epoch)

    validator = Validator(lambda engine, batch: None)
    validator.state.epoch_length = len(share_of(range(number)))
    if not validator.state.epoch_length:
        validator.add_event_handler(Events.COMPLETED, lambda engine: epochs.append(engine.state.epoch))
    trainer = Engine(lambda engine, batch: None)
    EpochValidation(validator, interval=2).attach(trainer)  # type: ignore[arg-type]
    trainer.run([0], max_epochs=3)
    return epochs


def refused(loss: float, names: list[str]) -> str:
    """What the guard says when the loss of this process is ``loss``."""
    image = MetaTensor(torch.zeros(len(names), 1, 2, 2), meta={"filename_or_obj": names})
    state = SimpleNamespace(epoch=1, iteration=2, output={"loss": loss}, batch={"image": image})
    try:
        FiniteLossGuard()(SimpleNamespace(state=state))  # type: ignore[arg-type]
    except EveryProcessError as error:
        return str(error)
    return ""


def trained(length: int, batch_size: int, epochs: int = 2) -> dict[str, Any]:
    """Losses and weights of a small network, trained with every sample of every epoch, shared among the processes."""
    torch.manual_seed(3)
    network = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.InstanceNorm2d(4), nn.Conv2d(4, 1, 1)).double()
    data = [{key: value.double() for key, value in case.items()} for case in cases(length)]
    batches = EpochBatches(length, batch_size, seed=5, rank=rank(), world=processes())
    losses: list[float] = []
    trainer = SupervisedTrainer(
        device=torch.device("cpu"),
        max_epochs=epochs,
        train_data_loader=DataLoader(SeededDataset(Dataset(data)), batch_sampler=batches),
        network=in_parallel(network),
        optimizer=torch.optim.AdamW(network.parameters(), 0.002),
        loss_function=AcrossRanks(nn.MSELoss()),
        train_handlers=[StandIns(length, batch_size), FiniteLossGuard()],
        decollate=False,
    )
    trainer.logger.setLevel(logging.ERROR)
    trainer.add_event_handler(
        Events.ITERATION_COMPLETED, lambda engine: losses.append(engine.state.output["loss"].item())
    )
    trainer.run()
    return {"losses": losses, "weights": torch.cat([p.detach().flatten() for p in network.parameters()])}


def kept(folder: Path) -> list[str]:
    network = nn.Linear(1, 1)
    handlers: list[Callable[..., Any]] = [
        BestWeightsSaver(network, folder / "model.pt"),
        LastWeightsSaver(network, folder / "last.pt"),
        HistoryHandler(folder),
        StatsHandler(),
        FiniteLossGuard(),
    ]
    return [type(handler).__name__ for handler in for_this_process(handlers)]


def work(number: int, folder: str) -> None:
    """All questions in one process of the group; writes the answers."""
    torch.set_num_threads(1)
    store, home = (Path(folder) / "store").as_uri(), Path(folder)
    dist.init_process_group("gloo", init_method=store, rank=number, world_size=PROCESSES, timeout=timedelta(seconds=60))
    answers: dict[str, Any] = {
        "any": [any_rank(False), any_rank(number == 1), any_rank(True)],
        "gathered": gathered([f"{number}.nii"]),
        "evaluated": {n: evaluated(n, home / f"eval_{n}") for n in (1, 2, 5)},
        "undefined": evaluated(1, home / "undefined", foreground=False),
        "validations": {n: validations(n) for n in (0, 1, 2)},
        "guard": refused(math.nan if number else 0.5, [f"{number}.nii"]),
        "fine": refused(0.5, ["a.nii"]),
        "trained": {n: trained(n, 1) for n in (1, 3, 4)},
        "handlers": kept(home),
    }
    torch.save(answers, home / f"{number}.pt")
    finish_group()
    assert not dist.is_initialized()
