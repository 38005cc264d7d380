"""The output of a check: integrity.json, a picture of each case with a problem, and a repaired copy of the data set."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from data_prep._check.case import CaseReport, load
from data_prep._check.fix import mended_label
from data_prep._check.pairs import Pair

if TYPE_CHECKING:
    from medseg.io.volumes.image import Image

__all__ = ["integrity", "table", "write_case", "write_list"]

SCHEMA_VERSION = 1


def integrity(reports: Sequence[CaseReport], settings: Mapping[str, Any]) -> dict[str, Any]:
    """The content of integrity.json."""
    offenders = [report for report in reports if report.problems]
    kinds = sorted({problem.kind for report in offenders for problem in report.problems})
    settled = [report for report in offenders if report.fix is not None]
    return {
        "schema_version": SCHEMA_VERSION,
        "settings": dict(settings),
        "cases": len(reports),
        "offenders": len(offenders),
        "fixed": len(settled),
        "left": len(offenders) - len(settled),
        "problems": {k: sum(any(p.kind == k for p in r.problems) for r in offenders) for k in kinds},
        "reports": [report.as_json() for report in reports],
    }


def table(reports: Sequence[CaseReport], in_full: str) -> str:
    """One line for every case, and below it what is wrong with it and what would settle it.

    Args:
        reports: the cases.
        in_full: what holds all notes, where many of one kind are summed up.
    """
    from medseg.io.bounded.messages import sum_up

    lines = []
    width = max(len(report.name) for report in reports)
    for report in reports:
        shift = report.corner_displacement_mm
        corners = "" if shift is None else f", corners {shift:.3g} mm"
        state = "ok" if not report.problems else "fixed: " + report.fix["rule"] if report.fix else "LEFT"
        lines.append(f"{report.name:{width}}  {state}  ({report.grid or 'no pair'}{corners})")
        for problem in report.problems:
            offered = "" if report.fix else f"  [--fix {' | '.join(problem.fixes)}]"
            lines.append(f"    {problem.kind}: {problem.text}{offered}")
        lines.extend(f"    note: {note}" for note in sum_up(report.notes, in_full))
    return "\n".join(lines)


def write_case(
    folder: Path, pair: Pair, report: CaseReport, image: Image, label: Image | None, fixes: Sequence[str], link: bool
) -> dict[str, str] | None:
    """Put one case into the mended data set: what is sound as it is, the mended label as a new file.

    Args:
        folder: the data set's folder.
        pair: where the case comes from.
        report: its report; gets ``fix``.
        image: its image.
        label: its label.
        fixes: what to carry out; nothing for a sound case.
        link: make symbolic links to files that are not changed, instead of copies.

    Returns:
        The case's item for the list; None if a fix could not be carried out, so that the case is not there.
    """
    from medseg.io.volumes.image import write_image

    array = None if not fixes or label is None else mended_label(fixes, report, image, label)
    if fixes and array is None:
        return None
    item = {"image": _place(pair.image, folder, f"images/{pair.name}", image, link)}
    if label is None or pair.label is None:
        return item
    if array is None:
        return item | {"label": _place(pair.label, folder, f"labels/{pair.name}", label, link)}
    item["label"] = f"labels/{pair.name}.nii.gz"
    write_image(folder / item["label"], array, image.affine_ras)
    _verify(folder / item["image"], folder / item["label"], report)
    return item


def write_list(
    folder: Path,
    items: Sequence[tuple[Pair, dict[str, str]]],
    reports: Sequence[CaseReport],
    labels: Mapping[int, str] | None,
) -> None:
    """Write dataset.json of the cases that are in the mended data set."""
    from medseg.io.bounded.atomic import write_json

    rows: dict[str, list[dict[str, str]]] = {"training": [], "validation": [], "test": []}
    for pair, item in items:
        for name in pair.lists:
            rows[name].append(item)
    values = {0, *(labels or {}), *(int(value) for report in reports for value in report.label_voxels)}
    names = {v: (labels or {}).get(v, "background" if v == 0 else f"label_{v}") for v in sorted(values)}
    content = {
        "name": folder.name,
        "description": "Cases that data_prep.check found sound, or mended as integrity.json says.",
        "modality": {"0": "CT"},
        "labels": {str(value): name for value, name in names.items()},
        "numTraining": len(rows["training"]),
        "numTest": len(rows["test"]),
        **rows,
    }
    write_json(folder / "dataset.json", content)


def _place(source: Path, folder: Path, stem: str, volume: Image, link: bool) -> str:
    """Copy a file, or link to it, and return its path in the data set.

    What is not one file (a DICOM folder, a header with its voxels elsewhere), or was read as the user stated and not as
    its header says, is written as NIfTI. A copy of a NIfTI
    file has its voxels and its grid, but no free text and no extension: they can name a patient.
    """
    from medseg.io.volumes.image import image_suffix, write_image
    from medseg.io.volumes.nifti import write_nifti_like

    whole = not source.is_dir() and image_suffix(source) not in (".mhd", ".nhdr") and not volume.info.assumed
    name = stem + (image_suffix(source) if whole else ".nii.gz")
    target = folder / name
    target.parent.mkdir(parents=True, exist_ok=True)
    if not whole:
        write_image(target, volume.array, volume.affine_ras)
    elif link:
        os.symlink(source.resolve(), target)
    elif name.endswith((".nii", ".nii.gz")):
        write_nifti_like(target, volume.array, source)  # the same grid bit for bit, without the header's free text
    else:
        shutil.copyfile(source, target)
    return name


def _verify(image: Path, label: Path, report: CaseReport) -> None:
    """Check the mended pair as it lies on the disk."""
    from medseg.geometry import compare_grids

    first, second = load(image), load(label)
    found = compare_grids(second.affine_ras, second.array.shape, first.affine_ras, first.array.shape)
    if found.kind != "same":
        raise RuntimeError(f"case {report.name}: the mended label is still {found.kind}: {found.describe()}")
    assert report.fix is not None
    report.fix["corner_displacement_after_mm"] = round(float(found.displacement_mm), 6)
