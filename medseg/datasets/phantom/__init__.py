"""Synthetic CT phantoms with known truth in millimetres.

Nothing here comes from a patient: organs are smooth random shapes. Phantoms serve demonstrations, tests and training
runs that must work without any download; figures measured on them say nothing about real patients.
"""

from __future__ import annotations

from medseg.datasets.phantom.abdomen import ABDOMEN_ORGANS, abdomen_phantom
from medseg.datasets.phantom.chest import CHEST_ORGANS, chest_phantom
from medseg.datasets.phantom.model import Lesion, Phantom, PointMark, ReaderMask
from medseg.datasets.phantom.write import write_phantom_dicom, write_phantom_nifti

__all__ = [
    "ABDOMEN_ORGANS",
    "CHEST_ORGANS",
    "Lesion",
    "Phantom",
    "PointMark",
    "ReaderMask",
    "abdomen_phantom",
    "chest_phantom",
    "write_phantom_dicom",
    "write_phantom_nifti",
]
