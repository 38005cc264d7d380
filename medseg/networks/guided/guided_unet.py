"""The guided U-Net: a U-Net with instance normalisation, guided by histograms and a guide map."""

from __future__ import annotations

from collections.abc import Sequence

from medseg.layers.named import Dropout, Named
from medseg.networks.guided.guided_net import GuidedNet
from medseg.networks.models.unet2015 import UNet2015
from medseg.networks.parts.plug_in import PLAIN
from medseg.networks.registry import register

__all__ = ["GuidedUNet"]


@register("guided_unet")
class GuidedUNet(GuidedNet):
    """A `GuidedNet` of a U-Net with padding and instance normalisation: both branches, on all levels but the finest.

    With 64 to 1024 channels the appearance branch predicts 2 * (128 + 256 + 512 + 1024) = 3840 scales. The combination
    of conditional scales per channel and a spatial bias is that of Yang et al. (2018,
    https://arxiv.org/abs/1802.01218).

    Args:
        spatial_dims: 2 or 3.
        in_channels: channels of the image, for instance three neighbouring slices.
        out_channels: classes.
        channels: channels of the levels, finest first.
        appearance: see `GuidedNet`.
        spatial: see `GuidedNet`.
        after_affine: see `GuidedNet`.
        act: activation after each convolution.
        norm: normalisation before each activation.
        dropout: dropout after the two lowest levels, or None.
        down: how maps are halved, see `PlugIn`; a spatial branch cannot be combined with ``"sparse"``.
        conv: type of the convolutions, see `PlugIn`.

    Raises:
        ValueError: for values that do not exist or cannot be combined.

    Example:
        >>> net = GuidedUNet(2, in_channels=3, out_channels=2, channels=(4, 6, 8))
        >>> guidance = Guidance(appearance=torch.full((1, 2, 1, 100), 0.01))
        >>> net(torch.randn(1, 3, 32, 32), guidance=guidance).shape
        torch.Size([1, 2, 32, 32])
    """

    def __init__(
        self,
        spatial_dims: int = 2,
        in_channels: int = 3,
        out_channels: int = 3,
        channels: Sequence[int] = (64, 128, 256, 512, 1024),
        appearance: Named | None = "fc",
        spatial: Named | None = "linear",
        after_affine: bool = False,
        act: Named = "relu",
        norm: Named | None = ("instance", {"affine": True}),
        dropout: Dropout = None,
        down: Named = "max",
        conv: Named = PLAIN,
    ) -> None:
        unet = UNet2015(
            spatial_dims, in_channels, out_channels, channels, "same", act, norm, dropout, down=down, conv=conv
        )
        side = 2 << len(channels)  # 4 voxels along each axis at the lowest level
        super().__init__(unet, appearance, spatial, None, after_affine, (in_channels, *(side,) * spatial_dims))
