"""A synthetic abdominal CT: liver with tumours among organs that touch it and overlap it in HU."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from medseg.datasets.phantom.abdomen_anatomy import Abdomen, draw_abdomen
from medseg.datasets.phantom.abdomen_tumours import draw_tumours
from medseg.datasets.phantom.draw import isocentre, moved, streams
from medseg.datasets.phantom.grid import make_grid
from medseg.datasets.phantom.model import Lesion, Phantom, measure
from medseg.datasets.phantom.render import Part, render
from medseg.datasets.phantom.scanner import scan

__all__ = ["ABDOMEN_EXTENT_MM", "ABDOMEN_ORGANS", "abdomen_phantom"]

ABDOMEN_EXTENT_MM = (360.0, 300.0, 240.0)
ABDOMEN_ORGANS = {
    1: "fat",
    2: "muscle",
    3: "bone",
    4: "lung",
    5: "spleen",
    6: "right_kidney",
    7: "left_kidney",
    8: "stomach",
    9: "bowel",
    10: "gas",
    11: "vessel",
    12: "heart",
    13: "gallbladder",
    14: "liver",
    15: "tumour",
}
_LIVER, _TUMOUR = 14, 15


def abdomen_phantom(
    seed: int,
    *,
    spacing_mm: Sequence[float] = (3.0, 3.0, 3.0),
    shape: Sequence[int] | None = None,
    orientation: str | ArrayLike = "RAS",
    n_tumours: int | None = None,
    noise_hu: float = 20.0,
    blur_mm: float = 1.5,
    supersample: int = 2,
    padding_hu: int | None = None,
) -> Phantom:
    """Make a synthetic abdominal CT with known truth.

    The anatomy is drawn from ``seed`` as continuous shapes in patient millimetres and then sampled, so the same seed
    gives the same patient on every grid. Organ HU come from overlapping ranges of four contrast phases.

    Args:
        seed: integer of at least 0.
        spacing_mm: voxel spacing along the array axes.
        shape: voxels along the array axes; None covers 360 x 300 x 240 mm of the patient's x, y, z.
        orientation: letters of the array axes (``"RAS"``, ``"LPS"``, ``"PIR"`` ...) or an orthonormal 3 x 3 matrix.
        n_tumours: number of tumours asked for; None draws 0 to 12. Fewer are placed if the liver has no more room.
        noise_hu: standard deviation of the noise.
        blur_mm: full width at half maximum of the point spread function.
        supersample: sub-voxel points per axis for partial volume.
        padding_hu: value outside the scan circle, or None for no circle.

    Returns:
        The phantom; ``label`` is 0 background, 1 liver, 2 tumour.

    Raises:
        ValueError: for a negative seed or tumour number, or an impossible grid.

    >>> phantom = abdomen_phantom(seed=7, spacing_mm=(12.0, 12.0, 12.0), n_tumours=2)
    >>> phantom.image.shape, len(phantom.lesions), bool((phantom.label == 1).any())
    ((30, 25, 20), 2, True)
    """
    if n_tumours is not None and n_tumours < 0:
        raise ValueError(f"n_tumours is {n_tumours}, expected at least 0 or None")
    anatomy_rng, tumour_rng, noise_rng, place_rng = streams(seed, 4)
    grid = make_grid(ABDOMEN_EXTENT_MM, spacing_mm, shape, orientation)
    anatomy = draw_abdomen(anatomy_rng)
    shift = isocentre(place_rng)
    tumour_parts, lesions = _tumours(tumour_rng, anatomy, n_tumours, shift)
    hu, organs = render([*anatomy.parts, *tumour_parts], grid, supersample)
    image = scan(hu, grid, noise_rng, blur_mm=blur_mm, noise_hu=noise_hu, padding_hu=padding_hu)
    label = (organs == _LIVER).astype(np.uint8) + np.uint8(2) * (organs == _TUMOUR)
    affine = moved(grid, shift)
    return Phantom(image, label, organs, dict(ABDOMEN_ORGANS), affine, lesions, [], "abdomen", int(seed))


def _tumours(
    rng: np.random.Generator, anatomy: Abdomen, count: int | None, shift: NDArray[np.float64]
) -> tuple[list[Part], list[Lesion]]:
    parts, lesions = [], []
    for tumour in draw_tumours(rng, anatomy.liver, count):
        centre, volume_ml, diameter_mm = measure(tumour.shape)
        x, y, z = np.asarray(centre) + shift
        position = (float(x), float(y), float(z))
        lesions.append(Lesion(position, diameter_mm, volume_ml, tumour.kind, tumour.contrast_hu))
        hu = anatomy.liver_hu + tumour.contrast_hu
        parts.append(Part(tumour.shape, hu, _TUMOUR, rim_mm=tumour.rim_mm))
    return parts, lesions
