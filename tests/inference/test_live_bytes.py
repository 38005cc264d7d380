"""Bytes that a pass of a network holds: counted by hand, the same without torch's compiler, and quickly."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

import medseg.inference._live_bytes as module
from medseg.inference._live_bytes import LiveBytes
from medseg.networks import create

BUNDLES = Path(__file__).resolve().parents[2] / "bundles"


def test_a_chain_of_two_holds_input_and_output_of_a_step_at_a_time() -> None:
    with torch.no_grad(), LiveBytes() as live:
        first = torch.empty(10, device="meta")
        second = first * 2
        del first
        third = second * 2
        del second
    assert (live.now, live.peak) == (40, 80)
    assert third.shape == (10,)


@pytest.mark.parametrize("layer", [nn.InstanceNorm2d(3), nn.BatchNorm2d(3), nn.PReLU(3)])
def test_short_forms_of_operators_allocate_what_torch_allocates(
    layer: nn.Module, monkeypatch: pytest.MonkeyPatch
) -> None:
    image, layer = torch.empty(2, 3, 8, 8, device="meta"), layer.to("meta").eval()

    def counted() -> tuple[int, int, torch.Size]:
        with torch.no_grad(), LiveBytes() as live:
            result = layer(image)
        return live.now, live.peak, result.shape

    short = counted()
    monkeypatch.setattr(module, "_WITHOUT_NUMBERS", {})
    assert short[2] == counted()[2] == image.shape
    assert short[0] == counted()[0]


def test_joined_tensors_have_the_shape_of_torch() -> None:
    parts = [torch.empty(2, n, 5, device="meta") for n in (1, 4)]
    with LiveBytes() as live:
        joined = torch.cat(parts, 1)
        assert torch.cat(parts, -2).shape == joined.shape == (2, 5, 5)
    assert live.peak == 2 * joined.numel() * 4


def test_real_tensors_keep_their_numbers() -> None:
    torch.manual_seed(0)
    network = create("mobilenet_unet", spatial_dims=2, in_channels=1, out_channels=2).eval()
    image = torch.rand(1, 1, 64, 64)
    with torch.no_grad():
        expected = network(image)
        with LiveBytes() as live:
            torch.testing.assert_close(network(image), expected, rtol=0, atol=0)
    assert live.peak > expected.numel() * 4


@pytest.mark.parametrize("name", ["lits_liver_segmentation", "lidc_nodule_segmentation"])
def test_planning_a_case_of_a_bundle_does_not_import_the_compiler(name: str) -> None:
    code = f"""
import sys, numpy as np
from medseg.inference import read_bundle, read_case
from medseg.inference.memory import plan_memory
case = read_case(np.zeros((40, 40, 20), np.int16), affine_ras=np.eye(4))
assert plan_memory(read_bundle({str(BUNDLES / name)!r}), case).stages["network"] > 10**7
print("torch._dynamo" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True)
    assert done.stdout.strip() == "False", done.stderr
