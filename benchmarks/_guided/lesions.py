"""Lesions for a liver that is given as a mask: their places, rims and grey values."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt, gaussian_filter

Floats = NDArray[np.float32]
GAP_MM = 4.0
"""Free liver between two lesions, and between a lesion and the surface of the liver."""
FAINT_HU = 18.0
"""Contrasts below this are called faint."""
APART_HU = 20.0
"""How far the contrast of a case's benign lesions stays from that of its tumours."""
RIM_MM = {"tumour": (3.0, 8.0), "benign": (1.0, 4.0)}
"""Width of the blurred rim: tumours tend to be the less sharp, but both have rims of 3 to 4 mm."""
TEXTURE_HU = {"tumour": (4.0, 16.0), "benign": (0.0, 6.0)}
TEXTURE_GRAIN_MM = 3.0


class LesionShape(Protocol):
    """A shape about the origin, as a signed distance in mm."""

    @property
    def reach_mm(self) -> float:
        """Radius of the ball about the origin that holds the shape."""

    def signed(self, points: Floats) -> Floats:
        """Distance from the surface of points ``(3, n)`` in mm, negative inside."""


class Painted(NamedTuple):
    """What lesions add to a case.

    Attributes:
        offset_hu: float32 ``[i, j, k]``, to be added to the image.
        tumour: bool, voxels whose centre is inside a tumour.
        benign: bool, those inside a benign lesion.
        contrast_hu: of the case's tumours, against the liver.
    """

    offset_hu: Floats
    tumour: NDArray[np.bool_]
    benign: NDArray[np.bool_]
    contrast_hu: float


def draw_contrast(rng: np.random.Generator) -> float:
    """Lesion minus liver in HU: hypodense (one half), hyperdense (a third) or faint; never below 10 HU."""
    low, high = ((-55.0, -FAINT_HU), (FAINT_HU, 50.0), (10.0, FAINT_HU))[int(rng.choice(3, p=(0.5, 0.35, 0.15)))]
    value = float(rng.uniform(low, high))
    return -value if low == 10.0 and rng.random() < 0.5 else value


def paint(
    rng: np.random.Generator,
    liver: NDArray[np.bool_],
    spacing_mm: NDArray[np.float64],
    tumours: Sequence[LesionShape],
    benign: Sequence[LesionShape],
) -> Painted:
    """Place lesions in a liver and give them grey values.

    All tumours of a case have one contrast. A benign lesion has a contrast of its own, drawn the same way but at least
    `APART_HU` from the tumours'. Over all cases, tumours and benign lesions share one range of grey values and
    contrasts; within one case they differ.

    Args:
        rng: source of randomness.
        liver: mask.
        spacing_mm: of its voxels.
        tumours: shapes of the target; at least the first is placed.
        benign: shapes of lesions that are not the target; those without room are left out.

    Raises:
        ValueError: if the liver has no room for the first tumour.
    """
    contrast = draw_contrast(rng)
    # Padded, because there is no liver outside of the volume.
    depth = distance_transform_edt(np.pad(liver, 1), sampling=spacing_mm)[1:-1, 1:-1, 1:-1]
    offset = np.zeros(liver.shape, np.float32)
    inside = {kind: np.zeros(liver.shape, bool) for kind in RIM_MM}
    amplitude = rng.uniform(*TEXTURE_HU["tumour"])
    for kind, shapes in (("tumour", tumours), ("benign", benign)):
        for shape in shapes:
            signed = _place(rng, shape, depth, spacing_mm)
            if signed is None:
                continue
            value, grain = contrast, amplitude
            if kind == "benign":
                value, grain = _another(rng, contrast), float(rng.uniform(*TEXTURE_HU["benign"]))
            cover = np.clip(0.5 - signed / rng.uniform(*RIM_MM[kind]), 0.0, 1.0)
            offset += cover * (value + grain * _texture(rng, liver.shape, spacing_mm))
            inside[kind] |= signed <= 0
            depth = np.minimum(depth, np.maximum(signed, 0.0))  # later lesions keep a distance from this one
    if not inside["tumour"].any():
        raise ValueError(f"no room for a tumour of {2 * tumours[0].reach_mm:.0f} mm in the liver")
    return Painted(offset, inside["tumour"], inside["benign"], contrast)


def _another(rng: np.random.Generator, contrast: float) -> float:
    while True:
        value = draw_contrast(rng)
        if abs(value - contrast) >= APART_HU:
            return value


def _place(
    rng: np.random.Generator, shape: LesionShape, depth: NDArray[np.float64], spacing_mm: NDArray[np.float64]
) -> Floats | None:
    """Signed distance from the shape at a random place, ``[i, j, k]`` (far away: a large value); None without room."""
    centres = np.argwhere(depth >= shape.reach_mm + GAP_MM)
    if not len(centres):
        return None
    centre = centres[rng.integers(len(centres))]
    half = np.ceil((shape.reach_mm + max(high for _, high in RIM_MM.values())) / spacing_mm).astype(int)
    low, high = np.maximum(centre - half, 0), np.minimum(centre + half + 1, depth.shape)
    axes = [(np.arange(a, b) - c) * step for a, b, c, step in zip(low, high, centre, spacing_mm, strict=True)]
    points = np.stack([axis.ravel() for axis in np.meshgrid(*axes, indexing="ij")]).astype(np.float32)
    signed = np.full(depth.shape, 1e4, np.float32)
    box = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
    signed[box] = shape.signed(points).reshape([b - a for a, b in zip(low, high, strict=True)])
    return signed


def _texture(rng: np.random.Generator, shape: tuple[int, ...], spacing_mm: NDArray[np.float64]) -> Floats:
    """Smooth random field with standard deviation 1."""
    field = gaussian_filter(rng.standard_normal(shape, dtype=np.float32), TEXTURE_GRAIN_MM / spacing_mm, mode="wrap")
    return np.asarray(field / field.std(), np.float32)
