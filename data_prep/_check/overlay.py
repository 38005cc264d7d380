"""A picture of a case with a problem: the label over the image, index by index and as the headers say."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from medseg.io.volumes.image import Image

__all__ = ["write_overlay"]

_WINDOW = (-160.0, 240.0)  # an abdominal CT window; other images are shown from least to greatest value
_COLOURS = {"index by index": "#E69F00", "by the headers": "#56B4E9"}


def write_overlay(path: Path, title: str, image: Image, label: Image) -> Path:
    """Draw three planes of the stored array through the label's middle, with its outline placed in both ways.

    Args:
        path: the PNG to write, atomically.
        title: first words of the heading.
        image: the image.
        label: its label, on any grid.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    from data_prep._check.case import on_image_grid
    from medseg.geometry import orientation_codes, spacing_of
    from medseg.io.bounded.atomic import atomic_path

    masks = {"by the headers": on_image_grid(label, image) != 0}
    if label.array.shape == image.array.shape:
        masks["index by index"] = label.array != 0
    figure = Figure(figsize=(12, 4.8), dpi=100, facecolor="black")
    FigureCanvasAgg(figure)
    figure.suptitle(title, color="white", fontsize=10)
    spacing, codes = spacing_of(image.affine_ras), orientation_codes(image.affine_ras)
    middle = _middle(next((m for m in reversed(masks.values()) if m.any()), masks["by the headers"]))
    low, high = _range(image.array)
    for axis in range(3):
        pane = figure.add_subplot(1, 3, axis + 1)
        across, down = (a for a in range(3) if a != axis)
        plane = image.array.take(middle[axis], axis).T
        pane.imshow(plane, cmap="gray", vmin=low, vmax=high, aspect=spacing[down] / spacing[across])
        for how, mask in masks.items():
            outline = mask.take(middle[axis], axis).T
            if outline.any() and not outline.all():
                pane.contour(outline, levels=[0.5], colors=[_COLOURS[how]], linewidths=1.2)
        pane.set_title(f"array axis {axis} at {middle[axis]}", color="white", fontsize=8)
        pane.set_xlabel(f"to {codes[across]} ->", color="white", fontsize=8)
        pane.set_ylabel(f"<- to {codes[down]}", color="white", fontsize=8)
        pane.set(xticks=[], yticks=[])
    for n, how in enumerate(masks):
        figure.text(0.02, 0.06 - 0.035 * n, f"label {how}", color=_COLOURS[how], fontsize=9)
    with atomic_path(path) as temporary:
        figure.savefig(temporary, format="png", facecolor="black")
    return path


def _middle(mask: NDArray[Any]) -> list[int]:
    """Index of the fullest slice along every axis; the middle if nothing is marked."""
    if not mask.any():
        return [n // 2 for n in mask.shape]
    return [int(mask.sum(axis=tuple({0, 1, 2} - {axis})).argmax()) for axis in range(3)]


def _range(values: ArrayLike) -> tuple[float, float]:
    """The window where the image looks like CT, else from its least to its greatest value."""
    import numpy as np

    array = np.asarray(values)
    low, high = float(np.nanmin(array)), float(np.nanmax(array))
    if low < _WINDOW[0] and high > _WINDOW[1]:
        return _WINDOW
    return (low, high) if np.isfinite(high - low) and high > low else _WINDOW
