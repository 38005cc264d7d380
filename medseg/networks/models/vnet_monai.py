"""MONAI's VNet in the registry, with clear messages about its limits."""

from __future__ import annotations

from monai.networks.nets import VNet as _VNet
from torch import Tensor

from medseg.layers.named import Named
from medseg.networks.parts.image_check import check_image, takes_images
from medseg.networks.registry import register

__all__ = ["MonaiVNet"]


_FIXED = "its layers are MONAI's; medseg.networks.adapt replaces them, and 'vnet' takes this argument"


@register("vnet_monai", without={"down": _FIXED, "conv": _FIXED})
class MonaiVNet(_VNet):
    """`monai.networks.nets.VNet` unchanged; 45,593,892 parameters with one input channel and one class in 3-D.

    It differs from the V-Net of the paper (`medseg.networks.VNet`) in stages, normalisation and activation. It does not
    have the arguments ``down`` and ``conv``; `medseg.networks.adapt` can make it adaptive.

    Args:
        spatial_dims: 2 or 3.
        in_channels: channels of the image: 1, 2, 4, 8 or 16.
        out_channels: classes.
        act: activation, in MONAI's form.
        dropout: dropout probability in both paths and in the skips.
        bias: whether the convolutions of the contracting path have a bias.

    Raises:
        ValueError: for values that MONAI's network does not accept.

    Example:
        >>> net = MonaiVNet(2, in_channels=1, out_channels=2).eval()
        >>> net(torch.randn(1, 1, 32, 32)).shape
        torch.Size([1, 2, 32, 32])
    """

    def __init__(
        self,
        spatial_dims: int = 3,
        in_channels: int = 1,
        out_channels: int = 1,
        act: Named = ("elu", {"inplace": True}),
        dropout: float = 0.5,
        bias: bool = False,
    ) -> None:
        if spatial_dims not in (2, 3):
            raise ValueError(f"vnet_monai: spatial_dims is {spatial_dims}; expected 2 or 3")
        if in_channels < 1 or 16 % in_channels:
            raise ValueError(f"vnet_monai: in_channels is {in_channels}; expected 1, 2, 4, 8 or 16, or use 'vnet'")
        super().__init__(
            spatial_dims,
            in_channels,
            out_channels,
            act,
            dropout_prob_down=dropout,
            dropout_prob_up=(dropout, dropout),
            dropout_dim=spatial_dims,
            bias=bias,
        )
        self.spatial_dims, self.in_channels = spatial_dims, in_channels

    @takes_images
    def encode(self, x: Tensor) -> list[Tensor]:
        """The results of the stages of the contracting path, from high to low resolution."""
        check_image("vnet_monai", x, self.spatial_dims, self.in_channels, 16, network=self)
        maps = [self.in_tr(x)]
        for stage in (self.down_tr32, self.down_tr64, self.down_tr128, self.down_tr256):
            maps.append(stage(maps[-1]))
        return maps

    @takes_images
    def forward(self, x: Tensor) -> Tensor:
        """Segments.

        Args:
            x: image ``[B, in_channels, *S]``; every side is a multiple of 16.

        Returns:
            Logits ``[B, out_channels, *S]``.

        Raises:
            ValueError: for channels or sizes that do not match.
        """
        check_image("vnet_monai", x, self.spatial_dims, self.in_channels, 16, network=self)
        return super().forward(x)
