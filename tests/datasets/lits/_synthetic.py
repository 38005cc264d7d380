"""Synthetic cases with the names and header faults of LiTS; anatomy is a phantom, no patient."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from numpy.typing import NDArray

from medseg.datasets.phantom import Phantom, abdomen_phantom
from medseg.geometry import make_affine
from medseg.geometry.regrid import closest_ras

COARSE = (7.5, 7.5, 7.5)


@cache
def phantom(seed: int = 0, orientation: str = "LAS", n_tumours: int = 3) -> Phantom:
    """A small abdomen of which tests take copies; 7.5 mm, liver of 1.5 to 1.9 litres, axes in any order."""
    if orientation == "LAS":
        return abdomen_phantom(seed, spacing_mm=COARSE, orientation="LAS", n_tumours=n_tumours, supersample=1)
    base = phantom(seed, "LAS", n_tumours)
    moves = nib.orientations.ornt_transform(
        nib.orientations.axcodes2ornt("LAS"), nib.orientations.axcodes2ornt(orientation)
    )
    image, label = (nib.orientations.apply_orientation(array, moves) for array in (base.image, base.label))
    affine = base.affine_ras @ nib.orientations.inv_ornt_aff(moves, base.image.shape)
    return replace(base, image=image, label=label, affine_ras=affine)


def write(path: Path, array: NDArray[Any], affine: NDArray[np.float64], code: int = 1) -> Path:
    """Write a file whose header says what the test wants, true or not."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image = nib.Nifti1Image(array, affine)
    image.set_sform(affine, code=code)
    image.set_qform(affine, code=code)
    nib.save(image, path)
    return path


def write_pair(folder: Path, number: int, seed: int = 0, orientation: str = "LAS", n_tumours: int = 3) -> Phantom:
    """A case without any fault: ``volume-N.nii`` and ``segmentation-N.nii``."""
    case = phantom(seed, orientation, n_tumours)
    write(folder / f"volume-{number}.nii", case.image, case.affine_ras)
    write(folder / f"segmentation-{number}.nii", case.label, case.affine_ras)
    return case


def write_flipped_label(folder: Path, number: int, axis: int = 0) -> Phantom:
    """A case whose label has the sign of one axis wrong in its header."""
    case = phantom()
    header = case.affine_ras.copy()
    header[:3, axis] *= -1
    write(folder / f"volume-{number}.nii", case.image, case.affine_ras)
    write(folder / f"segmentation-{number}.nii", case.label, header)
    return case


def as_sampled(case: Phantom, spacing_mm: tuple[float, float, float], slices: int) -> tuple[Any, Any]:
    """Image and label of the phantom on a finer grid (nearest voxel), without any geometry: arrays L, A, S."""
    assert closest_ras(case.affine_ras, case.image.shape).flips == (True, False, False)
    extent = np.array(case.image.shape) * COARSE
    steps = [np.arange(int(extent[axis] / spacing_mm[axis])) * spacing_mm[axis] for axis in (0, 1)]
    # The stretch of slices around the liver's middle.
    middle = np.argwhere(case.label > 0)[:, 2].mean() * COARSE[2]
    steps.append(middle + (np.arange(slices) - slices / 2) * spacing_mm[2])
    index = [np.clip((step / 7.5).astype(int), 0, n - 1) for step, n in zip(steps, case.image.shape, strict=True)]
    grid = np.ix_(*index)
    return case.image[grid], case.label[grid]


IDENTITY = make_affine((1.0, 1.0, 1.0))
