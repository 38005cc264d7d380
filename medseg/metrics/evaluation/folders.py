"""Score a folder of predictions against a folder of references."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from medseg.geometry import compare_grids, spacing_of
from medseg.io.bounded.errors import DataError, os_error_line
from medseg.io.volumes.image import Image, read_image
from medseg.metrics.evaluation.case import CaseScores, evaluate_case
from medseg.metrics.evaluation.classes import Classes, Scheme, unnamed_values
from medseg.metrics.evaluation.pairs import CasePair

__all__ = ["Evaluation", "FailedCase", "Settings", "evaluate_pairs", "read_pair"]


class Settings(NamedTuple):
    """How cases are scored, see `evaluate_case`.

    Attributes:
        classes: the values of every class.
        lesion_classes: classes whose components are lesions.
        tolerance_mm: of the surface Dice; None leaves it out.
        scheme: "plain" or "lits".
        workers: threads of the search for distances.
    """

    classes: Classes
    lesion_classes: tuple[str, ...]
    tolerance_mm: float | None = 1.0
    scheme: Scheme = "plain"
    workers: int = 1


class FailedCase(NamedTuple):
    """A case that could not be scored.

    Attributes:
        name: of the case.
        reason: one line; it may hold names of files.
    """

    name: str
    reason: str


class Evaluation(NamedTuple):
    """Scores of a folder.

    Attributes:
        names: of the cases that were scored.
        scores: theirs.
        patients: theirs; the case's own name where nothing else is known.
        failed: cases that could not be scored.
        notes: what was done to or found in a case, one line each, with its name.
        settings: how they were scored.
    """

    names: tuple[str, ...]
    scores: tuple[CaseScores, ...]
    patients: tuple[str, ...]
    failed: tuple[FailedCase, ...]
    notes: tuple[str, ...]
    settings: Settings


def evaluate_pairs(
    pairs: Sequence[CasePair],
    settings: Settings,
    patients: dict[str, str] | None = None,
    progress: Callable[[Iterable[CasePair]], Iterable[CasePair]] = iter,
) -> Evaluation:
    """Score pairs of files one after the other; a case that fails is recorded and the others are scored.

    Args:
        pairs: see `pair_files`.
        settings: how they are scored.
        patients: the patient of every case by its key.
        progress: wraps the pairs, for a progress bar.
    """
    names, scores, owners, failed, notes = [], [], [], [], []
    for pair in progress(pairs):
        try:
            prediction, reference, spacing, found = read_pair(pair, settings.classes)
            case = evaluate_case(
                prediction,
                reference,
                spacing,
                settings.classes,
                settings.lesion_classes,
                settings.tolerance_mm,
                settings.scheme,
                settings.workers,
            )
        except (ValueError, OSError, MemoryError) as error:
            failed.append(FailedCase(pair.name, _one_line(error, pair)))
            continue
        names.append(pair.name)
        scores.append(case)
        owners.append((patients or {}).get(pair.key, pair.name))
        notes += [f"{pair.name}: {line}" for line in found]
    return Evaluation(tuple(names), tuple(scores), tuple(owners), tuple(failed), tuple(notes), settings)


def read_pair(
    pair: CasePair, classes: Classes
) -> tuple[NDArray[Any], NDArray[Any], tuple[float, float, float], list[str]]:
    """Both label maps on the reference's grid, its spacing in mm, and what was done or found.

    A prediction that holds the same voxels in another order is put into the reference's order. Nothing is resampled.

    Raises:
        DataError: if a file cannot be read, holds values that are not whole, or lies on another grid.
    """
    prediction, reference = read_image(pair.prediction), read_image(pair.reference)
    relation = compare_grids(prediction.affine_ras, prediction.array.shape, reference.affine_ras, reference.array.shape)
    notes = []
    array = prediction.array
    if relation.kind == "reordered":
        array = relation.reordering.apply(array)
        notes.append(f"the prediction was put into the reference's order of voxels ({relation.reordering.describe()})")
    elif relation.kind != "same":
        raise DataError(
            f"{pair.prediction}: lies on another grid than {pair.reference} ({_grids(prediction, reference)}: "
            f"{relation.describe()}), expected the same; resample the prediction to the reference's grid"
        )
    labels = []
    for path, values, what in ((pair.prediction, array, "prediction"), (pair.reference, reference.array, "reference")):
        labels.append(_labels(path, values))
        if extra := unnamed_values(labels[-1], classes):
            notes.append(f"the {what} holds values that no class has: {', '.join(map(str, extra[:8]))}")
    i, j, k = (float(step) for step in spacing_of(reference.affine_ras))
    return labels[0], labels[1], (i, j, k), notes


def _labels(path: Path, values: NDArray[Any]) -> NDArray[Any]:
    if values.dtype.kind in "ui":
        return values
    rounded = np.rint(values)
    if not np.array_equal(values, rounded):  # also unequal for NaN
        raise DataError(f"{path}: holds values that are not whole, expected labels; threshold probabilities first")
    if np.abs(rounded).max(initial=0) > np.iinfo(np.int32).max:
        raise DataError(f"{path}: holds the value {np.abs(rounded).max():g}, expected labels")
    return rounded.astype(np.int32)


def _grids(prediction: Image, reference: Image) -> str:
    shapes = [" x ".join(map(str, image.array.shape)) for image in (prediction, reference)]
    if shapes[0] != shapes[1]:
        return f"{shapes[0]} and {shapes[1]} voxels"
    spacings = [" x ".join(f"{s:.4g}" for s in spacing_of(image.affine_ras)) for image in (prediction, reference)]
    return f"{shapes[0]} voxels of {spacings[0]} and {spacings[1]} mm" if spacings[0] != spacings[1] else shapes[0]


def _one_line(error: BaseException, pair: CasePair) -> str:
    if isinstance(error, OSError) and error.errno:
        return os_error_line(error)
    if isinstance(error, MemoryError):
        return "out of memory; close other programs, or use a machine with more of it"
    text = " ".join(str(error).split()) or type(error).__name__
    return text if str(pair.prediction) in text or str(pair.reference) in text else f"{pair.reference}: {text}"
