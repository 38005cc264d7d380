"""Training with PyTorch Lightning from the configuration of a bundle; needs the extra ``lightning``."""

from __future__ import annotations

from medseg.training.lightning.classification_module import ClassificationModule
from medseg.training.lightning.data_module import ConfigDataModule
from medseg.training.lightning.segmentation_module import SegmentationModule
from medseg.training.lightning.workflow import training_workflow

__all__ = ["ClassificationModule", "ConfigDataModule", "SegmentationModule", "training_workflow"]
