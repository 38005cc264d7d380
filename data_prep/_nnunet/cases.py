"""The cases of an nnU-Net export: read from a list, named, and grouped by patient into folds."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from data_prep._options.dataset_json import read_dataset_json, stem_of
from medseg.datasets.splits import grouped_folds
from medseg.io.bounded.choice import ALL_ITEMS, ItemChoice
from medseg.io.bounded.errors import DataError, shorten

__all__ = ["CaseList", "ExportCase", "make_splits", "read_cases"]

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")


@dataclass(frozen=True)
class ExportCase:
    """One case to export.

    Attributes:
        name: identifier in nnU-Net.
        image: image file.
        label: label file; None for a test case.
        guide: guide file; None for no guide.
        patient: who must not be divided between folds.
        fold: number of the fold whose validation set it belongs to, where the list says so.
    """

    name: str
    image: Path
    label: Path | None
    guide: Path | None
    patient: str
    fold: int | None


@dataclass(frozen=True)
class CaseList:
    """A data set list, ready for export.

    Attributes:
        content: the list as read.
        training: cases with labels, in the list's order.
        validation: names of those training cases that the list sets aside for validation.
        test: cases without labels.
        warnings: one line each.
        refused: ``name`` and ``reason`` of the cases that cannot be exported.
        left_out: names of the cases that were not wanted.
    """

    content: dict[str, Any]
    training: tuple[ExportCase, ...]
    validation: tuple[str, ...]
    test: tuple[ExportCase, ...]
    warnings: tuple[str, ...]
    refused: tuple[dict[str, str], ...] = ()
    left_out: tuple[str, ...] = ()

    def without(self, faults: Mapping[str, str]) -> CaseList:
        """The list without the cases that cannot be exported, by name with the reason.

        Raises:
            DataError: if no training case is left.
        """
        refused = (*self.refused, *({"name": name, "reason": reason} for name, reason in faults.items()))
        training = tuple(case for case in self.training if case.name not in faults)
        if refused and not training:
            more = f" (and {len(refused) - 1} more cases)" if len(refused) > 1 else ""
            raise DataError(f"{refused[0]['reason']}{more}")
        return replace(
            self,
            training=training,
            validation=tuple(name for name in self.validation if name not in faults),
            test=tuple(case for case in self.test if case.name not in faults),
            refused=refused,
        )


def read_cases(
    path: Path, guide_key: str | None, missing_guide: str, patient_key: str, choice: ItemChoice = ALL_ITEMS
) -> CaseList:
    """Read the list and find every file; nothing is opened yet. Cases that lack a file are in ``refused``.

    Args:
        path: a Decathlon-style dataset.json; file paths in it are relative to its folder.
        guide_key: key of an item's guide, or None for an export without guides.
        missing_guide: ``refuse`` or ``zero``: what becomes of a case without a guide.
        patient_key: key of an item's patient.
        choice: which cases are wanted, by name.

    Raises:
        DataError: one line for a name that nnU-Net cannot use, a case in two lists, or if no training case is left.
    """
    content = read_dataset_json(path)
    rows = [(kind, item) for kind in ("training", "validation", "test") for item in content[kind]]
    if not content["training"]:
        raise DataError(f"{path}: 'training' is empty, expected cases with image and label")
    names = _names(path, [item["image"] for _, item in rows])
    choice.check(path, "case", [(name,) for name in names])
    found: dict[str, list[ExportCase]] = {"training": [], "validation": [], "test": []}
    faults: dict[str, str] = {}
    chosen = [(name, kind, item) for name, (kind, item) in zip(names, rows, strict=True) if choice.wants(name)]
    _refuse_bare(path, chosen, guide_key, missing_guide)
    for name, kind, item in chosen:
        try:
            found[kind].append(_case(path, name, kind, item, guide_key, patient_key))
        except DataError as error:
            faults[name] = str(error)
    warnings = _patient_warnings(path, [item for _, kind, item in chosen if kind != "test"], patient_key)
    if guide_key and (bare := [case.name for kind in found.values() for case in kind if case.guide is None]):
        warnings.append(f"{len(bare)} case(s) get an all-zero guide, which means no guide: {shorten(bare, 5)}")
    cases = CaseList(
        content,
        (*found["training"], *found["validation"]),
        tuple(case.name for case in found["validation"]),
        tuple(found["test"]),
        tuple(warnings),
        left_out=tuple(name for name in names if not choice.wants(name)),
    )
    return cases.without(faults)


def _case(
    path: Path, name: str, kind: str, item: dict[str, Any], guide_key: str | None, patient_key: str
) -> ExportCase:
    patient, fold = item.get(patient_key), item.get("fold")
    label = None if kind == "test" else _file(path, name, item, "label")
    guide = None if guide_key is None or item.get(guide_key) is None else _file(path, name, item, guide_key)
    return ExportCase(
        name,
        _file(path, name, item, "image"),
        label,
        guide,
        name if patient is None else str(patient),
        fold if isinstance(fold, int) else None,
    )


def make_splits(cases: CaseList, classes: Sequence[int], folds: int, seed: int) -> list[dict[str, list[str]]]:
    """The folds in nnU-Net's form: the list's own fold numbers or validation set, else drawn by patient.

    Args:
        cases: the cases.
        classes: a number for every training case; folds get nearly equal shares of each.
        folds: how many to draw.
        seed: order of equally large patients.

    Raises:
        DataError: if there are fewer patients than folds, or the list has a patient in training and in validation.
    """
    names = [case.name for case in cases.training]
    patient_of = {case.name: case.patient for case in cases.training}
    numbers = [case.fold for case in cases.training]
    if all(number is not None for number in numbers):
        parts = [
            {name for name, own in zip(names, numbers, strict=True) if own == number}
            for number in sorted({number for number in numbers if number is not None})
        ]
    elif cases.validation:
        parts = [set(cases.validation)]
    else:
        groups = [case.patient for case in cases.training]
        if len(set(groups)) < folds:
            raise DataError(
                f"{len(set(groups))} patient(s) cannot be divided into {folds} folds; give fewer --folds, or more cases"
            )
        parts = [{names[index] for index in fold} for fold in grouped_folds(groups, classes, folds, seed)]
    splits = [
        {"train": sorted(set(names) - part), "val": sorted(part)} for part in parts if part and part != set(names)
    ]
    for split in splits:
        shared = {patient_of[name] for name in split["train"]} & {patient_of[name] for name in split["val"]}
        if shared:
            raise DataError(
                f"patient {sorted(shared)[0]!r} has cases in training and in validation, expected one of them; correct "
                "the list's folds or its validation set"
            )
    if not splits:
        raise DataError("all training cases are in one fold, expected at least two; correct the list's fold numbers")
    return splits


def _names(path: Path, images: Sequence[str]) -> list[str]:
    stems = [stem_of(image) for image in images]
    if len(set(stems)) < len(stems):
        stems = [f"{Path(image).parent.name}_{stem}" for image, stem in zip(images, stems, strict=True)]
    counts = Counter(stems)
    for name, image in zip(stems, images, strict=True):
        if counts[name] > 1:
            raise DataError(f"{path}: two cases would be named {name!r}, expected each image in one list and once")
        if not _NAME.fullmatch(name):
            raise DataError(f"{path}: {image!r} makes the name {name!r}, expected letters, digits, '_', '-' and '.'")
    return stems


def _file(path: Path, name: str, item: dict[str, Any], key: str) -> Path:
    value = item.get(key)
    if not isinstance(value, str):
        raise DataError(f"{path}: case {name} has no {key!r}, expected the path of a file")
    found = path.parent / value
    if not found.is_file():
        raise DataError(f"{path}: {key} of case {name} is {found}, which is not a file; correct the path")
    return found


def _refuse_bare(path: Path, chosen: Sequence[tuple[str, str, dict[str, Any]]], key: str | None, missing: str) -> None:
    """An export with guides needs a guide for every case, or the leave to do without."""
    if key is None or missing == "zero":
        return
    bare = [name for name, _, item in chosen if item.get(key) is None]
    if bare:
        raise DataError(
            f"{path}: case {bare[0]} has no {key!r}, expected the path of its guide; add it, or --missing-guide zero "
            "for an all-zero one"
        )


def _patient_warnings(path: Path, items: Sequence[dict[str, Any]], key: str) -> list[str]:
    with_patient = sum(item.get(key) is not None for item in items)
    if with_patient == len(items):
        return []
    if with_patient:
        raise DataError(
            f"{path}: {with_patient} of {len(items)} cases have a {key!r}, expected all or none; folds must not divide "
            "a patient"
        )
    return [f"no case has a {key!r}: each is taken for a patient of its own"]
