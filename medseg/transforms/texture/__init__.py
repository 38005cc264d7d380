"""Transforms that describe texture and the distribution of values, as maps or as one vector a region."""

from __future__ import annotations

from medseg.transforms.texture.region_histogram import RegionHistogram, RegionHistogramd, region_valid

__all__ = ["RegionHistogram", "RegionHistogramd", "region_valid"]
