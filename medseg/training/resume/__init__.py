"""Runs that go on after a stop: what is kept, and how a run is recognised."""

from __future__ import annotations

from medseg.training.resume.run_keeper import RunKeeper
from medseg.training.resume.stop_signal import STOPPED

__all__ = ["STOPPED", "RunKeeper"]
