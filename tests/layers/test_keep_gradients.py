"""A gradient of zero for parameters that were not used: values stay, whatever the parameters hold."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from medseg.layers.keep_gradients import keep_gradients


@pytest.mark.parametrize("value", [1.0, math.inf, math.nan])
@pytest.mark.parametrize("shape", [(), (3,), (2, 3, 3, 3)])
def test_unused_parameters_get_zeros_and_values_stay(value: float, shape: tuple[int, ...]) -> None:
    unused = nn.Parameter(torch.full(shape, value))
    x = torch.randn(4, 5, requires_grad=True)
    out = keep_gradients(x, [unused])
    assert torch.equal(out, x)
    (3 * out).sum().backward()
    assert torch.equal(unused.grad, torch.zeros(shape)) and torch.equal(x.grad, torch.full((4, 5), 3.0))


def test_types_may_differ() -> None:
    unused = nn.Parameter(torch.ones(2, dtype=torch.float64))
    out = keep_gradients(torch.ones(3, dtype=torch.bfloat16), [unused])
    assert out.dtype == torch.bfloat16
    out.sum().backward()
    assert unused.grad.dtype == torch.float64 and not unused.grad.any()


def test_does_nothing_where_no_gradient_is_wanted() -> None:
    x, still = torch.ones(3), nn.Parameter(torch.ones(2), requires_grad=False)
    assert keep_gradients(x, [still]) is x and keep_gradients(x, []) is x
    with torch.no_grad():
        assert keep_gradients(x, [nn.Parameter(torch.ones(2))]) is x


def test_leaves_no_trace_in_exported_and_traced_networks() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.unused = nn.Parameter(torch.ones(2))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return keep_gradients(2 * x, [self.unused])

    program = torch.export.export(Net(), (torch.ones(3),))
    assert [node.op for node in program.graph.nodes].count("call_function") == 1
    assert "narrow" not in str(torch.jit.trace(Net(), (torch.ones(3),)).graph)
