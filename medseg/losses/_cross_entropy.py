"""Voxel-wise softmax cross entropy and its checks, shared by the weighted losses."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

__all__ = ["IGNORED", "check_weight", "class_indices", "voxel_cross_entropy"]

IGNORED = -100
"""Class index of ignored voxels; torch's default for `ignore_index`."""


def class_indices(loss: str, logits: Tensor, target: Tensor, ignored: Tensor | None = None) -> Tensor:
    """Class indices ``[B, *S]`` of a label map ``[B, 1, *S]``.

    Args:
        loss: name of the loss, for the errors.
        logits: ``[B, C, *S]`` with C of at least 2.
        target: ``[B, 1, *S]``, whole numbers from 0 to C - 1 of any dtype.
        ignored: bool ``[B, 1, *S]``, voxels to ignore whatever their label; they become `IGNORED`.

    Raises:
        ValueError: for shapes that do not match, or labels that have no channel.
    """
    if logits.ndim < 3 or logits.shape[1] < 2:
        raise ValueError(
            f"{loss}: logits have shape {list(logits.shape)}; expected [B, C, *S] with one channel per class, C >= 2"
        )
    expected = [logits.shape[0], 1, *logits.shape[2:]]
    if list(target.shape) != expected:
        raise ValueError(
            f"{loss}: target has shape {list(target.shape)}; expected {expected}: class indices in one channel"
        )
    indices = target.long()
    if ignored is not None:
        indices = indices.masked_fill(ignored, IGNORED)
    if not torch.compiler.is_compiling() and indices.numel():
        # On a GPU, an index out of range stops the process with an error that does not name the label.
        counted = indices if ignored is None else indices.masked_fill(ignored, 0)
        low, high = (int(v) for v in counted.aminmax())
        if low < 0 or high >= logits.shape[1]:
            raise ValueError(
                f"{loss}: target holds labels from {low} to {high}; expected 0 to {logits.shape[1] - 1}, one per "
                "channel of the logits: map the labels, or give the network more out_channels"
            )
    return indices[:, 0]


def check_weight(loss: str, name: str, weight: Tensor, target: Tensor) -> None:
    """Raises ValueError unless a weight map has the shape of the target."""
    if weight.shape != target.shape:
        raise ValueError(f"{loss}: {name} has shape {list(weight.shape)}; expected {list(target.shape)}, as the target")


def voxel_cross_entropy(logits: Tensor, indices: Tensor, class_weights: Tensor | None = None) -> Tensor:
    """``-w_c log softmax(logits)_c`` at every voxel, ``[B, 1, *S]`` in at least float32; 0 at ignored voxels."""
    logits = logits if logits.dtype == torch.float64 else logits.float()
    weights = None if class_weights is None else class_weights.to(logits)
    return F.cross_entropy(logits, indices, weights, ignore_index=IGNORED, reduction="none")[:, None]
