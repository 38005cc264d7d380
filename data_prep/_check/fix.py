"""Mend the label of one case, by a rule that was asked for, never against what the contents say."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from data_prep._check.case import FIXES, CaseReport, on_image_grid

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from medseg.io.volumes.image import Image

__all__ = ["choose_fix", "mended_label"]


def choose_fix(report: CaseReport, asked: Sequence[str]) -> str | None:
    """The first fix asked for that settles every problem of a case; None if none does or nothing is wrong.

    A fix of the geometry settles a case whose only problem is the geometry and whose contents do not speak for the
    other side; ``exclude`` settles everything.
    """
    for fix in asked:
        if not report.problems:
            return None
        if fix == "exclude":
            return fix
        if all(fix in problem.fixes for problem in report.problems) and not _contradicted(fix, report):
            return fix
    return None


def _contradicted(fix: str, report: CaseReport) -> bool:
    speaks_for = (report.evidence or {}).get("speaks_for")
    return bool(speaks_for) and speaks_for != ("index" if fix == "header-from-image" else "header")


def mended_label(fix: str, report: CaseReport, image: Image, label: Image) -> NDArray[Any] | None:
    """The label's array on the image's grid, and in ``report.fix`` what was done.

    Args:
        fix: one of ``FIXES`` but ``exclude``.
        report: the case; its ``fix`` is set.
        image: its image.
        label: its label.

    Returns:
        The array, or None if the fix cannot be carried out (then a note says why and nothing is changed).
    """
    from medseg.geometry import compare_grids

    if fix == "header-from-image":
        if label.array.shape != image.array.shape:
            report.notes.append(f"{fix} was not done: image and label have different shapes")
            return None
        array = label.array
    elif fix == "reorder-label":
        where = (label.affine_ras, label.array.shape, image.affine_ras, image.array.shape)
        array = compare_grids(*where).reordering.apply(label.array)
    else:
        array = on_image_grid(label, image)
    before, after = int((label.array != 0).sum()), int((array != 0).sum())
    if before and not after:
        report.notes.append(f"{fix} was not done: by its header the whole label lies outside the image")
        return None
    report.fix = {"rule": fix, "meaning": FIXES[fix], "label_voxels_before": before, "label_voxels_after": after}
    return array
