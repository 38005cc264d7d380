"""Repairs the label of one case by a rule that the user chose, unless the contents contradict it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from data_prep._check.case import FIXES, CaseReport, on_image_grid

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from medseg.io.volumes.image import Image

__all__ = ["choose_fixes", "mended_label"]


def choose_fixes(report: CaseReport, asked: Sequence[str]) -> tuple[str, ...]:
    """The fixes asked for that together settle every problem of a case, in their order; none if they do not.

    A fix of the geometry settles a case whose contents do not speak for the other side; ``exclude`` settles everything
    that the fixes before it leave.
    """
    left = list(report.problems)
    chosen: list[str] = []
    for fix in asked:
        if not left:
            break
        if fix == "exclude":
            return (fix,)
        settled = [problem for problem in left if fix in problem.fixes and not _contradicted(fix, report)]
        if settled:
            chosen.append(fix)
            left = [problem for problem in left if problem not in settled]
    return () if left else tuple(chosen)


def _contradicted(fix: str, report: CaseReport) -> bool:
    if fix == "round-label":
        return False
    speaks_for = (report.evidence or {}).get("speaks_for")
    return bool(speaks_for) and speaks_for != ("index" if fix == "header-from-image" else "header")


def mended_label(fixes: Sequence[str], report: CaseReport, image: Image, label: Image) -> NDArray[Any] | None:
    """The label's array on the image's grid, and in ``report.fix`` what was done.

    Args:
        fixes: some of ``FIXES`` but ``exclude``, from `choose_fixes`.
        report: the case; its ``fix`` is set.
        image: its image.
        label: its label.

    Returns:
        The array, or None if the fixes cannot be carried out (then a note says why and nothing is changed).
    """
    facts: dict[str, Any] = {}
    if "round-label" in fixes:
        label, facts = _rounded(label)
    geometry = next((fix for fix in fixes if fix != "round-label"), None)
    array = label.array if geometry is None else _on_grid(geometry, report, image, label)
    if array is None:
        return None
    before, after = int((label.array != 0).sum()), int((array != 0).sum())
    if before and not after:
        report.notes.append(f"{geometry} was not done: by its header the whole label lies outside the image")
        return None
    counts = {"label_voxels_before": before, "label_voxels_after": after}
    meaning = "; ".join(FIXES[fix] for fix in fixes)
    report.fix = {"rule": ", ".join(fixes), "meaning": meaning, **counts, **facts}
    return array


def _rounded(label: Image) -> tuple[Image, dict[str, Any]]:
    """The label with whole values in the smallest type that holds them, and how much that changed."""
    import numpy as np

    whole = np.rint(label.array)
    change = np.abs(label.array - whole)
    array = whole.astype(np.min_scalar_type(int(whole.max(initial=0))))
    facts = {"voxels_rounded": int((change > 0).sum()), "largest_rounding": float(f"{change.max(initial=0):.3g}")}
    return label._replace(array=array), facts


def _on_grid(fix: str, report: CaseReport, image: Image, label: Image) -> NDArray[Any] | None:
    from medseg.geometry import compare_grids

    if fix == "header-from-image":
        if label.array.shape != image.array.shape:
            report.notes.append(f"{fix} was not done: image and label have different shapes")
            return None
        return label.array
    if fix == "reorder-label":
        where = (label.affine_ras, label.array.shape, image.affine_ras, image.array.shape)
        return compare_grids(*where).reordering.apply(label.array)
    return on_image_grid(label, image)
