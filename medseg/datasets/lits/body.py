"""Position of liver and spine in the body: warnings about headers with exchanged sides. Nothing is flipped here."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage

from medseg.geometry import apply_affine, spacing_of

__all__ = ["BodyCheck", "check_body"]

_SAMPLE_MM = 3.0
_BODY_HU = -300.0
_BONE_HU = 250.0
_LEAST_BONE_ML = 20.0


class BodyCheck(NamedTuple):
    """Positions in RAS mm relative to the body's centroid.

    Attributes:
        liver_to_right_mm: distance of the liver's centroid towards the patient's right; None without liver or body.
        bone_to_back_mm: distance of the centroid of bright bone towards the back; None without bone or body.
        warnings: one line for each that is on the wrong side or could not be checked.

    >>> BodyCheck(liver_to_right_mm=52.0, bone_to_back_mm=71.0, warnings=()).liver_to_right_mm
    52.0
    """

    liver_to_right_mm: float | None
    bone_to_back_mm: float | None
    warnings: tuple[str, ...]


def check_body(name: str, image: NDArray[Any], affine_ras: ArrayLike, liver: NDArray[np.bool_] | None) -> BodyCheck:
    """Check that the liver lies on the patient's right and the spine at the back, according to the header.

    The image is sampled every 3 mm. The body is the largest connected part above -300 HU; bright bone is everything in
    it above 250 HU, and most of that is the spine. A patient with transposed organs (situs inversus) gets a warning,
    too; therefore a warning only means that a person must look at the images.

    Args:
        name: case, for the warnings.
        image: HU ``[i, j, k]``.
        affine_ras: 4 x 4, voxel to RAS mm.
        liver: mask on the image's grid; None where there is no label.

    >>> image = np.full((40, 30, 20), -1000, np.int16)
    >>> image[5:35, 5:25] = 20  # a body of 300 x 200 mm
    >>> image[18:22, 6:10] = 600  # its spine, at the back
    >>> liver = np.zeros(image.shape, bool)
    >>> liver[24:32, 10:18, 5:15] = True
    >>> check_body("case", image, np.diag([10.0, 10.0, 10.0, 1.0]), liver).warnings
    ()
    """
    steps = [max(1, round(_SAMPLE_MM / step)) for step in spacing_of(affine_ras)]
    sampled = tuple(slice(None, None, step) for step in steps)
    coarse = np.asarray(affine_ras, np.float64) @ np.diag([*steps, 1.0])
    values = image[sampled]
    body = _largest_part(values > _BODY_HU)
    if body is None:
        return BodyCheck(None, None, (f"{name}: no body found above {_BODY_HU:g} HU; sides were not checked",))
    centre = _centroid(body, coarse)
    to_right, side = _liver_side(name, centre, None if liver is None else liver[sampled], coarse)
    bone = body & (values > _BONE_HU)
    enough = np.count_nonzero(bone) * abs(np.linalg.det(coarse[:3, :3])) / 1000.0 >= _LEAST_BONE_ML
    to_back = float(centre[1] - _centroid(bone, coarse)[1]) if enough else None
    warnings = [*side]
    if to_back is None:
        warnings.append(f"{name}: too little bone above {_BONE_HU:g} HU; front and back were not checked")
    elif to_back <= 0:
        warnings.append(
            f"{name}: by the header the bones lie {-to_back:.0f} mm in front of the body's centre, expected behind it; "
            "front and back may be exchanged (or the patient lies prone in a wrong header); nothing was flipped"
        )
    return BodyCheck(to_right, to_back, tuple(warnings))


def _liver_side(
    name: str, centre: NDArray[np.float64], liver: NDArray[np.bool_] | None, affine: NDArray[np.float64]
) -> tuple[float | None, list[str]]:
    if liver is None:
        return None, []
    if not liver.any():
        return None, [f"{name}: no liver in the label; left and right were not checked"]
    to_right = float(_centroid(liver, affine)[0] - centre[0])
    if to_right > 0:
        return to_right, []
    return to_right, [
        f"{name}: by the header the liver lies {-to_right:.0f} mm to the left of the body's centre, expected on the "
        "right; left and right may be exchanged; nothing was flipped"
    ]


def _centroid(mask: NDArray[np.bool_], affine: NDArray[np.float64]) -> NDArray[np.float64]:
    return apply_affine(affine, np.argwhere(mask).mean(axis=0))


def _largest_part(mask: NDArray[np.bool_]) -> NDArray[np.bool_] | None:
    parts, count = ndimage.label(mask)
    if not count:
        return None
    largest = 1 + int(np.bincount(parts.ravel())[1:].argmax())
    return np.asarray(parts == largest)
