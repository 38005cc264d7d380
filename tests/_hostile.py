"""Inputs that are legal and unusual, and the rule for them: the right value, or one line of the package's own."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import medseg

PACKAGE = Path(medseg.__file__).resolve().parent


def result_or_refusal(call: Callable[[], Any]) -> Any:
    """What the call gives, or the error by which medseg itself refused it; every other error is passed on."""
    try:
        return call()
    except (ValueError, TypeError) as error:
        raised_in = Path(traceback.extract_tb(error.__traceback__)[-1].filename).resolve()
        if not raised_in.is_relative_to(PACKAGE) or "\n" in str(error):
            raise
        return error


def refused(call: Callable[[], Any]) -> str:
    """The package's own line for a call that must be refused."""
    found = result_or_refusal(call)
    assert isinstance(found, ValueError | TypeError), f"it gave {type(found).__name__}; expected a refusal"
    return str(found)


def scattered(x: Tensor) -> Tensor:
    """The same values in memory with gaps: every second element of a tensor along its last axis."""
    wide = torch.empty(*x.shape[:-1], 2 * x.shape[-1], dtype=x.dtype)
    wide[..., ::2] = x
    view = wide[..., ::2]
    assert x.numel() < 2 or not view.is_contiguous()
    return view


def transposed(x: Tensor) -> Tensor:
    """The same values with the memory order of the last axis and the second reversed."""
    return x.transpose(1, -1).contiguous().transpose(1, -1)
