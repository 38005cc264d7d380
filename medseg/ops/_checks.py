"""Checks that the ops share: one line for every bad input, with the value found and the value expected."""

from __future__ import annotations

from typing import NoReturn

import torch
from torch import Tensor

_FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


def shape_text(t: Tensor) -> str:
    """The shape as ``[2, 16, 8]``."""
    return str(list(t.shape))


def check_floating(op: str, **tensors: Tensor) -> None:
    """Raises TypeError unless every tensor has a floating dtype that the ops know."""
    for name, t in tensors.items():
        if t.dtype not in _FLOATS:
            raise TypeError(f"{op}: {name} is {t.dtype}; expected float16, bfloat16, float32 or float64")


def check_same_device(op: str, **tensors: Tensor) -> None:
    """Raises ValueError unless all tensors are on one device."""
    devices = {name: t.device for name, t in tensors.items()}
    if len(set(devices.values())) > 1:
        found = ", ".join(f"{name} on {device}" for name, device in devices.items())
        raise ValueError(f"{op}: {found}; expected one device")


def check_scores(op: str, keys: Tensor, queries: Tensor, *, shared_only: bool = False) -> None:
    """Raises ValueError unless keys are ``[B, N, r]`` and queries ``[M, r]`` (or ``[B, M, r]``) of the same r >= 1."""
    if keys.ndim != 3:
        raise ValueError(f"{op}: keys have shape {shape_text(keys)}; expected [B, N, r]")
    if queries.ndim != 2 and (shared_only or queries.ndim != 3):
        raise ValueError(
            f"{op}: queries have shape {shape_text(queries)}; expected [M, r]"
            + ("" if shared_only else " or [B, M, r]")
        )
    if keys.shape[-1] != queries.shape[-1] or keys.shape[-1] == 0:
        raise ValueError(
            f"{op}: rank is {keys.shape[-1]} in keys and {queries.shape[-1]} in queries; expected one rank r >= 1"
        )
    if queries.ndim == 3 and queries.shape[0] != keys.shape[0]:
        raise ValueError(f"{op}: batch is {keys.shape[0]} in keys and {queries.shape[0]} in queries; expected the same")
    if keys.shape[1] == 0:
        raise ValueError(f"{op}: keys have shape {shape_text(keys)}; expected at least one key")


def no_second_derivative(op: str) -> NoReturn:
    """Raises: the op has no second derivative."""
    raise RuntimeError(f"{op}: second derivatives are not implemented; do not differentiate through its backward pass")
