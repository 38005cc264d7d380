"""A still picture of a segmentation: slices and a projection with outlines, orientation letters and scale bars."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from medseg.geometry import label_counts, orientation_codes, spacing_of, voxel_volume_ml
from medseg.inference.outputs.planes import (
    Plane,
    anatomical_planes,
    axial_planes,
    coronal_projection,
    display_view,
    obliquity_degrees,
    slices_with_most,
)
from medseg.io.bounded.atomic import atomic_path

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["COLOURS", "Window", "window_for", "write_preview"]


class Window(NamedTuple):
    """A named display window in Hounsfield units."""

    name: str
    level: float
    width: float


class _Row(NamedTuple):
    """Three planes; with ``side_mm``, squares of that side around ``label``, else whole planes."""

    planes: Sequence[Plane]
    label: int
    side_mm: float | None


_WINDOW_WORDS = {"lung": ("lung", "nodule", "airway", "trachea"), "bone": ("bone", "vertebra", "rib")}

# The palette of Okabe and Ito, whose colours differ for colour-blind readers too, without those that are hard to see
# on grey.
COLOURS = ("#E69F00", "#56B4E9", "#F0E442", "#D55E00", "#CC79A7", "#009E73")
_APART_MM = 10.0  # between axial slices, so that they do not all show the same lesion
_BAR_LENGTHS_MM = (200, 100, 50, 20, 10, 5, 2, 1)
_LEGEND_ENTRIES = 8
_FIGURE_WIDTH_INCH, _HEAD_INCH, _FOOT_INCH, _DPI = 12.0, 0.45, 0.4, 150


def _projection_window() -> Window:
    """The brightest voxels are bone, whatever the classes are."""
    from medseg.transforms.intensity.windows import HU_WINDOWS

    return Window("bone", *HU_WINDOWS["bone"])


def window_for(labels: Mapping[int, str]) -> Window:
    """The display window that suits the classes: lung or bone if a class name says so, else abdomen."""
    from medseg.transforms.intensity.windows import HU_WINDOWS

    names = [name.lower() for label, name in labels.items() if label != 0]
    fitting = (w for w, words in _WINDOW_WORDS.items() if any(word in name for name in names for word in words))
    chosen = next(fitting, "abdomen")
    return Window(chosen, *HU_WINDOWS[chosen])


def write_preview(
    path: str | Path,
    image: NDArray[Any],
    mask: NDArray[Any],
    affine_ras: ArrayLike,
    labels: Mapping[int, str],
    title: str = "",
    window: Window | None = None,
) -> Path:
    """Draw a PNG: planes through the mask's largest cross-sections; for a small target, a second row enlarged; and the
    axial slices with most of the target beside a projection of the whole image (MIP).

    Args:
        path: the PNG to write (atomically).
        image: Hounsfield units ``[i, j, k]``.
        mask: labels on the same grid.
        affine_ras: 4 x 4, voxel to RAS mm.
        labels: class names by mask value; 0 is the background.
        title: first words of the heading, such as the case name.
        window: display window; by default the one that ``window_for`` chooses.

    >>> import numpy as np
    >>> image = np.full((20, 20, 20), 40, np.int16)
    >>> mask = np.zeros((20, 20, 20), np.uint8)
    >>> mask[5:15, 5:15, 5:15] = 1
    >>> write_preview("preview.png", image, mask, np.eye(4), {0: "background", 1: "liver"}).name
    'preview.png'
    """
    window = window or window_for(labels)
    found = label_counts(mask)
    counts = np.array([found.get(label, 0) for label in range(max(labels) + 1)])
    rows = _rows(image, mask, affine_ras, {label: int(counts[label]) for label in labels if label != 0})
    colours = {label: COLOURS[n % len(COLOURS)] for n, label in enumerate(sorted(set(labels) - {0}))}
    figure = _draw_rows(rows, window, colours)
    _write_heading(figure, title, labels, counts * voxel_volume_ml(affine_ras), colours)
    _write_rules(figure, window, affine_ras, next((labels[row.label] for row in rows if row.side_mm), ""))
    with atomic_path(path) as temporary:
        figure.savefig(temporary, format="png", facecolor="black", pil_kwargs={"compress_level": 3})
    return Path(path)


def _rows(image: NDArray[Any], mask: NDArray[Any], affine_ras: ArrayLike, counts: Mapping[int, int]) -> list[_Row]:
    """The whole planes; the smallest class enlarged if it fills less than half of them; its further slices, the MIP."""
    rows = [_Row(anatomical_planes(image, mask, affine_ras), 0, None)]
    target = min((label for label in counts if counts[label]), key=lambda label: counts[label], default=None)
    if target is None:
        return rows
    alone = sum(map(bool, counts.values())) == 1
    planes = rows[0].planes if alone else anatomical_planes(image, mask, affine_ras, target)
    side = _side_mm(planes, target)
    if side < 0.5 * max(max(_size_mm(plane)) for plane in planes):
        rows.append(_Row(planes, target, side))
    labels, affine, _ = display_view(mask, affine_ras)
    apart = max(1, round(_APART_MM / float(spacing_of(affine)[2])))
    shown = rows[0].planes[0]
    runs_down = orientation_codes(affine_ras)[shown.axis] == "I"
    taken = shown.index if runs_down else shown.count - 1 - shown.index
    chosen = slices_with_most(labels == target, 2, apart, taken=[taken])
    further = axial_planes(image, mask, affine_ras, chosen)
    rows.append(_Row([*further, coronal_projection(image, mask, affine_ras)], target, None))
    return rows


def _draw_rows(rows: Sequence[_Row], window: Window, colours: Mapping[int, str]) -> Figure:
    """A figure with up to three panes a row; the whole planes of a row share one scale."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    widths = [[_size_mm(plane)[1] if row.side_mm is None else 1.0 for plane in row.planes] for row in rows]
    heights = [max(_size_mm(plane)[0] for plane in row.planes) for row in rows]
    # Enlarged panes are squares of a third of the figure's width; no row of whole planes is higher than the first one.
    inches = [
        _FIGURE_WIDTH_INCH * (1 / 3 if row.side_mm is not None else min(high / sum(wide), heights[0] / sum(widths[0])))
        for row, wide, high in zip(rows, widths, heights, strict=True)
    ]
    total = sum(inches) + _HEAD_INCH + _FOOT_INCH
    figure = Figure(figsize=(_FIGURE_WIDTH_INCH, total), dpi=_DPI, facecolor="black")
    FigureCanvasAgg(figure)
    borders = {"left": 0.01, "right": 0.99, "bottom": _FOOT_INCH / total, "top": 1 - _HEAD_INCH / total}
    grid = figure.add_gridspec(len(rows), 1, height_ratios=inches, hspace=0.03, **borders)
    for number, row in enumerate(rows):
        panes = grid[number].subgridspec(1, len(row.planes), width_ratios=widths[number], wspace=0.02)
        for column, plane in enumerate(row.planes):
            centre = None if row.side_mm is None else _section_centre_mm(plane, row.label)
            shown = _projection_window() if plane.projected else window
            side = row.side_mm or heights[number]
            _draw_pane(figure.add_subplot(panes[column]), plane, side, centre, shown, colours)
    return figure


