"""Configurations of bundles, checked before they run: keys, types, targets, arguments, expressions.

Every name is imported when it is first used: importing this package loads neither torch nor MONAI.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from medseg._lazy import lazy_exports

if TYPE_CHECKING:
    from medseg.training.config_check.check import check_configuration
    from medseg.training.config_check.findings import Finding

__all__ = ["Finding", "check_configuration"]

__getattr__, __dir__ = lazy_exports(
    __name__,
    {"check": ("check_configuration",), "findings": ("Finding",)},
)
