"""local_histogram and local_glcm on the device named by ``--device``, against the portable float64 CPU kernels."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from medseg.ops import compiled, last_backend, local_glcm, local_histogram
from medseg.ops._glcm_features import FEATURES, LINEAR

DTYPES = {torch.float32: 2e-4, torch.float64: 1e-9}
SHAPES = [((2, 3, 33, 40), (7, 5)), ((1, 2, 12, 20, 37), (3, 5, 7))]


def _assert_ran(op: str, device: str) -> None:
    if compiled():
        assert last_backend(op).startswith(torch.device(device).type)


def _image(shape: tuple[int, ...], highest: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(shape, generator=generator, dtype=torch.float64) * (highest + 1) - 1
    return x.float().double(), torch.rand((shape[0], 1, *shape[2:]), generator=generator) < 0.8


def _gradient(out: Tensor, x: Tensor) -> Tensor:
    weight = torch.linspace(-1, 1, out.numel(), dtype=torch.float64).reshape(out.shape).to(out)
    return torch.autograd.grad((out * weight).sum(), x)[0]


def _assert_close(found: Tensor, expected: Tensor, tolerance: float) -> None:
    scale = float(expected.abs().max().clamp(min=1))
    torch.testing.assert_close(found.cpu().double(), expected, rtol=0, atol=tolerance * scale)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize(("shape", "window"), SHAPES, ids=str)
def test_soft_histograms_and_their_gradient_equal_float64_on_the_cpu(device, shape, window, dtype) -> None:
    x, mask = _image(shape, 11)
    results = []
    for where, kind in ((device, dtype), ("cpu", torch.float64)):
        leaf = x.to(where, kind).requires_grad_()
        out = local_histogram(leaf, window, 9, 0, 10, mask.to(where), soft=True)
        results.append((out.detach(), _gradient(out, leaf)))
        if where == device:
            _assert_ran("local_histogram_backward", device)
    for found, expected in zip(*results, strict=True):
        _assert_close(found, expected, DTYPES[dtype])


@pytest.mark.parametrize(("shape", "window"), SHAPES, ids=str)
def test_histograms_have_the_bits_of_the_cpu(device, shape, window) -> None:
    x, mask = (t.float() if t.is_floating_point() else t for t in _image(shape, 300))
    for soft, bins in ((False, 256), (True, 8)):
        found = local_histogram(x.to(device), window, bins, 0, 256, mask.to(device), soft)
        _assert_ran("local_histogram", device)
        assert torch.equal(found.cpu(), local_histogram(x, window, bins, 0, 256, mask, soft))


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("mean", [True, False])
@pytest.mark.parametrize(("shape", "window"), SHAPES, ids=str)
def test_glcm_features_and_their_gradient_equal_float64_on_the_cpu(device, shape, window, mean: bool, dtype) -> None:
    x, mask = _image(shape, 8)
    offsets = [(0, 1), (2, -1)] if len(window) == 2 else [(1, 0, 0), (0, -1, 2)]
    results = []
    for where, kind in ((device, dtype), ("cpu", torch.float64)):
        leaf = x.to(where, kind).requires_grad_()
        out = local_glcm(leaf, window, offsets, 8, LINEAR, mask.to(where), mean)
        results.append((out.detach(), _gradient(out, leaf)))
        if where == device:
            _assert_ran("local_glcm_backward", device)
    (found, gradient), (expected, wanted) = results
    for a, b in zip(found.unflatten(1, (-1, 6)).unbind(2), expected.unflatten(1, (-1, 6)).unbind(2), strict=True):
        _assert_close(a, b, DTYPES[dtype])
    _assert_close(gradient, wanted, DTYPES[dtype])


@pytest.mark.parametrize("levels", [32, 256, 1024])
@pytest.mark.parametrize(("shape", "window"), SHAPES, ids=str)
def test_counted_features_equal_those_of_the_cpu(device, shape, window, levels: int) -> None:
    x, mask = _image(shape, levels)
    counted = [f for f in FEATURES if f not in LINEAR]
    offsets = [(0, 1), (2, -1)] if len(window) == 2 else [(1, 0, 0), (0, -1, 2)]
    found = local_glcm(x.to(device), window, offsets, levels, counted, mask.to(device))
    _assert_ran("local_glcm", device)
    torch.testing.assert_close(found.cpu(), local_glcm(x, window, offsets, levels, counted, mask), rtol=0, atol=1e-12)


def test_results_are_bit_equal_from_run_to_run(device) -> None:
    x = _image((1, 2, 40, 50), 16)[0].to(device).float().requires_grad_()
    results = []
    for _ in range(2):
        maps = [local_glcm(x, 7, [(0, 1), (1, 1)], 16), local_histogram(x, 7, 8, 0, 16, soft=True)]
        results.append([*maps, *(_gradient(m, x) for m in maps)])
    assert all(torch.equal(a, b) for a, b in zip(*results, strict=True))
