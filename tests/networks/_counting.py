"""Parameters and multiply-adds of a network, counted without storage or arithmetic."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode


def on_meta(build: Callable[..., nn.Module], **options: Any) -> nn.Module:
    """The network with shapes only."""
    with torch.device("meta"):
        return build(**options)


def count_parameters(net: nn.Module, without: tuple[type[nn.Module], ...] = ()) -> int:
    """Numbers that are learned, except those of modules of the given classes."""
    left_out = {id(p) for m in net.modules() if isinstance(m, without) for p in m.parameters()} if without else set()
    return sum(p.numel() for p in net.parameters() if id(p) not in left_out)


def count_macs(net: nn.Module, *shape: int) -> int:
    """Multiply-adds of one call in evaluation; the network lies on the meta device."""
    with FlopCounterMode(display=False) as counter:
        net.eval()(torch.empty(shape, device="meta"))
    return counter.get_total_flops() // 2
