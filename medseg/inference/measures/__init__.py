"""Measurements of parts of a mask: lesions one by one, and their distance to the surface of the organ."""

from __future__ import annotations

from medseg.inference.measures.components import Component, Components, find_components
from medseg.inference.measures.lesions import LESION_RULES, MAX_LESIONS, lesion_labels, measure_lesions
from medseg.inference.measures.organ_surface import OrganSurface

__all__ = [
    "LESION_RULES",
    "MAX_LESIONS",
    "Component",
    "Components",
    "OrganSurface",
    "find_components",
    "lesion_labels",
    "measure_lesions",
]
