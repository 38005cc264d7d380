"""Losses that MONAI does not have, or has only in another form.

For Tversky, Hausdorff and boundary losses use `monai.losses`. `DiceLoss`, `DiceCELoss` and `CrossEntropyLoss` are
MONAI's and torch's in one process; in several, their sums run over the samples of all processes.
"""

from __future__ import annotations

from medseg.losses.across_ranks import AcrossRanks
from medseg.losses.border_cross_entropy import BorderWeightedCrossEntropyLoss
from medseg.losses.cost_penalty import ActiveMacs, CostPenalty, record_active_macs
from medseg.losses.cross_entropy import BCEWithLogitsLoss, CrossEntropyLoss
from medseg.losses.dice import DiceCELoss, DiceLoss
from medseg.losses.focal_cross_entropy import FocalCrossEntropyLoss
from medseg.losses.focal_l2 import FocalL2Loss
from medseg.losses.sparse_annotation import SparseAnnotationCrossEntropyLoss
from medseg.losses.sparsity import SparsityLoss, collect_patch_norms
from medseg.losses.switch_on_plateau import SwitchOnPlateau, switch_on_plateau
from medseg.losses.vnet_dice import VNetDiceLoss

__all__ = [
    "AcrossRanks",
    "ActiveMacs",
    "BCEWithLogitsLoss",
    "BorderWeightedCrossEntropyLoss",
    "CostPenalty",
    "CrossEntropyLoss",
    "DiceCELoss",
    "DiceLoss",
    "FocalCrossEntropyLoss",
    "FocalL2Loss",
    "SparseAnnotationCrossEntropyLoss",
    "SparsityLoss",
    "SwitchOnPlateau",
    "VNetDiceLoss",
    "collect_patch_norms",
    "record_active_macs",
    "switch_on_plateau",
]
