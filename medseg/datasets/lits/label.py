"""Place a LiTS label on its image's grid: by the headers if they agree, else by table and measurement."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from medseg.datasets.lits.evidence import AlignmentEvidence, measure_alignment
from medseg.datasets.lits.geometry import change_record
from medseg.datasets.lits.issues import KnownIssue
from medseg.geometry import Alignment, compare_grids
from medseg.io.bounded.errors import DataError
from medseg.io.volumes.mending import grid_fix

__all__ = ["PlacedLabel", "place_label"]


class PlacedLabel(NamedTuple):
    """A label on its image's grid.

    Attributes:
        array: the label, ``[i, j, k]`` as the image.
        record: how the grids were related, what was measured and what was done, ready for JSON.
        changes: table rows that were applied.
        warnings: one line for everything that was done to the label.
    """

    array: NDArray[Any]
    record: dict[str, Any]
    changes: tuple[dict[str, Any], ...] = ()
    warnings: tuple[str, ...] = ()


def place_label(
    case: str,
    image: NDArray[Any],
    affine_ras: ArrayLike,
    label: NDArray[Any],
    label_affine_ras: ArrayLike,
    issue: KnownIssue | None,
) -> PlacedLabel:
    """Place a label on its image's grid.

    Equal grids are accepted, and the same grid in another order is re-ordered, unless the tissue under the label
    clearly contradicts the headers. Different grids are refused, except if the table says that the label's header is
    wrong *and* the tissue clearly shows that the arrays match index by index.

    Args:
        case: name for messages.
        image: HU ``[i, j, k]``.
        affine_ras: 4 x 4 of the image as its header gives it, voxel to RAS mm.
        label: label values, three axes.
        label_affine_ras: 4 x 4 of the label.
        issue: the table's row about this label's header, or None.

    Raises:
        DataError: if the position of the label remains uncertain; the message states the measured shares.

    >>> image = np.full((20, 20, 20), 100, np.int16)
    >>> label = np.zeros((20, 20, 20), np.uint8)
    >>> label[5:15, 5:15, 5:15] = 1
    >>> place_label("case", image, np.eye(4), label, np.eye(4), issue=None).record["grids"]
    'same'
    """
    found = compare_grids(label_affine_ras, label.shape, affine_ras, image.shape)
    if found.kind == "same" or not np.any(label):
        return _without_evidence(case, label, found)
    evidence = measure_alignment(image, affine_ras, label, label_affine_ras)
    verdict = evidence.verdict
    record = {"grids": found.kind, "detail": found.describe(), "placed_by": "", **_shares(evidence)}
    if verdict == "index" and issue is not None:
        line = f"{case}: label header replaced by the image's ({found.describe()}); {evidence.describe()}"
        change = change_record(issue, {"grids": found.kind}, {"placed_by": "index"})
        return PlacedLabel(label, record | {"placed_by": "index"}, (change,), (line,))
    if found.kind == "reordered" and (verdict == "world" or (verdict == "undecided" and issue is None)):
        line = f"{case}: label re-ordered by the headers ({found.reordering.describe()}); {evidence.describe()}"
        return PlacedLabel(found.reordering.apply(label), record | {"placed_by": "world"}, (), (line,))
    fix = "if the arrays belong together index by index, give the label the image's header"
    if found.kind != "reordered":
        fix = grid_fix(found, label_affine_ras, label.shape, affine_ras)
    raise DataError(
        f"{case}: label and image lie differently: {found.describe()}; {evidence.describe()} (verdict: {verdict}), "
        f"expected the same grid{_no_row(issue)}; {fix}"
    )


def _without_evidence(case: str, label: NDArray[Any], found: Alignment) -> PlacedLabel:
    record = {"grids": found.kind, "detail": found.describe(), "placed_by": "world"}
    if found.kind == "same":
        return PlacedLabel(label, record)
    if found.kind == "reordered":
        line = f"{case}: empty label re-ordered by the headers ({found.reordering.describe()})"
        return PlacedLabel(found.reordering.apply(label), record, (), (line,))
    raise DataError(f"{case}: label and image lie differently ({found.describe()}) and the label is empty; correct it")


def _shares(evidence: AlignmentEvidence) -> dict[str, float | None]:
    return {key: None if value is None else round(value, 4) for key, value in evidence._asdict().items()}


def _no_row(issue: KnownIssue | None) -> str:
    return "" if issue is not None else ", and the table of known faults has no row for this label"
