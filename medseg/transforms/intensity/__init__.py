"""Transforms of image values."""

from __future__ import annotations

from medseg.transforms.intensity.hu_window import HU_WINDOWS, HUWindow, HUWindowd, resolve_window

__all__ = ["HU_WINDOWS", "HUWindow", "HUWindowd", "resolve_window"]
