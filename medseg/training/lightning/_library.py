"""The one import of pytorch_lightning, with the way to install it where it is missing."""

from __future__ import annotations

try:
    import pytorch_lightning as pl
except ImportError as error:
    raise ImportError(
        f"training with Lightning needs pytorch-lightning ({error}); install it with: pip install 'medseg[lightning]'"
    ) from error

__all__ = ["pl"]
