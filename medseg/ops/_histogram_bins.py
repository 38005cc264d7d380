"""The bin of a value in a histogram: one rule for maps, regions and references."""

from __future__ import annotations

from torch import Tensor


def bin_position(x: Tensor, bins: int, low: float, high: float) -> Tensor:
    """Position of values on the axis of bins: bin k covers k to k + 1. Computed in float64 for every dtype."""
    return (x.double() - low) * bins / (high - low)


def in_range(x: Tensor, low: float, high: float) -> Tensor:
    """Which values are counted: ``low <= x <= high``, and not NaN."""
    return (x >= low) & (x <= high)


def hard_bin(x: Tensor, bins: int, low: float, high: float) -> Tensor:
    """Bin of every value, int64 in 0..bins - 1: half-open bins, the last one closed (as in numpy.histogram)."""
    position = bin_position(x, bins, low, high).nan_to_num(0.0, bins - 1.0, 0.0)
    return position.floor().clamp(0, bins - 1).long()


def soft_bin(x: Tensor, bins: int, low: float, high: float) -> tuple[Tensor, Tensor]:
    """The lower of two neighbouring bins, and the share of the upper one, linear between the centres of the bins.

    A value within half a bin of the ends belongs to the end bin alone. The share is differentiable in x.
    """
    position = (bin_position(x, bins, low, high).nan_to_num(0.0, bins - 1.0, 0.0) - 0.5).clamp(0, bins - 1)
    lower = position.detach().floor().clamp(0, max(bins - 2, 0)).long()
    return lower, position - lower
