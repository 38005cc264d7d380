"""The emulation itself: what it computes for shuffles, votes, shared memory, 16-bit floats and matrix fragments."""

from __future__ import annotations

import ctypes
import subprocess
import sys

import pytest
import torch

from tests.cuda_emulation._emulation import Emulation, pointer


def _call(emulation: Emulation, name: str, *arguments: object) -> None:
    wrapped = (pointer(a) if isinstance(a, torch.Tensor) else ctypes.c_int64(a) for a in arguments)
    getattr(emulation.library, f"emu_probe_{name}")(*wrapped)


def test_shuffles_sum_over_a_warp(emulation: Emulation) -> None:
    x = torch.arange(128.0)
    across, down, first = torch.empty(128), torch.empty(4), torch.empty(128)
    _call(emulation, "warp_sums", x, across, down, first, 2)
    sums = x.reshape(4, 32).sum(1)
    assert torch.equal(across, sums.repeat_interleave(32))
    assert torch.equal(down, sums)
    assert torch.equal(first, x[::32].repeat_interleave(32))


def test_a_ballot_has_one_bit_for_every_lane(emulation: Emulation) -> None:
    x = torch.randn(128, generator=torch.Generator().manual_seed(0))
    votes = torch.empty(4, dtype=torch.int32)
    _call(emulation, "ballot", x, votes, 2)
    bits = votes[:, None] >> torch.arange(32) & 1
    assert torch.equal(bits.bool(), (x > 0).reshape(4, 32))


def test_dynamic_shared_memory_belongs_to_a_block(emulation: Emulation) -> None:
    x = torch.arange(192.0)
    out = torch.empty(192)
    _call(emulation, "reverse", x, out, 3)
    assert torch.equal(out, x.reshape(3, 64).flip(1).flatten())


@pytest.mark.parametrize(("dtype", "suffix"), [(torch.bfloat16, "bf16"), (torch.float16, "f16")])
@pytest.mark.parametrize("columns", [0, 1])
def test_fragments_multiply_matrices(emulation: Emulation, dtype: torch.dtype, suffix: str, columns: int) -> None:
    generator = torch.Generator().manual_seed(1)
    a, b = (torch.randn(16, 16, generator=generator).to(dtype) for _ in range(2))
    c = torch.empty(16, 16)
    _call(emulation, f"product_{suffix}", columns, a, b, c)
    torch.testing.assert_close(c, a.float() @ b.float(), rtol=0, atol=1e-4)


def test_16_bit_floats_round_as_pytorch_does(library: Emulation) -> None:
    exponents = torch.arange(-30.0, 20.0)
    fractions = torch.cat([torch.linspace(1, 2, 97), 1 + torch.tensor([1.0, 3.0, 5.0]) / 2048])
    x = torch.cat([(2**exponents)[:, None] * fractions, -(2**exponents)[:, None] * fractions]).flatten()
    x = torch.cat([x, torch.tensor([0.0, -0.0, torch.inf, -torch.inf, 65519.0, 65520.0])])
    bfloats, halves, back = x.new_empty(x.shape, dtype=torch.bfloat16), x.half(), torch.empty_like(x)
    expected = halves.clone()
    _call(library, "round", x, x.numel(), bfloats, halves.zero_(), back)
    assert torch.equal(bfloats, x.bfloat16())
    assert torch.equal(halves, expected)
    assert torch.equal(back, expected.float())


@pytest.mark.parametrize(
    ("call", "message"),
    [
        ("emu_probe_divergence(floats)", "different barriers"),
        ("emu_probe_misalignment(ctypes.byref(floats, 4), floats)", "not aligned"),
    ],
)
def test_a_fault_that_hardware_would_hide_ends_the_program(library: Emulation, call: str, message: str) -> None:
    code = f"import ctypes; floats = (ctypes.c_float * 64)(); ctypes.CDLL({library.path!r}).{call}"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode != 0
    assert message in done.stderr
