"""DANet: a dilated residual network, followed by the sum of position attention and channel attention."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from monai.networks.layers.factories import Conv
from torch import Tensor, nn

from medseg.layers.attention import ChannelAttention, PositionAttention
from medseg.layers.keep_gradients import keep_gradients
from medseg.layers.named import Dropout, Named, dropout_layer
from medseg.layers.quadtree_conv import AnyPlan
from medseg.layers.start_weights import start_weights
from medseg.networks.parts.conv_norm_act import conv_norm_act
from medseg.networks.parts.image_check import takes_images
from medseg.networks.parts.plug_in import PLAIN
from medseg.networks.parts.resnet import ResNet
from medseg.networks.parts.resnet_weights import LoadedWeights, load_resnet
from medseg.networks.parts.undo_halvings import undo_halvings
from medseg.networks.registry import register

__all__ = ["DANet", "DualAttentionHead"]


class DualAttentionHead(nn.Module):
    """Scores from the sum of two branches: position attention and channel attention, each between convolutions.

    With 2048 input channels, 19 classes and ``auxiliary=True`` it has 23,954,619 parameters in 2-D.

    Args:
        spatial_dims: 2 or 3.
        in_channels: channels of the map; the branches have a quarter as many.
        out_channels: classes.
        act: activation.
        norm: normalisation.
        dropout: dropout before the scores: its probability, or MONAI's name.
        energy: ``energy`` of `ChannelAttention`.
        auxiliary: whether each branch also has its own scores, see `branches`.
    """

    def __init__(
        self,
        spatial_dims: int,
        in_channels: int,
        out_channels: int,
        act: Named = "relu",
        norm: Named = "batch",
        dropout: Dropout = 0.1,
        energy: str = "max_minus",
        auxiliary: bool = False,
    ) -> None:
        super().__init__()
        width = in_channels // 4

        def block(channels: int) -> nn.Module:
            layer = Conv["conv", spatial_dims](channels, width, 3, padding=1, bias=False)
            return conv_norm_act(layer, width, spatial_dims, norm, act)

        def scores() -> nn.Module:
            point = Conv["conv", spatial_dims](width, out_channels, 1)
            return nn.Sequential(dropout_layer(dropout, spatial_dims), point)

        self.position = nn.Sequential(block(in_channels), PositionAttention(spatial_dims, width), block(width))
        self.channel = nn.Sequential(block(in_channels), ChannelAttention(width, energy), block(width))
        self.scores = scores()
        self.position_scores: nn.Module | None = scores() if auxiliary else None
        self.channel_scores: nn.Module | None = scores() if auxiliary else None
        start_weights(self)

    def forward(self, x: Tensor) -> Tensor:
        """``[B, in_channels, *S]`` to the scores ``[B, out_channels, *S]`` of the sum."""
        return self.scores(self.position(x) + self.channel(x))

    def auxiliary_parameters(self) -> Iterator[nn.Parameter]:
        """The parameters of the own scores of the branches; none without ``auxiliary``."""
        for module in (self.position_scores, self.channel_scores):
            if module is not None:
                yield from module.parameters()

    def branches(self, x: Tensor) -> list[Tensor]:
        """Scores of the sum, of the position branch and of the channel branch, for a loss on each of them.

        Raises:
            ValueError: without ``auxiliary``.
        """
        if self.position_scores is None or self.channel_scores is None:
            raise ValueError("DANet: the branches do not have their own scores; set auxiliary=True")
        position, channel = self.position(x), self.channel(x)
        return [self.scores(position + channel), self.position_scores(position), self.channel_scores(channel)]


@register("danet")
class DANet(nn.Module):
    """Dual attention network (Fu et al. 2019, https://arxiv.org/abs/1809.02983), 2-D and 3-D.

    A residual network with dilation instead of strides in the last two stages, at 1/8 of the resolution, followed by
    the sum of position attention and channel attention (`PositionAttention`, with memory that does not grow with the
    square of the number of positions, and `ChannelAttention`). Both initially have weight 0, so a new network computes
    the same as without attention. The last stage has a single dilation (the code of the authors has several,
    with the same parameters).

    With ``auxiliary=True``, 19 classes and ResNet-50 it has 47,462,651 parameters in 2-D.

    Args:
        spatial_dims: 2 or 3.
        in_channels: channels of the image.
        out_channels: classes.
        layers: number of blocks in each of the four stages of the encoder; (3, 4, 23, 3) is ResNet-101.
        width: channels of its stem.
        output_stride: total stride of the map with attention: 8, 16 or 32.
        act: activation.
        norm: normalisation.
        dropout: dropout before the scores: its probability, or MONAI's name.
        energy: ``energy`` of `ChannelAttention`: ``"max_minus"`` or ``"plain"``.
        auxiliary: whether each branch also has its own scores: then `forward` returns three results in training.
        backbone_weights: path of a state dict of torchvision's ResNet for a 2-D encoder; ``loaded`` is then the report
            on its keys. Nothing is downloaded.
        down: how maps are halved, see `PlugIn` and `ResNet`. Patches that a sparse halving moved are put back before
            scores are interpolated.
        conv: type of the convolutions of side 3 without dilation in the encoder, see `PlugIn`.

    Attributes:
        encoder: the `ResNet`.
        head: the `DualAttentionHead`.
        loaded: report on the keys of ``backbone_weights``, or None.

    Raises:
        ValueError: for values that do not exist or cannot be combined, and for a file of another network.

    Example:
        >>> net = DANet(2, in_channels=1, out_channels=3, layers=(1, 1, 1, 1), width=4).eval()
        >>> net(torch.randn(1, 1, 40, 32)).shape
        torch.Size([1, 3, 40, 32])
    """

    def __init__(
        self,
        spatial_dims: int = 2,
        in_channels: int = 3,
        out_channels: int = 19,
        layers: Sequence[int] = (3, 4, 6, 3),
        width: int = 64,
        output_stride: int = 8,
        act: Named = "relu",
        norm: Named = "batch",
        dropout: Dropout = 0.1,
        energy: str = "max_minus",
        auxiliary: bool = False,
        backbone_weights: str | Path | None = None,
        down: Named = "stride",
        conv: Named = PLAIN,
    ) -> None:
        super().__init__()
        self.encoder = ResNet(
            "DANet", spatial_dims, in_channels, layers, width, output_stride, act, norm, down=down, conv=conv
        )
        self.auxiliary = auxiliary
        self.head = DualAttentionHead(
            spatial_dims, self.encoder.channels[-1], out_channels, act, norm, dropout, energy, auxiliary
        )
        self.loaded: LoadedWeights | None = None
        if backbone_weights is not None:
            self.loaded = load_resnet(self.encoder, backbone_weights)

    @takes_images
    def encode(self, x: Tensor, plan: AnyPlan | None = None) -> list[Tensor]:
        """The maps of the encoder, from 1/2 of the resolution downwards.

        Args:
            x: see `forward`.
            plan: see `forward`.
        """
        return self.encoder.encode(x, plan)

    @takes_images
    def forward(self, x: Tensor, plan: AnyPlan | None = None) -> Tensor | list[Tensor]:
        """Segments.

        Args:
            x: image ``[B, in_channels, *S]`` of any size; with sparse halvings every side is a multiple of
                ``output_stride``.
            plan: partition of the image, only for ``conv="quadtree"``. None: it is made from x.

        Returns:
            Logits ``[B, out_channels, *S]``. In training with ``auxiliary=True`` a list of logits: of the sum, of the
            position branch and of the channel branch.

        Raises:
            ValueError: for channels, sizes or plans that do not match.
        """
        maps, places, _ = self.encoder.run_levels(x, plan)
        several = self.training and self.auxiliary
        scores = self.head.branches(maps[-1]) if several else [self.head(maps[-1])]
        if not several:
            scores[0] = keep_gradients(scores[0], self.head.auxiliary_parameters())
        results = [undo_halvings(y, places, x.shape[2:], self.encoder.plug.fill) for y in scores]
        return results if several else results[0]
