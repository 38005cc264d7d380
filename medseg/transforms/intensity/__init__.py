"""Transforms of image values."""

from __future__ import annotations

from medseg.transforms.intensity.hu_window import HU_WINDOWS, HUWindow, HUWindowd, resolve_window
from medseg.transforms.intensity.map_labels import MapLabels, MapLabelsd

__all__ = ["HU_WINDOWS", "HUWindow", "HUWindowd", "MapLabels", "MapLabelsd", "resolve_window"]
