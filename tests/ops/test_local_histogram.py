"""local_histogram: the share of a window's voxels in every bin, against numpy.histogram of every window."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from medseg.ops import last_backend, local_histogram
from medseg.ops.local_histogram import reference_local_histogram

CASES = [
    ((2, 3, 9, 14), (5, 5), 7),
    ((1, 1, 70, 6), (3, 9), 4),
    ((1, 2, 5, 6, 7), (3, 5, 3), 5),
    ((1, 1, 3, 2), (7, 7), 3),
]


def image(shape: tuple[int, ...], dtype: torch.dtype = torch.float64) -> Tensor:
    """Whole numbers from -3 to 12, so that many lie on the edges of bins and out of their range."""
    generator = torch.Generator().manual_seed(sum(shape))
    return torch.randint(-3, 13, shape, generator=generator).to(dtype)


def smooth(shape: tuple[int, ...]) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64) * 12 - 1


def some_mask(x: Tensor) -> Tensor:
    return torch.rand(x[:, :1].shape, generator=torch.Generator().manual_seed(2)) < 0.6


def windows(x: np.ndarray, window: tuple[int, ...]):
    """Every voxel's place and the slices of its window."""
    for place in itertools.product(*[range(s) for s in x.shape[2:]]):
        yield place, tuple(slice(max(0, p - w // 2), p + w // 2 + 1) for p, w in zip(place, window, strict=True))


def expected(x: Tensor, window: tuple[int, ...], bins: int, low: float, high: float, mask: Tensor | None) -> np.ndarray:
    values, inside = x.numpy(), (torch.ones_like(x) if mask is None else mask.expand_as(x)).numpy() > 0
    out = np.zeros((x.shape[0], x.shape[1], bins, *x.shape[2:]))
    for b, c in itertools.product(range(x.shape[0]), range(x.shape[1])):
        for place, around in windows(values, window):
            found = values[b, c][around][inside[b, c][around]]
            counts, _ = np.histogram(found, bins, (low, high))
            out[(b, c, slice(None), *place)] = counts / max(counts.sum(), 1)
    return out.reshape(x.shape[0], -1, *x.shape[2:])


@pytest.mark.parametrize("masked", [False, True], ids=["whole", "masked"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize(("shape", "window", "bins"), CASES, ids=str)
def test_hard_bins_equal_numpy_in_every_window(shape, window, bins: int, dtype: torch.dtype, masked: bool) -> None:
    x = image(shape, dtype)
    mask = some_mask(x) if masked else None
    wanted = torch.from_numpy(expected(x.double(), window, bins, 0, 10, mask)).to(dtype)
    found = local_histogram(x, window, bins, 0, 10, mask)
    torch.testing.assert_close(found, wanted, rtol=0, atol=1e-7 if dtype == torch.float32 else 1e-15)
    whole = None if mask is None else mask.expand_as(x)
    reference = reference_local_histogram(x, whole, list(window), bins, 0, 10, False)
    torch.testing.assert_close(reference, wanted, rtol=0, atol=1e-7 if dtype == torch.float32 else 1e-15)


@pytest.mark.parametrize("masked", [False, True], ids=["whole", "masked"])
@pytest.mark.parametrize(("shape", "window", "bins"), CASES, ids=str)
def test_soft_bins_and_their_gradient_equal_the_reference(shape, window, bins: int, masked: bool) -> None:
    x = smooth(shape).requires_grad_()
    mask = some_mask(x).expand_as(x) if masked else None
    found = local_histogram(x, window, bins, 0, 10, mask, soft=True)
    wanted = reference_local_histogram(x, mask, list(window), bins, 0, 10, True)
    torch.testing.assert_close(found, wanted, rtol=0, atol=1e-12)
    weight = torch.linspace(-1, 1, found.numel(), dtype=x.dtype).reshape(found.shape)
    gradients = [torch.autograd.grad((out * weight).sum(), x)[0] for out in (found, wanted)]
    torch.testing.assert_close(*gradients, rtol=0, atol=1e-11)
    single = local_histogram(x.float(), window, bins, 0, 10, mask, soft=True)
    torch.testing.assert_close(single.double(), found, rtol=0, atol=1e-5)


class TestSoftBins:
    def test_they_sum_to_one_and_keep_the_local_mean(self) -> None:
        x = smooth((1, 1, 20, 30)).clamp(1, 9)
        found = local_histogram(x, 5, 10, 0, 10, soft=True)
        torch.testing.assert_close(found.sum(1), torch.ones(1, 20, 30, dtype=x.dtype), rtol=0, atol=1e-11)
        centres = (torch.arange(10, dtype=x.dtype) + 0.5)[:, None, None]
        mean = nn.functional.avg_pool2d(x, 5, 1, 2, count_include_pad=False)
        torch.testing.assert_close((found[0] * centres).sum(0), mean[0, 0], rtol=0, atol=1e-10)

    @pytest.mark.parametrize(("shape", "window"), [((1, 2, 5, 6), (3, 5)), ((1, 1, 3, 4, 3), (3, 3, 1))], ids=str)
    def test_gradcheck(self, shape: tuple[int, ...], window: tuple[int, ...]) -> None:
        # Away from the ends of the range and the centres of the bins, where the shares jump or bend.
        x = (smooth(shape).mul(2).round() / 2 + 0.1).requires_grad_()
        mask = some_mask(x)
        # The shares are rounded to 2^-40, which a step of 1e-4 of the finite differences does not see.
        for m in (None, mask):
            assert torch.autograd.gradcheck(
                lambda t, m=m: local_histogram(t, window, 4, 0, 10, m, soft=True), (x,), eps=1e-4
            )

    def test_an_empty_bin_is_exactly_zero(self) -> None:
        x = smooth((1, 1, 100, 40)).clamp(1, 4)
        x[..., 50:, :] = 8
        found = local_histogram(x.float(), 5, 10, 0, 10, soft=True)
        assert found[0, 5:, :48].abs().max() == 0
        assert found[0, :6, 52:].abs().max() == 0

    def test_hard_bins_give_no_gradient_and_a_second_derivative_is_refused(self) -> None:
        x = smooth((1, 1, 6, 6)).requires_grad_()
        assert not local_histogram(x, 3, 4, 0, 10).requires_grad
        (first,) = torch.autograd.grad(local_histogram(x, 3, 4, 0, 10, soft=True).square().sum(), x, create_graph=True)
        with pytest.raises(RuntimeError, match="local_histogram: second derivatives are not implemented"):
            first.sum().backward()


def test_a_voxel_that_is_no_number_is_not_counted() -> None:
    x = torch.zeros(1, 1, 1, 5)
    x[..., 2], x[..., 3] = torch.nan, torch.inf
    for soft in (False, True):
        found = local_histogram(x, (1, 3), 2, 0, 1, soft=soft)
        assert found[0, :, 0].tolist() == [[1, 1, 1, 1, 1], [0, 0, 0, 0, 0]]
    assert local_histogram(x, (1, 1), 2, 0, 1)[0, 0, 0].tolist() == [1, 1, 0, 0, 1]


@pytest.mark.parametrize("channels", [1, 3, 5, 17, 24])
@pytest.mark.parametrize("soft", [False, True])
def test_strides_and_other_channels_do_not_matter(channels: int, soft: bool) -> None:
    x = smooth((2, channels, 6, 7)).float()
    found = local_histogram(x, 3, 4, 0, 10, soft=soft)
    assert torch.equal(local_histogram(x.to(memory_format=torch.channels_last), 3, 4, 0, 10, soft=soft), found)
    assert torch.equal(local_histogram(x.mT.contiguous().mT, 3, 4, 0, 10, soft=soft), found)
    alone = torch.cat([local_histogram(x[:, c : c + 1], 3, 4, 0, 10, soft=soft) for c in range(channels)], 1)
    assert torch.equal(alone, found)


@pytest.mark.parametrize("soft", [False, True])
def test_the_number_of_threads_changes_no_bit(soft: bool) -> None:
    x, threads, results = smooth((1, 2, 150, 90)).float().requires_grad_(), torch.get_num_threads(), []
    try:
        for n in (1, 2, 5):
            torch.set_num_threads(n)
            out = local_histogram(x, 7, 6, 0, 10, soft=soft)
            results.append((out.detach(), torch.autograd.grad(out.square().sum(), x)[0] if soft else out.detach()))
    finally:
        torch.set_num_threads(threads)
    assert all(torch.equal(a, b) for other in results[1:] for a, b in zip(other, results[0], strict=True))


@pytest.mark.parametrize("shape", [(0, 1, 4, 4), (1, 0, 4, 4), (1, 1, 0, 4), (1, 1, 4, 0)], ids=str)
def test_empty_maps(shape: tuple[int, ...]) -> None:
    x = torch.zeros(shape, requires_grad=True)
    found = local_histogram(x, 3, 2, 0, 1, soft=True)
    assert found.shape == (shape[0], 2 * shape[1], *shape[2:])
    found.sum().backward()
    assert x.grad.shape == x.shape


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_16_bit_images_are_computed_in_float32(dtype: torch.dtype) -> None:
    x = image((1, 1, 6, 6)).to(dtype).requires_grad_()
    found = local_histogram(x, 3, 4, 0, 10, soft=True)
    assert found.dtype == torch.float32
    assert torch.equal(found, local_histogram(x.float(), 3, 4, 0, 10, soft=True))
    found.square().sum().backward()
    assert x.grad.dtype == dtype


def test_compiled_code_ran(compiled: None) -> None:
    local_histogram(smooth((1, 1, 4, 4)).requires_grad_(), 3, 3, 0, 10, soft=True).sum().backward()
    assert last_backend("local_histogram") == last_backend("local_histogram_backward") == "cpu:generic64"


class Maps(nn.Module):
    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        return local_histogram(x, 3, 4, 0, 10, mask, soft=True)


class TestTorch:
    @pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
    @pytest.mark.parametrize("soft", [False, True])
    def test_opcheck(self, dtype: torch.dtype, soft: bool) -> None:
        x = smooth((2, 2, 6, 7)).to(dtype).requires_grad_(soft)
        mask = some_mask(x).expand_as(x)
        for m in (None, mask):
            torch.library.opcheck(torch.ops.medseg.local_histogram.default, (x, m, [3, 5], 4, 0.0, 10.0, soft))
        grad = torch.ones(2, 8, 6, 7, dtype=dtype)
        torch.library.opcheck(
            torch.ops.medseg.local_histogram_backward.default, (grad, x.detach(), mask, [3, 5], 4, 0.0, 10.0)
        )

    def test_compiled_with_full_graph_forward_and_backward(self) -> None:
        x = smooth((1, 2, 8, 9)).requires_grad_()

        def run(t: Tensor) -> Tensor:
            return local_histogram(t * 2, 3, 4, 0, 10, soft=True).square().sum()

        wanted = torch.autograd.grad(run(x), x)[0]
        found = torch.autograd.grad(torch.compile(run, backend="aot_eager", fullgraph=True)(x), x)[0]
        torch.testing.assert_close(found, wanted)

    def test_exported_with_a_free_batch_size(self) -> None:
        x = smooth((2, 1, 8, 8))
        batch = torch.export.Dim("batch", min=1, max=16)
        program = torch.export.export(Maps(), (x, some_mask(x)), dynamic_shapes=({0: batch}, {0: batch}))
        other = smooth((5, 1, 8, 8))
        assert torch.equal(program.module()(other, some_mask(other)), Maps()(other, some_mask(other)))

    def test_meta_tensors_give_shapes_without_values(self) -> None:
        assert local_histogram(torch.empty(2, 3, 4, 5, 6, device="meta"), 3, 8, 0, 1).shape == (2, 24, 4, 5, 6)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"window": 4}, "window is 4; expected 2 odd numbers of voxels, or one for all axes"),
        ({"window": (3, 3, 3)}, "window is (3, 3, 3); expected 2 odd numbers of voxels, or one for all axes"),
        ({"window": 183}, "window [183, 183] has 33489 voxels; expected at most 32767"),
        ({"bins": 0}, "bins is 0; expected 1 to 32767"),
        ({"bins": 1, "soft": True}, "bins is 1; expected 2 to 32767"),
        ({"low": 5, "high": math.nan}, "low is 5 and high nan; expected low below high"),
        ({"x": torch.zeros(3, 4, 4)}, "x has shape [3, 4, 4]; expected [B, C, H, W] or [B, C, D, H, W]"),
        (
            {"mask": torch.ones(1, 1, 4, 5, dtype=torch.bool)},
            "mask has shape [1, 1, 4, 5]; expected [1, 2, 4, 4], or one channel",
        ),
    ],
)
def test_what_does_not_fit_is_named(change: dict, message: str) -> None:
    arguments = {"x": torch.zeros(1, 2, 4, 4), "window": 3, "bins": 4, "low": 0, "high": 1, **change}
    with pytest.raises(ValueError) as caught:
        local_histogram(**arguments)
    assert str(caught.value) == f"local_histogram: {message}"


def test_other_dtypes_are_refused() -> None:
    with pytest.raises(TypeError, match=r"x is torch\.int64; expected float16"):
        local_histogram(torch.zeros(1, 1, 4, 4).long(), 3, 4, 0, 1)
    with pytest.raises(TypeError, match=r"mask is torch\.float32; expected torch\.bool"):
        local_histogram(torch.zeros(1, 1, 4, 4), 3, 4, 0, 1, torch.ones(1, 1, 4, 4))
