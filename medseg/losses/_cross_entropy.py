"""Voxel-wise softmax cross entropy and its checks, shared by the weighted losses."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from medseg.geometry import check_whole_labels

__all__ = [
    "IGNORED",
    "check_not_empty",
    "check_weight",
    "checked_labels",
    "clamped",
    "class_indices",
    "in_float32",
    "voxel_cross_entropy",
    "widened",
]

IGNORED = -100
"""Class index of ignored voxels; torch's default for `ignore_index`."""


def in_float32(values: Tensor) -> Tensor:
    """Values in float32, or in float64 if they are: a sum over many voxels does not fit in 16 bits."""
    return values if values.dtype == torch.float64 else values.float()


def widened(values: Tensor) -> Tensor:
    """16-bit values in float32, all others as they are."""
    return values.float() if values.dtype in (torch.float16, torch.bfloat16) else values


def check_not_empty(loss: str, values: Tensor) -> None:
    """Raises ValueError for a tensor without any number: the mean of nothing is NaN."""
    if not values.numel():
        raise ValueError(
            f"{loss}: input has shape {list(values.shape)}, which is empty; expected at least one sample of one voxel"
        )


def clamped(values: Tensor, low: float, high: float) -> Tensor:
    """Finite values clamped to a range, infinite ones as they are: a clamp would hide them."""
    return torch.where(values.isfinite(), values.clamp(low, high), values)


def checked_labels(loss: str, target: Tensor, classes: int, ignored: Tensor | None = None) -> Tensor:
    """A label map as int64, with 0 at ignored voxels.

    Raises:
        ValueError: unless the others are whole numbers from 0 to ``classes - 1``; this is not checked while compiling.
    """
    target = target if target.is_floating_point() else target.long()  # unsigned types lack most operations
    counted = target if ignored is None else target.masked_fill(ignored, 0)
    if torch.compiler.is_compiling() or not counted.numel():
        return counted.long()
    check_whole_labels(counted, f"{loss}: target")
    # On a GPU, an index out of range stops the process with an error that does not name the label.
    low, high = (int(v) for v in counted.aminmax())
    if low < 0 or high >= classes:
        raise ValueError(
            f"{loss}: target holds labels from {low} to {high}; expected 0 to {classes - 1}, one per "
            "channel of the logits: map the labels, or give the network more out_channels"
        )
    return counted.long()


def class_indices(loss: str, logits: Tensor, target: Tensor, ignored: Tensor | None = None) -> Tensor:
    """Class indices ``[B, *S]`` of a label map ``[B, 1, *S]``.

    Args:
        loss: name of the loss, for the errors.
        logits: ``[B, C, *S]`` with C of at least 2.
        target: ``[B, 1, *S]``, whole numbers from 0 to C - 1 of any dtype.
        ignored: bool ``[B, 1, *S]``, voxels to ignore whatever their label; they become `IGNORED`.

    Raises:
        ValueError: for shapes that do not match, labels that are not whole numbers, or labels that have no channel.
    """
    if logits.ndim < 3 or logits.shape[1] < 2:
        raise ValueError(
            f"{loss}: logits have shape {list(logits.shape)}; expected [B, C, *S] with one channel per class, C >= 2"
        )
    check_not_empty(loss, logits)
    expected = [logits.shape[0], 1, *logits.shape[2:]]
    if list(target.shape) != expected:
        raise ValueError(
            f"{loss}: target has shape {list(target.shape)}; expected {expected}: class indices in one channel"
        )
    indices = checked_labels(loss, target, logits.shape[1], ignored)
    return (indices if ignored is None else indices.masked_fill(ignored, IGNORED))[:, 0]


def check_weight(loss: str, name: str, weight: Tensor, target: Tensor) -> None:
    """Raises ValueError unless a weight map has the shape of the target and finite values of 0 or more."""
    if weight.shape != target.shape:
        raise ValueError(f"{loss}: {name} has shape {list(weight.shape)}; expected {list(target.shape)}, as the target")
    if torch.compiler.is_compiling() or not weight.numel() or weight.dtype == torch.bool:
        return
    low, high = (float(v) for v in weight.detach().aminmax())
    # NaN in a map makes both ends NaN.
    if not (low >= 0 and high < float("inf")):
        raise ValueError(f"{loss}: {name} holds values from {low:g} to {high:g}; expected finite weights of 0 or more")


def voxel_cross_entropy(logits: Tensor, indices: Tensor, class_weights: Tensor | None = None) -> Tensor:
    """``-w_c log softmax(logits)_c`` at every voxel, ``[B, 1, *S]`` in at least float32; 0 at ignored voxels."""
    logits = in_float32(logits)
    weights = None if class_weights is None else class_weights.to(logits)
    return F.cross_entropy(logits, indices, weights, ignore_index=IGNORED, reduction="none")[:, None]
