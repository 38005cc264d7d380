"""Networks built of adaptive layers, and the tool that puts such layers into given networks."""

from __future__ import annotations

from medseg.networks.adapt import adapt
from medseg.networks.adapt_report import AdaptReport, AdaptRow
from medseg.networks.adaptive_unet import AdaptiveUNet

__all__ = ["AdaptReport", "AdaptRow", "AdaptiveUNet", "adapt"]
