"""Measurements of each lesion: volume, the two diameters on a slice, position, and distance to the organ's surface."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from medseg.geometry import apply_affine, flip_lps_ras, orientation_codes, voxel_volume_ml
from medseg.geometry.diameters import longest_diameter_mm, planar_diameters
from medseg.inference.measures.components import Components
from medseg.inference.measures.organ_surface import OrganSurface

__all__ = ["LESION_RULES", "MAX_LESIONS", "lesion_labels", "measure_lesions", "slice_axis"]

MAX_LESIONS = 200
"""Lesions of a class that are measured one by one, the largest first."""

LESION_RULES = {
    "lesions": "components of a lesion class whose voxels share a face, an edge or a corner (26 neighbours), largest "
    f"first; at most {MAX_LESIONS} of a class are listed",
    "slices": "slices along the array axis that is closest to the patient's head-feet axis",
    "long_diameter_mm": "largest distance of two points of the outline on one slice; the outline passes through the "
    "middles of pixel edges, which makes a digitised disc 0.5 to 0.8 pixels longer on average",
    "short_diameter_mm": "longest chord perpendicular to it on the same slice",
    "surface_distance_mm": "smallest distance between a voxel of the lesion and the outside of the organ with its "
    "lesions, holes filled, from voxel face to voxel face; 0 where the lesion reaches the surface",
}
"""How the numbers of `measure_lesions` are to be read."""

_LESION_WORDS = frozenset(
    ("cancer", "carcinoma", "cyst", "haemangioma", "hemangioma", "lesion", "malignancy", "mass", "metastases",
     "metastasis", "nodule", "tumor", "tumour")
)  # fmt: skip


def lesion_labels(labels: Mapping[int, str]) -> tuple[int, ...]:
    """The labels that name a lesion by one of the words nodule, lesion, tumour, tumor, mass, metastasis, cyst ...

    Args:
        labels: name of every label.

    >>> lesion_labels({0: "background", 1: "liver", 2: "liver tumours", 3: "massive rib"})
    (2,)
    """
    found = []
    for label, name in sorted(labels.items()):
        words = re.findall(r"[a-z]+", name.lower())
        if label != 0 and any(word in _LESION_WORDS or word.removesuffix("s") in _LESION_WORDS for word in words):
            found.append(label)
    return tuple(found)


def slice_axis(affine_ras: ArrayLike) -> int:
    """The array axis that is closest to the patient's head-feet axis.

    >>> slice_axis(np.diag([0.7, 0.7, 2.5, 1.0]))
    2
    """
    return next(axis for axis, letter in enumerate(orientation_codes(affine_ras)) if letter in "SI")


def measure_lesions(
    components: Components,
    first: NDArray[np.int64],
    image: NDArray[Any],
    affine_ras: ArrayLike,
    surfaces: Sequence[OrganSurface] = (),
    why_none: str = "",
) -> dict[str, Any]:
    """Measure the components of a lesion class one by one, each in its own bounding box.

    Args:
        components: of the class, in a part of the image.
        first: first voxel index of that part.
        image: Hounsfield units of the whole image.
        affine_ras: 4 x 4, voxel to RAS mm, of the whole image.
        surfaces: of the organs in which the lesions may lie.
        why_none: the reason if there is none.

    Returns:
        A JSON-able dictionary: ``lesions``, the largest first, and ``lesions_not_listed``, how many there are beyond
        `MAX_LESIONS`. A lesion has ``number`` (from 1), ``n_voxels``, ``volume_ml``; ``long_diameter_mm``,
        ``short_diameter_mm`` and their mean, ``mean_diameter_mm``; ``slice_index`` on which they lie (see
        `LESION_RULES`), counted from 0, ``long_axis_lps_mm`` and ``short_axis_lps_mm``, the two ends of each;
        ``centroid_lps_mm``; ``hu_mean`` over finite values; ``touches_border`` of the image; ``organ`` and
        ``surface_distance_mm``; where one of them is null, ``surface_note`` has the reason.
    """
    lesions = [
        {"number": number, **_measured(component.inside, component.first + first, image, affine_ras),
         **_to_surface(component.inside, component.first + first, surfaces, why_none)}
        for number, component in enumerate(components.largest(MAX_LESIONS), 1)
    ]  # fmt: skip
    return {"lesions": lesions, "lesions_not_listed": max(0, components.sizes.size - MAX_LESIONS)}


def _measured(
    inside: NDArray[np.bool_], first: NDArray[np.int64], image: NDArray[Any], affine_ras: ArrayLike
) -> dict[str, Any]:
    count, last = int(np.count_nonzero(inside)), first + inside.shape
    box = tuple(slice(int(a), int(b)) for a, b in zip(first, last, strict=True))
    return {
        "n_voxels": count,
        "volume_ml": count * voxel_volume_ml(affine_ras),
        **_diameters(inside, first, affine_ras),
        "centroid_lps_mm": _lps(np.argwhere(inside).mean(axis=0) + first, affine_ras),
        "hu_mean": _mean(image[box][inside]),
        "touches_border": bool((first == 0).any() or (last == image.shape).any()),
    }


def _diameters(inside: NDArray[np.bool_], first: NDArray[np.int64], affine_ras: ArrayLike) -> dict[str, Any]:
    """The slice with the longest diameter, that diameter and the longest one perpendicular to it."""
    axis = slice_axis(affine_ras)
    others = [a for a in range(3) if a != axis]
    affine = np.asarray(affine_ras, dtype=np.float64)
    steps = affine[:3, others]
    slices = np.moveaxis(inside, axis, 0)
    bounds = np.array([_longest_possible(part, steps) for part in slices])
    middle = (len(slices) - 1) / 2
    # The most promising slices first, of equal ones the middle one; the rest cannot win.
    order = sorted(range(len(slices)), key=lambda n: (-bounds[n], abs(n - middle), n))
    longest, where = 0.0, order[0]
    for n in order:
        if bounds[n] <= longest * (1 + 1e-9):
            break
        found = longest_diameter_mm(slices[n], steps)
        if found > longest * (1 + 1e-9):
            longest, where = found, n
    best = planar_diameters(slices[where], steps)

    def ends(points: NDArray[np.float64]) -> list[list[float]]:
        voxels = np.insert(points, axis, where, axis=1) + first
        return [_lps(voxel, affine) for voxel in voxels]

    return {
        "long_diameter_mm": best.long_mm,
        "short_diameter_mm": best.short_mm,
        "mean_diameter_mm": (best.long_mm + best.short_mm) / 2,
        "slice_index": int(where + first[axis]),
        "long_axis_lps_mm": ends(best.long_ends),
        "short_axis_lps_mm": ends(best.short_ends),
    }


def _longest_possible(inside: NDArray[np.bool_], steps: NDArray[np.float64]) -> float:
    """A diameter that the shape on a slice cannot exceed: the longer diagonal of its bounding box; 0 if it is empty."""
    rows, columns = np.flatnonzero(inside.any(axis=1)), np.flatnonzero(inside.any(axis=0))
    if rows.size == 0:
        return 0.0
    sides = steps * [rows[-1] - rows[0] + 1, columns[-1] - columns[0] + 1]
    return float(max(np.linalg.norm(sides[:, 0] + sign * sides[:, 1]) for sign in (-1, 1)))


def _to_surface(
    inside: NDArray[np.bool_], first: NDArray[np.int64], surfaces: Sequence[OrganSurface], why_none: str
) -> dict[str, Any]:
    """Distance to the surface of the organ that the lesion touches with most voxels."""
    touched = [surface.contact(inside, first) for surface in surfaces]
    if not any(touched):
        names = ", ".join(surface.name for surface in surfaces)
        note = f"the lesion does not touch {names}" if surfaces else why_none
        return {"organ": None, "surface_distance_mm": None, "surface_note": note}
    surface = surfaces[touched.index(max(touched))]
    distance = surface.distance_mm(inside, first)
    reason = f"{surface.name} has no surface within the image" if distance is None else None
    return {"organ": surface.name, "surface_distance_mm": distance, "surface_note": reason}


def _lps(voxel: ArrayLike, affine_ras: ArrayLike) -> list[float]:
    return [float(value) for value in flip_lps_ras(apply_affine(affine_ras, voxel))]


def _mean(values: NDArray[Any]) -> float | None:
    values = values[np.isfinite(values)] if values.dtype.kind == "f" else values
    return float(values.mean(dtype=np.float64)) if values.size else None
