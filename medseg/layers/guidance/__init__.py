"""Guidance as layers: what a density vector and a guide map do to the maps of a network."""

from __future__ import annotations

from medseg.layers.guidance.density_modulator import DensityModulator
from medseg.layers.guidance.guidance import Guidance
from medseg.layers.guidance.modulation import Modulation
from medseg.layers.guidance.patch_modulator import PatchModulator
from medseg.layers.guidance.spatial_guide import SpatialGuide, guide_pyramid, inner

__all__ = ["DensityModulator", "Guidance", "Modulation", "PatchModulator", "SpatialGuide", "guide_pyramid", "inner"]
