"""Every public network with unusual images: the right value, or one line of the package's own."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

import medseg.networks
from medseg.networks import ConcatGuidedNet, GuidedNet, SliceBySlice, list_networks
from tests._hostile import refused, result_or_refusal, scattered, transposed
from tests.networks import _cases

# Networks that are made around another one, and so are not in the registry.
AROUND = {
    "ConcatGuidedNet": lambda: ConcatGuidedNet(_cases.small("unet2015", in_channels=2), guide_channels=1),
    "GuidedNet": lambda: GuidedNet(_cases.small("unet2015"), appearance=("fc", {"bins": 10}), image=(1, 32, 32)),
    "SliceBySlice": lambda: SliceBySlice(_cases.small("unet2015")),
}
# A common base of three networks, and parts without a forward pass on an image of their own.
PARTS = {"MobileNet", "PlannedSequential", "ResNet"}
NAMES = [*list_networks(), *AROUND]
every_network = pytest.mark.parametrize("name", NAMES)


def small(name: str) -> nn.Module:
    if name not in AROUND:
        return _cases.small(name)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return AROUND[name]()


def image(name: str) -> Tensor:
    if name == "SliceBySlice":
        return torch.stack([_cases.image("unet2015")] * 3, -1)
    return _cases.image("unet2015" if name in AROUND else name)


def test_every_public_network_is_here() -> None:
    public = {getattr(medseg.networks, name) for name in medseg.networks.__all__}
    modules = {kind.__name__ for kind in public if isinstance(kind, type) and issubclass(kind, nn.Module)}
    assert modules == {type(small(name)).__name__ for name in NAMES} | PARTS


@every_network
@torch.no_grad()
def test_the_layout_in_memory_does_not_matter(name: str) -> None:
    net, x = small(name).double().eval(), image(name).double()  # kernels for another layout round differently
    expected, layout = net(x), torch.channels_last if x.ndim == 4 else torch.channels_last_3d
    for same in (scattered(x), transposed(x), x.to(memory_format=layout)):
        torch.testing.assert_close(net(same), expected, rtol=1e-8, atol=1e-9)


@every_network
@pytest.mark.parametrize("dtype", [torch.uint8, torch.int16, torch.int64, torch.bool])
def test_integer_images_are_refused_with_the_conversion(name: str, dtype: torch.dtype) -> None:
    net, x = small(name).eval(), image(name)
    assert f"input is {dtype}; expected floating numbers" in refused(lambda: net(x.to(dtype)))


@every_network
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_another_dtype_than_the_weights_is_refused_with_both(name: str, dtype: torch.dtype) -> None:
    net, x = small(name).eval(), image(name)
    line = refused(lambda: net(x.to(dtype)))
    assert f"input is {dtype}, the weights are torch.float32" in line and "image.to(torch.float32)" in line


@every_network
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


@every_network
def test_an_empty_batch_and_an_empty_image_are_refused_with_their_shape(name: str) -> None:
    net, x = small(name).eval(), image(name)
    for empty in (x[:0], x[..., :0]):
        assert f"input has shape {list(empty.shape)}, which is empty" in refused(lambda e=empty: net(e))


@every_network
def test_what_is_no_tensor_is_refused_with_its_type(name: str) -> None:
    net, x = small(name).eval(), image(name)
    assert "input is ndarray; expected a tensor" in refused(lambda: net(x.numpy()))


@every_network
@torch.no_grad()
def test_constant_and_large_values_give_finite_results(name: str) -> None:
    net, x = small(name).eval(), image(name)
    for unusual in (torch.zeros_like(x), torch.full_like(x, -1024.0), 3e4 * x):
        assert net(unusual).isfinite().all()


@every_network
@torch.no_grad()
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_voxel_that_is_not_finite_stays_in_its_sample(name: str, value: float) -> None:
    net, x = small(name).eval(), image(name)
    expected = net(x)
    x[0, 0, 3, 5] = value
    found = result_or_refusal(lambda: net(x))
    if not isinstance(found, Exception):
        torch.testing.assert_close(found[1], expected[1], rtol=1e-4, atol=1e-5)


@every_network
@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("sides", [(1, 1), (2, 2), (16, 16), (32, 1)])
def test_small_images_run_or_are_refused_in_one_line(name: str, training: bool, sides: tuple[int, int]) -> None:
    net = small(name).train(training)
    x = image(name)[:1, :, : sides[0], : sides[1]]
    found = result_or_refusal(lambda: net(x))
    assert isinstance(found, Exception) or found.isfinite().all()


@every_network
def test_one_image_in_training_mode_is_enough_or_the_line_says_what_is(name: str) -> None:
    net = small(name).train()
    if not any(isinstance(module, nn.modules.batchnorm._BatchNorm) for module in net.modules()):
        pytest.skip("no batch normalisation")
    found = result_or_refusal(lambda: net(image(name)[:1]))
    if isinstance(found, Exception):
        assert "expected a batch of 2 or more" in str(found)
