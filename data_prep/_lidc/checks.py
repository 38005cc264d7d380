"""What is looked at before and after the nodules of a LIDC-IDRI case are built: lacking slices, cut and odd nodules."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from medseg.datasets.lidc.consensus import Nodule
    from medseg.datasets.lidc.records import Reading
    from medseg.io.ct.series import CtSeries

__all__ = ["describe_gaps", "missing_slices", "nodule_warnings", "refuse_cut_nodules"]


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


def refuse_cut_nodules(source: Path, nodules: Sequence[Nodule], reading: Reading) -> None:
    """A nodule that loses slices would be a wrong truth even in a partial case."""
    from medseg.io.bounded.errors import DataError

    if reading.annotations and not nodules:
        raise DataError(f"{source}: none of the {len(reading.annotations)} outlined nodules lies on the slices present")
    for nodule in nodules:
        if nodule.absent_z_mm:
            raise DataError(
                f"{source}: nodule {nodule.nodule_id} has outlines on slices that are missing from the CT "
                f"(z {_ranges(list(nodule.absent_z_mm))} mm), so its masks would be cut off; fetch these slices"
            )


def nodule_warnings(nodules: Sequence[Nodule], reading: Reading) -> list[str]:
    """Merged nodules, empty masks and empty consensus, one line each."""
    lines = []
    for nodule in nodules:
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
    shown = sum(len(items) for nodule in nodules for items in nodule.annotations.values())
    if shown < len(reading.annotations):
        lines.append(
            f"{len(reading.annotations) - shown} outlined nodule(s) lie wholly on missing slices and are absent"
        )
    return lines
