"""Networks by paper, all in one registry; the tool that makes given networks adaptive; how to plug layers into one."""

from __future__ import annotations

from medseg.networks.adapt import adapt
from medseg.networks.adapt_report import AdaptReport, AdaptRow
from medseg.networks.adaptive_unet import AdaptiveUNet
from medseg.networks.planned import PlannedSequential, run
from medseg.networks.plug_in import PlugIn, check_image
from medseg.networks.registry import create, list_networks, register

__all__ = [
    "AdaptReport",
    "AdaptRow",
    "AdaptiveUNet",
    "PlannedSequential",
    "PlugIn",
    "adapt",
    "check_image",
    "create",
    "list_networks",
    "register",
    "run",
]
