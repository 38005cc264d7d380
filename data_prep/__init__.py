"""Scripts that turn clinical files into training data; run them as ``python -m data_prep.NAME``."""

from __future__ import annotations
