"""MedMNIST collections from their ``.npz`` files (Yang et al., Scientific Data 2023); nothing is downloaded."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from medseg.io.bounded.errors import DataError

__all__ = ["MedMNISTPart", "read_medmnist"]

_PARTS = ("train", "val", "test")


class MedMNISTPart(NamedTuple):
    """One of the official parts.

    Attributes:
        images: uint8 ``[n, *spatial]`` (grey) or ``[n, *spatial, 3]`` (colour).
        labels: int64 ``[n]``.

    >>> import numpy as np
    >>> part = MedMNISTPart(np.zeros((2, 28, 28), np.uint8), np.array([0, 1]))
    >>> part.labels.tolist()
    [0, 1]
    """

    images: NDArray[np.uint8]
    labels: NDArray[np.int64]


def read_medmnist(path: str | Path) -> dict[str, MedMNISTPart]:
    """Read the official training, validation and test parts of a single-label collection.

    Args:
        path: for example ``pneumoniamnist.npz``.

    Returns:
        ``{"train", "val", "test"}``.

    Raises:
        DataError: if the file cannot be read, lacks an array, or holds several labels for one image.

    >>> import numpy as np
    >>> arrays = {f"{part}_images": np.zeros((2, 28, 28), np.uint8) for part in ("train", "val", "test")}
    >>> arrays |= {f"{part}_labels": np.array([[0], [1]]) for part in ("train", "val", "test")}
    >>> np.savez("mnist.npz", **arrays)
    >>> read_medmnist("mnist.npz")["train"].images.shape
    (2, 28, 28)
    """
    path = Path(path)
    try:
        with np.load(path) as stored:
            arrays = {name: stored[name] for name in stored.files}
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        raise DataError(f"{path}: cannot be read as a MedMNIST .npz file ({error})") from error
    wanted = [f"{part}_{kind}" for part in _PARTS for kind in ("images", "labels")]
    missing = [name for name in wanted if name not in arrays]
    if missing:
        raise DataError(f"{path}: has no array {missing[0]}, expected {', '.join(wanted)}")
    return {part: _part(path, part, arrays[f"{part}_images"], arrays[f"{part}_labels"]) for part in _PARTS}


def _part(path: Path, part: str, images: NDArray[np.uint8], labels: NDArray[np.int64]) -> MedMNISTPart:
    if labels.size != len(images):
        raise DataError(
            f"{path}: {part} has {len(images)} images but {labels.size} labels, expected one label an image"
        )
    if images.dtype != np.uint8:
        raise DataError(f"{path}: {part} images are {images.dtype}, expected uint8")
    return MedMNISTPart(images, labels.reshape(-1).astype(np.int64))
