"""Dual attention: equal to its definition, the identity at the start, and small in memory for many places."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from medseg.layers.attention import ChannelAttention, PositionAttention, bounded_attention


def position(dims: int = 2, channels: int = 16) -> PositionAttention:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        layer = PositionAttention(dims, channels)
    nn.init.constant_(layer.gamma, 0.7)
    return layer


def explicit(layer: PositionAttention, x: Tensor) -> Tensor:
    """The definition in float64, with the whole matrix."""
    x = x.double()

    def project(conv: nn.Module) -> Tensor:
        weight, bias = conv.weight.double().flatten(1), conv.bias.double()
        return torch.einsum("oc,bcn->bon", weight, x.flatten(2)) + bias[:, None]

    query, key, value = project(layer.query), project(layer.key), project(layer.value)
    weights = torch.einsum("bci,bcj->bij", query, key).softmax(-1)
    return x + layer.gamma.double() * torch.einsum("bij,bcj->bci", weights, value).reshape(x.shape)


@pytest.mark.parametrize("shape", [(2, 16, 9, 7), (2, 16, 5, 4, 3)])
def test_position_attention_is_the_soft_max_over_all_places(shape: tuple[int, ...]) -> None:
    layer, x = position(len(shape) - 2), torch.randn(shape)
    torch.testing.assert_close(layer(x).double(), explicit(layer, x), rtol=0, atol=1e-5)


@pytest.mark.parametrize("rows", [1, 5, 37])
def test_runs_of_rows_give_values_and_gradients_of_the_whole(rows: int) -> None:
    inputs = [torch.randn(2, n, c, dtype=torch.float64, requires_grad=True) for n, c in ((37, 4), (37, 4), (37, 6))]
    out = bounded_attention(*inputs, limit=2 * 37 * rows)
    whole = torch.softmax(inputs[0] @ inputs[1].mT, -1) @ inputs[2]
    torch.testing.assert_close(out, whole)
    weight = torch.randn_like(out)
    for a, b in zip(torch.autograd.grad(out, inputs, weight), torch.autograd.grad(whole, inputs, weight), strict=True):
        torch.testing.assert_close(a, b)


def test_gradients_through_runs_of_rows_agree_with_differences() -> None:
    inputs = [torch.randn(1, 4, 2, dtype=torch.float64, requires_grad=True) for _ in range(3)]
    assert torch.autograd.gradcheck(lambda *t: bounded_attention(*t, limit=8), inputs)


def _status(name: str) -> int:
    """A line of the process's memory in bytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(name))


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads the peak of memory from /proc")
def test_16384_places_take_less_than_an_eighth_of_the_matrix() -> None:
    layer, x = position(channels=8), torch.randn(1, 8, 128, 128, requires_grad=True)
    layer(x[..., :16]).sum().backward()  # libraries load and pools grow before the measurement
    Path("/proc/self/clear_refs").write_text("5")  # forgets the peak
    before = _status("VmRSS")
    layer(x).square().mean().backward()
    assert x.grad is not None and x.grad.isfinite().all()
    assert _status("VmHWM") - before < 16384**2 * 4 / 8


@pytest.mark.parametrize("energy", ["max_minus", "plain"])
@pytest.mark.parametrize("shape", [(2, 5, 6, 4), (1, 3, 4, 3, 2)])
def test_channel_attention_is_the_soft_max_over_all_channels(energy: str, shape: tuple[int, ...]) -> None:
    layer, x = ChannelAttention(shape[1], energy), torch.randn(shape)
    nn.init.constant_(layer.gamma, 0.7)
    flat = x.double().flatten(2)
    product = torch.einsum("bin,bjn->bij", flat, flat)
    weights = (-product if energy == "max_minus" else product).softmax(-1)  # a soft-max knows no row constant
    expected = x.double() + layer.gamma.double() * torch.einsum("bij,bjn->bin", weights, flat).reshape(shape)
    torch.testing.assert_close(layer(x).double(), expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("layer", [PositionAttention(2, 16), ChannelAttention(16)])
def test_starts_as_the_identity_and_learns_to_look(layer: nn.Module) -> None:
    x = torch.randn(2, 16, 6, 5)
    out = layer(x)
    assert torch.equal(out, x)
    (out * torch.randn_like(out)).sum().backward()
    assert layer.gamma.grad.abs() > 0


def test_says_what_does_not_fit() -> None:
    with pytest.raises(ValueError, match="reduction is 8; expected 1 to 4, the channels"):
        PositionAttention(2, 4)
    with pytest.raises(ValueError, match="energy is 'min'; expected one of max_minus, plain"):
        ChannelAttention(energy="min")
    with pytest.raises(ValueError, match=r"PositionAttention: input has shape \[1, 3, 4, 4\]; expected \[B, 16, \*S\]"):
        PositionAttention(2, 16)(torch.zeros(1, 3, 4, 4))
