"""The baseline without a network: logistic regression on a nodule's diameter."""

from __future__ import annotations

import time

import numpy as np
import torch
from scipy.optimize import minimize

from benchmarks._classification.data import Fold, Part
from benchmarks._classification.training import Result


def fit_diameter(fold: Fold) -> Result:
    """Fit on training and validation images together (nothing is selected on the latter) and score the test images.

    Raises:
        ValueError: if the data set has no diameters.
    """
    started = time.process_time()
    x, y = (np.concatenate(pair) for pair in zip(_features(fold.train), _features(fold.validation), strict=True))

    def loss(weights: np.ndarray) -> float:
        return float(np.mean(np.logaddexp(0.0, -(2 * y - 1) * (weights[0] + weights[1] * x))))

    found = minimize(loss, np.zeros(2), method="BFGS")
    scores = found.x[0] + found.x[1] * _features(fold.test)[0]
    seconds = round(time.process_time() - started, 2)
    record = {"parameters": 2, "seconds": seconds, "cpu_seconds": seconds, "weights": [round(w, 4) for w in found.x]}
    return Result([round(float(score), 4) for score in scores], record)


def _features(part: Part) -> tuple[np.ndarray, np.ndarray]:
    if part.diameters_mm is None:
        raise ValueError("these images have no diameters; only the nodule outlines do")
    return torch.log(part.diameters_mm).double().numpy(), part.labels.numpy()
