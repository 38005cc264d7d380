"""Layers for guidance: histograms or patches scale the channels of a network's maps, a guide map biases the voxels."""

from __future__ import annotations

from medseg.layers.guidance.density_modulator import DensityModulator
from medseg.layers.guidance.guidance import Guidance
from medseg.layers.guidance.modulation import Modulation
from medseg.layers.guidance.patch_modulator import PatchModulator
from medseg.layers.guidance.spatial_guide import SpatialGuide, guide_pyramid, inner

__all__ = ["DensityModulator", "Guidance", "Modulation", "PatchModulator", "SpatialGuide", "guide_pyramid", "inner"]
