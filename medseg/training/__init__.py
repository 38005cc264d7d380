"""Parts of a training run: handlers for MONAI's engines, optimisers by name, guided nnU-Net, a check of configurations.

Every name is imported when it is first used: importing this package loads neither torch nor ignite.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from medseg._lazy import lazy_exports

if TYPE_CHECKING:
    from medseg.training.best_weights import BestWeightsSaver
    from medseg.training.config_check.check import check_configuration
    from medseg.training.epoch_validation import EpochValidation
    from medseg.training.evaluator_parameters import evaluator_parameter_groups, sparse_layers
    from medseg.training.finite_loss import FiniteLossGuard, case_names
    from medseg.training.frozen import Frozen, freeze
    from medseg.training.guided_inferer import GuidedInferer
    from medseg.training.history import HistoryHandler, plot_history
    from medseg.training.last_weights import LastWeightsSaver
    from medseg.training.mean_dice import MeanDiceNonempty
    from medseg.training.nnunet_guide import KeepChannels, drop_guides, guide_channels, trainer_folder
    from medseg.training.optimisers import OPTIMISERS, OptimiserEntry, make_optimiser
    from medseg.training.prepare_guided_batch import PrepareGuidedBatch
    from medseg.training.selection_monitor import SelectionMonitor
    from medseg.training.warmup import SparseWarmup
    from medseg.training.weights_files import last_beside, set_aside

__all__ = [
    "OPTIMISERS",
    "BestWeightsSaver",
    "EpochValidation",
    "FiniteLossGuard",
    "Frozen",
    "GuidedInferer",
    "HistoryHandler",
    "KeepChannels",
    "LastWeightsSaver",
    "MeanDiceNonempty",
    "OptimiserEntry",
    "PrepareGuidedBatch",
    "SelectionMonitor",
    "SparseWarmup",
    "case_names",
    "check_configuration",
    "drop_guides",
    "evaluator_parameter_groups",
    "freeze",
    "guide_channels",
    "last_beside",
    "make_optimiser",
    "plot_history",
    "set_aside",
    "sparse_layers",
    "trainer_folder",
]

__getattr__, __dir__ = lazy_exports(
    __name__,
    {
        "best_weights": ("BestWeightsSaver",),
        "config_check.check": ("check_configuration",),
        "epoch_validation": ("EpochValidation",),
        "evaluator_parameters": ("evaluator_parameter_groups", "sparse_layers"),
        "finite_loss": ("FiniteLossGuard", "case_names"),
        "frozen": ("Frozen", "freeze"),
        "guided_inferer": ("GuidedInferer",),
        "history": ("HistoryHandler", "plot_history"),
        "last_weights": ("LastWeightsSaver",),
        "mean_dice": ("MeanDiceNonempty",),
        "nnunet_guide": ("KeepChannels", "drop_guides", "guide_channels", "trainer_folder"),
        "optimisers": ("OPTIMISERS", "OptimiserEntry", "make_optimiser"),
        "prepare_guided_batch": ("PrepareGuidedBatch",),
        "selection_monitor": ("SelectionMonitor",),
        "warmup": ("SparseWarmup",),
        "weights_files": ("last_beside", "set_aside"),
    },
)
