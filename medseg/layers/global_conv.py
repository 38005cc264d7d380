"""Global convolution: large kernels as products of one-dimensional kernels."""

from __future__ import annotations

from monai.networks.layers.factories import Conv
from torch import Tensor, nn

from medseg._arguments import checked_arguments
from medseg.layers.keep_metadata import keep_metadata
from medseg.layers.map_check import check_map

__all__ = ["GlobalConv"]


@checked_arguments
class GlobalConv(nn.Module):
    """A k x k convolution as the sum of two separable ones (Peng et al. 2017, https://arxiv.org/abs/1703.02719).

    One branch has a k x 1 and then a 1 x k convolution, the other a 1 x k and then a k x 1 convolution, without
    normalisation or activation between them. The cost grows with k, not with k^2. In 3-D (not in the paper) there are
    three branches; each starts with another axis, and the axes follow in cyclic order.

    Args:
        spatial_dims: 2 or 3.
        in_channels: channels of the input.
        out_channels: channels of the result, and between the two convolutions of a branch.
        kernel_size: k, an odd number.
        bias: whether every convolution has a bias.

    Raises:
        ValueError: for other values.

    Example:
        >>> layer = GlobalConv(spatial_dims=2, in_channels=8, out_channels=3, kernel_size=7)
        >>> layer(torch.randn(1, 8, 16, 16)).shape
        torch.Size([1, 3, 16, 16])
    """

    def __init__(
        self, spatial_dims: int, in_channels: int, out_channels: int, kernel_size: int = 7, bias: bool = True
    ) -> None:
        super().__init__()
        if spatial_dims not in (2, 3):
            raise ValueError(f"GlobalConv: spatial_dims is {spatial_dims}; expected 2 or 3")
        if kernel_size < 1 or kernel_size % 2 == 0:
            raise ValueError(f"GlobalConv: kernel_size is {kernel_size}; expected an odd number")
        self.spatial_dims, self.in_channels = spatial_dims, in_channels
        branches = []
        for start in range(spatial_dims):
            lines: list[nn.Module] = []
            for i in range(spatial_dims):
                axis = (start + i) % spatial_dims
                kernel = tuple(kernel_size if a == axis else 1 for a in range(spatial_dims))
                padding = tuple(side // 2 for side in kernel)
                channels = in_channels if i == 0 else out_channels
                lines.append(Conv["conv", spatial_dims](channels, out_channels, kernel, padding=padding, bias=bias))
            branches.append(nn.Sequential(*lines))
        self.branches = nn.ModuleList(branches)

    @keep_metadata
    def forward(self, x: Tensor) -> Tensor:
        """``[B, in_channels, *S]`` to ``[B, out_channels, *S]``."""
        if x.ndim != self.spatial_dims + 2 or x.shape[1] != self.in_channels:
            raise ValueError(
                f"GlobalConv: input has shape {list(x.shape)}; expected [B, {self.in_channels}, *S] with "
                f"{self.spatial_dims} spatial axes"
            )
        check_map("GlobalConv", x, self)
        y = self.branches[0](x)
        for branch in self.branches[1:]:
            y = y + branch(x)
        return y
