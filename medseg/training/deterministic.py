"""Whether torch may use operators that give other bits in every run."""

from __future__ import annotations

import os

import torch

from medseg.io.bounded.errors import DataError

__all__ = ["DETERMINISTIC", "set_deterministic"]

DETERMINISTIC = ("off", "warn", "strict")


def set_deterministic(mode: str) -> None:
    """Choose what happens to operators without a deterministic kernel; on a CPU, those of the bundles have one.

    On CUDA the backward passes of 3-D pooling and interpolation, for example, have none.

    Args:
        mode: "off" uses what is fastest; "warn" uses deterministic kernels where there are some, and torch warns of the
            others; "strict" stops at the first operator without one, with its name.

    Raises:
        DataError: for another word.

    >>> set_deterministic("warn")
    >>> torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    (True, True)
    >>> set_deterministic("off")
    >>> set_deterministic("always")
    Traceback (most recent call last):
        ...
    medseg.io.bounded.errors.DataError: deterministic is 'always'; expected one of off, warn, strict
    """
    if mode not in DETERMINISTIC:
        raise DataError(f"deterministic is {mode!r}; expected one of {', '.join(DETERMINISTIC)}")
    if mode != "off":
        # cuBLAS reads this when it is first used.
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(mode != "off", warn_only=mode == "warn")
