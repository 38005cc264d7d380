"""What the Lightning modules have in common: a step of training as MONAI's trainer does it."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from monai.bundle import ConfigWorkflow
from monai.inferers import SimpleInferer
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from medseg.io.bounded.errors import DataError
from medseg.training.lightning._library import pl
from medseg.training.lightning.workflow import part_of
from medseg.training.sampling import EpochBatches, step_seed

__all__ = ["ConfiguredModule", "monai_prepare_batch"]


def monai_prepare_batch(batch: Any, device: Any = None, non_blocking: bool = False, **kwargs: Any) -> Any:
    """MONAI's default: the items ``image`` and ``label`` of the batch."""
    image, label = (batch[key].to(device=device, non_blocking=non_blocking, **kwargs) for key in ("image", "label"))
    return image, label


class ConfiguredModule(pl.LightningModule):
    """Network, loss and optimiser in the steps of MONAI's ``SupervisedTrainer``.

    Args:
        network: the network; its weights are the entries ``network.`` of a checkpoint.
        loss: called as ``loss(prediction, label)``.
        optimizer: with the parameters of the network.
        lr_scheduler: takes one step after every epoch, or None.
        inferer: calls the network in training. None: MONAI's ``SimpleInferer``.
        val_inferer: calls it in validation. None: MONAI's ``SimpleInferer``.
        prepare_batch: gives image, label and, for guided networks, further arguments. None: ``image`` and ``label``.
        seed: of what a step draws, such as dropout. None: torch's generator is left alone.
    """

    def __init__(
        self,
        network: nn.Module,
        loss: Callable[..., Tensor],
        optimizer: Optimizer,
        lr_scheduler: LRScheduler | None = None,
        inferer: Callable[..., Any] | None = None,
        val_inferer: Callable[..., Any] | None = None,
        prepare_batch: Callable[..., Any] | None = None,
        seed: int | None = None,
    ) -> None:
        super().__init__()
        self.network, self.loss, self.seed = network, loss, seed
        self.inferer, self.val_inferer = inferer or SimpleInferer(), val_inferer or SimpleInferer()
        self.prepare_batch = prepare_batch or monai_prepare_batch
        self._optimizer, self._lr_scheduler = optimizer, lr_scheduler

    @staticmethod
    def _parts_of(workflow: ConfigWorkflow) -> dict[str, Any]:
        """The arguments of this class as a configuration names them."""
        places = {"inferer": "train::inferer", "val_inferer": "validate::inferer"}
        names = ("network", "loss", "optimizer", "lr_scheduler", "inferer", "val_inferer", "prepare_batch", "seed")
        return {name: part_of(workflow, places.get(name, name)) for name in names}

    def forward(self, x: Tensor, *args: Any, **kwargs: Any) -> Any:
        """The result of the network."""
        return self.network(x, *args, **kwargs)

    def configure_optimizers(self) -> Any:
        """The optimiser and the schedule of the configuration."""
        if self._lr_scheduler is None:
            return self._optimizer
        return {"optimizer": self._optimizer, "lr_scheduler": {"scheduler": self._lr_scheduler, "interval": "epoch"}}

    def on_train_epoch_start(self) -> None:
        """Tells the sampler the epoch, also after a resume."""
        batches = getattr(self.trainer.train_dataloader, "batch_sampler", None)
        if isinstance(batches, EpochBatches):
            batches.set_epoch(self.current_epoch + 1)

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        """The loss of a batch.

        Raises:
            DataError: if it is not a finite number.
        """
        if self.seed is not None:
            done = self.current_epoch * int(self.trainer.num_training_batches)
            torch.manual_seed(step_seed(self.seed, done + batch_idx + 1, self.global_rank))
        prediction, label = self._predicted(batch, self.inferer)
        loss = self.loss(prediction, label).mean()
        if not math.isfinite(float(loss.detach())):
            raise DataError(
                f"epoch {self.current_epoch + 1}, step {batch_idx + 1}: the loss is {float(loss.detach())}, so the "
                "training was stopped; lower learning_rate or look at the cases of this step"
            )
        self.log("train_loss", loss.detach(), prog_bar=True, batch_size=len(label))
        return loss

    def _predicted(self, batch: Any, inferer: Callable[..., Any]) -> tuple[Any, Tensor]:
        """Prediction and label of a batch."""
        prepared = self.prepare_batch(batch, self.device)
        image, label, arguments, options = prepared if len(prepared) == 4 else (*prepared, (), {})
        return inferer(image, self.network, *arguments, **options), label
