"""Networks with weights that a formula gives, and what they compute: the same on every machine and after every move."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from tests.networks._cases import CASES, small

KEPT = 128
"""Values that are kept of a long output, at even steps."""
ROW = 8
"""Values in a row of the record."""


def fill(net: nn.Module) -> None:
    """Gives every floating-point entry of the state dict values of a sine that starts anew for every key."""
    state = net.state_dict()
    for start, key in enumerate(sorted(state)):
        entry = state[key]
        if not entry.is_floating_point():
            continue
        wave = torch.sin(0.37 * torch.arange(entry.numel(), dtype=torch.float64) + start).reshape(entry.shape)
        if key.endswith("running_var"):
            wave = 1 + 0.1 * wave
        elif entry.ndim >= 2:
            fan_in = max(1, entry[0].numel())
            wave = wave * math.sqrt(3 / fan_in)
        elif key.endswith(".weight"):
            wave = 1 + 0.1 * wave
        else:
            wave = 0.1 * wave
        with torch.no_grad():
            entry.copy_(wave)


def wave_image(name: str, dims: int) -> Tensor:
    """An image ``[1, C, *S]`` of a network, by a formula, in float64."""
    case = CASES[name]
    shape = (1, case.channels, *(case.side,) * dims)
    return torch.sin(0.11 * torch.arange(math.prod(shape), dtype=torch.float64) ** 1.1).reshape(shape)


def described(name: str, dims: int) -> dict[str, Any]:
    """Keys and shapes of the network's state dict, the shape of its output, and values of it rounded to 1e-5."""
    net = small(name, dims).double().eval()
    fill(net)
    with torch.no_grad():
        out = net(wave_image(name, dims))
    step = max(1, out.numel() // KEPT)
    values = [round(float(value), 5) for value in out.flatten()[::step][:KEPT]]
    return {
        "state": {key: list(value.shape) for key, value in net.state_dict().items()},
        "shape": list(out.shape),
        "values": [values[i : i + ROW] for i in range(0, len(values), ROW)],
        "sum_of_magnitudes": round(float(out.abs().sum()), 3),
    }
