"""Common base of the adaptive layer and its dense equivalent: a root convolution and the parameters of N rounds."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from medseg._arguments import checked_arguments
from medseg.layers.active_norm import ActiveNorm
from medseg.layers.keep_metadata import keep_metadata
from medseg.layers.map_check import check_map
from medseg.layers.named import Named, split_named

__all__ = ["MODES", "ConvRounds", "DenseConvRounds"]

MODES = ("replace", "sum", "parallel")


@checked_arguments
class ConvRounds(nn.Module):
    """Parameters of ``y_0 = W_0 * x`` followed by N rounds ``z_r = act(norm(W_r * y + b_r))`` with equal channels.

    This is a base class: `QuadtreeConv` runs every round inside its active blocks, `DenseConvRounds` runs it
    everywhere. Both have the same state dictionary.

    Args:
        spatial_dims: 2 or 3.
        in_channels: channels of the input.
        out_channels: channels of the output and of all rounds.
        rounds: number of rounds, at least 1.
        kernel_size: side of the kernels of the rounds, 1, 3 or 5; padding keeps the size.
        mode: ``"sum"`` adds z_r to y_{r-1}, ``"replace"`` replaces y_{r-1} by z_r, ``"parallel"`` adds z_r, and every
            round reads y_0.
        root_kernel: side of the root kernel W_0 (1, 3 or 5), which runs on the whole map; None: y_0 = x. Required if
            the numbers of channels differ. It has no normalisation or activation.
        act: ``"relu"``, ``"leakyrelu"``, ``("leakyrelu", {"negative_slope": ...})`` or None.
        norm: None, ``"batch"`` or ``"instance"``, or a pair with options, see `ActiveNorm`.
        bias: whether the root kernel and the rounds have a bias.

    Raises:
        ValueError: for other values.

    Example:
        >>> rounds = ConvRounds(2, in_channels=3, out_channels=8, rounds=2, root_kernel=1)
        >>> rounds.kernels().shape
        torch.Size([2, 8, 8, 3, 3])
        >>> rounds.dense_macs((16, 16))
        301056
    """

    def __init__(
        self,
        spatial_dims: int,
        in_channels: int,
        out_channels: int,
        rounds: int = 3,
        kernel_size: int = 3,
        mode: str = "sum",
        root_kernel: int | None = None,
        act: Named | None = "relu",
        norm: Named | None = None,
        bias: bool = True,
    ) -> None:
        super().__init__()
        name = type(self).__name__
        _check_choice(name, "spatial_dims", spatial_dims, (2, 3))
        _check_choice(name, "kernel_size", kernel_size, (1, 3, 5))
        _check_choice(name, "mode", mode, MODES)
        if rounds < 1:
            raise ValueError(f"{name}: rounds is {rounds}; expected at least 1")
        if root_kernel is not None:
            _check_choice(name, "root_kernel", root_kernel, (1, 3, 5))
        elif in_channels != out_channels:
            raise ValueError(
                f"{name}: {in_channels} channels in and {out_channels} out need a root kernel; "
                "set root_kernel=1 (cheap) or 3"
            )
        self.spatial_dims, self.in_channels, self.out_channels = spatial_dims, in_channels, out_channels
        self.rounds, self.kernel_size, self.mode, self.root_kernel = rounds, kernel_size, mode, root_kernel
        self.activation, self.slope = _parse_act(name, act)
        self.root_conv = _root(spatial_dims, in_channels, out_channels, root_kernel, bias)
        # Kernels of all rounds stacked as in a single convolution, so that `Module.to` can change the memory format.
        self.weight = nn.Parameter(torch.empty(rounds * out_channels, out_channels, *(kernel_size,) * spatial_dims))
        self.bias = nn.Parameter(torch.empty(rounds, out_channels)) if bias else None
        self.norm = ActiveNorm(norm, rounds, out_channels)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draws the kernels and biases of the rounds as torch does for a convolution."""
        bound = 1 / math.sqrt(self.out_channels * self.kernel_size**self.spatial_dims)
        nn.init.uniform_(self.weight, -bound, bound)
        if self.bias is not None:
            nn.init.uniform_(self.bias, -bound, bound)

    def kernels(self) -> Tensor:
        """The kernels ``[R, C, C, k, ...]`` of the rounds, a view of ``weight``."""
        return self.weight.unflatten(0, (self.rounds, self.out_channels))

    def check_input(self, x: Tensor) -> None:
        """Raises a ValueError unless x is ``[B, in_channels, *S]`` with ``spatial_dims`` spatial axes."""
        if x.ndim != self.spatial_dims + 2 or x.shape[1] != self.in_channels:
            axes = "H, W" if self.spatial_dims == 2 else "D, H, W"
            raise ValueError(
                f"{type(self).__name__}: x has shape {list(x.shape)}; expected [B, {self.in_channels}, {axes}]"
            )

    def dense_macs(self, size: tuple[int, ...]) -> int:
        """Multiply-adds of root kernel and rounds on one map of spatial size ``size`` if all positions are active."""
        return self.root_macs(size) + self.rounds * self.round_macs(size)

    def root_macs(self, size: tuple[int, ...]) -> int:
        """Multiply-adds of the root kernel on one map; 0 if there is none."""
        side = self.root_kernel or 0
        return math.prod(size) * side**self.spatial_dims * self.in_channels * self.out_channels

    def round_macs(self, size: tuple[int, ...]) -> int:
        """Multiply-adds of one round on a whole map."""
        return math.prod(size) * self.kernel_size**self.spatial_dims * self.out_channels**2

    def extra_repr(self) -> str:
        """The settings of the layer, for ``print``."""
        return (
            f"{self.in_channels}, {self.out_channels}, rounds={self.rounds}, kernel_size={self.kernel_size}, "
            f"mode={self.mode}, root_kernel={self.root_kernel}, act={self.activation}"
        )


