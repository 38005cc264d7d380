"""An estimate of the memory that a run needs, made before the run."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from medseg.geometry import spacing_of

if TYPE_CHECKING:
    from medseg.inference.bundle import Bundle
    from medseg.inference.case import Case

__all__ = ["available_memory", "bytes_for_case", "estimate_bytes"]


def estimate_bytes(
    shape: Sequence[int],
    itemsize: int,
    spacing_mm: Sequence[float],
    n_classes: int,
    network_spacing_mm: Sequence[float] | None = None,
) -> int:
    """Bytes of the volumes that whole-image inference holds at its peak, without the network's own activations.

    On the image's grid: the stored image, a float32 copy of it, one float32 volume for each foreground class and a
    uint8 mask. On the network's grid: the float32 image, one float32 volume for each class and the sliding window's
    count map.

    Args:
        shape: voxels of the image along its axes.
        itemsize: bytes of a stored voxel.
        spacing_mm: spacing of the image along its axes.
        n_classes: number of classes with the background.
        network_spacing_mm: spacing that the image is resampled to; ``None`` for its own.
    """
    native = math.prod(shape)
    target = network_spacing_mm if network_spacing_mm is not None else spacing_mm
    resampled = native * math.prod(spacing_mm) / math.prod(target)
    return int(native * (itemsize + 4 + 4 * (n_classes - 1) + 1) + resampled * 4 * (1 + n_classes + 1))


def bytes_for_case(bundle: Bundle, case: Case) -> int:
    """`estimate_bytes` of a case, with the spacing that the bundle's key ``pixdim`` states as numbers."""
    config = json.loads(bundle.config.read_text(encoding="utf-8"))
    pixdim = config.get("pixdim")
    fixed = isinstance(pixdim, list) and len(pixdim) == 3 and all(isinstance(p, int | float) and p > 0 for p in pixdim)
    spacing = [float(s) for s in spacing_of(case.affine_ras)]
    array = case.array
    return estimate_bytes(array.shape, array.itemsize, spacing, len(bundle.labels), pixdim if fixed else None)


def available_memory() -> int | None:
    """Bytes of main memory that new work can use (``MemAvailable``), ``None`` where the system does not report it."""
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:")), None)
