"""What a phantom is: image, labels, geometry and the analytic truth of its lesions."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from medseg.datasets.phantom.grid import Box
from medseg.datasets.phantom.shapes import Shape
from medseg.geometry import Affine, flip_lps_ras, voxel_volume_ml

__all__ = ["Lesion", "Phantom", "PointMark", "ReaderMask", "measure"]


@dataclass(frozen=True)
class ReaderMask:
    """One simulated reader's outline of one nodule, on the phantom's grid.

    Attributes:
        reader: 0 to 3.
        box: slices ``(i, j, k)`` of the mask in the whole volume.
        mask: bool, the voxels inside the reader's outline.
        ratings: the nine LIDC characteristics, by their names in LIDC files.

    >>> box = (slice(0, 2), slice(0, 2), slice(0, 2))
    >>> int(ReaderMask(reader=1, box=box, mask=np.ones((2, 2, 2), bool), ratings={"malignancy": 4}).mask.sum())
    8
    """

    reader: int
    box: Box
    mask: NDArray[np.bool_]
    ratings: dict[str, int]


@dataclass(frozen=True)
class Lesion:
    """The truth of one tumour or nodule, measured on the continuous shape (no grid involved).

    Attributes:
        centre_ras_mm: centroid, RAS mm.
        diameter_mm: diameter of the sphere of equal volume, mm.
        volume_ml: volume in ml.
        kind: tumours ``hypodense``, ``isodense``, ``hyperdense``; nodules ``solid``, ``part-solid``, ``ground-glass``.
        contrast_hu: lesion minus surrounding tissue, HU.
        attachment: ``none``, ``vessel`` or ``wall`` (nodules only).
        ratings: the nine LIDC characteristics before the readers' own variation (nodules only).
        readers: the masks of the readers who marked it (nodules only).

    >>> from medseg.datasets.phantom import abdomen_phantom
    >>> phantom = abdomen_phantom(seed=7, spacing_mm=(12.0, 12.0, 12.0), n_tumours=1)
    >>> lesion = phantom.lesions[0]
    >>> lesion.kind in ("hypodense", "isodense", "hyperdense"), lesion.volume_ml > 0
    (True, True)
    """

    centre_ras_mm: tuple[float, float, float]
    diameter_mm: float
    volume_ml: float
    kind: str
    contrast_hu: float
    attachment: str = "none"
    ratings: dict[str, int] = field(default_factory=dict)
    readers: list[ReaderMask] = field(default_factory=list)

    @property
    def centre_lps_mm(self) -> tuple[float, float, float]:
        """Centroid in LPS mm."""
        x, y, z = flip_lps_ras(self.centre_ras_mm)
        return float(x), float(y), float(z)


@dataclass(frozen=True)
class PointMark:
    """A finding that readers mark by one point only.

    Attributes:
        kind: ``small-nodule`` (under 3 mm) or ``non-nodule``.
        centre_ras_mm: position, RAS mm.
        readers: indices 0 to 3 of the readers who marked it.

    >>> PointMark("non-nodule", (10.0, -35.0, 62.0), readers=(0, 2)).kind
    'non-nodule'
    """

    kind: str
    centre_ras_mm: tuple[float, float, float]
    readers: tuple[int, ...]


@dataclass(frozen=True)
class Phantom:
    """A synthetic CT with known truth.

    Attributes:
        image: HU, int16 ``[i, j, k]``.
        label: task label, uint8. Abdomen: 0 background, 1 liver, 2 tumour. Chest: 0 background, 1 nodule.
        organs: label of every organ, uint8; ``organ_names`` says which is which.
        organ_names: label value to name.
        affine_ras: 4 x 4, voxel to RAS mm.
        lesions: truth of every tumour or nodule (3 mm and more).
        points: small nodules and non-nodules (chest only).
        kind: ``abdomen`` or ``chest``.
        seed: the seed that makes the same anatomy on any grid.

    >>> from medseg.datasets.phantom import abdomen_phantom
    >>> phantom = abdomen_phantom(seed=7, spacing_mm=(12.0, 12.0, 12.0), n_tumours=1)
    >>> phantom.kind, phantom.organ_names[14], 1.0 < phantom.organ_volumes_ml()["liver"] / 1000 < 2.5
    ('abdomen', 'liver', True)
    """

    image: NDArray[np.int16]
    label: NDArray[np.uint8]
    organs: NDArray[np.uint8]
    organ_names: dict[int, str]
    affine_ras: Affine
    lesions: list[Lesion]
    points: list[PointMark]
    kind: str
    seed: int

    def organ_volumes_ml(self) -> dict[str, float]:
        """Volume of every organ on this grid in ml (voxel count times voxel volume), by name."""
        counts = np.bincount(self.organs.ravel(), minlength=256)
        voxel = voxel_volume_ml(self.affine_ras)
        return {name: float(counts[value] * voxel) for value, name in self.organ_names.items()}


def measure(shape: Shape, samples: int = 72) -> tuple[tuple[float, float, float], float, float]:
    """Centroid (RAS mm), volume (ml) and equal-volume diameter (mm) of a continuous shape.

    The bounding box is sampled at ``samples ** 3`` points. For blobs the volume error stays below 0.3 %.
    """
    low, high = shape.bounds()
    axes = [lo + (np.arange(samples) + 0.5) * (hi - lo) / samples for lo, hi in zip(low, high, strict=True)]
    points = np.stack([axis.ravel() for axis in np.meshgrid(*axes, indexing="ij")]).astype(np.float32)
    inside = points[:, shape.signed(points) <= 0].astype(np.float64)
    volume_mm3 = inside.shape[1] * float(np.prod((high - low) / samples))
    x, y, z = inside.mean(axis=1)
    return (float(x), float(y), float(z)), volume_mm3 / 1000.0, float((6.0 * volume_mm3 / np.pi) ** (1.0 / 3.0))
