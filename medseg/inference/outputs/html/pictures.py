"""Pictures of a report as data addresses: slices in several windows, overlays of the mask, and a projection."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from medseg.geometry import Affine, apply_affine, flip_lps_ras
from medseg.inference.outputs.planes import Plane, axial_planes, coronal_projection, display_view
from medseg.inference.outputs.preview import COLOURS, Window, window_for

__all__ = ["Picture", "axial_pictures", "chosen_slices", "lesion_marks", "projection_picture", "windows_for"]

_OTHER_WINDOWS = {
    "lung": ("mediastinum", "bone"),
    "abdomen": ("liver", "bone"),
    "bone": ("soft_tissue", "lung"),
}
_MAX_SIDE = 512
_QUALITY = 75
_FILL_ALPHA, _LINE_ALPHA = 40, 255


class Picture(NamedTuple):
    """One picture on a plane.

    Attributes:
        plane: which one.
        images: data address of a JPEG for each window.
        overlay: data address of a PNG of the mask, transparent where it is 0; None where it is all 0.
    """

    plane: Plane
    images: tuple[str, ...]
    overlay: str | None

    @property
    def size_mm(self) -> tuple[float, float]:
        """Width and height."""
        rows, columns = self.plane.image.shape
        return columns * self.plane.spacing_mm[1], rows * self.plane.spacing_mm[0]


def windows_for(labels: Mapping[int, str]) -> tuple[Window, ...]:
    """The display windows of a report: the one that suits the classes first.

    >>> [window.name for window in windows_for({0: "background", 1: "nodule"})]
    ['lung', 'mediastinum', 'bone']
    """
    from medseg.transforms.intensity.windows import HU_WINDOWS

    first = window_for(labels)
    return (first, *(Window(name, *HU_WINDOWS[name]) for name in _OTHER_WINDOWS[first.name]))


def chosen_slices(mask: NDArray[Any], affine_ras: ArrayLike, wanted: Sequence[int], count: int) -> list[int]:
    """Axial slices of a report, as indices of the displayed view (from the head), in order.

    Args:
        mask: labels ``[i, j, k]``.
        affine_ras: 4 x 4, voxel to RAS mm.
        wanted: slices that are shown in any case, the most important ones first; at most half of ``count`` are taken.
        count: how many slices are shown at most. All others lie evenly over the mask, or over an image without one.

    >>> mask = np.zeros((4, 4, 100), np.uint8)
    >>> mask[1, 1, 20:60] = 1
    >>> chosen_slices(mask, np.diag([1.0, 1.0, -1.0, 1.0]), [31], 5)
    [20, 31, 33, 46, 59]
    """
    view, _, _ = display_view(mask, affine_ras)
    depth = view.shape[2]
    chosen = set(list(dict.fromkeys(wanted))[: max(1, count // 2)])
    held = np.flatnonzero(view.any(axis=(0, 1)))
    first, last = (int(held[0]), int(held[-1])) if held.size else (0, depth - 1)
    left = count - len(chosen)
    if last - first + 1 <= left:
        margin = (left - (last - first + 1)) // 2
        return sorted(chosen | set(range(max(0, first - margin), min(depth, last + 1 + margin))))
    return sorted(chosen | {int(n) for n in np.linspace(first, last, left).round()})


def _picture_of(plane: Plane, windows: Sequence[Window]) -> Picture:
    """A plane in every window, with its overlay; at most 512 pixels on a side."""
    step = -(-max(plane.image.shape) // _MAX_SIDE)
    image, mask = plane.image[::step, ::step], plane.mask[::step, ::step]
    images = tuple(_address(_grey(image, window), "JPEG", quality=_QUALITY) for window in windows)
    return Picture(plane, images, _overlay(mask))


def projection_picture(image: NDArray[Any], mask: NDArray[Any], affine_ras: ArrayLike, window: Window) -> Picture:
    """The coronal projection of the highest values, with the projected mask."""
    return _picture_of(coronal_projection(image, mask, affine_ras), [window])


def axial_pictures(
    image: NDArray[Any], mask: NDArray[Any], affine_ras: ArrayLike, indices: Sequence[int], windows: Sequence[Window]
) -> list[Picture]:
    """Axial slices at indices of the displayed view."""
    return [_picture_of(plane, windows) for plane in axial_planes(image, mask, affine_ras, indices)]


def lesion_marks(lesion: Mapping[str, Any], view_affine_ras: Affine, spacing_mm: tuple[float, float]) -> list[Any]:
    """Both diameters of a lesion on the displayed axial slice: ``[x1, y1, x2, y2]`` in mm from the top left corner.

    Args:
        lesion: an entry of ``statistics.json``.
        view_affine_ras: affine of the displayed view.
        spacing_mm: of rows and columns.
    """
    back = np.linalg.inv(view_affine_ras)
    marks = []
    for axis in ("long_axis_lps_mm", "short_axis_lps_mm"):
        columns_rows = apply_affine(back, flip_lps_ras(np.asarray(lesion[axis])))[:, :2] + 0.5
        places = columns_rows * (spacing_mm[1], spacing_mm[0])
        marks.append([round(float(value), 2) for value in places.ravel()])
    return marks


def _grey(image: NDArray[Any], window: Window) -> NDArray[np.uint8]:
    shades = (image.astype(np.float32) - (window.level - window.width / 2)) * np.float32(255 / window.width)
    return shades.clip(0, 255).astype(np.uint8)


def _overlay(mask: NDArray[Any]) -> str | None:
    """Every class in its colour: its inside nearly transparent, its border line not."""
    if not mask.any():
        return None
    from PIL import Image  # comes with Matplotlib

    labels = mask.astype(np.uint8)
    inner = np.ones(labels.shape, bool)
    for axis in (0, 1):
        same = np.diff(labels, axis=axis) == 0
        edge = np.zeros_like(np.take(same, [0], axis=axis)) if same.shape[axis] else None
        if edge is None:
            continue
        inner &= np.concatenate([edge, same], axis=axis) & np.concatenate([same, edge], axis=axis)
    shown = np.where(labels == 0, 0, (labels - 1) % len(COLOURS) * 2 + 1 + ~inner)
    picture = Image.fromarray(shown.astype(np.uint8), mode="P")
    palette, alphas = [0, 0, 0], [0]
    for colour in COLOURS:
        palette += 2 * [int(colour[n : n + 2], 16) for n in (1, 3, 5)]
        alphas += [_FILL_ALPHA, _LINE_ALPHA]
    picture.putpalette(palette)
    return _address(picture, "PNG", transparency=bytes(alphas))


def _address(picture: Any, kind: str, **options: Any) -> str:
    from PIL import Image

    if isinstance(picture, np.ndarray):
        picture = Image.fromarray(np.ascontiguousarray(picture))
    buffer = io.BytesIO()
    picture.save(buffer, kind, **options)
    return f"data:image/{kind.lower()};base64,{base64.b64encode(buffer.getvalue()).decode('ascii')}"
