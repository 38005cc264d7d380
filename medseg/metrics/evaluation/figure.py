"""The paired comparison of two results as one picture."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from medseg.io.bounded.atomic import atomic_path
from medseg.metrics.evaluation.folders import Evaluation
from medseg.metrics.evaluation.tables import score_of

__all__ = ["draw_comparison"]

_COLOUR, _GREY = "#2a6f97", "#888888"
_SHOWN = {"dice": "Dice", "surface_dice": "surface Dice", "lesion_recall": "lesion recall", "lesion_f1": "lesion F1"}


def draw_comparison(path: str | Path, found: Evaluation, baseline: Evaluation, comparison: dict[str, Any]) -> Path:
    """Draw, for every class, the Dice of every case in both results, and the mean differences with their intervals.

    Args:
        path: the PNG to write.
        found: the result.
        baseline: the other one.
        comparison: what `medseg.metrics.evaluation.summary.compare` made of both.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    names = list(found.settings.classes)
    figure = Figure(figsize=(9, 3.6 * len(names)), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    panes = figure.subplots(len(names), 2, squeeze=False)
    other = dict(zip(baseline.names, baseline.scores, strict=True))
    pairs = [(case, other[name]) for name, case in zip(found.names, found.scores, strict=True) if name in other]
    for place, name in enumerate(names):
        values = np.array([[score_of(case.classes[place], "dice") for case in pair] for pair in pairs]).reshape(-1, 2)
        _draw_cases(panes[place][0], values, name)
        _draw_differences(panes[place][1], comparison["classes"][name])
    figure.suptitle(f"{len(pairs)} cases, {comparison['patients']} patients: result against baseline")
    with atomic_path(path) as temporary:
        figure.savefig(temporary, format="png", metadata={"Software": None})
    return Path(path)


def _draw_cases(pane: Any, values: Any, name: str) -> None:
    pane.plot([0, 1], [0, 1], color=_GREY, linewidth=1)
    pane.scatter(values[:, 1], values[:, 0], s=18, color=_COLOUR, alpha=0.7)
    pane.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), xlabel="Dice of the baseline", ylabel="Dice of the result")
    pane.set_title(f"{name}: above the line the result is better", fontsize=10)
    pane.set_aspect("equal")


def _draw_differences(pane: Any, scores: dict[str, Any]) -> None:
    rows = [(words, scores[key]) for key, words in _SHOWN.items() if key in scores]
    rows = [(words, row) for words, row in rows if np.isfinite([row["difference"], row["low"], row["high"]]).all()]
    for height, (_, row) in enumerate(reversed(rows)):
        pane.plot([row["low"], row["high"]], [height, height], color=_COLOUR, linewidth=2)
        pane.plot(row["difference"], height, "o", color=_COLOUR)
    pane.axvline(0, color=_GREY, linewidth=1)
    pane.set_yticks(range(len(rows)), [words for words, _ in reversed(rows)])
    pane.set_ylim(-0.7, max(len(rows), 1) - 0.3)
    pane.set_xlabel("result minus baseline, 95 % interval")
    pane.set_title("mean difference", fontsize=10)
