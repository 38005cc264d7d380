"""bspline_warp: the displacement, the sampling, and what becomes of labels, borders and bad input."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.interpolate import BSpline
from scipy.ndimage import map_coordinates
from torch import Tensor

from medseg.ops import bspline_warp, last_backend
from medseg.ops._bspline_warp_reference import displacement
from tests.ops.conftest import run_python

CASES = [
    ((2, 3, 9, 12), (4, 5), (2.5, 3.0), (-1.0, 0.5)),
    ((1, 1, 20, 7), (3, 3), (9.5, 3.0), (0.0, 0.0)),
    ((2, 5, 6, 7, 8), (3, 4, 2), (2.0, 2.5, 7.0), (0.0, -2.5, 0.0)),
    ((1, 17, 4, 1, 40), (2, 1, 7), (3.0, 1.0, 1.5), (0.0, 0.0, 20.0)),
    ((1, 24, 5, 6), (6, 6), (1.0, 0.7), (0.0, 2.0)),
]


def problem(shape, grid, spacing, origin, dtype: torch.dtype = torch.float64, amplitude: float = 2.0):
    generator = torch.Generator().manual_seed(sum(shape))
    x = torch.randn(shape, generator=generator, dtype=torch.float64)
    control = amplitude * torch.randn(shape[0], len(grid), *grid, generator=generator, dtype=torch.float64)
    return x.to(dtype), control.to(dtype), list(spacing), list(origin)


def slow_displacement(control: np.ndarray, size, spacing, origin) -> np.ndarray:
    """By scipy's own cubic B-spline, with the control points at the edge repeated."""
    basis = BSpline.basis_element([-2, -1, 0, 1, 2], extrapolate=False)
    for axis, n in enumerate(size):
        points, repeat = control.shape[1 + axis], 80
        t = (np.arange(n) - origin[axis]) / spacing[axis]
        weight = np.nan_to_num(basis(t[:, None] - np.arange(-repeat, points + repeat)))
        padded = np.pad(control, [(repeat, repeat) if a == 1 + axis else (0, 0) for a in range(control.ndim)], "edge")
        control = np.moveaxis(np.tensordot(weight, padded, ((1,), (1 + axis,))), 0, 1 + axis)
    return control


@pytest.mark.parametrize(("shape", "grid", "spacing", "origin"), CASES, ids=str)
@pytest.mark.parametrize("padding", ["border", "constant"])
def test_equals_scipys_spline_and_scipys_sampling(shape, grid, spacing, origin, padding: str) -> None:
    x, control, spacing, origin = problem(shape, grid, spacing, origin)
    found = bspline_warp(x, control, spacing, origin, padding_mode=padding, fill=-3.0)
    for b in range(shape[0]):
        u = slow_displacement(control[b].numpy(), shape[2:], spacing, origin)
        at = np.indices(shape[2:]) + u
        for c in range(shape[1]):
            mode = "nearest" if padding == "border" else "grid-constant"
            expected = map_coordinates(x[b, c].numpy(), at, order=1, mode=mode, cval=-3.0)
            np.testing.assert_allclose(found[b, c].numpy(), expected, atol=1e-11)


def test_the_reference_displacement_equals_scipys_spline() -> None:
    _, control, spacing, origin = problem(*CASES[2])
    expected = slow_displacement(control[0].numpy(), (6, 7, 8), spacing, origin)
    np.testing.assert_allclose(displacement(control, (6, 7, 8), origin, spacing)[0].numpy(), expected, atol=1e-12)


@pytest.mark.parametrize("padding", ["border", "constant"])
@pytest.mark.parametrize(("shape", "grid", "spacing", "origin"), CASES, ids=str)
def test_nearest_takes_the_voxel_that_is_nearest(shape, grid, spacing, origin, padding: str) -> None:
    x, control, spacing, origin = problem(shape, grid, spacing, origin)
    labels = (10 * x).round().to(torch.int16)
    found = bspline_warp(labels, control, spacing, origin, "nearest", padding, fill=99)
    u = slow_displacement(control[0].numpy(), shape[2:], spacing, origin)
    at = np.floor(np.indices(shape[2:]) + u + 0.5).astype(int)
    most = np.array(shape[2:]).reshape(-1, *[1] * len(grid)) - 1
    outside = ((at < 0) | (at > most)).any(0) & (padding == "constant")
    expected = labels[0].numpy()[(slice(None), *np.clip(at, 0, most))]
    np.testing.assert_array_equal(found[0].numpy(), np.where(outside, 99, expected))


