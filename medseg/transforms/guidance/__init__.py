"""Transforms for prompts and guides: simulated prompts, guide maps, patches at clicks, distances, guide dropout."""

from __future__ import annotations

from medseg.transforms.guidance.click_patches import ClickPatches, ClickPatchesd
from medseg.transforms.guidance.geodesic_distance import GeodesicDistance, GeodesicDistanced
from medseg.transforms.guidance.guide_dropout import RandGuideDropout, RandGuideDropoutd
from medseg.transforms.guidance.guide_map import GuideMap, GuideMapd
from medseg.transforms.guidance.load_prompts import LoadPrompts, LoadPromptsd
from medseg.transforms.guidance.prompts import Prompts, read_prompts
from medseg.transforms.guidance.simulate_prompts import SimulatePrompts, SimulatePromptsd

__all__ = [
    "ClickPatches",
    "ClickPatchesd",
    "GeodesicDistance",
    "GeodesicDistanced",
    "GuideMap",
    "GuideMapd",
    "LoadPrompts",
    "LoadPromptsd",
    "Prompts",
    "RandGuideDropout",
    "RandGuideDropoutd",
    "SimulatePrompts",
    "SimulatePromptsd",
    "read_prompts",
]
