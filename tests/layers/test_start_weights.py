"""How new weights are drawn: deviation by the number of inputs or outputs, biases of 0, and what is left alone."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from medseg.layers.start_weights import start_weights


@pytest.mark.parametrize(
    ("layer", "fan", "expected"),
    [
        (nn.Conv2d(60, 200, 3), "fan_out", 200 * 9),
        (nn.Conv2d(60, 200, 3), "fan_in", 60 * 9),
        (nn.Conv3d(30, 40, (3, 3, 1)), "fan_in", 30 * 9),
        (nn.Conv1d(100, 200, 3), "fan_in", 100 * 3),
        (nn.ConvTranspose2d(200, 100, 2, stride=2), "fan_in", 200),
        (nn.ConvTranspose3d(60, 30, 4, stride=2), "fan_in", 60 * 8),
    ],
)
def test_kernels_have_variance_two_by_fan_and_biases_are_zero(layer: nn.Module, fan: str, expected: int) -> None:
    torch.manual_seed(0)
    start_weights(nn.Sequential(layer), fan)
    weight, deviation = layer.weight.detach(), math.sqrt(2 / expected)
    # The deviation of n draws differs from the true one by about 1 / sqrt(2 n): 0.7 % here, and less.
    assert float(weight.std()) == pytest.approx(deviation, rel=0.03)
    assert abs(float(weight.mean())) < 0.03 * deviation
    assert not layer.bias.any()


def test_linear_layers_have_the_deviation_that_is_asked_for_or_stay() -> None:
    torch.manual_seed(0)
    layer = nn.Linear(200, 100)
    before = layer.weight.detach().clone()
    start_weights(layer, linear_std=None)
    assert torch.equal(layer.weight, before) and layer.bias.any()
    start_weights(layer)
    assert float(layer.weight.detach().std()) == pytest.approx(0.01, rel=0.03) and not layer.bias.any()


def test_norms_and_up_convolutions_of_fan_out_stay() -> None:
    net = nn.Sequential(nn.ConvTranspose2d(3, 4, 2, stride=2), nn.BatchNorm2d(4))
    nn.init.constant_(net[1].weight, 0.3)
    before = {key: value.clone() for key, value in net.state_dict().items()}
    start_weights(net)
    assert all(torch.equal(value, before[key]) for key, value in net.state_dict().items())
