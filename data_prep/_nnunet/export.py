"""The files of an nnU-Net v2 raw data set."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from data_prep._nnunet.cases import CaseList, ExportCase, make_splits, read_cases
from medseg.geometry import Affine, compare_grids, decompose
from medseg.geometry.slice_stack import TILT_TOLERANCE_DEG
from medseg.io.bounded.atomic import write_json
from medseg.io.bounded.errors import DataError, shorten
from medseg.io.volumes.assumptions import NO_ASSUMPTIONS, ImageAssumptions
from medseg.io.volumes.finite import settle_nonfinite
from medseg.io.volumes.image import Image, read_image
from medseg.io.volumes.mending import grid_fix, value_fix
from medseg.io.volumes.nifti import write_nifti

__all__ = ["Export", "read_cases", "write_export"]

GUIDE_CHANNEL = "noNorm"  # nnU-Net's word for a channel that is left as it is


@dataclass(frozen=True)
class Export:
    """How to export.

    Attributes:
        folder: where to write.
        guide: key of the guide, or None.
        ignore_label: value of unlabelled voxels in the source, or None.
        folds: number of folds.
        seed: seed of the folds.
        assume: what the user states where an image's header leaves its geometry open.
    """

    folder: Path
    guide: str | None
    ignore_label: int | None
    folds: int
    seed: int
    assume: ImageAssumptions = NO_ASSUMPTIONS


class _Written(NamedTuple):
    """What is kept of a written case: the label values that occur, and what is odd about it."""

    labels: frozenset[int]
    wide_guide: bool
    warnings: tuple[str, ...]


def write_export(export: Export, cases: CaseList) -> dict[str, Any]:
    """Write the data set and return what the command prints. A case that cannot be exported is refused by itself.

    Raises:
        DataError: one line for labels of the list that nnU-Net cannot use, folds that cannot be made, or if every
            training case is refused: images that are not finite or sheared, labels or guides on another grid.
    """
    labels = _label_names(cases.content, export.ignore_label)
    channels = _channels(cases.content, export.guide)
    written: dict[str, _Written] = {}
    faults: dict[str, str] = {}
    for case in cases.training + cases.test:
        try:
            written[case.name] = _write_case(export, case, labels)
        except DataError as error:
            faults[case.name] = str(error)
    cases = cases.without(faults)
    present = [written[case.name].labels for case in cases.training]
    kinds = sorted(set(present), key=sorted)
    splits = make_splits(cases, [kinds.index(values) for values in present], export.folds, export.seed)
    write_json(export.folder / "splits_final.json", splits)
    write_json(export.folder / "dataset.json", _dataset_json(export, cases, channels, labels))
    warnings = [*cases.warnings, *(line for found in written.values() for line in found.warnings)]
    if wide := [name for name, found in written.items() if found.wide_guide]:
        warnings.append(f"guides run beyond 0 to 1 and nnU-Net does not normalise them: {shorten(wide, 5)}")
    if empty := [case.name for case in cases.training if not written[case.name].labels - {0}]:
        warnings.append(f"{len(empty)} training case(s) have an empty label: {shorten(empty, 5)}")
    return {
        "training": len(cases.training),
        "test": len(cases.test),
        "patients": len({case.patient for case in cases.training}),
        "channels": channels,
        "labels": labels,
        "splits": splits,
        "warnings": warnings,
        "refused": list(cases.refused),
    }


def _write_case(export: Export, case: ExportCase, labels: dict[str, int]) -> _Written:
    """Write the files of one case, after all of them were read and checked."""
    image = _read_straight(case.image, export.assume)
    guide = _guide_on_grid(case, image, export.assume) if export.guide else None
    label = None if case.label is None else _label_on_grid(case.label, image, labels, export)
    images = export.folder / ("imagesTs" if label is None else "imagesTr")
    write_nifti(images / f"{case.name}_0000.nii.gz", image.array, image.affine_ras)
    if guide is not None:
        write_nifti(images / f"{case.name}_0001.nii.gz", guide, image.affine_ras)
    if label is not None:
        write_nifti(export.folder / "labelsTr" / f"{case.name}.nii.gz", label, image.affine_ras)
    present = frozenset() if label is None else frozenset(v for v in labels.values() if (label == v).any())
    wide = guide is not None and guide.size > 0 and bool(guide.min() < 0 or guide.max() > 1)
    return _Written(present, wide, tuple(f"{case.name}: {line}" for line in image.info.warnings))


def _label_names(content: dict[str, Any], ignore_label: int | None) -> dict[str, int]:
    """Names to values as nnU-Net wants them: background 0, then 1, 2 ... without a gap, the ignore label last."""
    given = content.get("labels")
    try:
        by_value = {int(value): str(name) for value, name in given.items()}  # type: ignore[union-attr]
    except (AttributeError, ValueError) as error:
        raise DataError(f"'labels' is {str(given)[:80]}, expected an object such as {{'0': 'background'}}") from error
    if sorted(by_value) != list(range(len(by_value))) or len(by_value) < 2:
        raise DataError(
            f"labels have the values {sorted(by_value)}, expected 0, 1, 2 ... without a gap; make them so with "
            "data_prep.dataset --map"
        )
    by_value[0] = "background"
    names = [by_value[value] for value in range(len(by_value))]
    if len(set(names)) < len(names) or "ignore" in names:
        raise DataError(f"labels are named {names}, expected different names, none of them 'ignore'")
    if ignore_label is not None:
        if ignore_label in by_value:
            raise DataError(f"--ignore-label is {ignore_label}, which is the label {by_value[ignore_label]!r}")
        names.append("ignore")
    return {name: value for value, name in enumerate(names)}


def _channels(content: dict[str, Any], guide: str | None) -> dict[str, str]:
    modality = content.get("modality", content.get("channel_names"))
    if not isinstance(modality, dict) or len(modality) != 1:
        raise DataError(f"'modality' is {str(modality)[:80]}, expected one channel such as {{'0': 'CT'}}")
    channels = {"0": str(next(iter(modality.values())))}
    return channels | {"1": GUIDE_CHANNEL} if guide else channels


def _read_straight(path: Path, assume: ImageAssumptions) -> Image:
    image = read_image(path, assume=assume)
    settle_nonfinite(image.array, path)
    shear = decompose(image.affine_ras).shear_deg
    if shear > TILT_TOLERANCE_DEG:
        raise DataError(
            f"{path}: the axes are {shear:.2f} degrees off perpendicular, which nnU-Net's reader refuses; resample to "
            "straight axes first"
        )
    return image


def _guide_on_grid(case: ExportCase, image: Image, assume: ImageAssumptions) -> NDArray[np.float32]:
    if case.guide is None:
        return np.zeros(image.array.shape, np.float32)
    guide = read_image(case.guide, assume=assume)
    _refuse_other_grid(case.guide, guide, image.affine_ras, image.array.shape)
    settle_nonfinite(guide.array, case.guide)
    return guide.array.astype(np.float32)


def _label_on_grid(path: Path, image: Image, labels: dict[str, int], export: Export) -> NDArray[np.uint8]:
    label, ignore_label = read_image(path, assume=export.assume), export.ignore_label
    _refuse_other_grid(path, label, image.affine_ras, image.array.shape)
    known = {value for name, value in labels.items() if name != "ignore"}
    allowed = known if ignore_label is None else known | {ignore_label}
    odd = np.unique(label.array[~np.isin(label.array, sorted(allowed))]).tolist()
    if odd:
        more = "" if ignore_label is None else f" and {ignore_label} for unlabelled"
        whole = all(float(value).is_integer() and value >= 0 for value in odd)
        fix = "name them in the list, or map them with data_prep.dataset --map OLD=NEW" if whole else value_fix(odd)
        raise DataError(f"{path}: label values {odd[:3]} found, expected {sorted(known)}{more}; {fix}")
    result = np.zeros(label.array.shape, np.uint8)
    for value in known:
        result[label.array == value] = value
    if ignore_label is not None:
        result[label.array == ignore_label] = labels["ignore"]
    return result


def _refuse_other_grid(path: Path, found: Image, affine: Affine, shape: Iterable[int]) -> None:
    relation = compare_grids(found.affine_ras, found.array.shape, affine, tuple(shape))
    if relation.kind == "same":
        return
    fix = "python -m data_prep.check --pair IMAGE LABEL --fix reorder-label --out-data DIR turns its axes"
    if relation.kind != "reordered":
        fix = grid_fix(relation, found.affine_ras, found.array.shape, affine)
    raise DataError(f"{path}: {relation.describe()}, expected the image's grid; {fix}")


def _dataset_json(export: Export, cases: CaseList, channels: dict[str, str], labels: dict[str, int]) -> dict[str, Any]:
    content = cases.content
    kept: dict[str, Any] = {key: content[key] for key in ("name", "description", "licence") if key in content}
    names = {"refused": [row["name"] for row in cases.refused], "left_out": list(cases.left_out)}
    return {
        **kept,
        **{key: found for key, found in names.items() if found},
        "channel_names": channels,
        "labels": labels,
        "numTraining": len(cases.training),
        "file_ending": ".nii.gz",
        "guide_channels": [1] if export.guide else [],
    }
