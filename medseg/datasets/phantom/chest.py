"""A synthetic chest CT: lungs with branching vessels and nodules, read by four simulated readers."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from medseg.datasets.phantom.chest_anatomy import Chest, draw_chest
from medseg.datasets.phantom.draw import isocentre, moved, streams
from medseg.datasets.phantom.grid import Grid, make_grid
from medseg.datasets.phantom.model import Lesion, Phantom, PointMark, measure
from medseg.datasets.phantom.nodules import NODULE_ORGAN, Nodule, draw_nodules
from medseg.datasets.phantom.readers import READERS, read_nodule
from medseg.datasets.phantom.render import Part, render
from medseg.datasets.phantom.scanner import scan
from medseg.datasets.phantom.shapes import Blob

__all__ = ["CHEST_EXTENT_MM", "CHEST_ORGANS", "chest_phantom"]

CHEST_EXTENT_MM = (300.0, 300.0, 200.0)
CHEST_ORGANS = {
    1: "fat",
    2: "muscle",
    3: "bone",
    4: "lung",
    5: "mediastinum",
    6: "upper_abdomen",
    7: "heart",
    8: "aorta",
    9: "airway_wall",
    10: "airway",
    11: "lung_vessel",
    12: "nodule",
}
_VESSEL = 11


def chest_phantom(
    seed: int,
    *,
    spacing_mm: Sequence[float] = (1.5, 1.5, 1.5),
    shape: Sequence[int] | None = None,
    orientation: str | ArrayLike = "RAS",
    n_nodules: int | None = None,
    noise_hu: float = 25.0,
    blur_mm: float = 1.2,
    supersample: int = 2,
    padding_hu: int | None = None,
) -> Phantom:
    """Make a synthetic chest CT with known truth and four simulated readers.

    The anatomy, the nodules and the readers' outlines are drawn from ``seed`` as continuous shapes in patient
    millimetres and then sampled, so the same seed gives the same patient on every grid. ``lesions`` lists every nodule
    of the patient, also one outside a small grid; ``points`` lists small nodules (under 3 mm) and non-nodules.

    Args:
        seed: integer of at least 0.
        spacing_mm: voxel spacing along the array axes.
        shape: voxels along the array axes; None covers 300 x 300 x 200 mm of the patient's x, y, z.
        orientation: letters of the array axes (``"RAS"``, ``"LPS"``, ``"PIR"`` ...) or an orthonormal 3 x 3 matrix.
        n_nodules: number of nodules asked for; None draws 0 to 8. Fewer are placed if the lungs have no more room.
        noise_hu: standard deviation of the noise.
        blur_mm: full width at half maximum of the point spread function.
        supersample: sub-voxel points per axis for partial volume.
        padding_hu: value outside the scan circle, or None for no circle.

    Returns:
        The phantom; ``label`` is 0 background, 1 nodule (the truth, not a reader's outline).

    Raises:
        ValueError: for a negative seed or nodule number, or an impossible grid.

    >>> phantom = chest_phantom(seed=7, spacing_mm=(10.0, 10.0, 10.0), n_nodules=2)
    >>> phantom.image.shape, len(phantom.lesions), phantom.lesions[0].kind in ("solid", "part-solid", "ground-glass")
    ((30, 30, 20), 2, True)
    """
    if n_nodules is not None and n_nodules < 0:
        raise ValueError(f"n_nodules is {n_nodules}, expected at least 0 or None")
    anatomy_rng, nodule_rng, reader_rng, noise_rng, place_rng = streams(seed, 5)
    grid = make_grid(CHEST_EXTENT_MM, spacing_mm, shape, orientation)
    chest = draw_chest(anatomy_rng)
    shift = isocentre(place_rng)
    nodules = draw_nodules(nodule_rng, chest, n_nodules)
    small, points = _draw_points(nodule_rng, chest, nodules, shift)
    parts = [
        *chest.below,
        *[part for nodule in nodules for part in nodule.below],
        *[Part(vessel, chest.vessel_hu, _VESSEL) for vessel in chest.vessels],
        *small,
        *chest.above,
        *[part for nodule in nodules for part in nodule.above],
    ]
    hu, organs = render(parts, grid, supersample)
    image = scan(hu, grid, noise_rng, blur_mm=blur_mm, noise_hu=noise_hu, padding_hu=padding_hu)
    lesions = [_truth(reader_rng, nodule, chest, grid, shift) for nodule in nodules]
    label = (organs == NODULE_ORGAN).astype(np.uint8)
    return Phantom(image, label, organs, dict(CHEST_ORGANS), moved(grid, shift), lesions, points, "chest", int(seed))


def _truth(rng: np.random.Generator, nodule: Nodule, chest: Chest, grid: Grid, shift: NDArray[np.float64]) -> Lesion:
    centre, volume_ml, diameter_mm = measure(nodule.shape)
    return Lesion(
        _position(np.asarray(centre) + shift),
        diameter_mm,
        volume_ml,
        nodule.kind,
        nodule.contrast_hu,
        nodule.attachment,
        dict(nodule.ratings),
        read_nodule(rng, nodule, chest.lungs, grid),
    )


def _draw_points(
    rng: np.random.Generator, chest: Chest, nodules: list[Nodule], shift: NDArray[np.float64]
) -> tuple[list[Part], list[PointMark]]:
    """Nodules under 3 mm (painted) and non-nodules (forks of vessels that readers took for something)."""
    low, high = chest.lungs.bounds()
    places = rng.uniform(np.maximum(low, -90.0), np.minimum(high, 90.0), size=(400, 3))
    places = places[chest.lungs.signed(places.T.astype(np.float32)) < -5.0]
    forks = np.array([branch.end_mm for branch in chest.vessels if branch.end_radius_mm > 1.2]).reshape(-1, 3)
    forks = forks[(chest.lungs.signed(forks.T.astype(np.float32)) < -5.0) & (np.abs(forks[:, 2]) < 90.0)]
    parts, points = [], []
    for kind, candidates in (("small-nodule", places), ("non-nodule", forks)):
        free = [place for place in candidates if all(_clear(place, nodule.blob) for nodule in nodules)]
        for place in free[:: max(1, len(free) // 4)][: int(rng.integers(0, 4))]:
            readers = tuple(int(n) for n in np.nonzero(rng.random(READERS) < 0.5)[0]) or (int(rng.integers(READERS)),)
            points.append(PointMark(kind, _position(place + shift), readers))
            if kind == "small-nodule":
                ball = Blob(place, np.full(3, rng.uniform(0.75, 1.45)), np.eye(3))
                parts.append(Part(ball, float(rng.uniform(-50, 50)), None))
    return parts, points


def _clear(place: NDArray[np.float64], blob: Blob) -> bool:
    return bool(np.linalg.norm(place - blob.centre_mm) > blob.semi_axes_mm.max() * (1.0 + blob.waves.bound) + 8.0)


def _position(point: NDArray[np.float64]) -> tuple[float, float, float]:
    return float(point[0]), float(point[1]), float(point[2])