@pytest.mark.parametrize("dtype", [torch.bool, torch.uint8, torch.int32, torch.int64, torch.bfloat16, torch.float64])
def test_nearest_copies_values_of_every_dtype(dtype: torch.dtype) -> None:
    x, control, spacing, origin = problem(*CASES[0])
    x, control = (10 * x).abs().to(dtype), control.float()
    found = bspline_warp(x, control, spacing, origin, "nearest")
    wide = bspline_warp(x.double(), control, spacing, origin, "nearest")
    assert found.dtype == dtype
    assert torch.equal(found.double(), wide)


@pytest.mark.parametrize(
    ("mode", "dtype"),
    [
        ("nearest", torch.uint8),
        ("nearest", torch.float32),
        ("bilinear", torch.float32),
        ("bilinear", torch.float64),
    ],
    ids=str,
)
def test_no_displacement_changes_nothing(mode: str, dtype: torch.dtype) -> None:
    x = torch.arange(2 * 3 * 4 * 5 * 6).reshape(2, 3, 4, 5, 6).to(dtype)
    control = torch.zeros(1, 3, 2, 2, 2, dtype=torch.float64 if dtype == torch.float64 else torch.float32)
    for padding in ("border", "constant"):
        assert torch.equal(bspline_warp(x, control, (3, 4, 5), (0, 0, 0), mode, padding), x)


@pytest.mark.parametrize("channels", [1, 3, 5, 17, 24])
@pytest.mark.parametrize("mode", ["bilinear", "nearest"])
def test_float32_equals_float64_where_no_tie_is_near(channels: int, mode: str) -> None:
    x, control, spacing, origin = problem((2, channels, 13, 37), (4, 5), (4.0, 9.0), (0.0, 0.0), torch.float32)
    found = bspline_warp(x, control, spacing, origin, mode)
    expected = bspline_warp(x.double(), control.double(), spacing, origin, mode)
    wrong = (found.double() - expected).abs() > 1e-4
    assert wrong.double().mean() < (0 if mode == "bilinear" else 1e-3) + 1e-12


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_half_precision_is_computed_in_float32(dtype: torch.dtype) -> None:
    x, control, spacing, origin = problem(*CASES[0], dtype=torch.float32)
    x = x.to(dtype)
    expected = bspline_warp(x.float(), control, spacing, origin).to(dtype)
    assert torch.equal(bspline_warp(x, control, spacing, origin), expected)


@pytest.mark.parametrize("mode", ["bilinear", "nearest"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64], ids=str)
def test_strides_do_not_matter(mode: str, dtype: torch.dtype) -> None:
    x, control, spacing, origin = problem(*CASES[2])
    x, control = x.to(dtype), control.to(torch.float64 if dtype == torch.float64 else torch.float32)
    expected = bspline_warp(x, control, spacing, origin, mode)
    for strided in (
        x.contiguous(memory_format=torch.channels_last_3d),
        x.mT.contiguous().mT,
        x.repeat(1, 2, 1, 1, 1)[:, :5],
    ):
        assert torch.equal(bspline_warp(strided, control, spacing, origin, mode), expected)
    twisted = control.transpose(1, 2).contiguous().transpose(1, 2)
    assert torch.equal(bspline_warp(x, twisted, spacing, origin, mode), expected)


def test_one_control_grid_serves_the_whole_batch() -> None:
    x, control, spacing, origin = problem(*CASES[2])
    expected = bspline_warp(x, control[:1].expand(2, -1, -1, -1, -1), spacing, origin)
    assert torch.equal(bspline_warp(x, control[:1], spacing, origin), expected)


def test_empty_batches_and_channels() -> None:
    _, control, spacing, origin = problem(*CASES[0])
    for shape in ((0, 3, 9, 12), (2, 0, 9, 12)):
        assert bspline_warp(torch.zeros(shape, dtype=torch.float64), control[:1], spacing, origin).shape == shape


def test_displacements_that_are_no_number_read_the_first_voxel() -> None:
    x = torch.arange(12.0).reshape(1, 1, 3, 4)
    control = torch.full((1, 2, 2, 2), torch.nan)
    assert not bspline_warp(x, control, (2, 3), (0, 0)).any()


def test_compiled_code_ran(compiled: None) -> None:
    x, control, spacing, origin = problem(*CASES[0])
    bspline_warp(x, control, spacing, origin)
    assert last_backend("bspline_warp") == "cpu:generic64"
    bspline_warp(x.float().requires_grad_(), control.float(), spacing, origin).sum().backward()
    assert last_backend("bspline_warp").startswith("cpu:")
    assert last_backend("bspline_warp_backward") == "cpu:generic"


ISA_CODE = """
import hashlib, torch
from medseg.ops import bspline_warp, last_backend
g = torch.Generator().manual_seed(0)
x, c = torch.randn(1, 2, 9, 20, 37, generator=g), torch.randn(1, 3, 3, 4, 5, generator=g)
h = hashlib.sha1()
for mode in ("bilinear", "nearest"):
    for padding in ("border", "constant"):
        h.update(bspline_warp(x, c, (4, 6, 8), (0, 0, 0), mode, padding).numpy().tobytes())
print(last_backend("bspline_warp"), h.hexdigest())
"""


