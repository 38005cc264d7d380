"""AutocastInferer: bfloat16 in the network, float32 around it."""

from __future__ import annotations

import torch
from monai.inferers import SimpleInferer
from torch import Tensor, nn

from medseg.training.autocast_inferer import AutocastInferer


class Watched(nn.Module):
    """A convolution that notes the type of its result."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 2, 3)
        self.seen: list[torch.dtype] = []

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.conv(x)
        self.seen.append(y.dtype)
        return y


def test_the_network_computes_in_bfloat16_and_the_result_and_gradients_are_float32() -> None:
    network = Watched()
    image = torch.rand(2, 1, 8, 8)
    result = AutocastInferer(SimpleInferer(), enabled=True)(image, network)
    assert network.seen == [torch.bfloat16]
    assert result.dtype == torch.float32
    torch.testing.assert_close(result, network.conv(image), atol=2e-2, rtol=2e-2)
    result.sum().backward()
    assert network.conv.weight.grad is not None and network.conv.weight.grad.dtype == torch.float32


def test_without_it_nothing_changes() -> None:
    network = Watched()
    image = torch.rand(2, 1, 8, 8)
    assert torch.equal(AutocastInferer(SimpleInferer(), enabled=False)(image, network), network.conv(image))
    assert network.seen == [torch.float32]
