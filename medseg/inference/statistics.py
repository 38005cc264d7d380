"""Measurements of a label mask on its image: volume, Hounsfield values, components and position, class by class."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from medseg.geometry import (
    apply_affine,
    flip_lps_ras,
    foreground_box,
    label_counts,
    orientation_codes,
    spacing_of,
    voxel_volume_ml,
)
from medseg.inference.measures.components import Components, find_components
from medseg.inference.measures.lesions import LESION_RULES, lesion_labels, measure_lesions, slice_axis
from medseg.inference.measures.organ_surface import OrganSurface

__all__ = ["class_statistics"]

_OPPOSITE = {"R": "L", "L": "R", "A": "P", "P": "A", "S": "I", "I": "S"}


def class_statistics(
    mask: NDArray[Any],
    image: NDArray[Any],
    affine_ras: ArrayLike,
    labels: Mapping[int, str],
    lesions: Sequence[int] | None = None,
) -> dict[str, Any]:
    """Measure every class of a mask, and every lesion of the lesion classes.

    Args:
        mask: integer labels ``[i, j, k]``; classes exclude each other.
        image: Hounsfield units on the same grid, in any numeric type; values are read only where the mask is set.
        affine_ras: 4 x 4, voxel to RAS mm.
        labels: name of every label; label 0 is the background and is not measured.
        lesions: labels of classes that are measured lesion by lesion; None takes those that
            `medseg.inference.measures.lesion_labels` finds by their names. The other classes are the organs in which
            lesions lie.

    Returns:
        A JSON-able dictionary: ``voxel_volume_ml``, ``connectivity`` (26), ``slice_axis`` (the array axis that is cut
        for slices), ``lesion_rules`` (how the numbers of lesions are to be read) and ``classes``, a list with one entry
        a class: ``label, name, n_voxels, volume_ml``; ``hu`` with ``mean``, ``std`` (N in the denominator), ``p5``,
        ``p50``, ``p95`` (linear interpolation) over finite values; ``n_components, largest_component_ml``;
        ``touches_border`` and ``border_faces``, letters of the image faces reached, by the closest patient axis;
        ``centroid_ras_mm, centroid_lps_mm``; ``bounding_box`` with first and last voxel index, both inside, and extent
        in mm along the array axes. An empty class has zeros and nulls. A lesion class also has ``lesions`` and
        ``lesions_not_listed``, see `medseg.inference.measures.measure_lesions`.

    Raises:
        ValueError: if the shapes differ, or the mask holds a value that ``labels`` does not name.

    >>> import numpy as np
    >>> mask = np.zeros((20, 20, 20), np.uint8)
    >>> mask[5:15, 5:15, 5:15] = 1
    >>> found = class_statistics(mask, np.full(mask.shape, 40), np.diag([2.0, 2.0, 2.0, 1.0]), {0: "air", 1: "liver"})
    >>> round(found["classes"][0]["volume_ml"], 3), found["classes"][0]["hu"]["mean"]
    (8.0, 40.0)
    """
    if mask.shape != image.shape:
        raise ValueError(f"mask has shape {mask.shape}, image has shape {image.shape}; expected one grid")
    present = _checked_labels(mask, labels)
    chosen = lesion_labels(labels) if lesions is None else tuple(lesions)
    surfaces, why_none = _surfaces(mask, affine_ras, labels, chosen, present)
    classes = []
    for label in sorted(set(labels) - {0}):
        entry: dict[str, Any] = {"label": label, "name": labels[label]}
        inside = mask == label
        box = foreground_box(inside)
        if box is None:
            entry.update(_empty())
            if label in chosen:
                entry.update(lesions=[], lesions_not_listed=0)
        else:
            inside = inside[box].copy()
            components = find_components(inside)
            first = np.array([part.start for part in box])
            entry.update(_measure(inside, image[box], first, components, mask.shape, affine_ras))
            if label in chosen:
                entry.update(measure_lesions(components, first, image, affine_ras, surfaces, why_none))
            del components
        del inside
        classes.append(entry)
    return {
        "voxel_volume_ml": voxel_volume_ml(affine_ras),
        "connectivity": 26,
        "slice_axis": slice_axis(affine_ras),
        "lesion_rules": dict(LESION_RULES) if chosen else None,
        "classes": classes,
    }


def _surfaces(
    mask: NDArray[Any],
    affine_ras: ArrayLike,
    labels: Mapping[int, str],
    lesions: Sequence[int],
    present: set[int],
) -> tuple[list[OrganSurface], str]:
    """The surfaces of the organs in which lesions may lie; if there is none, the reason."""
    organs = sorted(set(labels) - {0} - set(lesions))
    if not organs:
        return [], "the bundle has no class of an organ"
    if not set(lesions) & present:
        return [], ""
    found = [OrganSurface(mask, organ, labels[organ], lesions, affine_ras) for organ in organs if organ in present]
    return found, "no voxel was labelled " + " or ".join(labels[organ] for organ in organs)


def _checked_labels(mask: NDArray[Any], labels: Mapping[int, str]) -> set[int]:
    """The labels that are present."""
    found = {int(value) for value in label_counts(mask) if value != 0}
    unnamed = sorted(found - set(labels))
    if unnamed:
        raise ValueError(f"mask holds the values {unnamed[:5]}, but the classes are {dict(labels)}")
    return found


def _empty() -> dict[str, Any]:
    return {
        "n_voxels": 0,
        "volume_ml": 0.0,
        "hu": None,
        "n_components": 0,
        "largest_component_ml": 0.0,
        "touches_border": False,
        "border_faces": [],
        "centroid_ras_mm": None,
        "centroid_lps_mm": None,
        "bounding_box": None,
    }


def _measure(
    inside: NDArray[np.bool_],
    image: NDArray[Any],
    first: NDArray[np.int64],
    components: Components,
    shape: tuple[int, ...],
    affine_ras: ArrayLike,
) -> dict[str, Any]:
    points, sizes = components.points, components.sizes
    count, voxel_ml = int(sizes.sum()), voxel_volume_ml(affine_ras)
    centre, values = (_centre(inside), image[inside]) if points is None else (points.mean(0), image[tuple(points.T)])
    last = first + inside.shape - 1
    faces = _faces_reached(first, last, shape, affine_ras)
    centroid = apply_affine(affine_ras, centre + first)
    extent = (last - first + 1) * spacing_of(affine_ras)
    return {
        "n_voxels": count,
        "volume_ml": count * voxel_ml,
        "hu": _hu(values),
        "n_components": len(sizes),
        "largest_component_ml": int(sizes.max()) * voxel_ml,
        "touches_border": bool(faces),
        "border_faces": faces,
        "centroid_ras_mm": [float(c) for c in centroid],
        "centroid_lps_mm": [float(c) for c in flip_lps_ras(centroid)],
        "bounding_box": {
            "first_voxel": first.tolist(),
            "last_voxel": last.tolist(),
            "extent_mm": [float(e) for e in extent],
        },
    }


def _centre(inside: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Mean index of the voxels along each axis, from counts of whole planes: no volume of coordinates is made."""
    means = []
    for axis, length in enumerate(inside.shape):
        counts = np.count_nonzero(inside, axis=tuple(a for a in range(inside.ndim) if a != axis))
        means.append(float((counts * np.arange(length)).sum() / counts.sum()))
    return np.array(means)


def _hu(values: NDArray[Any]) -> dict[str, float] | None:
    values = values[np.isfinite(values)] if values.dtype.kind == "f" else values
    if values.size == 0:
        return None
    p5, p50, p95 = np.percentile(values, (5, 50, 95))
    return {
        "mean": float(values.mean(dtype=np.float64)),
        "std": float(values.std(dtype=np.float64)),
        "p5": float(p5),
        "p50": float(p50),
        "p95": float(p95),
    }


def _faces_reached(first: NDArray[Any], last: NDArray[Any], shape: tuple[int, ...], affine_ras: ArrayLike) -> list[str]:
    """Letters of the image faces that the box touches: an axis that runs towards R starts at the L face."""
    faces = []
    for axis, letter in enumerate(orientation_codes(affine_ras)):
        if first[axis] == 0:
            faces.append(_OPPOSITE[letter])
        if last[axis] == shape[axis] - 1:
            faces.append(letter)
    return sorted(faces)
