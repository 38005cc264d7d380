"""Contact sheet: what the transforms make of one CT slice, every panel under the call that made it.

Usage: python examples/contact_sheet.py --out docs/transforms.png [--image CT --label LABEL] [--slice K] [--target N]
An image is a NIfTI file or a folder with one DICOM series. Without --image and --label the public abdominal CT below
MEDSEG_DATA is drawn, with its liver as the target.
"""

from __future__ import annotations

import argparse
import os
import sys
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from monai.data import MetaTensor
from monai.transforms import (
    Compose,
    FillHoles,
    GaussianSmooth,
    KeepLargestConnectedComponent,
    Orientationd,
    SpatialCropd,
    SqueezeDimd,
)
from numpy.typing import NDArray
from PIL import Image

from medseg.geometry import spacing_of
from medseg.io.ct.series import read_series
from medseg.io.volumes.nifti import read_nifti
from medseg.transforms import (
    LBP,
    BorderWeightMap,
    CheckAlignmentd,
    ElasticDeform,
    Gabor,
    GeodesicDistance,
    GuideMap,
    HUWindow,
    LocalGLCM,
    LocalHistogram,
    LocalStatistics,
    MultiWindow,
    RandElasticDeformd,
    SimulatePrompts,
)

COLUMNS, PANEL_INCH, TITLE_INCH, DPI = 4, 3.0, 0.46, 100
BODY_HU, MARGIN = -300, 6
FOREGROUND, BACKGROUND = "#56B4E9", "#D55E00"
ON_GREY, ON_COLOURS = "#F0E442", "#CC79A7"

Array = NDArray[Any]


class Panel(NamedTuple):
    """One picture.

    Attributes:
        title: the call that made it.
        values: ``[x, y]``.
        note: which channel or what scale, below the call.
        limits: values of the darkest and the brightest colour; their range unless given, which the title then says.
        colours: matplotlib's colour map.
        outline: mask whose outline is drawn.
        prompts: table of prompts whose centres are drawn.
        lines: points ``(N, 2)`` of lines to draw.
    """

    title: str
    values: Array
    note: str = ""
    limits: tuple[float, float] | None = (0.0, 1.0)
    colours: str = "gray"
    outline: Array | None = None
    prompts: Array | None = None
    lines: Sequence[Array] = ()


class Case(NamedTuple):
    """The slice that is drawn, and the target in its label.

    Attributes:
        image: HU ``[1, x, y]``; x runs to the left and y to the back of the patient.
        label: label map of the same grid.
        target: value of the target.
    """

    image: MetaTensor
    label: MetaTensor
    target: int

    @property
    def grey(self) -> MetaTensor:
        """The abdominal window, 0 to 1."""
        return HUWindow("abdomen")(self.image)

    def prompts(self, kind: str = "clicks_dins", **options: Any) -> tuple[str, Array]:
        """The call and the prompts of a simulated user, the same in every panel."""
        title, simulate = call(SimulatePrompts, kind, target=self.target, **options)
        return title, np.asarray(simulate.set_random_state(0)(self.label))


