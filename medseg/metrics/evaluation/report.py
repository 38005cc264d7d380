"""The report of an evaluation: one HTML file that needs no network and runs no script."""

from __future__ import annotations

import base64
import math
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from medseg.io.bounded.html_page import html_page, html_table
from medseg.metrics.evaluation.tables import SCORES

__all__ = ["report_html"]

_WORST = 10


def report_html(
    summary: Mapping[str, Any],
    rows: Sequence[Mapping[str, Any]],
    failed: Sequence[tuple[str, str]] = (),
    picture: Path | None = None,
    version: str = "",
) -> str:
    """The report of a cohort.

    Args:
        summary: what `summarise` made of it.
        rows: what `case_rows` made of it.
        failed: name and reason of every case that could not be scored.
        picture: PNG of the comparison with a baseline.
        version: of the program.
    """
    parts = [
        f"<h1>Evaluation of {summary['cases']} cases</h1>",
        f"<p>{summary['patients']} patients. {_classes(summary)}</p>",
    ]
    if failed:
        listed = "".join(f"<li>{escape(name)}: {escape(reason)}</li>" for name, reason in failed)
        parts.append(f'<div class="warn"><b>{len(failed)} cases could not be scored</b><ul>{listed}</ul></div>')
    for name in summary["classes"]:
        parts.append(_class_part(name, summary, [row for row in rows if row["class"] == name]))
    if summary["lits"]:
        parts.append("<h2>Scores of LiTS</h2><p class='note'>" + escape(summary["rules"]["lits"]) + "</p>")
        parts.append(html_table(("score", "value"), ((key, _number(value)) for key, value in summary["lits"].items())))
    if summary["comparison"]:
        parts.append(_comparison(summary["comparison"], picture))
    if summary["notes"]:
        parts.append("<h2>Notes</h2><ul>" + "".join(f"<li>{escape(line)}</li>" for line in summary["notes"]) + "</ul>")
    rules = "".join(f"<li><b>{escape(key)}</b>: {escape(text)}</li>" for key, text in summary["rules"].items())
    parts.append(f"<h2>Rules</h2><ul class='note'>{rules}</ul><p class='note'>medseg {escape(version)}</p>")
    return html_page("Evaluation", parts)


def _classes(summary: Mapping[str, Any]) -> str:
    words = [
        f"{escape(name)}: {values if isinstance(values, str) else ', '.join(map(str, values))}"
        for name, values in summary["classes"].items()
    ]
    return "Label values: " + "; ".join(words) + "."


def _class_part(name: str, summary: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]) -> str:
    scores = summary["scores"][name]
    tolerance = summary["tolerance_mm"]
    table = []
    for key, words in SCORES.items():
        if key == "surface_dice" and tolerance is None:
            continue
        entry, said = scores[key], words if key != "surface_dice" else f"surface Dice at {tolerance:g} mm"
        interval = f"{_number(entry['low'])} to {_number(entry['high'])}"
        table.append((said, _number(entry["mean"]), interval, _number(entry["median"]), str(entry["items"])))
    parts = [
        f"<h2>{escape(name)}</h2>",
        _strip(row["dice"] for row in rows),
        html_table(("score", "mean", "95 % interval", "median", "cases"), table),
        f"<p>Dice over all voxels of all cases: {_number(scores['dice_global'])}. Empty in "
        + ", ".join(f"{which}: {count}" for which, count in scores["empty"].items())
        + ".</p>",
    ]
    if "lesions" in scores:
        parts.append(_lesion_part(scores["lesions"]))
    worst = sorted(rows, key=lambda row: row["dice"])[:_WORST]
    columns = ("case", "dice", "voe", "assd_mm", "prediction_ml", "reference_ml", "empty")
    cells = ([row[key] if isinstance(row[key], str) else _number(row[key]) for key in columns] for row in worst)
    heads = ("case", "Dice", "VOE", "ASSD, mm", "prediction, ml", "reference, ml", "empty")
    parts.append(f"<h3>Cases with the lowest Dice</h3>{html_table(heads, cells)}")
    return "\n".join(parts)


def _lesion_part(lesions: Mapping[str, Any]) -> str:
    rows = []
    for key, words in (("found_any", "any overlap"), ("found_half", "IoU above 0.5")):
        entry = lesions[key]
        counts = [str(entry[k]) for k in ("true_positive", "false_positive", "false_negative")]
        rows.append((words, *counts, *(_number(entry[k]) for k in ("precision", "recall", "f1"))))
    sizes = [
        (key.replace("_", " "), str(entry["lesions"]), _number(entry["recall"]))
        for key, entry in lesions["recall_by_diameter"].items()
    ]
    return (
        "<h3>Lesions, matched one to one</h3>"
        + html_table(("counts as found", "found", "invented", "lost", "precision", "recall", "F1"), rows)
        + html_table(("diameter", "lesions", "recall (IoU above 0.5)"), sizes)
    )


def _comparison(comparison: Mapping[str, Any], picture: Path | None) -> str:
    rows = [
        (f"{name}: {SCORES.get(key, key.replace('_', ' '))}", _signed(entry["difference"]),
         f"{_signed(entry['low'])} to {_signed(entry['high'])}", _p_value(entry.get("p_value", float("nan"))))
        for name, scores in comparison["classes"].items() for key, entry in scores.items()
    ]  # fmt: skip
    text = (
        f"<h2>Against the baseline</h2><p>Result minus baseline over {comparison['cases']} cases of "
        f"{comparison['patients']} patients that both have.</p>"
    )
    if picture is not None:
        data = base64.b64encode(picture.read_bytes()).decode("ascii")
        text += (
            f'<p><img alt="Dice of every case in both, and mean differences" src="data:image/png;base64,{data}"></p>'
        )
    return text + html_table(("score", "mean difference", "95 % interval", "p"), rows)


def _strip(values: Iterable[float]) -> str:
    """Every case as a mark on a line from 0 to 1."""
    marks = "".join(
        f'<line x1="{20 + 560 * value:.1f}" x2="{20 + 560 * value:.1f}" y1="6" y2="26" stroke="#2a6f97" '
        'stroke-width="2" stroke-opacity=".55"/>'
        for value in values
    )
    ticks = "".join(
        f'<text x="{20 + 560 * tick / 5:.0f}" y="44" font-size="12" text-anchor="middle">{tick / 5:g}</text>'
        for tick in range(6)
    )
    return (
        '<svg viewBox="0 0 600 50" width="600" role="img" aria-label="Dice of every case">'
        f'<line x1="20" x2="580" y1="30" y2="30" stroke="#888"/>{marks}{ticks}</svg>'
        '<p class="note">Dice of every case</p>'
    )


def _number(value: Any) -> str:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return "–"
    if isinstance(value, int):
        return str(value)
    return f"{value:.3f}" if abs(value) < 100 else f"{value:.1f}"


def _p_value(value: float) -> str:
    return "< 0.001" if value < 0.001 else _number(value)


def _signed(value: float) -> str:
    return "–" if math.isnan(value) else f"{value:+.3f}"
