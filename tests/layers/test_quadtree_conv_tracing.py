"""`QuadtreeConv` under autocast, torch.compile and torch.export, with MetaTensors, and through its state dictionary."""

from __future__ import annotations

import io
from typing import Any

import pytest
import torch
from monai.data import MetaTensor
from torch import Tensor, nn

from medseg.layers import DenseConvRounds, QuadtreeConv
from medseg.partition import BlockPlan, PlanSettings, make_plan


def make(**options: Any) -> QuadtreeConv:
    with torch.random.fork_rng():
        torch.manual_seed(3)
        return QuadtreeConv(2, 2, 8, **{"root_kernel": 3, "root": 2, "rounds": 2, **options})


def image(*shape: int, seed: int = 0) -> Tensor:
    x = torch.randn(shape, generator=torch.Generator().manual_seed(seed))
    return x * torch.linspace(2, 0.1, shape[2]).reshape(-1, *(1,) * (len(shape) - 3))


class TwoLayers(nn.Module):
    """Two layers at two scales under one plan."""

    def __init__(self) -> None:
        super().__init__()
        self.fine, self.coarse = make(), QuadtreeConv(2, 8, 8, rounds=2)

    def forward(self, x: Tensor, plan: BlockPlan) -> Tensor:
        return self.coarse(nn.functional.max_pool2d(self.fine(x, plan), 2), plan)


@pytest.mark.parametrize("norm", [None, "batch", "instance"])
def test_computes_in_the_dtype_of_autocast_and_keeps_float32_parameters(norm: str | None) -> None:
    layer = make(norm=norm)
    x = image(2, 2, 32, 32)
    plan = layer.own_plan(x)
    with torch.autocast("cpu", torch.bfloat16):
        out = layer(x, plan)
        out.float().square().mean().backward()
    assert out.dtype == torch.bfloat16
    assert {p.grad.dtype for p in layer.parameters() if p.grad is not None} == {torch.float32}
    assert (out.float() - layer(x, plan)).abs().max() < 0.1


@pytest.mark.parametrize("norm", [None, "batch"])
def test_compiles_to_the_same_values_and_gradients(norm: str | None) -> None:
    layer, twin = make(norm=norm), make(norm=norm)
    x = image(2, 2, 32, 32)
    compiled = torch.compile(twin, fullgraph=True, backend="aot_eager")
    for _ in range(2):
        out, expected = compiled(x), layer(x)
        torch.testing.assert_close(out, expected, rtol=1e-5, atol=1e-6)
        out.square().sum().backward()
        expected.square().sum().backward()
    for a, b in zip(layer.parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(a.grad, b.grad, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(dict(layer.named_buffers()), dict(twin.named_buffers()))


@pytest.mark.parametrize("norm", [None, "batch", "instance"])
def test_exports_with_a_partition_of_its_own(norm: str | None) -> None:
    layer = make(norm=norm).eval()
    program = torch.export.export(layer, (image(1, 2, 32, 32),))
    for seed in range(3):
        x = image(1, 2, 32, 32, seed=seed)
        torch.testing.assert_close(program.module()(x), layer(x), rtol=1e-5, atol=1e-6)


def test_exports_with_the_plan_as_an_input() -> None:
    net = TwoLayers().eval()
    settings = PlanSettings(rounds=2, root=2)
    x = image(1, 2, 64, 64)
    program = torch.export.export(net, (x, make_plan(x, settings)))
    for seed in range(3):
        x = image(1, 2, 64, 64, seed=seed)
        plan = make_plan(x, settings)
        torch.testing.assert_close(program.module()(x, plan), net(x, plan), rtol=1e-5, atol=1e-6)


def test_exports_with_a_threshold_whose_number_of_blocks_depends_on_the_image() -> None:
    layer = make(threshold=(0.6, 0.6)).eval()
    program = torch.export.export(layer, (image(1, 2, 32, 32),))
    counts = set()
    for strength in (0.0, 0.5, 1.0, 3.0):
        x = strength * image(1, 2, 32, 32)
        counts.add(int(layer.own_plan(x).count[0]))
        torch.testing.assert_close(program.module()(x), layer(x), rtol=1e-5, atol=1e-6)
    assert len(counts) > 2


def test_state_survives_a_file_and_fits_the_dense_twin() -> None:
    layer = make(norm="batch")
    layer(image(2, 2, 32, 32))
    file = io.BytesIO()
    torch.save(layer.state_dict(), file)
    file.seek(0)
    state = torch.load(file, weights_only=True)
    other = QuadtreeConv(2, 2, 8, rounds=2, root=2, root_kernel=3, norm="batch")
    other.load_state_dict(state)
    DenseConvRounds(2, 2, 8, rounds=2, root_kernel=3, norm="batch").load_state_dict(state)
    x = image(1, 2, 32, 32, seed=5)
    torch.testing.assert_close(other.eval()(x), layer.eval()(x), rtol=0, atol=0)
    assert sorted(state) == [
        "bias",
        "norm.running_mean",
        "norm.running_var",
        "norm.scale",
        "norm.shift",
        "root_conv.bias",
        "root_conv.weight",
        "weight",
    ]


def test_takes_and_returns_metatensors() -> None:
    affine = torch.diag(torch.tensor([0.7, 0.7, 5.0, 1.0], dtype=torch.float64))
    x = MetaTensor(image(1, 2, 32, 32), affine=affine)
    layer = make()
    out = layer(x)
    assert isinstance(out, MetaTensor)
    torch.testing.assert_close(out.affine, affine)
    torch.testing.assert_close(out.as_tensor(), layer(x.as_tensor()))


@pytest.mark.parametrize("norm", [None, "batch"])
def test_keeps_the_memory_format_of_its_input(norm: str | None) -> None:
    layer = make(norm=norm).to(memory_format=torch.channels_last)
    x = image(2, 2, 32, 32)
    lasting = layer(x.contiguous(memory_format=torch.channels_last))
    assert lasting.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(lasting, layer(x), rtol=1e-5, atol=1e-5)


def test_random_blocks_change_from_call_to_call_and_repeat_under_a_seed() -> None:
    layer = make(evaluator="random")
    x = image(1, 2, 64, 64)
    torch.manual_seed(11)
    first, second = layer(x), layer(x)
    assert not torch.equal(first, second)
    torch.manual_seed(11)
    torch.testing.assert_close(layer(x), first, rtol=0, atol=0)
