"""Small folders of predictions and references with known scores."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from medseg.io import write_image

AFFINE = np.diag([0.8, 0.7, 2.5, 1.0])


def label(shift: int = 0, tumour: bool = True) -> NDArray[np.uint8]:
    """A liver of 10 x 10 x 10 voxels with a tumour of 4 x 4 x 4, moved along the first axis."""
    found = np.zeros((16, 14, 12), np.uint8)
    found[1 + shift : 11 + shift, 1:11, 1:11] = 1
    if tumour:
        found[3 + shift : 7 + shift, 3:7, 3:7] = 2
    return found


def write_folders(root: Path, names: tuple[str, ...] = ("volume-1", "volume-2", "volume-3"), shift: int = 1) -> Path:
    """``root/truth`` and ``root/pred``, in which the last case misses its tumour; returns ``root``."""
    for name in names:
        write_image(root / "truth" / f"{name}.nii.gz", label(), AFFINE)
        write_image(root / "pred" / f"{name}.nii.gz", label(shift, tumour=name != names[-1]), AFFINE)
    return root
