"""How the weights of a new network are drawn."""

from __future__ import annotations

import math

from torch import nn

__all__ = ["start_weights"]

_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
_TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)


def start_weights(net: nn.Module, fan: str = "fan_out", linear_std: float | None = 0.01) -> None:
    """Draws the convolutions and linear layers of a network for ReLU (He et al. 2015); all biases become 0.

    Kernels are normal with variance ``2 / fan``. Everything else, such as scales of normalisations, stays as it is.

    Args:
        net: the network, or a single layer.
        fan: ``"fan_out"``: output channels times kernel size (the ResNet and MobileNet way); ``"fan_in"``: the number
            of values that one output sums (the U-Net way). Transposed convolutions are drawn with ``"fan_in"`` only.
        linear_std: standard deviation of the weights of linear layers; None leaves linear layers as they are.
    """
    for module in net.modules():
        if isinstance(module, _CONVOLUTIONS):
            nn.init.kaiming_normal_(module.weight, mode=fan, nonlinearity="relu")
        elif isinstance(module, _TRANSPOSED) and fan == "fan_in":
            # An output of an up-convolution of side 2 and stride 2 sums one value per channel.
            taps = math.prod(max(1, k // s) for k, s in zip(module.kernel_size, module.stride, strict=True))
            nn.init.normal_(module.weight, std=math.sqrt(2 / (module.in_channels // module.groups * taps)))
        elif isinstance(module, nn.Linear) and linear_std is not None:
            nn.init.normal_(module.weight, std=linear_std)
        else:
            continue
        if module.bias is not None:
            nn.init.zeros_(module.bias)
