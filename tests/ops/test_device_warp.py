"""bspline_warp on the device named by ``--device``, against the portable float64 CPU kernel."""

from __future__ import annotations

import pytest
import torch

from medseg.ops import bspline_warp, compiled, last_backend

DTYPES = {torch.float32: 2e-4, torch.float64: 1e-9}
CASES = [((2, 3, 33, 40), (4, 5), (12.0, 11.0)), ((1, 5, 24, 20, 37), (3, 4, 5), (9.0, 7.0, 12.0))]


@pytest.mark.parametrize("padding", ["border", "constant"])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize(("shape", "grid", "spacing"), CASES, ids=str)
def test_values_and_gradients_equal_float64_on_the_cpu(device, shape, grid, spacing, dtype, padding: str) -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(shape, generator=generator).to(dtype)
    control = torch.randn(1, len(grid), *grid, generator=generator).to(dtype)
    results = []
    for where, kind in ((device, dtype), ("cpu", torch.float64)):
        leaves = [t.to(where, kind).requires_grad_() for t in (x, control)]
        out = bspline_warp(*leaves, spacing, [0.0] * len(grid), padding_mode=padding, fill=0.5)
        results.append([out.detach(), *torch.autograd.grad(out.square().sum(), leaves)])
        if where == device and compiled():
            assert last_backend("bspline_warp").startswith("cuda" if str(device).startswith("cuda") else "cpu")
    for a, b in zip(*results, strict=True):
        torch.testing.assert_close(a.cpu().double(), b, rtol=0, atol=DTYPES[dtype] * float(b.abs().max().clamp(min=1)))


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int16, torch.float32, torch.int64], ids=str)
def test_labels_equal_those_of_the_cpu(device, dtype: torch.dtype) -> None:
    labels = torch.randint(0, 9, (2, 1, 24, 25, 26), generator=torch.Generator().manual_seed(0)).to(dtype)
    control = torch.randn(2, 3, 3, 3, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    options = ((12, 12, 12), (0, 0, 0), "nearest", "constant", 3)
    found = bspline_warp(labels.to(device), control.to(device), *options)
    assert torch.equal(found.cpu(), bspline_warp(labels, control, *options))
