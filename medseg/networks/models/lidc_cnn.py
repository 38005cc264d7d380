"""The plain CNN of the LIDC study, in which sparse downsampling can replace the poolings."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from torch import Tensor, nn

from medseg.layers.named import Dropout, Named, dropout_layer
from medseg.layers.quadtree_conv import AnyPlan
from medseg.networks.parts.conv_norm_act import conv_norm_act
from medseg.networks.parts.image_check import check_image, takes_images
from medseg.networks.parts.plug_in import PlugIn
from medseg.networks.registry import register

__all__ = ["LIDCNet"]

CHANNELS = {2: (8, 8, 16, 24, 32, 48), 3: (8, 16, 24, 32)}
HEADS = ("mean", "max")


@register("lidc_cnn")
class LIDCNet(nn.Module):
    """Stages of 3^d convolution, norm, activation, halving; then mean or maximum of the last map and a linear layer.

    It is the baseline of the benign / malignant study on nodule crops: six halvings of 128 x 128 voxels, or four of
    32^3. ``down="4sd-2max"`` or ``"6sd"`` gives the CNN with four or six sparse downsamplings,
    ``"max-max-sd-sd-max-max"`` (3-D: ``"max-sd-sd-max"``) the recommended placement, and ``conv=("quadtree", {...})``
    the same network with adaptive convolutions.

    Args:
        spatial_dims: 2 or 3.
        in_channels: channels of the crop.
        out_channels: classes.
        channels: channels of the stages, one number per halving. None: those of the study.
        head: how the last map is reduced: ``"mean"`` or ``"max"`` of every channel.
        act: activation, as MONAI names it.
        norm: normalisation, as MONAI names it.
        dropout: dropout before the linear layer: its probability, or MONAI's name.
        down: how maps are halved, see `PlugIn`.
        conv: type of the convolutions, see `PlugIn`.

    Raises:
        ValueError: for arguments out of range.

    Example:
        >>> net = LIDCNet(2, channels=(4, 8, 8), down="max-sd-max").eval()
        >>> net(torch.randn(2, 1, 32, 32)).shape
        torch.Size([2, 2])
    """

    def __init__(
        self,
        spatial_dims: int,
        in_channels: int = 1,
        out_channels: int = 2,
        channels: Sequence[int] | None = None,
        head: str = "mean",
        act: Named = "relu",
        norm: Named = "batch",
        dropout: Dropout = 0.0,
        down: Named = "max",
        conv: Named = "plain",
    ) -> None:
        super().__init__()
        if head not in HEADS:
            raise ValueError(f"LIDCNet: head is {head!r}; expected 'mean' or 'max'")
        widths = tuple(channels or CHANNELS.get(spatial_dims, ()))
        plug = self.plug = PlugIn("LIDCNet", spatial_dims, len(widths), down, conv)
        self.spatial_dims, self.in_channels, self.reduce = spatial_dims, in_channels, head
        self.blocks, self.downs = nn.ModuleList(), nn.ModuleList()
        for level, (before, width) in enumerate(zip((in_channels, *widths), widths, strict=False)):
            layer = plug.conv(level, before, width, 3, bias=False)
            self.blocks.append(conv_norm_act(layer, width, spatial_dims, norm, act))
            self.downs.append(plug.down(level, width))
        self.head = nn.Sequential(dropout_layer(dropout), nn.Linear(widths[-1], out_channels))

    @takes_images
    def forward(self, x: Tensor, plan: AnyPlan | None = None) -> Tensor:
        """Classifies.

        Args:
            x: crops ``[B, in_channels, *S]``; every side is a multiple of ``2^halvings``.
            plan: partition of the crop for adaptive convolutions. None: it is made from x.

        Returns:
            Logits ``[B, out_channels]``.

        Raises:
            ValueError: for a size that cannot be halved that often.
        """
        for last in self._stages(x, plan):
            x = last
        flat = x.flatten(2)
        return self.head(flat.mean(2) if self.reduce == "mean" else flat.amax(2))

    @takes_images
    def encode(self, x: Tensor, plan: AnyPlan | None = None) -> list[Tensor]:
        """The map of every stage before its halving, from full resolution downwards, and after the last halving."""
        return list(self._stages(x, plan))

    def _stages(self, x: Tensor, plan: AnyPlan | None) -> Iterator[Tensor]:
        check_image("LIDCNet", x, self.spatial_dims, self.in_channels, 2 ** len(self.downs), network=self)
        plan = self.plug.plan(x, plan)
        for block, down in zip(self.blocks, self.downs, strict=True):
            x = block(x, plan)
            yield x
            x, _ = down(x)
        yield x
