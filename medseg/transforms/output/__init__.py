"""Transforms that make and write results."""

from __future__ import annotations

from medseg.transforms.output.largest_component import LargestComponent, LargestComponentd
from medseg.transforms.output.mask_on_source_grid import MaskOnSourceGrid, MaskOnSourceGridd
from medseg.transforms.output.probability_on_source_grid import (
    PROBABILITY_SCALE,
    ProbabilityOnSourceGrid,
    ProbabilityOnSourceGridd,
)
from medseg.transforms.output.save_mask import SaveMask, SaveMaskd

__all__ = [
    "PROBABILITY_SCALE",
    "LargestComponent",
    "LargestComponentd",
    "MaskOnSourceGrid",
    "MaskOnSourceGridd",
    "ProbabilityOnSourceGrid",
    "ProbabilityOnSourceGridd",
    "SaveMask",
    "SaveMaskd",
]
