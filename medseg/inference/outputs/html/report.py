"""``report.html``: previews with windows and a slider, a table of lesions, facts of the run and what to look at."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from medseg.geometry import Affine, apply_affine, orientation_codes
from medseg.inference.outputs.html.pictures import (
    Picture,
    axial_pictures,
    chosen_slices,
    lesion_marks,
    projection_picture,
    windows_for,
)
from medseg.inference.outputs.html.script import SCRIPT, VIEWER_STYLE
from medseg.inference.outputs.planes import display_view, obliquity_degrees
from medseg.inference.outputs.preview import COLOURS, Window
from medseg.io.bounded.html_page import html_page, html_table, inline_json, shown_number

if TYPE_CHECKING:
    from medseg.inference.result import Result

__all__ = ["segmentation_report"]

_SLICES, _STILLS = 36, 5


class _Shown(NamedTuple):
    """A lesion with its label and the index of its slice in the displayed view, counted from the head."""

    label: int
    lesion: Mapping[str, Any]
    view_index: int


def segmentation_report(result: Result, run: Mapping[str, Any]) -> str:
    """The report of a segmentation: one page that loads nothing and runs its own fixed script alone.

    It shows up to 36 axial slices (those of the largest lesions, the others evenly over the mask) in three windows, a
    coronal projection, all classes and lesions, what to look at, and the facts of the run. It does not hold the name of
    the case, its file or its patient. Without scripts, and on paper, it shows still pictures.

    Args:
        result: of `medseg.inference.segment`.
        run: what ``run.json`` holds so far; names in its warnings are hidden already.

    Returns:
        The text of an HTML file.
    """
    image, mask, affine = result.run.case.array, result.mask, result.affine
    _, view, _ = display_view(image, affine)
    windows = windows_for(result.labels)
    shown = _lesions(result.statistics, mask.shape, affine)
    indices = chosen_slices(mask, affine, [one.view_index for one in shown], _SLICES)
    pictures = axial_pictures(image, mask, affine, indices, windows)
    projection = projection_picture(image, mask, affine, Window("bone", 400.0, 1800.0))
    parts = [
        f"<h1>Segmentation: {escape(run['bundle']['name'])}</h1>",
        f"<p>Version {escape(run['bundle']['version'])}, {escape(run['started_at'])}. Research use only.</p>",
        _flags(run["warnings"]),
        _viewer(pictures, windows),
        _class_table(result),
        *_lesion_tables(result, shown, indices),
        _stills(pictures, indices, shown, projection, view),
        _facts(run),
        _rules(result.statistics),
        inline_json("data", _data(pictures, indices, shown, view)),
    ]
    return html_page("Segmentation report", parts, VIEWER_STYLE, SCRIPT)


def _lesions(statistics: Mapping[str, Any], shape: Sequence[int], affine_ras: Affine) -> list[_Shown]:
    """All listed lesions, the largest of all classes first."""
    axis = statistics["slice_axis"]
    runs_down = orientation_codes(affine_ras)[axis] == "I"
    found = []
    for entry in statistics["classes"]:
        for lesion in entry.get("lesions") or ():
            index = lesion["slice_index"]
            found.append(_Shown(entry["label"], lesion, index if runs_down else shape[axis] - 1 - index))
    return sorted(found, key=lambda one: -one.lesion["volume_ml"])


def _flags(warnings: Sequence[str]) -> str:
    if not warnings:
        return "<h2>What to look at</h2><p>Nothing was flagged.</p>"
    listed = "".join(f"<li>{escape(line)}</li>" for line in warnings)
    return f'<h2>What to look at</h2><div class="warn"><ul>{listed}</ul></div>'


def _svg(picture: Picture, name: str, image: str = "", inner: str = "") -> str:
    """Both layers of a picture in mm."""
    width, height = picture.size_mm
    box = f'x="0" y="0" width="{width:.2f}" height="{height:.2f}" preserveAspectRatio="none"'
    overlay = f' href="{picture.overlay}"' if image and picture.overlay else ""
    base = f' href="{image}"' if image else ""
    names = ("", "") if image else (' id="picture"', ' id="overlay"')
    return (
        f'<svg viewBox="0 0 {width:.2f} {height:.2f}" role="img" aria-label="{escape(name)}">'
        f"<image{names[0]} {box}{base}/><image{names[1]} {box}{overlay}/>{inner}</svg>"
    )


def _viewer(pictures: Sequence[Picture], windows: Sequence[Window]) -> str:
    letters = pictures[0].plane.letters
    edges = "".join(f'<i class="{edge}">{getattr(letters, edge)}</i>' for edge in ("left", "right", "top", "bottom"))
    radios = "".join(
        f'<label><input type="radio" name="window" value="{n}"{" checked" if n == 0 else ""}> '
        f"{escape(window.name.replace('_', ' '))} (W {window.width:g}, L {window.level:g})</label>"
        for n, window in enumerate(windows)
    )
    drawing = _svg(pictures[0], "axial slice", inner='<g id="marks"></g>')
    return (
        f'<section id="viewer" hidden><h2>Axial slices</h2><div class="view">{drawing}{edges}</div>'
        '<div class="controls"><button type="button" id="back" aria-label="one slice up">&lsaquo;</button>'
        f'<input type="range" id="slider" min="0" max="{len(pictures) - 1}" step="1" aria-label="slice">'
        '<button type="button" id="next" aria-label="one slice down">&rsaquo;</button>'
        '<p class="caption" id="caption"></p>'
        f'<fieldset aria-label="window">{radios}</fieldset>'
        '<label><input type="checkbox" id="show" checked> mask and diameters</label></div></section>'
    )


def _data(pictures: Sequence[Picture], indices: Sequence[int], shown: Sequence[_Shown], view: Affine) -> dict[str, Any]:
    """What the script shows: addresses of pictures, numbers and captions, no HTML."""
    slices = []
    for picture, index in zip(pictures, indices, strict=True):
        here = [one.lesion for one in shown if one.view_index == index]
        lines = [lesion_marks(lesion, view, picture.plane.spacing_mm) for lesion in here]
        slices.append(
            {
                "caption": _caption(picture, index, view),
                "images": picture.images,
                "overlay": picture.overlay,
                "marks": [{"lines": pair} for pair in lines],
            }
        )
    return {"slices": slices, "start": _start(pictures, indices, shown)}


def _start(pictures: Sequence[Picture], indices: Sequence[int], shown: Sequence[_Shown]) -> int:
    """The slice of the largest lesion, or the one with most of the mask."""
    if shown:
        return indices.index(shown[0].view_index)
    return int(np.argmax([np.count_nonzero(picture.plane.mask) for picture in pictures]))


def _caption(picture: Picture, index: int, view: Affine) -> str:
    """Number of the slice as stored, and the height of its middle."""
    rows, columns = picture.plane.image.shape
    height = apply_affine(view, [(columns - 1) / 2, (rows - 1) / 2, index])[2]
    return f"axial slice {picture.plane.index + 1} of {picture.plane.count}, z = {height:.1f} mm"


def _stills(
    pictures: Sequence[Picture], indices: Sequence[int], shown: Sequence[_Shown], projection: Picture, view: Affine
) -> str:
    """Pictures for paper: the projection, and the slices of the largest lesions, or some evenly over the mask."""
    order = [indices.index(n) for n in dict.fromkeys(one.view_index for one in shown) if n in indices][:_STILLS]
    if not order:
        held = [n for n, picture in enumerate(pictures) if picture.overlay] or list(range(len(pictures)))
        order = sorted({held[int(n)] for n in np.linspace(0, len(held) - 1, _STILLS).round()})
    figures = [(_svg(projection, "coronal MIP", projection.images[0]), "coronal projection (MIP), bone window")]
    for n in sorted(order):
        caption = _caption(pictures[n], indices[n], view)
        figures.append((_svg(pictures[n], caption, pictures[n].images[0]), caption))
    shapes = "".join(
        f'<figure class="still">{drawing}<figcaption>{escape(caption)}</figcaption></figure>'
        for drawing, caption in figures
    )
    angle = obliquity_degrees(view)
    oblique = f" The grid is oblique by {angle:.0f} degrees: pictures lie along its own axes." if angle > 1 else ""
    return (
        f'<h2>Pictures</h2><div class="stills">{shapes}</div>'
        "<p class='note'>Radiological convention: the patient's right is on the left of axial and coronal pictures."
        f"{oblique}</p>"
    )


def _class_table(result: Result) -> str:
    rows = []
    for entry in result.statistics["classes"]:
        hu = entry["hu"] or {}
        key = f'<span class="key key{(entry["label"] - 1) % len(COLOURS)}"></span>{escape(entry["name"])}'
        values = (shown_number(hu.get(name), 0) for name in ("mean", "p5", "p50", "p95"))
        borders = ", ".join(entry["border_faces"]) or "–"
        rows.append((key, f"{entry['volume_ml']:.2f}", *values, entry["n_components"], borders))
    heads = ("class", "volume, ml", "mean HU", "5 %", "median", "95 %", "components", "reaches image border")
    return "<h2>Classes</h2>" + html_table(heads, rows, first_is_html=True)


def _lesion_tables(result: Result, shown: Sequence[_Shown], indices: Sequence[int]) -> list[str]:
    parts = []
    for entry in result.statistics["classes"]:
        if "lesions" not in entry:
            continue
        mine = [one for one in shown if one.label == entry["label"]]
        rows = [_lesion_row(one, indices) for one in mine]
        heads = ("lesion", "diameters, mm", "mean, mm", "volume, ml", "mean HU", "slice", "centre L, P, S, mm",
                 "to organ surface, mm")  # fmt: skip
        more = entry["lesions_not_listed"]
        parts.append(f"<h2>Lesions: {escape(entry['name'])}</h2>")
        parts.append(html_table(heads, rows, first_is_html=True) if rows else "<p>None was found.</p>")
        if more:
            parts.append(f"<p class='note'>{more} smaller ones are not listed.</p>")
        notes = sorted({one.lesion["surface_note"] for one in mine if one.lesion["surface_note"]})
        if notes:
            parts.append(f"<p class='note'>No distance to a surface: {escape('; '.join(notes))}.</p>")
    return parts


def _lesion_row(one: _Shown, indices: Sequence[int]) -> tuple[str, ...]:
    lesion = one.lesion
    number = str(lesion["number"])
    if one.view_index in indices:
        place = indices.index(one.view_index)
        number = f'<button type="button" data-slice="{place}" aria-label="show lesion {number}">{number}</button>'
    return (
        number,
        f"{lesion['long_diameter_mm']:.1f} x {lesion['short_diameter_mm']:.1f}",
        f"{lesion['mean_diameter_mm']:.1f}",
        f"{lesion['volume_ml']:.3g}",
        shown_number(lesion["hu_mean"], 0),
        str(lesion["slice_index"] + 1),
        ", ".join(f"{value:.0f}" for value in lesion["centroid_lps_mm"]),
        shown_number(lesion["surface_distance_mm"]),
    )


def _facts(run: Mapping[str, Any]) -> str:
    case, seconds = run["input"], run.get("stage_seconds", {})
    peak = run.get("peak_rss_bytes")
    rows = [
        ("input", f"{case['kind']}, {' x '.join(map(str, case['shape']))} voxels, {case['dtype']}"),
        ("spacing, orientation", f"{' x '.join(f'{s:g}' for s in case['spacing_mm'])} mm, {case['orientation']}"),
        ("HU range", f"{case['hu_min']:g} to {case['hu_max']:g}"),
        ("bundle", f"{run['bundle']['name']} {run['bundle']['version']}"),
        ("SHA-256 of weights", run["weights_sha256"]),
        ("SHA-256 of configuration", run["config_sha256"]),
        ("device, precision, seed", f"{run['device'].get('device')}, {run.get('precision')}, {run['seed']}"),
        ("peak memory", "–" if peak is None else f"{peak / 2**30:.2f} GiB"),
        ("seconds", ", ".join(f"{name} {value:.1f}" for name, value in seconds.items())),
        ("versions", ", ".join(f"{name} {version}" for name, version in run["versions"].items() if version)),
        ("same as", run["equivalent_command"]),
    ]
    return '<h2>Run</h2><div class="facts">' + html_table(("fact", "value"), rows) + "</div>"


def _rules(statistics: Mapping[str, Any]) -> str:
    rules = statistics["lesion_rules"] or {}
    listed = "".join(f"<li><b>{escape(key)}</b>: {escape(text)}</li>" for key, text in rules.items())
    text = (
        "HU percentiles are over all voxels of a class. Positions are in mm towards left, posterior and superior (LPS)."
    )
    return f"<h2>How to read the numbers</h2><p class='note'>{text}</p><ul class='note'>{listed}</ul>"
