"""Cases of the study: a volume, its labels and what is known of its tumours."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from benchmarks._guided.lesions import Painted, paint
from medseg.datasets.phantom.abdomen import ABDOMEN_EXTENT_MM
from medseg.datasets.phantom.abdomen_anatomy import draw_abdomen
from medseg.datasets.phantom.draw import random_blob, streams
from medseg.datasets.phantom.grid import Grid, make_grid
from medseg.datasets.phantom.render import render
from medseg.datasets.phantom.scanner import blur_image, correlated_noise
from medseg.datasets.phantom.shapes import Blob

SPACING_MM = (3.0, 3.0, 6.0)
BACKGROUND, LIVER, TUMOUR = 0, 1, 2
NOISE_HU, GRAIN_MM, BLUR_MM = 10.0, 3.0, 3.0
LIVER_ORGAN = 14
DIAMETERS_MM = (14.0, 46.0)
TUMOURS, BENIGN = (1, 3), (2, 4)


class Case(NamedTuple):
    """One volume.

    Attributes:
        name: different from that of every other case.
        image: HU, int16 ``[i, j, k]`` of 3 x 3 x 6 mm, axes to the patient's right, front and head (RAS).
        label: uint8: 0 background, 1 liver (with benign lesions), 2 tumour.
        contrast_hu: HU of its tumours minus HU of the liver, as drawn.
    """

    name: str
    image: NDArray[np.int16]
    label: NDArray[np.uint8]
    contrast_hu: float


class BlobShape(NamedTuple):
    """A bumpy ellipsoid."""

    blob: Blob
    reach_mm: float

    def signed(self, points: NDArray[np.float32]) -> NDArray[np.float32]:
        """See `LesionShape`."""
        return self.blob.signed(points)


def phantom_cases(seed: int, draws: int) -> list[Case]:
    """One synthetic abdomen with several independent sets of lesions and of noise.

    Args:
        seed: of the anatomy and of everything else.
        draws: number of cases.
    """
    anatomy_rng, *rngs = streams(seed, 1 + draws)
    grid = make_grid(ABDOMEN_EXTENT_MM, SPACING_MM, None, "RAS")
    hu, organs = render(draw_abdomen(anatomy_rng).parts, grid)
    liver = organs == LIVER_ORGAN
    return [_case(f"phantom_{seed:03d}_{i}", rng, hu, liver, grid) for i, rng in enumerate(rngs)]


def _case(name: str, rng: np.random.Generator, hu: NDArray[np.float32], liver: NDArray[np.bool_], grid: Grid) -> Case:
    numbers = [int(rng.integers(*span, endpoint=True)) for span in (TUMOURS, BENIGN)]
    tumours, benign = ([_blob(rng) for _ in range(count)] for count in numbers)
    painted = paint(rng, liver, np.array(SPACING_MM), tumours, benign)
    image = blur_image(hu + painted.offset_hu, grid, BLUR_MM) + correlated_noise(rng, grid, NOISE_HU, GRAIN_MM)
    return finish(name, image, liver, painted)


def finish(name: str, image: NDArray[np.float32], liver: NDArray[np.bool_], painted: Painted) -> Case:
    """Round, clip and label."""
    label = np.where(painted.tumour, TUMOUR, np.where(liver, LIVER, BACKGROUND)).astype(np.uint8)
    return Case(name, np.clip(np.rint(image), -1024, 3071).astype(np.int16), label, painted.contrast_hu)


def _blob(rng: np.random.Generator) -> BlobShape:
    """Most lesions are small: the logarithm of the diameter has a triangular distribution with its peak at 20 mm."""
    low, high = np.log(DIAMETERS_MM)
    diameter = float(np.exp(rng.triangular(low, np.log(20.0), high)))
    axes = diameter / 2 * np.array([1.0, rng.uniform(0.8, 1.0), rng.uniform(0.8, 1.0)])
    axes *= diameter / 2 / np.cbrt(axes.prod())
    blob = random_blob(rng, np.zeros(3), axes, tilt_deg=60.0, size_spread=0.0, bumps=0.06, frequency=2.5)
    return BlobShape(blob, float(axes.max() * (1 + blob.waves.bound)))
