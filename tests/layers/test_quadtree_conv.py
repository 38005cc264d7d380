"""`QuadtreeConv` computes masked dense rounds on a partition of its own or one that is handed in."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor

from medseg.layers import DenseConvRounds, QuadtreeConv
from medseg.partition import BlockPlan, PlanSettings, make_plan
from tests.layers._masked_dense import masked_dense


@pytest.fixture(autouse=True)
def seeded() -> Iterator[None]:
    with torch.random.fork_rng():
        torch.manual_seed(7)
        yield


def make(dims: int = 2, channels: tuple[int, int] = (3, 5), **options: Any) -> QuadtreeConv:
    options = {"root_kernel": 1, "root": 2, **options}
    return QuadtreeConv(dims, *channels, **options).double()


def image(*shape: int) -> Tensor:
    """Noise whose strength falls along the first spatial axis, so that the partition has something to find."""
    fall = torch.linspace(2, 0.1, shape[2], dtype=torch.float64).reshape(-1, *(1,) * (len(shape) - 3))
    return torch.randn(shape, dtype=torch.float64) * fall


def gradients(out: Tensor, layer: QuadtreeConv, x: Tensor) -> list[Tensor]:
    weights = torch.linspace(-1, 1, out.numel(), dtype=out.dtype).reshape(out.shape)
    return list(torch.autograd.grad((out * weights).sum(), [x, *layer.parameters()]))


CASES = [
    (dims, mode, norm, act)
    for dims, mode in ((2, "sum"), (2, "replace"), (2, "parallel"), (3, "sum"))
    for norm, act in (
        (None, "relu"),
        ("batch", ("leakyrelu", {"negative_slope": 0.2})),
        ("instance", "relu"),
        (None, None),
    )
]


@pytest.mark.parametrize(("dims", "mode", "norm", "act"), CASES)
def test_equals_masked_dense_rounds_forward_and_backward(dims: int, mode: str, norm: Any, act: Any) -> None:
    layer = make(dims, mode=mode, norm=norm, act=act, rounds=2 if dims == 3 else 3)
    if layer.norm.scale is not None:
        torch.nn.init.uniform_(layer.norm.scale, 0.5, 1.5)
        torch.nn.init.uniform_(layer.norm.shift, -0.5, 0.5)
    x = image(2, 3, *((33, 40) if dims == 2 else (17, 16, 20))).requires_grad_()
    plan = layer.own_plan(x)
    assert 0 < plan.mask[-1].double().mean() < plan.mask[0].double().mean() < 1
    out, expected = layer(x), masked_dense(layer, x, plan)
    torch.testing.assert_close(out, expected, rtol=1e-10, atol=1e-12)
    for found, wanted in zip(gradients(out, layer, x), gradients(expected, layer, x), strict=True):
        torch.testing.assert_close(found, wanted, rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("kernel_size", [1, 3, 5])
@pytest.mark.parametrize("channels", [1, 3, 5, 17, 24])
def test_takes_any_number_of_channels_and_kernels_of_side_1_3_5(kernel_size: int, channels: int) -> None:
    layer = make(channels=(channels, channels), kernel_size=kernel_size, root_kernel=None)
    x = image(1, channels, 32, 32)
    expected = masked_dense(layer, x, layer.own_plan(x))
    torch.testing.assert_close(layer(x), expected, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("mode", ["sum", "replace", "parallel"])
@pytest.mark.parametrize("norm", [None, "batch", "instance"])
def test_equals_the_dense_stack_when_every_block_is_active(mode: str, norm: str | None) -> None:
    layer = make(mode=mode, norm=norm, budget=(1, 1, 1))
    dense = DenseConvRounds(2, 3, 5, mode=mode, norm=norm, root_kernel=1).double()
    dense.load_state_dict(layer.state_dict())
    x = image(2, 3, 32, 48)
    torch.testing.assert_close(layer(x), dense(x), rtol=1e-10, atol=1e-12)
    layer.eval(), dense.eval()
    # Training has moved the running statistics of both by the same step.
    torch.testing.assert_close(dict(layer.named_buffers()), dict(dense.named_buffers()), rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(layer(x), dense(x), rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("norm", [None, "batch", "instance"])
@pytest.mark.parametrize("training", [True, False])
def test_is_the_root_kernel_alone_when_no_block_varies_enough(norm: str | None, training: bool) -> None:
    layer = make(norm=norm, threshold=1e9).train(training)
    x = image(2, 3, 32, 32).requires_grad_()
    out = layer(x)
    torch.testing.assert_close(out, layer.root_conv(x), rtol=0, atol=0)
    out.sum().backward()
    assert layer.weight.grad is not None and not layer.weight.grad.any()
    if norm == "batch":
        # Nothing was measured, so nothing is remembered.
        assert not layer.norm.running_mean.any() and (layer.norm.running_var == 1).all()


@pytest.mark.parametrize("norm", [None, "instance"])
def test_samples_of_a_batch_do_not_touch_each_other(norm: str | None) -> None:
    layer = make(norm=norm)
    x = image(3, 3, 32, 32)
    one_by_one = torch.cat([layer(sample) for sample in x.split(1)])
    torch.testing.assert_close(layer(x), one_by_one, rtol=1e-12, atol=1e-12)


def test_moves_with_the_image_by_whole_root_blocks_away_from_the_border() -> None:
    layer = make(root=4, threshold=0.05, rounds=2)
    x = torch.zeros(1, 3, 64, 64, dtype=torch.float64)
    x[:, :, 20:26, 22:28] = torch.randn(1, 3, 6, 6, dtype=torch.float64)
    out = layer(x)
    moved = layer(x.roll((16, 16), (2, 3)))
    inner = (..., slice(24, 56), slice(24, 56))
    torch.testing.assert_close(moved[inner], out.roll((16, 16), (2, 3))[inner], rtol=1e-12, atol=1e-12)


def test_pads_the_partition_and_not_the_image() -> None:
    layer = make()
    x = image(1, 3, 37, 51)
    out = layer(x)
    assert out.shape == (1, 5, 37, 51)
    torch.testing.assert_close(out, masked_dense(layer, x, layer.own_plan(x)), rtol=1e-10, atol=1e-12)


def test_takes_a_plan_made_of_another_image_at_a_coarser_scale() -> None:
    layer = make()
    plan = make_plan(image(2, 1, 64, 96), PlanSettings(root=2))
    x = image(2, 3, 32, 48)
    torch.testing.assert_close(layer(x, plan), masked_dense(layer, x, plan), rtol=1e-10, atol=1e-12)


def test_makes_its_partition_of_the_guide_if_there_is_one() -> None:
    layer = make()
    x, guide = image(1, 3, 32, 32), image(1, 1, 32, 32).flip(2)
    plan = make_plan(guide, layer.settings)
    assert not torch.equal(plan.mask, layer.own_plan(x).mask)
    torch.testing.assert_close(layer(x, guide=guide), layer(x, plan), rtol=0, atol=0)


def test_macs_rise_with_the_budget_up_to_the_dense_stack() -> None:
    x = image(2, 3, 40, 48)
    counted = []
    for share in (0.1, 0.3, 0.5, 0.8, 1.0):
        layer = make(budget=(share,) * 3)
        counted.append(layer.macs(layer.own_plan(x), (40, 48)))
    assert counted == sorted(counted) and len(set(counted)) == 5
    assert counted[-1] == 2 * layer.dense_macs((40, 48)) == 2 * 40 * 48 * (3 * 5 + 3 * 9 * 5 * 5)


def test_macs_count_no_position_outside_of_the_map() -> None:
    layer = make(budget=(1, 1, 1))
    x = image(1, 3, 37, 51)
    assert layer.macs(layer.own_plan(x), (37, 51)) == layer.dense_macs((37, 51))


def test_the_gradient_check_of_the_whole_layer_passes() -> None:
    layer = make(2, (2, 2), rounds=2, norm="batch", act=("leakyrelu", {"negative_slope": 0.3}), root_kernel=None)
    x = image(1, 2, 16, 16).requires_grad_()
    plan = layer.own_plan(x)
    torch.autograd.gradcheck(lambda t: layer(t, plan), (x,), fast_mode=True)


def plan_of(batch: int, grid: tuple[int, ...], rounds: int) -> BlockPlan:
    mask = torch.ones(rounds, batch, *grid, dtype=torch.bool)
    index = torch.arange(mask[0].numel(), dtype=torch.int32).repeat(rounds, 1)
    return BlockPlan(index, torch.full((rounds,), index.shape[1], dtype=torch.int32), mask)


@pytest.mark.parametrize(
    ("plan", "message"),
    [
        (plan_of(3, (4, 4), 3), "the plan is for a batch of 3, x has 2 samples"),
        (plan_of(2, (4, 4), 2), "the plan has 2 rounds, the layer 3"),
        (plan_of(2, (64, 64), 3), r"a plan of \[64, 64\] tiles does not fit a map of size \[32, 32\]"),
        (plan_of(2, (4, 4, 4), 3), r"a plan of \[4, 4, 4\] tiles does not fit a map of size \[32, 32\]"),
    ],
)
def test_says_what_is_wrong_with_a_plan(plan: BlockPlan, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()(image(2, 3, 32, 32), plan)


def test_refuses_plan_and_guide_together() -> None:
    with pytest.raises(ValueError, match="plan and guide are both given"):
        make()(image(2, 3, 32, 32), plan_of(2, (4, 4), 3), image(2, 1, 32, 32))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"root_kernel": None}, "3 channels in and 5 out need a root kernel; set root_kernel=1"),
        ({"root_kernel": 2}, "root_kernel is 2; expected 1, 3, 5"),
        ({"kernel_size": 4}, "kernel_size is 4; expected 1, 3, 5"),
        ({"mode": "add"}, "mode is 'add'; expected 'replace', 'sum', 'parallel'"),
        ({"act": "gelu"}, "act is 'gelu'; the fused rounds have 'relu', 'leakyrelu' or None"),
        ({"norm": "group"}, "norm is 'group'; expected None, 'batch' or 'instance'"),
        ({"norm": ("batch", {"num_features": 3})}, "norm 'batch' has no option num_features"),
        ({"rounds": 0}, "rounds is 0; expected at least 1"),
        ({"budget": (0.2, 0.5, 0.1)}, "budget"),
        ({"evaluator": "wavelet"}, "metric is 'wavelet'"),
    ],
)
def test_says_what_is_wrong_with_its_arguments(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make(**options)


@pytest.mark.parametrize("shape", [(2, 4, 32, 32), (2, 3, 32), (2, 3, 8, 32, 32)])
def test_says_what_input_it_expects(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"x has shape \[.*\]; expected \[B, 3, H, W\]"):
        make()(torch.zeros(shape, dtype=torch.float64))
