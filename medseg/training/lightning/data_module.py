"""The data loaders of a configuration as a Lightning data module."""

from __future__ import annotations

from typing import Any

from monai.bundle import ConfigWorkflow
from torch.utils.data import DataLoader

from medseg.io.bounded.errors import DataError
from medseg.training.lightning._library import pl
from medseg.training.lightning.workflow import part_of

__all__ = ["ConfigDataModule"]


class ConfigDataModule(pl.LightningDataModule):
    """The training and validation data of a bundle, in the order that its seed gives them.

    Args:
        train_loader: loads the training data.
        val_loader: loads the validation data. None, or a loader without a case: no validation.

    Example:
        >>> from monai.data import DataLoader
        >>> data = ConfigDataModule(DataLoader([{"image": torch.zeros(1, 4, 4)}], batch_size=1))
        >>> next(iter(data.train_dataloader()))["image"].shape
        torch.Size([1, 1, 4, 4])
        >>> data.val_dataloader()
        []
    """

    def __init__(self, train_loader: DataLoader[Any], val_loader: DataLoader[Any] | None = None) -> None:
        super().__init__()
        self.train_loader, self.val_loader = train_loader, val_loader

    @classmethod
    def from_workflow(cls, workflow: ConfigWorkflow) -> ConfigDataModule:
        """The data of a configuration, see `medseg.training.lightning.training_workflow`.

        Args:
            workflow: initialised.
        """
        return cls(part_of(workflow, "train::dataloader"), part_of(workflow, "validate::dataloader"))

    def setup(self, stage: str) -> None:
        """Refuses several processes, which would all get the same batches.

        Raises:
            DataError: for more than one process.
        """
        world = 1 if self.trainer is None else self.trainer.world_size
        if world > 1:
            raise DataError(
                f"ConfigDataModule: the trainer has {world} processes; expected one (devices=1): for several "
                "devices, train with torchrun and the bundle's multi_gpu_train.json"
            )

    def train_dataloader(self) -> DataLoader[Any]:
        """The loader of the training data."""
        return self.train_loader

    def val_dataloader(self) -> DataLoader[Any] | list[Any]:
        """The loader of the validation data, or an empty list."""
        return [] if self.val_loader is None or not len(self.val_loader.dataset) else self.val_loader
