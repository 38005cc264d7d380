"""How much memory a cache of prepared cases will take, said before it is filled."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from typing import Any

from medseg.inference.memory import available_memory
from medseg.io.volumes.nifti_header import read_nifti_header

__all__ = ["announce_cache", "cache_bytes"]

_LOG = logging.getLogger(__name__)
_SHARE = 0.9


def cache_bytes(cases: Sequence[Mapping[str, Any]], pixdim: Sequence[float]) -> int:
    """Bytes of images and labels in float32 at the working spacing, from the headers of their files.

    What transforms keep beside them (such as the list of background voxels of ``RandCropByPosNegLabel``) comes on top.

    Args:
        cases: with the paths of NIfTI files under ``image`` and ``label``.
        pixdim: working spacing in mm.

    >>> import numpy as np
    >>> from medseg.io import write_image
    >>> path = write_image("scan.nii.gz", np.zeros((11, 11, 11), np.int16), np.diag([2.0, 2.0, 2.0, 1.0]))
    >>> cache_bytes([{"image": path, "label": path}], (1.0, 1.0, 1.0)) == 2 * 4 * 21**3
    True
    """
    total = 0
    for case in cases:
        for key in ("image", "label"):
            if key not in case:
                continue
            header = read_nifti_header(case[key])
            spacing = (header.affine_ras[:3, :3] ** 2).sum(axis=0) ** 0.5
            sides = [round((n - 1) * float(s) / p) + 1 for n, s, p in zip(header.shape, spacing, pixdim, strict=True)]
            total += 4 * math.prod(sides)
    return total


def announce_cache(cases: Sequence[Mapping[str, Any]], pixdim: Sequence[float], cache_rate: float, what: str) -> None:
    """Log the size of a cache that is about to be filled; a warning if it will hardly fit.

    Args:
        cases: all cases of the data set.
        pixdim: working spacing in mm.
        cache_rate: share of the cases that is kept in memory, the first ones; nothing is said for 0.
        what: "training" or "validation".

    >>> announce_cache([], (1.0, 1.0, 1.0), 0.0, "training")
    """
    kept = cases[: int(len(cases) * cache_rate)]
    if not kept:
        return
    needed, free = cache_bytes(kept, pixdim), available_memory()
    words = f"cache of {len(kept)} {what} case(s): about {needed / 2**30:.1f} GiB"
    if free is None:
        _LOG.info("%s", words)
    elif needed > _SHARE * free:
        _LOG.warning("%s, but %.1f GiB are free; choose a smaller cache_rate", words, free / 2**30)
    else:
        _LOG.info("%s, %.1f GiB are free", words, free / 2**30)
