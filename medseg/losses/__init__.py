"""Losses that MONAI does not have, or has only in another form.

For Dice, Dice with cross entropy, Tversky, Hausdorff and boundary losses use `monai.losses`.
"""

from __future__ import annotations

from medseg.losses.border_cross_entropy import BorderWeightedCrossEntropyLoss
from medseg.losses.cost_penalty import ActiveMacs, CostPenalty, record_active_macs
from medseg.losses.focal_cross_entropy import FocalCrossEntropyLoss
from medseg.losses.focal_l2 import FocalL2Loss
from medseg.losses.sparse_annotation import SparseAnnotationCrossEntropyLoss
from medseg.losses.sparsity import SparsityLoss, collect_patch_norms
from medseg.losses.switch_on_plateau import SwitchOnPlateau, switch_on_plateau
from medseg.losses.vnet_dice import VNetDiceLoss

__all__ = [
    "ActiveMacs",
    "BorderWeightedCrossEntropyLoss",
    "CostPenalty",
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
