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


# The table of unusual tensors. Each entry makes one of a usual tensor of whole numbers [B, C, *S].
UNUSUAL: dict[str, Callable[[Tensor], Tensor]] = {
    "gaps in memory": scattered,
    "other order in memory": transposed,
    "axis of length 1": lambda x: x[..., :1],
    "1 voxel": lambda x: x[(slice(None), slice(None), *[slice(1)] * (x.ndim - 2))],
    "1 sample": lambda x: x[:1],
    "empty batch": lambda x: x[:0],
    "empty image": lambda x: x[..., :0],
    "no channel": lambda x: x[:, :0],
    "constant": torch.zeros_like,
    "huge": lambda x: 1e30 * x,
    "NaN": lambda x: torch.full_like(x, torch.nan),
    "infinite": lambda x: torch.full_like(x, torch.inf),
    "uint8": lambda x: x.abs().to(torch.uint8),
    "int16": lambda x: x.to(torch.int16),
    "int64": lambda x: x.to(torch.int64),
    "bool": lambda x: x > 0,
    "float16": lambda x: x.half(),
    "bfloat16": lambda x: x.bfloat16(),
    "float64": lambda x: x.double(),
    "complex": lambda x: x.to(torch.complex64),
}


def tensors_of(result: Any) -> list[Tensor]:
    """All tensors of a result, also within tuples, lists and dictionaries."""
    if isinstance(result, Tensor):
        return [result]
    inner = result.values() if isinstance(result, dict) else result if isinstance(result, tuple | list) else ()
    return [tensor for part in inner for tensor in tensors_of(part)]


def assert_right_or_refused(call: Callable[[Tensor], Any], x: Tensor) -> None:
    """The call gives what it gives for the contiguous float32 tensor of the same values, or medseg refuses x.

    The tolerance is 64 units in the last place of the type, of the largest value.
    """
    found = result_or_refusal(lambda: call(x))
    if isinstance(found, Exception):
        return
    usual = (x.real if x.is_complex() else x).float().contiguous()
    expected = result_or_refusal(lambda: call(usual))
    assert not isinstance(expected, Exception), f"{x.dtype} was taken, and its float32 values refused: {expected}"
    for one, other in zip(tensors_of(found), tensors_of(expected), strict=True):
        if not one.is_floating_point():
            assert torch.equal(one, other.to(one.dtype))
            continue
        precision = 64 * max(torch.finfo(one.dtype).eps, torch.finfo(torch.float32).eps)
        size = float(other.nan_to_num(0, 0, 0).abs().max()) if other.numel() else 0.0
        torch.testing.assert_close(one.double(), other.double(), rtol=0, atol=precision * max(size, 1), equal_nan=True)