def test_every_instruction_set_gives_the_same_bits(compiled: None) -> None:
    found = {}
    for isa in ("generic", "avx2", "avx512"):
        done = run_python(ISA_CODE, MEDSEG_ISA=isa, MEDSEG_OPS="", OMP_NUM_THREADS="1")
        if "does not support" in done.stderr:
            continue
        backend, digest = done.stdout.split()
        assert backend == f"cpu:{isa}"
        found[isa] = digest
    assert len(set(found.values())) == 1


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_the_thread_count_does_not_change_a_bit(compiled: None, dtype: torch.dtype) -> None:
    x, control, spacing, origin = problem((2, 3, 24, 25, 26), (3, 3, 3), (12, 12, 12), (0, 0, 0), dtype)
    threads, results = torch.get_num_threads(), []
    try:
        for count in (1, 2, 5):
            torch.set_num_threads(count)
            leaves = [x.clone().requires_grad_(), control[:1].clone().requires_grad_()]
            out = bspline_warp(*leaves, spacing, origin)
            results.append((out.detach(), *torch.autograd.grad(out.square().sum(), leaves)))
    finally:
        torch.set_num_threads(threads)
    for other in results[1:]:
        assert all(torch.equal(a, b) for a, b in zip(results[0], other, strict=True))


BAD = [
    ({"x": torch.zeros(3, 4)}, ValueError, "x has shape [3, 4]; expected [B, C, H, W] or [B, C, D, H, W]"),
    ({"control": torch.zeros(3, 2, 2, 2)}, ValueError, "control has shape [3, 2, 2, 2]; expected [1 or 2, 2, *grid]"),
    ({"control": torch.zeros(1, 3, 2, 2)}, ValueError, "control has shape [1, 3, 2, 2]; expected [1 or 2, 2, *grid]"),
    ({"spacing": (2.0, 0.0)}, ValueError, "spacing is [2.0, 0.0]; expected 2 numbers of voxels above 0"),
    ({"spacing": (2.0,)}, ValueError, "spacing is [2.0]; expected 2 numbers of voxels above 0"),
    ({"origin": (0.0, float("nan"))}, ValueError, "origin is [0.0, nan]; expected 2 voxel coordinates"),
    ({"mode": "cubic"}, ValueError, "mode is 'cubic'; expected one of bilinear, nearest"),
    ({"padding_mode": "wrap"}, ValueError, "padding_mode is 'wrap'; expected one of border, constant"),
    ({"control": torch.zeros(1, 2, 2, 2).half()}, TypeError, "control is torch.float16; expected float32 or float64"),
    (
        {"x": torch.zeros(2, 1, 4, 4).int()},
        TypeError,
        "x is torch.int32; expected torch.float32 as control, or mode 'nearest' for label maps",
    ),
    (
        {"x": torch.zeros(2, 1, 4, 4).byte(), "mode": "nearest", "fill": -1.0},
        ValueError,
        "fill is -1.0 for x of torch.uint8; expected an integer from 0 to 255",
    ),
]


@pytest.mark.parametrize(("change", "kind", "message"), BAD, ids=[message[:40] for *_, message in BAD])
def test_what_does_not_fit_is_named(change: dict, kind: type[Exception], message: str) -> None:
    good: dict = {"x": torch.zeros(2, 1, 4, 4), "control": torch.zeros(1, 2, 2, 2), "spacing": (2, 2), "origin": (0, 0)}
    with pytest.raises(kind) as caught:
        bspline_warp(**{**good, **change})
    assert str(caught.value) == f"bspline_warp: {message}"


def test_a_wrong_direct_call_does_not_read_out_of_bounds(compiled: None) -> None:
    x, control = torch.zeros(2, 1, 4, 4), torch.zeros(2, 3, 2, 2)
    with pytest.raises(RuntimeError, match=r"control must be \[B or 1, d, \*G\]"):
        torch.ops.medseg.bspline_warp(x, control, [0.0, 0.0], [2.0, 2.0], False, True, 0.0)


def reference_of(x: Tensor, control: Tensor) -> Tensor:
    from medseg.ops._bspline_warp_reference import reference_bspline_warp

    return reference_bspline_warp(x, control, [0.0, 0.0], [3.0, 3.0], False, True, 0.0)


def test_the_reference_equals_the_op() -> None:
    x, control, _, _ = problem((2, 3, 9, 12), (4, 5), (3.0, 3.0), (0.0, 0.0))
    torch.testing.assert_close(reference_of(x, control), bspline_warp(x, control, (3, 3), (0, 0)), rtol=0, atol=1e-12)
