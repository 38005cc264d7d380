"""Transforms that describe texture and intensity distributions, as maps or as one vector per region."""

from __future__ import annotations

from medseg.transforms.texture._glcm_settings import glcm_offsets
from medseg.transforms.texture.gabor import Gabor, Gabord
from medseg.transforms.texture.lbp import LBP, LBPd
from medseg.transforms.texture.local_glcm import LocalGLCM, LocalGLCMd
from medseg.transforms.texture.local_histogram import LocalHistogram, LocalHistogramd
from medseg.transforms.texture.local_statistics import LocalStatistics, LocalStatisticsd
from medseg.transforms.texture.region_glcm import RegionGLCM, RegionGLCMd
from medseg.transforms.texture.region_histogram import RegionHistogram, RegionHistogramd, region_valid

__all__ = [
    "LBP",
    "Gabor",
    "Gabord",
    "LBPd",
    "LocalGLCM",
    "LocalGLCMd",
    "LocalHistogram",
    "LocalHistogramd",
    "LocalStatistics",
    "LocalStatisticsd",
    "RegionGLCM",
    "RegionGLCMd",
    "RegionHistogram",
    "RegionHistogramd",
    "glcm_offsets",
    "region_valid",
]
