"""Checks before and after the nodules of a LIDC-IDRI case are built: missing slices, cut and unusual nodules."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple

from medseg.datasets.lidc.consensus import Nodule, NoduleFault

if TYPE_CHECKING:
    from medseg.datasets.lidc.records import Reading
    from medseg.io.bounded.choice import ItemChoice
    from medseg.io.ct.series import CtSeries

__all__ = ["NoduleVerdict", "count_annotations", "describe_gaps", "judge_nodules", "missing_slices", "nodule_warnings"]


def missing_slices(series: CtSeries, reading: Reading) -> tuple[list[float], int]:
    """z of the slices that should be there and are not, and the number of slices expected (0 if unknown).

    Slices that a repair filled count as present: the user asked for them, and the sidecar lists them.
    """
    import numpy as np

    from data_prep._lidc.repaired import slice_z_mm
    from medseg.datasets.lidc import slice_positions
    from medseg.datasets.lidc.masks import match_slices

    present = slice_z_mm(series)
    complete = reading.slice_z_mm or slice_positions(series.series_uid) or ()
    marked = [c.z_mm for item in reading.annotations for c in item.contours] + [p.z_mm for p in reading.points]
    wanted = np.unique(np.array([*complete, *marked], dtype=float))
    if not len(wanted):
        return [], 0
    return wanted[match_slices(wanted, present) < 0].tolist(), len(complete)


def describe_gaps(series: CtSeries, missing: list[float], expected: int) -> str:
    """What a CT lacks, in words; empty if nothing."""
    from medseg.io.bounded.errors import shorten

    parts = [reason.split(": ", 1)[-1] if path.name in reason else reason for path, reason in series.left_out]
    files = [f"{path.name} ({reason})" for (path, _), reason in zip(series.left_out, parts, strict=True)]
    texts = [f"left out {shorten(files, 4)}"] if files else []
    if missing:
        total = f" of {expected}" if expected else ""
        text = f"{len(missing)}{total} slices missing at z {_ranges(missing)} mm"
        texts.append(text if expected else f"{text} (as far as the marks tell; no full slice list is at hand)")
    return "; ".join(texts)


def _ranges(positions: list[float]) -> str:
    """Sorted positions as runs of even spacing, e.g. ``-340 to -217.5``."""
    if len(positions) < 3:
        return ", ".join(f"{z:g}" for z in positions)
    step = min(b - a for a, b in pairwise(positions))
    runs = [[positions[0], positions[0]]]
    for z in positions[1:]:
        if z - runs[-1][1] <= 1.01 * step:
            runs[-1][1] = z
        else:
            runs.append([z, z])
    return ", ".join(f"{a:g}" if a == b else f"{a:g} to {b:g}" for a, b in runs)


CUT = (
    "it has outlines on slices that are missing from the CT (z {} mm), so its masks would be cut off; fetch these "
    "slices"
)
"""What is wrong with a nodule whose slices are not all there."""


class NoduleVerdict(NamedTuple):
    """The nodules of a case, judged one by one.

    Attributes:
        nodules: those that are wanted and can be used.
        refused: ``name`` (such as ``nodule 3``), ``nodule_id`` (0 if unknown), ``source_ids`` (the readers' own names)
            and ``reason`` of those that are wanted and cannot be used.
        left_out: names of those that are not wanted.
        seen: number of annotations that lie in any nodule.
    """

    nodules: list[Nodule]
    refused: list[dict[str, Any]]
    left_out: list[str]
    seen: int


def judge_nodules(
    source: object,
    nodules: Sequence[Nodule],
    faults: Sequence[NoduleFault],
    reading: Reading,
    choice: ItemChoice,
    cut: str = CUT,
) -> NoduleVerdict:
    """Refuse the nodules whose masks would be wrong, even in a partial case: cut ones and those with damaged marks.

    Args:
        source: what to name in errors.
        nodules: those that could be built.
        faults: those that could not.
        reading: what the readers drew.
        choice: which nodules are wanted, by number or by a reader's name for them.
        cut: what is wrong with a nodule on slices that are not there, with a place for their z.

    Raises:
        DataError: if no nodule is left although some were outlined, or for a choice of what is not there.
    """
    from medseg.io.bounded.errors import DataError

    if reading.annotations and not nodules and not faults:
        raise DataError(f"{source}: none of the {len(reading.annotations)} outlined nodules lies on the slices present")
    both: list[Nodule | NoduleFault] = [*nodules, *faults]
    items = [(_names(item), item) for item in both]
    choice.check(source, "nodule", [names for names, _ in items])
    sound: list[Nodule] = []
    refused: list[dict[str, Any]] = []
    left_out: list[str] = []
    for names, item in items:
        reason = _fault_of(item, cut)
        if not choice.wants(*names):
            left_out.append(_called(item.nodule_id, names))
        elif reason:
            ids = [name for name in names if name != str(item.nodule_id)]
            name = _called(item.nodule_id, names)
            refused.append({"name": name, "nodule_id": item.nodule_id, "source_ids": ids, "reason": reason})
        elif isinstance(item, Nodule):
            sound.append(item)
    refused.sort(key=lambda row: (row["nodule_id"] == 0, row["nodule_id"]))
    if refused and not sound:
        more = f" (and {len(refused) - 1} more nodules)" if len(refused) > 1 else ""
        raise DataError(f"{source}: {refused[0]['name']}: {refused[0]['reason']}{more}")
    return NoduleVerdict(sound, refused, left_out, count_annotations(nodules, faults))


def count_annotations(nodules: Sequence[Nodule], faults: Sequence[NoduleFault]) -> int:
    """Number of annotations that lie in any nodule."""
    built = sum(len(drawn) for nodule in nodules for drawn in nodule.annotations.values())
    return built + sum(fault.annotations for fault in faults)


def _fault_of(item: Nodule | NoduleFault, cut: str) -> str:
    if isinstance(item, NoduleFault):
        return item.reason
    if item.absent_z_mm:
        return cut.format(_ranges(list(item.absent_z_mm)))
    return ""


def _names(item: Nodule | NoduleFault) -> tuple[str, ...]:
    """The number of a nodule, where it has one, and the readers' own names for it."""
    if isinstance(item, NoduleFault):
        return (*([str(item.nodule_id)] if item.nodule_id else []), *item.names)
    return (str(item.nodule_id), *(drawn.nodule_id for items in item.annotations.values() for drawn in items))


def _called(nodule_id: int, names: Sequence[str]) -> str:
    return f"nodule {nodule_id}" if nodule_id else f"nodule {next(iter(names), '')!r} of one reader"


def nodule_warnings(verdict: NoduleVerdict, reading: Reading) -> list[str]:
    """Absent and merged nodules, empty masks and empty consensus, one line each."""
    lines = []
    absent = [row["name"] for row in verdict.refused] + verdict.left_out
    if absent:
        lines.append(f"not in the masks, where they count as background: {', '.join(absent)}")
    for nodule in verdict.nodules:
        total = sum(len(items) for items in nodule.annotations.values())
        if total > 4:
            lines.append(f"nodule {nodule.nodule_id} joins {total} annotations; neighbouring nodules may have merged")
        for reader, mask in nodule.masks.items():
            if not mask.any():
                lines.append(
                    f"nodule {nodule.nodule_id}, reader {reader}: the mask is empty, the outline encloses no pixel"
                )
        if not nodule.consensus.any():
            lines.append(f"nodule {nodule.nodule_id}: its consensus is empty, so only the readers' masks show it")
    if verdict.seen < len(reading.annotations):
        lines.append(
            f"{len(reading.annotations) - verdict.seen} outlined nodule(s) lie wholly on missing slices and are absent"
        )
    return lines
