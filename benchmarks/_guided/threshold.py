"""A baseline without a network: voxels of the liver whose grey value is near the known value of the tumour."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from benchmarks._guided.cases import LIVER, TUMOUR
from benchmarks._guided.prepared import Prepared
from benchmarks._guided.testing import in_range
from medseg.metrics import dice_score

SMOOTHING_PIXELS = 1.0
HALF_WIDTHS_HU = tuple(range(4, 26, 2))
NAME = "known grey value"


def segment(case: Prepared, half_width_hu: float) -> NDArray[np.bool_]:
    """Liver voxels ``[Z, H, W]`` whose smoothed grey value is near the tumours' mean, in the tumours' slices.

    The mean, the true liver and the range of slices are given. The result shows what knowing the grey values gives
    without learning.
    """
    hu = case.hu.numpy().astype(np.float32)
    organ, tumour = (case.label >= LIVER).numpy(), (case.label == TUMOUR).numpy()
    smooth = gaussian_filter(hu, (0, SMOOTHING_PIXELS, SMOOTHING_PIXELS))
    near = np.abs(smooth - smooth[tumour].mean()) <= half_width_hu
    return np.asarray(near & organ & in_range(case)[:, None, None])


def best_half_width(validation: Sequence[Prepared]) -> int:
    """The half width with the best mean Dice on validation cases."""
    means = [np.mean([_dice(case, width) for case in validation]) for width in HALF_WIDTHS_HU]
    return HALF_WIDTHS_HU[int(np.argmax(means))]


def _dice(case: Prepared, half_width_hu: float) -> float:
    return dice_score(segment(case, half_width_hu), (case.label == TUMOUR).numpy())


def threshold_dice(validation: Sequence[Prepared], test: Sequence[Prepared]) -> list[float]:
    """Dice of every test case, with the half width that is best on the validation cases."""
    width = best_half_width(validation)
    return [_dice(case, width) for case in test]
