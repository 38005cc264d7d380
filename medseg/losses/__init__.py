"""Losses that MONAI does not have."""

from __future__ import annotations

from medseg.losses.sparsity import SparsityLoss, collect_patch_norms

__all__ = ["SparsityLoss", "collect_patch_norms"]
