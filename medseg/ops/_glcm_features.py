"""Features of a grey-level co-occurrence matrix: names, and how they follow from sums over pairs or from counts.

Definitions: Haralick, Shanmugam and Dinstein, 1973, and Conners, Trivedi and Harlow, 1984 (cluster shade and
prominence), for the symmetric matrix divided by its sum.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from medseg.ops._codes import FEATURES

LINEAR = tuple(f for f in FEATURES if f not in ("asm", "energy", "entropy", "max_probability"))
"""Features that are functions of sums over pairs. They are differentiable in the image."""
CONSTANT = 1e-12
"""Below this share of the mean square, a variance is rounding error: the grey level is constant."""


def feature_bits(op: str, features: Iterable[str]) -> int:
    """The features as a bit set, bit i for ``FEATURES[i]``.

    Raises:
        ValueError: for an unknown feature, or none.
    """
    names = [features] if isinstance(features, str) else list(features)
    unknown = [f for f in names if f not in FEATURES]
    if unknown or not names:
        found = f"feature {unknown[0]!r} is unknown" if unknown else "there are no features"
        raise ValueError(f"{op}: {found}; expected some of {', '.join(FEATURES)}")
    return sum(1 << FEATURES.index(f) for f in set(names))


def chosen_features(bits: int) -> list[str]:
    """Names of the features in a bit set, in their order."""
    return [f for i, f in enumerate(FEATURES) if bits >> i & 1]


def linear_features(d: Sequence[Tensor], t: Sequence[Tensor], count: Tensor) -> dict[str, Tensor]:
    """The linear features from sums over pairs (a, b), all in float64 and of one shape.

    Args:
        d: sums of ``|a - b|``, ``(a - b)^2`` and ``1 / (1 + (a - b)^2)``.
        t: sums of the powers 1 to 4 of ``a + b``.
        count: number of pairs; without any, every feature is 0.
    """
    present = count > 0
    n = count.clamp(min=1)
    m1, m2, m3, m4 = (s / n for s in t)
    spread, square = n * t[1] - t[0] ** 2, n * d[1]
    varies = (spread + square) > CONSTANT * n * (t[1] + d[1])
    ratio = (spread - square) / torch.where(varies, spread + square, 1.0)
    return {
        "contrast": d[1] / n,
        "dissimilarity": d[0] / n,
        "homogeneity": d[2] / n,
        "correlation": torch.where(varies, ratio, 1.0) * present,
        "cluster_shade": m3 - 3 * m1 * m2 + 2 * m1**3,
        "cluster_prominence": m4 - 4 * m1 * m3 + 6 * m1**2 * m2 - 3 * m1**4,
    }


def matrix_features(matrix: Tensor) -> dict[str, Tensor]:
    """The counted features of symmetric matrices ``[..., L, L]`` of counts; 0 for a matrix without any."""
    total = matrix.sum((-2, -1), keepdim=True)
    p = matrix / total.clamp(min=1)
    asm = p.square().sum((-2, -1))
    return {
        "asm": asm,
        "energy": asm.sqrt(),
        "entropy": -torch.special.xlogy(p, p).sum((-2, -1)),
        "max_probability": p.amax((-2, -1)),
    }