def _size_mm(plane: Plane) -> tuple[float, float]:
    """Height and width of a plane in mm."""
    return plane.image.shape[0] * plane.spacing_mm[0], plane.image.shape[1] * plane.spacing_mm[1]


def _section_box(plane: Plane, label: int) -> tuple[NDArray[Any], NDArray[Any]]:
    """First and last (row, column) of a label on a plane."""
    places = np.argwhere(plane.mask == label)
    return places.min(axis=0), places.max(axis=0)


def _side_mm(planes: Sequence[Plane], label: int) -> float:
    """Side of the square, in mm, that shows a label's sections with a margin; at least 80 mm."""
    extents = []
    for plane in planes:
        first, last = _section_box(plane, label)
        extents.append(((last - first + 1) * plane.spacing_mm).max())
    return max(80.0, 3.0 * float(max(extents)))


def _section_centre_mm(plane: Plane, label: int) -> tuple[float, float]:
    """Centre (y, x) in mm from the top left corner of the box around a label."""
    first, last = _section_box(plane, label)
    centre = (first + last + 1) / 2 * plane.spacing_mm
    return float(centre[0]), float(centre[1])


def _draw_pane(
    axes: Axes,
    plane: Plane,
    height_mm: float,
    centre: tuple[float, float] | None,
    window: Window,
    colours: Mapping[int, str],
) -> None:
    """Draw one plane in mm; with a centre, a square of side ``height_mm`` around it."""
    size = _size_mm(plane)
    axes.imshow(
        plane.image,
        cmap="gray",
        vmin=window.level - window.width / 2,
        vmax=window.level + window.width / 2,
        extent=(0.0, size[1], size[0], 0.0),
        interpolation="bilinear",
    )
    y, x = ((np.arange(n) + 0.5) * step for n, step in zip(plane.mask.shape, plane.spacing_mm, strict=True))
    for label, colour in colours.items():
        inside = plane.mask == label
        if inside.any():
            axes.contour(x, y, inside.astype(np.float32), levels=[0.5], colors=[colour], linewidths=1.2)
    if centre is None:
        middle = size[0] / 2
        axes.set(xlim=(0, size[1]), ylim=(middle + height_mm / 2, middle - height_mm / 2))
    else:
        half = height_mm / 2
        axes.set(xlim=(centre[1] - half, centre[1] + half), ylim=(centre[0] + half, centre[0] - half))
    axes.set_aspect("equal")
    axes.set_axis_off()
    _draw_marks(axes, plane)


