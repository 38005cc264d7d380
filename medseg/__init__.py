"""medseg: adaptive layers, guidance and MONAI bundles for small, concentrated targets in CT.

Importing this package is light: it loads neither torch nor the compiled library. Import the room you need, for example
``medseg.ops``, ``medseg.transforms`` or ``medseg.datasets.phantom``.
"""

from __future__ import annotations

__version__ = "0.1.0"

__all__ = ["__version__"]
