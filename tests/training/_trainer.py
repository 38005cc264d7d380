"""A MONAI trainer with a validation, small enough that a run takes no time, and driven by what a test decides."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from monai.data import DataLoader, Dataset, MetaTensor
from monai.engines import SupervisedEvaluator, SupervisedTrainer
from monai.handlers import from_engine
from torch import Tensor, nn

from medseg.training.best_weights import BestWeightsSaver
from medseg.training.epoch_validation import EpochValidation
from medseg.training.finite_loss import FiniteLossGuard
from medseg.training.last_weights import LastWeightsSaver
from medseg.training.mean_dice import MeanDiceNonempty

CPU = torch.device("cpu")


class Net(nn.Module):
    """Two channels from one, by two numbers: the second is what the tests look at."""

    def __init__(self) -> None:
        super().__init__()
        self.slope = nn.Parameter(torch.tensor([-1.0, 1.0]))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.slope.view(1, 2, 1, 1)


def case(name: str, value: float = 1.0, foreground: bool = True) -> dict[str, MetaTensor]:
    """An image of one value with a label of ones or zeros."""
    image = MetaTensor(torch.full((1, 4, 4), value), meta={"filename_or_obj": name})
    return {"image": image, "label": MetaTensor(torch.full((1, 4, 4), float(foreground)))}


def loader(cases: Sequence[dict[str, MetaTensor]]) -> DataLoader:
    return DataLoader(Dataset(cases), batch_size=1)


def mean_of_output(output: Tensor, label: Tensor) -> Tensor:
    return output.mean() * label.mean()


class Run:
    """The parts of a training as the bundles wire them.

    Args:
        folder: where ``model.pt`` and ``last.pt`` go.
        training: training cases.
        validation: validation cases.
        epochs: how many.
        interval: epochs from one validation to the next.
        loss: loss function.
        rate: learning rate.
        initial_weights: file that the run is said to start from.
    """

    def __init__(
        self,
        folder: Path,
        training: Sequence[dict[str, MetaTensor]] = (case("a.nii"), case("b.nii")),
        validation: Sequence[dict[str, MetaTensor]] = (case("v.nii"),),
        epochs: int = 2,
        interval: int = 5,
        loss: Callable[[Tensor, Tensor], Tensor] = mean_of_output,
        rate: float = 0.1,
        initial_weights: Path | None = None,
        handlers: Sequence[Any] = (),
    ) -> None:
        self.network = Net()
        self.best = BestWeightsSaver(self.network, folder / "model.pt")
        self.last = LastWeightsSaver(self.network, folder / "last.pt", self.best, initial_weights)
        dice = MeanDiceNonempty(
            include_background=False, num_classes=2, output_transform=from_engine(["pred", "label"])
        )
        self.evaluator = SupervisedEvaluator(
            CPU, loader(validation), self.network,
            key_val_metric={"val_mean_dice_nonempty": dice}, val_handlers=[self.best],
            postprocessing=lambda data: {**data, "pred": data["pred"].argmax(0, keepdim=True)},
        )  # fmt: skip
        self.trainer = SupervisedTrainer(
            CPU, epochs, loader(training), self.network, torch.optim.SGD(self.network.parameters(), rate), loss,
            train_handlers=[
                FiniteLossGuard(self.last), self.last, EpochValidation(self.evaluator, interval), *handlers
            ],
            decollate=False,
        )  # fmt: skip

    def __call__(self) -> None:
        self.trainer.run()
