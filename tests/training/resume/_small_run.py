"""A training with everything that draws: augmentation, order, dropout; with schedule, validation and history."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from ignite.engine import Events
from monai.data import DataLoader, Dataset
from monai.engines import SupervisedEvaluator, SupervisedTrainer
from monai.engines.utils import IterationEvents
from monai.handlers import LrScheduleHandler, from_engine
from monai.transforms import RandGaussianNoised
from torch import nn

from medseg.training.best_weights import BestWeightsSaver
from medseg.training.epoch_validation import EpochValidation
from medseg.training.finite_loss import FiniteLossGuard
from medseg.training.history import HistoryHandler
from medseg.training.mean_dice import MeanDiceNonempty
from medseg.training.resume import RunKeeper
from medseg.training.sampling import EpochBatches, SeededDataset
from medseg.training.seeded_steps import SeededSteps

CASES = 6
STEPS = 3  # in an epoch


class KilledError(Exception):
    """What a test raises where a process would be killed."""


def case(number: int) -> dict[str, Any]:
    draw = torch.Generator().manual_seed(number)
    image = torch.rand(1, 8, 8, generator=draw)
    return {"image": image, "label": (image > 0.5).float(), "name": f"case_{number}.nii"}


class SmallRun:
    """Build the parts in ``folder``; ``run`` trains, and dies after ``die_after`` steps if that is given."""

    def __init__(
        self,
        folder: Path,
        epochs: int = 4,
        rate: float = 0.05,
        seed: int = 1,
        restart: bool = False,
        validation: int = 2,
        workers: int = 0,
    ) -> None:
        torch.manual_seed(seed)
        self.network = nn.Sequential(
            nn.Conv2d(1, 4, 3, padding=1), nn.InstanceNorm2d(4), nn.Dropout(0.3), nn.ReLU(), nn.Conv2d(4, 2, 1)
        )
        optimizer = torch.optim.AdamW(self.network.parameters(), rate)
        schedule = torch.optim.lr_scheduler.PolynomialLR(optimizer, total_iters=epochs, power=0.9)
        training = [case(n) for n in range(CASES)]
        validating = [case(100 + n) for n in range(validation)]
        batches = EpochBatches(CASES, 2, seed=seed)
        data = SeededDataset(Dataset(training, RandGaussianNoised("image", prob=0.8, std=0.3)), seed)
        self.best = BestWeightsSaver(self.network, folder / "model.pt")
        dice = MeanDiceNonempty(
            include_background=False, num_classes=2, output_transform=from_engine(["pred", "label"])
        )
        evaluator = SupervisedEvaluator(
            torch.device("cpu"), DataLoader(Dataset(validating), batch_size=1), self.network,
            key_val_metric={"val_mean_dice_nonempty": dice}, val_handlers=[self.best],
            postprocessing=lambda item: {**item, "pred": item["pred"].argmax(0, keepdim=True)},
        )  # fmt: skip
        self.history = HistoryHandler(folder / "eval", evaluator)
        loss = nn.CrossEntropyLoss()
        self.keeper = RunKeeper(
            self.network, folder / "last.pt", optimizer, schedule, {"seed": seed, "learning_rate": rate}, loss,
            [c["name"] for c in training], [c["name"] for c in validating], self.best, self.history, restart=restart,
        )  # fmt: skip
        self.losses: list[float] = []
        self.rates: list[float] = []
        self.trainer = SupervisedTrainer(
            torch.device("cpu"), epochs, DataLoader(data, batch_sampler=batches, num_workers=workers), self.network,
            optimizer, lambda pred, label: loss(pred, label[:, 0].long()),
            train_handlers=[
                SeededSteps(seed, batches), FiniteLossGuard(self.keeper), LrScheduleHandler(schedule, print_lr=False),
                EpochValidation(evaluator, 2), self.history, self.keeper,
            ],
            decollate=False,
        )  # fmt: skip
        self.trainer.add_event_handler(
            Events.ITERATION_STARTED, lambda engine: self.rates.append(optimizer.param_groups[0]["lr"])
        )
        self.trainer.add_event_handler(
            IterationEvents.LOSS_COMPLETED, lambda engine: self.losses.append(float(engine.state.output["loss"]))
        )

    def run(self, die_after: int | None = None) -> None:
        if die_after is None:
            self.trainer.run()
            return

        def die(engine: Any) -> None:
            if engine.state.iteration == die_after:
                raise KilledError

        self.trainer.add_event_handler(Events.ITERATION_STARTED, die)
        try:
            self.trainer.run()
        except KilledError:
            return
        raise AssertionError("the run was not killed")

    def weights(self) -> torch.Tensor:
        return torch.cat([value.flatten() for value in self.network.state_dict().values()])
