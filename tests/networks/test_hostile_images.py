"""Every network of the registry with unusual images: the right value, or one line of the package's own."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from medseg.networks import list_networks
from tests._hostile import refused, result_or_refusal, scattered, transposed
from tests.networks._cases import image, small

NAMES = list_networks()
pytestmark = pytest.mark.parametrize("name", NAMES)


@torch.no_grad()
def test_the_layout_in_memory_does_not_matter(name: str) -> None:
    net, x = small(name).double().eval(), image(name).double()  # kernels for another layout round differently
    expected = net(x)
    for same in (scattered(x), transposed(x), x.to(memory_format=torch.channels_last)):
        torch.testing.assert_close(net(same), expected, rtol=1e-8, atol=1e-9)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int16, torch.int64, torch.bool])
def test_integer_images_are_refused_with_the_conversion(name: str, dtype: torch.dtype) -> None:
    net, x = small(name).eval(), image(name)
    assert f"input is {dtype}; expected floating numbers" in refused(lambda: net(x.to(dtype)))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_another_dtype_than_the_weights_is_refused_with_both(name: str, dtype: torch.dtype) -> None:
    net, x = small(name).eval(), image(name)
    line = refused(lambda: net(x.to(dtype)))
    assert f"input is {dtype}, the weights are torch.float32" in line and "image.to(torch.float32)" in line


@torch.no_grad()
@pytest.mark.parametrize(("dtype", "share"), [(torch.float64, 1e-4), (torch.bfloat16, 0.1)])
def test_a_network_of_another_dtype_gives_the_float32_result_within_its_precision(
    name: str, dtype: torch.dtype, share: float
) -> None:
    net, x = small(name).eval(), image(name)
    expected = net(x)
    other = copy.deepcopy(net).to(dtype)
    found = result_or_refusal(lambda: other(x.to(dtype)))
    if isinstance(found, Exception):
        assert str(dtype) in str(found)
    else:
        assert found.dtype == dtype
        assert float((found.float() - expected).abs().mean()) <= share * float(expected.abs().max())


def test_an_empty_batch_and_an_empty_image_are_refused_with_their_shape(name: str) -> None:
    net, x = small(name).eval(), image(name)
    for empty in (x[:0], x[..., :0]):
        assert f"input has shape {list(empty.shape)}, which is empty" in refused(lambda e=empty: net(e))


def test_what_is_no_tensor_is_refused_with_its_type(name: str) -> None:
    net, x = small(name).eval(), image(name)
    assert "input is ndarray; expected a tensor" in refused(lambda: net(x.numpy()))


@torch.no_grad()
def test_constant_and_large_values_give_finite_results(name: str) -> None:
    net, x = small(name).eval(), image(name)
    for unusual in (torch.zeros_like(x), torch.full_like(x, -1024.0), 3e4 * x):
        assert net(unusual).isfinite().all()


@torch.no_grad()
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_voxel_that_is_not_finite_stays_in_its_sample(name: str, value: float) -> None:
    net, x = small(name).eval(), image(name)
    expected = net(x)
    x[0, 0, 3, 5] = value
    found = result_or_refusal(lambda: net(x))
    if not isinstance(found, Exception):
        torch.testing.assert_close(found[1], expected[1], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("sides", [(1, 1), (2, 2), (16, 16), (32, 1)])
def test_small_images_run_or_are_refused_in_one_line(name: str, training: bool, sides: tuple[int, int]) -> None:
    net = small(name).train(training)
    x = image(name)[:1, :, : sides[0], : sides[1]]
    found = result_or_refusal(lambda: net(x))
    assert isinstance(found, Exception) or found.isfinite().all()


def test_one_image_in_training_mode_is_enough_or_the_line_says_what_is(name: str) -> None:
    net = small(name).train()
    if not any(isinstance(module, nn.modules.batchnorm._BatchNorm) for module in net.modules()):
        pytest.skip("no batch normalisation")
    found = result_or_refusal(lambda: net(image(name)[:1]))
    if isinstance(found, Exception):
        assert "expected a batch of 2 or more" in str(found)