def main(argv: Sequence[str] | None = None) -> int:
    """Draws the sheet; returns 0, or 2 after one line on what is wrong."""
    try:
        args = _arguments(argv)
        case = load_case(args.image, args.label, args.target, args.slice)
        write(draw(panels(case), case.image), args.out)
    except (OSError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Draw what the transforms make of one CT slice.")
    parser.add_argument("--out", type=Path, required=True, help="the PNG to write")
    parser.add_argument("--image", type=Path, help="CT: a NIfTI file or a folder with one DICOM series")
    parser.add_argument("--label", type=Path, help="its label map, a NIfTI file on the same physical grid")
    parser.add_argument("--target", type=int, default=5, help="label value of the target (default 5, the liver)")
    parser.add_argument("--slice", type=int, help="axial slice, counted from the feet (default: most of the target)")
    args = parser.parse_args(argv)
    if (args.image is None) != (args.label is None):
        raise ValueError("one of --image and --label is given, expected both or none")
    if args.image is None:
        if not os.environ.get("MEDSEG_DATA"):
            raise ValueError("MEDSEG_DATA is not set, expected the folder of the public data; or give --image, --label")
        root = Path(os.environ["MEDSEG_DATA"]) / "abdomen_totalseg"
        args.image, args.label = root / "example_ct_dicom", root / "example_seg_dicom.nii.gz"
    return args


def load_case(image: Path, label: Path, target: int, position: int | None = None) -> Case:
    """One axial slice of a CT and its label, cut to the body.

    Args:
        image: NIfTI file or DICOM folder in HU.
        label: NIfTI file on the same physical grid; another order of its axes is put right by the affines.
        target: value of the target in the label.
        position: slice counted from the feet; by default the one with most of the target.

    Raises:
        ValueError: for files that do not belong together, a label without the target, or a slice that is not there.
    """
    keys = ("image", "label")
    to_lps = Compose([CheckAlignmentd("label", "image", "reorder"), Orientationd(keys, "LPS", labels=None)])
    volume = to_lps({"image": _read(image), "label": _read(label)})
    found = (volume["label"][0] == target).sum((0, 1))
    if not found.any():
        raise ValueError(f"{label} holds no voxel of value {target}, expected the target; choose another --target")
    position = int(found.argmax()) if position is None else position
    if not 0 <= position < len(found):
        raise ValueError(f"--slice is {position}, expected 0 to {len(found) - 1}")
    body = FillHoles()(KeepLargestConnectedComponent()(volume["image"][..., position] > BODY_HU))[0]
    inside = [np.flatnonzero(np.asarray(body.any(1 - axis))) for axis in range(2)]
    start = [*(max(0, int(places[0]) - MARGIN) for places in inside), position]
    end = [*(int(places[-1]) + MARGIN + 1 for places in inside), position + 1]
    cut = Compose([SpatialCropd(keys, roi_start=start, roi_end=end), SqueezeDimd(keys, dim=-1, update_meta=False)])
    plane = cut(volume)
    return Case(plane["image"], plane["label"], target)


def _read(path: Path) -> MetaTensor:
    volume = read_series(path) if path.is_dir() else read_nifti(path)
    values = torch.from_numpy(np.ascontiguousarray(volume.array, dtype=np.float32))
    return MetaTensor(values[None], affine=torch.from_numpy(volume.affine_ras))


def call(kind: type, *args: Any, **options: Any) -> tuple[str, Any]:
    """The text of a call and the transform that it makes, so that no title can say something else."""
    words = [repr(value) for value in args] + [f"{name}={value!r}" for name, value in options.items()]
    return f"{kind.__name__}({', '.join(words)})", kind(*args, **options)


def panels(case: Case) -> list[Panel]:
    """All panels, row after row."""
    rows = (
        _windows,
        _co_occurrence,
        _local_maps,
        _patterns,
        _drawn_guides,
        _distance_guides,
        _distances,
        _deformations,
    )
    return [panel for row in rows for panel in row(case)]


def _first(result: Any) -> Array:
    """The first channel of what a transform gave."""
    return np.asarray(result[0])


def _windows(case: Case) -> list[Panel]:
    title, clicks = case.prompts()
    result = [Panel(title, _first(case.grey), "drawn on HUWindow('abdomen')", outline=_target(case), prompts=clicks)]
    names = ("liver", "lung", "bone")
    title, transform = call(MultiWindow, names)
    maps = np.asarray(transform(case.image))
    return result + [Panel(f"{title}[{n}]", values, names[n]) for n, values in enumerate(maps)]


def _target(case: Case) -> Array:
    return _first(case.label == case.target)


def _co_occurrence(case: Case) -> list[Panel]:
    result = []
    for name in ("contrast", "homogeneity", "entropy", "correlation"):
        title, transform = call(LocalGLCM, window=9, features=(name,))
        values = _first(transform(case.image))
        limits = (0.0, float(np.quantile(values, 0.98))) if name == "contrast" else None
        result.append(Panel(title, values, limits=limits, colours="magma"))
    return result


def _local_maps(case: Case) -> list[Panel]:
    title, transform = call(LocalHistogram, window=9, bins=5)
    maps, edges = np.asarray(transform(case.image)), np.linspace(transform.low, transform.high, transform.bins + 1)
    shares = [(n, f"share of {edges[n]:g} to {edges[n + 1]:g} HU") for n in (1, 3)]
    result = [Panel(f"{title}[{n}]", maps[n], note, colours="magma") for n, note in shares]
    for name, limits, colours in (("std", (0.0, 0.4), "magma"), ("skewness", (-2.0, 2.0), "RdBu_r")):
        title, transform = call(LocalStatistics, window=9, statistics=(name,))
        result.append(Panel(title, _first(transform(case.grey)), "of the abdominal window", limits, colours))
    return result


def _patterns(case: Case) -> list[Panel]:
    title, transform = call(LBP, radius=4.0)
    codes = _first(transform(GaussianSmooth(2.0)(case.image).round()))
    result = [Panel(title, codes, "codes of the smoothed image", None, "cividis")]
    for angle in (0.0, 90.0):
        title, transform = call(Gabor, frequencies=(0.1,), orientations=(angle,))
        result.append(Panel(title, _first(transform(case.grey)), "of the abdominal window", (0.0, 0.2), "magma"))
    title, transform = call(Gabor, frequencies=(0.3,), orientations=4)
    maps = np.asarray(transform(case.grey))
    return [*result, Panel(f"{title}.max(0)", maps.max(0), "largest of 4 directions", (0.0, 0.15), "magma")]


def _guide(case: Case, prompts: Array, kind: str, **options: Any) -> Panel:
    title, transform = call(GuideMap, kind, **options)
    # Noise would add up along the way, so geodesic distances are those of a smoothed image.
    values = _first(transform(GaussianSmooth(2.0)(case.grey), prompts))
    return Panel(title, values, colours="viridis", outline=_target(case), prompts=prompts)


def _drawn_guides(case: Case) -> list[Panel]:
    _, clicks = case.prompts()
    result = [_guide(case, clicks, kind, sigma=10.0, unit="mm") for kind in ("gauss", "disc")]
    for kind, user in (("ellipse", "ellipse_mid_slice"), ("box", "boxes")):
        title, prompts = case.prompts(user)
        result.append(_guide(case, prompts, kind)._replace(note=f"prompts: {title}"))
    return result


def _distance_guides(case: Case) -> list[Panel]:
    _, clicks = case.prompts()
    return [
        _guide(case, clicks, "edt", max_distance=80.0, unit="mm"),
        _guide(case, clicks, "geodesic", max_distance=2.0),
        _guide(case, clicks, "exp_geodesic", sigma=0.4),
        _guide(case, clicks, "exp_geodesic", sigma=0.4, channels=("bg",)),
    ]


def _distances(case: Case) -> list[Panel]:
    image, (_, clicks) = GaussianSmooth(2.0)(case.grey), case.prompts()
    seeds = np.zeros(image.shape, np.uint8)
    for _, x, y, *_ in clicks[clicks[:, 0] == 1].astype(int):
        seeds[0, x, y] = 1
    (exact, first), (raster, second) = (call(GeodesicDistance, sweeps=sweeps) for sweeps in (None, 1))
    maps = [_first(transform(image, seeds)) for transform in (first, second)]
    scale = (0.0, float(maps[0].max()))
    result = [
        Panel(exact, maps[0], "to the foreground clicks", scale, "viridis", _target(case)),
        Panel(raster, maps[1], "one raster sweep", scale, "viridis", _target(case)),
        Panel("the difference of the two", maps[1] - maps[0], limits=None, colours="magma"),
    ]
    title, transform = call(BorderWeightMap, class_weights=None, background_only=True)
    return [*result, Panel(title, _first(transform(case.label)), "of all organs", None, "magma")]


def _deformations(case: Case) -> list[Panel]:
    title, strokes = case.prompts("scribbles", options={"length": 80})
    result = [Panel(title, _first(case.grey), outline=_target(case), prompts=strokes)]
    _, clicks = case.prompts()
    sample = {"image": case.grey, "label": case.label, "clicks": clicks[:, 1:3]}
    options: dict[str, Any] = {"mode": ("bilinear", "nearest"), "point_keys": "clicks"}
    title, deform = call(RandElasticDeformd, ("image", "label"), "unet", prob=1.0, **options)
    moved = deform.set_random_state(0)(sample)
    back = deform.inverse(moved)
    elastic, lines = ElasticDeform(deform.transform.field), grid_lines(case.image.shape[1:])
    bent = [np.asarray(elastic.points(line, case.image)[0]) for line in lines]
    error = f"its field is right to {back['image'].meta['elastic_inverse_error_mm']:.2g} mm"
    for name, now, note, grid in (
        ("image, label, points and a grid", sample, "before the deformation", lines),
        (title, moved, "", bent),
        ("its inverse", back, error, lines),
    ):
        outline, prompts = _first(now["label"] == case.target), clicks.copy()
        prompts[:, 1:3] = np.asarray(now["clicks"])
        result.append(Panel(name, _first(now["image"]), note, outline=outline, prompts=prompts, lines=grid))
    return result


def grid_lines(size: Sequence[int], every: int = 32) -> list[Array]:
    """Points along the lines of a square grid over an image, ``(N, 2)`` for every line."""
    x, y = (np.arange(n, dtype=np.float64) for n in size)
    along_x = [np.stack([x, np.full_like(x, at)], 1) for at in y[every // 2 :: every]]
    return along_x + [np.stack([np.full_like(y, at), y], 1) for at in x[every // 2 :: every]]


def draw(pictures: Sequence[Panel], image: MetaTensor) -> Figure:
    """The figure of all panels; their sides are in the image's millimetres."""
    wide, high = np.array(image.shape[1:]) * spacing_of(np.asarray(image.affine))[:2]
    rows, row_inch = -(-len(pictures) // COLUMNS), PANEL_INCH * high / wide + TITLE_INCH
    figure = Figure(figsize=(COLUMNS * PANEL_INCH, rows * row_inch), dpi=DPI)
    for number, picture in enumerate(pictures):
        row, column = divmod(number, COLUMNS)
        size = (0.98 / COLUMNS, (1 - TITLE_INCH / row_inch) / rows)
        axes = figure.add_axes(((column + 0.01) / COLUMNS, 1 - (row + 1) / rows, *size))
        _draw_panel(axes, picture)
        if number == 0:
            _draw_letters(axes)
    return figure


def _draw_panel(axes: Axes, picture: Panel) -> None:
    """x to the viewer's right and y down: the patient's right is on the viewer's left, and the front above."""
    low, high = picture.limits or (float(picture.values.min()), float(picture.values.max()))
    axes.imshow(picture.values.T, cmap=picture.colours, vmin=low, vmax=high, aspect="auto", interpolation="nearest")
    if picture.outline is not None:
        colour = ON_GREY if picture.colours == "gray" else ON_COLOURS
        axes.contour(picture.outline.T, [0.5], colors=colour, linewidths=1.1)
    for line in picture.lines:
        axes.plot(*line.T, color="white", linewidth=0.4, alpha=0.7)
    if picture.prompts is not None:
        for kind, colour in ((1, FOREGROUND), (0, BACKGROUND)):
            x, y = picture.prompts[picture.prompts[:, 0] == kind, 1:3].T
            axes.scatter(x, y, s=16, color=colour, edgecolors="black", linewidths=0.4, zorder=3)
    axes.set(xlim=(-0.5, picture.values.shape[0] - 0.5), ylim=(picture.values.shape[1] - 0.5, -0.5))
    axes.set_axis_off()
    scale = "" if picture.limits == (0.0, 1.0) else f"{round(low, 2):g} to {round(high, 2):g}"
    note = ", ".join(text for text in (picture.note, scale) if text)
    axes.set_title("\n".join([*textwrap.wrap(picture.title, 52), note]).strip(), fontsize=7.5, pad=2)


def _draw_letters(axes: Axes) -> None:
    box = {"boxstyle": "round,pad=0.15", "facecolor": "black", "edgecolor": "none", "alpha": 0.6}
    for letter, x, y in (("R", 0.03, 0.5), ("L", 0.97, 0.5), ("A", 0.5, 0.94), ("P", 0.5, 0.06)):
        axes.text(x, y, letter, color="white", fontsize=9, transform=axes.transAxes, ha="center", va="center", bbox=box)


def write(figure: Figure, path: Path) -> None:
    """Writes the figure as a PNG of 256 colours, small enough for a page."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    Image.fromarray(np.asarray(canvas.buffer_rgba())[..., :3]).quantize(256, Image.Quantize.FASTOCTREE).save(
        path, optimize=True
    )


if __name__ == "__main__":
    sys.exit(main())
