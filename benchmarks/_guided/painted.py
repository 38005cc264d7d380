"""Semi-synthetic cases: tumour shapes of real patients painted into the liver of a real CT. For tests only."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt, map_coordinates
from scipy.spatial.transform import Rotation

from benchmarks._guided.cases import SPACING_MM, Case, finish
from benchmarks._guided.lesions import LesionShape, paint
from medseg.geometry import spacing_of

CT, ORGANS, LIVER_VALUE = "example_ct.nii.gz", "example_seg_fast_force_split.nii.gz", 5
SHAPES = "Patient*/nodule*.nii.gz"
SLICES_TOGETHER = 2
"""The CT has voxels of 3 mm; the mean of two slices has the 6 mm of the phantoms."""
TUMOURS, BENIGN = (1, 2), (1, 3)
MARGIN = 4


class RealShape:
    """The outline of a real tumour, turned about the body's axis, mirrored and scaled.

    Args:
        signed_mm: distance from its surface, sampled on a grid in steps of 1 mm.
        matrix: 3 x 3, takes a point about the painted lesion's middle to one about the shape's.
        scale: of the painted lesion against the shape.
    """

    def __init__(self, signed_mm: NDArray[np.float32], matrix: NDArray[np.float64], scale: float) -> None:
        self.signed_mm, self.matrix, self.scale = signed_mm, matrix, scale
        inside = np.argwhere(signed_mm <= 0) - (np.array(signed_mm.shape) - 1) / 2
        self.reach_mm = float(scale * np.linalg.norm(inside, axis=1).max())

    def signed(self, points: NDArray[np.float32]) -> NDArray[np.float32]:
        """See `LesionShape`."""
        middle = (np.array(self.signed_mm.shape)[:, None] - 1) / 2
        at = self.matrix @ (points / self.scale) + middle
        found = map_coordinates(self.signed_mm, at, order=1, mode="nearest")
        return np.asarray(self.scale * found, np.float32)


def real_shapes(folder: Path) -> list[NDArray[np.float32]]:
    """Signed distances of every tumour of the folder's patients, on grids of 1 mm.

    Raises:
        FileNotFoundError: if there is none.
    """
    paths = sorted(folder.glob(SHAPES))
    if not paths:
        raise FileNotFoundError(f"{folder} holds no {SHAPES}")
    return [_signed(nib.load(path)) for path in paths]


def _signed(image: Any) -> NDArray[np.float32]:
    mask = np.asarray(image.dataobj) > 0
    found = np.argwhere(mask)
    box = tuple(slice(max(a - MARGIN, 0), b + MARGIN + 1) for a, b in zip(found.min(0), found.max(0), strict=True))
    own = np.pad(mask[box], 1)
    spacing = spacing_of(image.affine)
    signed = distance_transform_edt(~own, sampling=spacing) - distance_transform_edt(own, sampling=spacing)
    # Both distances end at the neighbour's centre: half a voxel each way puts the surface between the two.
    signed -= np.sign(signed) * float(spacing[:2].mean()) / 2
    places = [np.arange(0, side - 1, 1 / step) for side, step in zip(own.shape, spacing, strict=True)]
    fine = map_coordinates(signed.astype(np.float32), np.meshgrid(*places, indexing="ij"), order=1)
    inside = np.argwhere(fine <= 0)
    middle = np.rint((inside.min(0) + inside.max(0)) / 2).astype(int)
    half = np.minimum(middle, np.array(fine.shape) - 1 - middle)
    cut = tuple(slice(m - h, m + h + 1) for m, h in zip(middle, half, strict=True))
    return np.asarray(fine[cut], np.float32)


def painted_cases(data: Path, count: int) -> list[Case]:
    """Cases with real anatomy, noise and tumour shapes; grey values and places of the lesions are drawn.

    All of them show the liver of the same patient. Benign lesions are painted too, from the same shapes.

    Args:
        data: folder with ``abdomen_totalseg`` and ``liver_hcc_medrad``.
        count: number of cases.
    """
    image, liver = _real_liver(data / "abdomen_totalseg")
    shapes = real_shapes(data / "liver_hcc_medrad")
    cases = []
    for number in range(count):
        rng = np.random.default_rng([977, number])
        numbers = [int(rng.integers(*span, endpoint=True)) for span in (TUMOURS, BENIGN)]
        tumours, benign = ([_turned(rng, shapes) for _ in range(n)] for n in numbers)
        painted = paint(rng, liver, np.array(SPACING_MM), tumours, benign)
        cases.append(finish(f"painted_{number:03d}", image + painted.offset_hu, liver, painted))
    return cases


def _real_liver(folder: Path) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    ct, organs = (nib.load(folder / name) for name in (CT, ORGANS))
    if nib.aff2axcodes(ct.affine) != ("R", "A", "S") or not np.allclose(spacing_of(ct.affine), 3, atol=0.01):
        raise ValueError(f"{folder / CT} is not the CT with RAS axes and voxels of 3 mm that the study was made with")
    pairs = ct.shape[2] // SLICES_TOGETHER
    image = np.asarray(ct.dataobj, np.float32)[..., : pairs * SLICES_TOGETHER]
    liver = (np.asarray(organs.dataobj) == LIVER_VALUE)[..., : pairs * SLICES_TOGETHER]
    image, share = (x.reshape(*ct.shape[:2], pairs, SLICES_TOGETHER).mean(-1) for x in (image, liver))
    return np.asarray(image, np.float32), np.asarray(share >= 0.5)


def _turned(rng: np.random.Generator, shapes: list[NDArray[np.float32]]) -> LesionShape:
    turn = Rotation.from_euler("z", rng.uniform(0, 360), degrees=True).as_matrix()
    mirror = np.diag(rng.choice([-1.0, 1.0], 3))
    return RealShape(shapes[int(rng.integers(len(shapes)))], turn @ mirror, float(rng.uniform(0.8, 1.2)))