class DenseConvRounds(ConvRounds):
    """The dense equivalent of `QuadtreeConv`: the same rounds with the same parameters, on the whole map.

    It computes the result of a `QuadtreeConv` with budget 1, with torch's convolutions, and serves as a baseline. The
    arguments are those of `ConvRounds`.

    Example:
        >>> layer = DenseConvRounds(2, in_channels=3, out_channels=8, rounds=2, root_kernel=1)
        >>> layer(torch.randn(1, 3, 16, 16)).shape
        torch.Size([1, 8, 16, 16])
    """

    @keep_metadata
    def forward(self, x: Tensor) -> Tensor:
        """Applies the root kernel and the rounds.

        Args:
            x: ``[B, in_channels, *S]``.

        Returns:
            ``[B, out_channels, *S]``.
        """
        self.check_input(x)
        check_map("DenseConvRounds", x, self)
        convolve = F.conv2d if self.spatial_dims == 2 else F.conv3d
        y = first = x if self.root_conv is None else self.root_conv(x)
        for r in range(self.rounds):
            bias = None if self.bias is None else self.bias[r]
            z = convolve(
                first if self.mode == "parallel" else y, self.kernels()[r], bias, padding=self.kernel_size // 2
            )
            z = self._activate(self._normalise(z, r))
            y = z if self.mode == "replace" else y + z
        return y

    def _normalise(self, z: Tensor, r: int) -> Tensor:
        norm = self.norm
        scale, shift = (None, None) if norm.scale is None or norm.shift is None else (norm.scale[r], norm.shift[r])
        if norm.kind == "batch":
            mean, variance = norm.running_mean[r], norm.running_var[r]
            return F.batch_norm(z, mean, variance, scale, shift, self.training, norm.momentum, norm.eps)
        if norm.kind == "instance":
            return F.instance_norm(z, None, None, scale, shift, True, 0.0, norm.eps)
        return z

    def _activate(self, z: Tensor) -> Tensor:
        if self.activation is None:
            return z
        return F.relu(z) if self.activation == "relu" else F.leaky_relu(z, self.slope)


def _check_choice(layer: str, name: str, value: object, choices: tuple[object, ...]) -> None:
    if value not in choices:
        raise ValueError(f"{layer}: {name} is {value!r}; expected {', '.join(map(repr, choices))}")


def _parse_act(layer: str, act: Named | None) -> tuple[str | None, float]:
    if act is None:
        return None, 0.0
    name, options = split_named(layer, "act", act)
    if name == "relu":
        options.pop("inplace", None)
        slope = 0.0
    elif name == "leakyrelu":
        options.pop("inplace", None)
        slope = float(options.pop("negative_slope", 0.01))
    else:
        raise ValueError(f"{layer}: act is {name!r}; the fused rounds have 'relu', 'leakyrelu' or None")
    if options:
        raise ValueError(f"{layer}: act {name!r} has no option {', '.join(options)}")
    return name, slope


def _root(
    spatial_dims: int, in_channels: int, out_channels: int, side: int | None, bias: bool
) -> nn.Conv2d | nn.Conv3d | None:
    if side is None:
        return None
    convolution = nn.Conv2d if spatial_dims == 2 else nn.Conv3d
    return convolution(in_channels, out_channels, side, padding=side // 2, bias=bias)
