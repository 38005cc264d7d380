"""The fingerprint of a data set as one picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import cycle
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from medseg.datasets.fingerprint import CaseFingerprint, histogram_percentile, pooled_histogram
from medseg.io.bounded.atomic import atomic_path

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis

__all__ = ["draw_fingerprint"]

_COLOURS = ("#2a6f97", "#c1440e", "#6a994e", "#7b5ea7")
_SHOWN_HU = (-200, 400)
_NO_VALUES = "no voxels"


def draw_fingerprint(
    path: str | Path, cases: Sequence[CaseFingerprint], label_names: Mapping[int, str], title: str = ""
) -> Path:
    """Draw spacing, foreground HU, label volumes and the sizes of connected parts into one PNG.

    Args:
        path: the file to write.
        cases: at least one.
        label_names: name of every label value drawn.
        title: heading; the number of cases is added.

    Raises:
        ValueError: if there is no case.

    >>> import numpy as np
    >>> from medseg.datasets import case_fingerprint
    >>> label = np.zeros((8, 8, 8), np.uint8)
    >>> label[2:6, 2:6, 2:6] = 1
    >>> cases = [case_fingerprint(str(n), np.full(label.shape, n), label, np.eye(4), values=(1,)) for n in (40, 60)]
    >>> draw_fingerprint("fingerprint.png", cases, {1: "liver"}).name
    'fingerprint.png'
    """
    if not cases:
        raise ValueError("no case to draw, expected at least one")
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 7.5), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    panes = figure.subplots(2, 2)
    _draw_spacing(panes[0][0], cases)
    _draw_hu(panes[0][1], cases)
    _draw_volumes(panes[1][0], cases, label_names)
    _draw_parts(panes[1][1], cases, label_names)
    figure.suptitle(f"{title + ': ' if title else ''}{len(cases)} case(s)")
    with atomic_path(path) as temporary:
        figure.savefig(temporary, format="png")
    return Path(path)


def _draw_spacing(axes: Axes, cases: Sequence[CaseFingerprint]) -> None:
    table = np.array([case.spacing_mm for case in cases])
    place = np.arange(len(cases))
    order = np.argsort(table[:, 2], kind="stable")
    for axis, (name, marker) in enumerate(zip(("first", "second", "third"), "ov^", strict=True)):
        axes.plot(place, table[order, axis], marker, ms=5, alpha=0.8, color=_COLOURS[axis], label=f"{name} array axis")
    axes.set(title="Voxel spacing", xlabel="cases, by spacing along the third axis", ylabel="mm")
    _whole_ticks(axes.xaxis)
    axes.set_ylim(0, 1.1 * float(table.max()))
    axes.legend()


def _draw_hu(axes: Axes, cases: Sequence[CaseFingerprint]) -> None:
    first, counts = pooled_histogram(cases)
    axes.set(title="Foreground, all cases", xlabel="HU", ylabel="share of voxels per HU")
    if not counts.size:
        axes.text(0.5, 0.5, _NO_VALUES, ha="center", transform=axes.transAxes)
        return
    values = first + np.arange(counts.size)
    axes.fill_between(values, counts / counts.sum(), step="mid", color=_COLOURS[0], alpha=0.6)
    for percent, style in ((0.5, "--"), (50.0, "-"), (99.5, ":")):
        value = histogram_percentile(first, counts, percent)
        axes.axvline(value, color="black", lw=1.2, ls=style, label=f"percentile {percent:g}: {value:.0f} HU")
    low, high = (histogram_percentile(first, counts, percent) for percent in (0.1, 99.9))
    axes.set_xlim(min(low, _SHOWN_HU[0]), max(high, _SHOWN_HU[1]))
    axes.set_ylim(0)
    axes.legend()


def _draw_volumes(axes: Axes, cases: Sequence[CaseFingerprint], label_names: Mapping[int, str]) -> None:
    axes.set(title="Volume of every label", xlabel="cases, every label by its own volume", ylabel="ml (a cross: none)")
    _whole_ticks(axes.xaxis)
    least = 1.0
    for colour, (value, name) in zip(cycle(_COLOURS), label_names.items(), strict=False):
        volumes = np.sort([case.volumes_ml.get(value, 0.0) for case in cases])
        filled = volumes > 0
        least = min([least, *volumes[filled].tolist()])
        text = f"{name}, {np.count_nonzero(~filled)} case(s) without"
        axes.plot(np.flatnonzero(filled), volumes[filled], "o", ms=5, color=colour, label=text)
        bare = np.flatnonzero(~filled)
        axes.plot(bare, np.full(len(bare), 0.02), "x", color=colour, transform=axes.get_xaxis_transform())
    axes.set_yscale("log")
    axes.set_ylim(bottom=least / 2)
    axes.set_xlim(-0.5, len(cases) - 0.5)
    axes.legend()


def _draw_parts(axes: Axes, cases: Sequence[CaseFingerprint], label_names: Mapping[int, str]) -> None:
    axes.set(title="Connected parts", xlabel="volume of a part, ml", ylabel="parts")
    _whole_ticks(axes.yaxis)
    sizes = {
        value: [volume for case in cases for volume in case.part_volumes_ml.get(value, ())] for value in label_names
    }
    every = [volume for volumes in sizes.values() for volume in volumes]
    if not every:
        axes.text(0.5, 0.5, _NO_VALUES, ha="center", transform=axes.transAxes)
        return
    edges = np.geomspace(min(every) / 1.1, max(every) * 1.1, 30).tolist()
    for colour, (value, name) in zip(cycle(_COLOURS), label_names.items(), strict=False):
        axes.hist(sizes[value], edges, color=colour, alpha=0.6, label=f"{name}: {len(sizes[value])} parts")
    axes.set_xscale("log")
    axes.legend()


def _whole_ticks(axis: Axis) -> None:
    from matplotlib.ticker import MaxNLocator

    axis.set_major_locator(MaxNLocator(integer=True))