def _draw_marks(axes: Axes, plane: Plane) -> None:
    """Orientation letters on the edges, plane name and slice number, scale bar."""
    from matplotlib.patheffects import withStroke

    style: dict[str, Any] = {"color": "white", "path_effects": [withStroke(linewidth=2, foreground="black")]}
    places = {"left": (0.015, 0.5), "right": (0.985, 0.5), "top": (0.5, 0.985), "bottom": (0.5, 0.015)}
    for edge, (x, y) in places.items():
        across = edge if edge in ("left", "right") else "center"
        along = edge if edge in ("top", "bottom") else "center"
        letter = getattr(plane.letters, edge)
        axes.text(x, y, letter, transform=axes.transAxes, ha=across, va=along, fontsize=13, weight="bold", **style)
    note = plane.name if plane.projected else f"{plane.name}, slice {plane.index + 1} of {plane.count}"
    axes.text(0.015, 0.015, note, transform=axes.transAxes, ha="left", va="bottom", fontsize=8, **style)
    x0, x1 = axes.get_xlim()
    bottom, top = axes.get_ylim()
    length = next((bar for bar in _BAR_LENGTHS_MM if bar <= 0.3 * (x1 - x0)), _BAR_LENGTHS_MM[-1])
    right, y = x1 - 0.04 * (x1 - x0), bottom - 0.04 * (bottom - top)
    axes.plot([right - length, right], [y, y], color="white", linewidth=2.5, solid_capstyle="butt")
    label_y = y - 0.012 * (bottom - top)
    axes.text(right - length / 2, label_y, f"{length} mm", ha="center", va="bottom", fontsize=8, **style)


def _write_heading(
    figure: Figure,
    title: str,
    labels: Mapping[int, str],
    volumes_ml: NDArray[Any],
    colours: Mapping[int, str],
) -> None:
    """Title, then each class with its volume in its contour's colour; only the largest ones if there are many."""
    ranked = sorted(colours, key=lambda label: -volumes_ml[label])
    shown = sorted(ranked[:_LEGEND_ENTRIES])
    words = [(title, "white")] if title else []
    for label in shown:
        volume = volumes_ml[label]
        amount = "none found" if volume == 0 else f"{volume:.0f} ml" if volume >= 100 else f"{volume:.3g} ml"
        words.append((f"{labels[label]}: {amount}", colours[label]))
    if len(ranked) > len(shown):
        words.append((f"and {len(ranked) - len(shown)} smaller classes", "#BBBBBB"))
    x, y = 0.01, 1 - 0.14 / figure.get_figheight()
    renderer = figure.canvas.get_renderer()  # type: ignore[attr-defined]
    for text, colour in words:
        entry = figure.text(x, y, text, color=colour, fontsize=11, va="top", weight="bold")
        x += entry.get_window_extent(renderer).width / (figure.get_figwidth() * figure.dpi) + 0.02


def _write_rules(figure: Figure, window: Window, affine_ras: ArrayLike, target: str) -> None:
    """How to read the picture, in small print below the panes."""
    angle = obliquity_degrees(affine_ras)
    rules = [
        f"HU window: {window.name} (W {window.width:g}, L {window.level:g})",
        "radiological convention: patient's right on the image's left",
    ]
    if angle > 1.0:
        rules.append(f"oblique grid ({angle:.0f} degrees): letters name the closest patient axis")
    if target:
        rules.append(f"squares: enlarged on {target}")
    rules.append("MIP: bone window, outlines of the projected mask")
    rules.append("research use only")
    figure.text(0.01, 0.12 / figure.get_figheight(), "  |  ".join(rules), color="#BBBBBB", fontsize=8, va="bottom")
