"""Transforms of intensities and labels."""

from __future__ import annotations

from medseg.transforms.intensity.check_finite import CheckFinite, CheckFinited
from medseg.transforms.intensity.check_hu import CheckHU, CheckHUd
from medseg.transforms.intensity.histogram_match import RandHistogramMatch, RandHistogramMatchd
from medseg.transforms.intensity.hu_window import HUWindow, HUWindowd, RandHUWindow, RandHUWindowd
from medseg.transforms.intensity.map_labels import MapLabels, MapLabelsd
from medseg.transforms.intensity.multi_window import MultiWindow, MultiWindowd, RandMultiWindow, RandMultiWindowd
from medseg.transforms.intensity.windows import HU_WINDOWS, resolve_window

__all__ = [
    "HU_WINDOWS",
    "CheckFinite",
    "CheckFinited",
    "CheckHU",
    "CheckHUd",
    "HUWindow",
    "HUWindowd",
    "MapLabels",
    "MapLabelsd",
    "MultiWindow",
    "MultiWindowd",
    "RandHUWindow",
    "RandHUWindowd",
    "RandHistogramMatch",
    "RandHistogramMatchd",
    "RandMultiWindow",
    "RandMultiWindowd",
    "resolve_window",
]
