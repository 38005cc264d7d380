"""Segmenting one case with a bundle: reading it, running the bundle, measuring the mask, publishing the results.

Also whole-image inference by networks without padding (`medseg.inference.overlap_tile`).

Import the module you need, e.g. ``medseg.inference.statistics``; importing this package loads neither torch nor MONAI.
"""

from __future__ import annotations

__all__: list[str] = []
