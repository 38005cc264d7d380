"""The check that a label map contains labels, i.e. whole numbers: one rule for losses, metrics, transforms and readers.

It works on NumPy arrays and on tensors of any device, without importing torch.
"""

from __future__ import annotations

from typing import Any

import numpy as np

__all__ = ["check_whole_labels"]

_CAUSE = (
    "were the labels interpolated? Resample them with mode 'nearest', also in lazy transforms, or round them if they "
    "are inexact only by rounding errors"
)


def check_whole_labels(labels: Any, what: str) -> None:
    """Raises ValueError if a label map contains a number that is not whole.

    A conversion to integers would cut off the fraction: 0.99 would become class 0. NaN and infinity are not whole.

    Args:
        labels: NumPy array or tensor of any shape and type.
        what: name of the label map for the message, such as "target" or a file.

    Raises:
        ValueError: with the first such number, its index and the likely cause.

    Example:
        >>> check_whole_labels(np.array([[0.0, 1.0]]), "label")
        >>> check_whole_labels(np.array([[0.0, 0.99]]), "label")
        Traceback (most recent call last):
            ...
        ValueError: label contains 0.99 at [0, 1], expected whole numbers; were the labels interpolated? ...
    """
    plain = labels.as_tensor() if hasattr(labels, "as_tensor") else labels  # a MetaTensor is slow to compute with
    if not _is_floating(plain):
        return
    with np.errstate(invalid="ignore"):  # infinity - infinity is NaN, which is different from 0, as it should be
        wrong = (plain - plain.round()) != 0
    if not bool(wrong.any()):
        return
    mask = np.asarray(wrong.cpu() if hasattr(wrong, "cpu") else wrong)
    index = tuple(int(i) for i in np.unravel_index(int(mask.argmax()), mask.shape))
    value = float(plain[index])
    cause = _CAUSE if np.isfinite(value) else "labels must be finite"
    raise ValueError(f"{what} contains {value:.6g} at {list(index)}, expected whole numbers; {cause}")


def _is_floating(labels: Any) -> bool:
    # Tensor types say so themselves; NumPy types have a kind.
    return bool(getattr(labels.dtype, "is_floating_point", getattr(labels.dtype, "kind", "") == "f"))
