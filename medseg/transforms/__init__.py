"""MONAI-style transforms: array and dictionary forms, MetaTensor in and out."""

from __future__ import annotations

from medseg.transforms.intensity import HU_WINDOWS, HUWindow, HUWindowd, MapLabels, MapLabelsd, resolve_window

__all__ = ["HU_WINDOWS", "HUWindow", "HUWindowd", "MapLabels", "MapLabelsd", "resolve_window"]
