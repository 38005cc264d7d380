"""P-Net and R-Net of DeepIGeoS: dilated convolutions at full resolution, and refinement with scribbles."""

from __future__ import annotations

import torch
from monai.networks.layers.factories import Conv
from monai.networks.layers.utils import get_act_layer, get_norm_layer
from torch import Tensor, nn

from medseg.layers.named import Dropout, Named, dropout_layer
from medseg.layers.quadtree_conv import AnyPlan
from medseg.networks.parts.image_check import check_image, takes_images
from medseg.networks.parts.planned import PlannedSequential, run
from medseg.networks.parts.plug_in import PLAIN, PlugIn
from medseg.networks.registry import register

__all__ = ["PNet", "RNet", "refinement_input"]

CONVS, DILATIONS = (2, 2, 3, 3, 3), (1, 2, 4, 8, 16)
GUIDES = 3
_NO_HALVING = "it does not halve maps; its blocks use dilation at full resolution instead"


class Block(nn.Module):
    """Convolutions of side 3 with the same dilation, each followed by normalisation and activation.

    In 3-D only the first kernel has extent 3 along the last axis. Convolutions with dilation 1 and the same extent
    along all axes are made by the `PlugIn` of the network.
    """

    takes_plan = True

    def __init__(
        self, plug: PlugIn, channels: int, width: int, convs: int, dilation: int, act: Named, norm: Named | None
    ) -> None:
        super().__init__()
        dims, layers = plug.spatial_dims, list[nn.Module]()
        for i in range(convs):
            side = (3, 3, 1) if dims == 3 and i else (3,) * dims
            padding = tuple(dilation * (s // 2) for s in side)
            before = width if i else channels
            if dilation == 1 and len(set(side)) == 1:
                layers.append(plug.conv(0, before, width, side))
            else:
                layers.append(Conv["conv", dims](before, width, side, padding=padding, dilation=dilation))
            if norm is not None:
                layers.append(get_norm_layer(norm, dims, width))
            layers.append(get_act_layer(act))
        self.layers = PlannedSequential(*layers)

    def forward(self, x: Tensor, plan: AnyPlan | None = None) -> Tensor:
        """``[B, channels, *S]`` to ``[B, width, *S]``."""
        return self.layers(x, plan)


@register("pnet", without={"down": _NO_HALVING})
class PNet(nn.Module):
    """P-Net of DeepIGeoS (Wang et al. 2019, https://arxiv.org/abs/1707.00652): segmentation without any pooling.

    It has five blocks of 2, 2, 3, 3, 3 convolutions with dilations 1, 2, 4, 8, 16 at full resolution (receptive fields
    of 5, 13, 37, 85 and 181 voxels). Their results are concatenated, and two convolutions of side 1, each after a
    dropout, classify every voxel. Images of any size are accepted. In 3-D the first convolution of a block has a 3x3x3
    kernel, the others have 3x3x1 kernels (slices are along the last axis), and a convolution of side 1 reduces the
    channels of the result of every block.

    It has no argument ``down``, because it does not halve maps.

    Args:
        spatial_dims: 2 or 3.
        in_channels: channels of the image.
        out_channels: classes.
        channels: channels of every block. None: 64 in 2-D, 16 in 3-D.
        compressed: channels of each block in the concatenation; ``channels`` for no compression. None: ``channels`` in
            2-D, a quarter of them in 3-D (as in the PC-Net of BIFSeg).
        act: activation after each convolution.
        norm: normalisation before each activation, or None.
        dropout: dropout before each of the last two convolutions: a probability, MONAI's name and options, or None.
        conv: type of the convolutions of the first block, which has dilation 1, see `PlugIn`; in 3-D only of its first
            convolution, because the kernel of the other has the extent of one slice.

    Raises:
        ValueError: for values out of range.

    Example:
        >>> net = PNet(2, in_channels=1, out_channels=2, channels=8)
        >>> net(torch.randn(1, 1, 17, 20)).shape
        torch.Size([1, 2, 17, 20])
    """

    def __init__(
        self,
        spatial_dims: int = 2,
        in_channels: int = 1,
        out_channels: int = 2,
        channels: int | None = None,
        compressed: int | None = None,
        act: Named = "relu",
        norm: Named | None = None,
        dropout: Dropout = 0.5,
        conv: Named = PLAIN,
    ) -> None:
        super().__init__()
        name = type(self).__name__
        plug = self.plug = PlugIn(name, spatial_dims, 0, conv=conv)
        width = channels or (64 if spatial_dims == 2 else 16)
        narrow = compressed or (width if spatial_dims == 2 else max(1, width // 4))
        if not 1 <= narrow <= width:
            raise ValueError(f"{name}: compressed is {compressed}; expected 1 to channels={width}")
        self.spatial_dims, self.in_channels = spatial_dims, in_channels
        point = Conv["conv", spatial_dims]
        self.blocks = nn.ModuleList(
            Block(plug, width if i else in_channels, width, convs, dilation, act, norm)
            for i, (convs, dilation) in enumerate(zip(CONVS, DILATIONS, strict=True))
        )
        self.compress = nn.ModuleList(point(width, narrow, 1) if narrow < width else nn.Identity() for _ in CONVS)

        def drop() -> nn.Module:
            return dropout_layer(dropout)

        self.head = nn.Sequential(
            drop(), point(len(CONVS) * narrow, width, 1), get_act_layer(act), drop(), point(width, out_channels, 1)
        )

    @takes_images
    def encode(self, x: Tensor, plan: AnyPlan | None = None) -> list[Tensor]:
        """The results ``[B, channels, *S]`` of the five blocks, all at the resolution of the image."""
        check_image(type(self).__name__, x, self.spatial_dims, self.in_channels, network=self)
        plan, maps = self.plug.plan(x, plan), []
        for block in self.blocks:
            x = run(block, x, plan)
            maps.append(x)
        return maps

    @takes_images
    def forward(self, x: Tensor, plan: AnyPlan | None = None) -> Tensor:
        """Segments.

        Args:
            x: image ``[B, in_channels, *S]`` of any size.
            plan: partition of the image, only for ``conv="quadtree"``. None: it is made from x.

        Returns:
            Logits ``[B, out_channels, *S]``.

        Raises:
            ValueError: for another number of channels or axes, or a plan that does not match.
        """
        maps = zip(self.compress, self.encode(x, plan), strict=True)
        return self.head(torch.cat([compress(features) for compress, features in maps], 1))


@register("rnet", without={"down": _NO_HALVING})
class RNet(PNet):
    """R-Net of DeepIGeoS: a `PNet` that improves a segmentation with scribbles of a user.

    Its input has three more channels than the image, in the order of `refinement_input`. It can be called repeatedly,
    each time with its last result and more scribbles.

    Args:
        spatial_dims: 2 or 3.
        in_channels: channels of the image plus 3.
        out_channels: classes.
        channels: see `PNet`.
        compressed: see `PNet`.
        act: see `PNet`.
        norm: see `PNet`.
        dropout: see `PNet`.
        conv: see `PNet`.

    Raises:
        ValueError: for values out of range.

    Example:
        >>> net = RNet(2, in_channels=1 + 3, out_channels=2, channels=8)
        >>> image, mask, far = torch.randn(1, 1, 17, 20), torch.zeros(1, 1, 17, 20), torch.ones(1, 1, 17, 20)
        >>> net(refinement_input(image, mask, foreground=far, background=far)).shape
        torch.Size([1, 2, 17, 20])
    """

    def __init__(
        self,
        spatial_dims: int = 2,
        in_channels: int = 1 + GUIDES,
        out_channels: int = 2,
        channels: int | None = None,
        compressed: int | None = None,
        act: Named = "relu",
        norm: Named | None = None,
        dropout: Dropout = 0.5,
        conv: Named = PLAIN,
    ) -> None:
        if in_channels <= GUIDES:
            raise ValueError(
                f"RNet: in_channels is {in_channels}; expected the image's channels plus {GUIDES}: initial "
                "segmentation, foreground distance, background distance"
            )
        super().__init__(spatial_dims, in_channels, out_channels, channels, compressed, act, norm, dropout, conv)


def refinement_input(image: Tensor, initial: Tensor, foreground: Tensor, background: Tensor) -> Tensor:
    """Input of `RNet`: image, initial segmentation, distances to foreground and to background scribbles.

    Args:
        image: ``[B, C, *S]``.
        initial: ``[B, 1, *S]``, foreground probability or mask.
        foreground: ``[B, 1, *S]``, geodesic distance to the foreground scribbles
            (`medseg.transforms.GeodesicDistance`), with the same scale in training and application. If there is no
            scribble, it is the largest distance everywhere (0 would mean a scribble in every voxel).
        background: ``[B, 1, *S]``, the same for the background scribbles.

    Returns:
        ``[B, C + 3, *S]`` in the dtype of the image.

    Raises:
        ValueError: for a map of another shape.

    Example:
        >>> image, mask, far = torch.randn(1, 2, 8, 8), torch.zeros(1, 1, 8, 8), torch.ones(1, 1, 8, 8)
        >>> refinement_input(image, mask, foreground=far, background=far).shape
        torch.Size([1, 5, 8, 8])
    """
    expected = [image.shape[0], 1, *image.shape[2:]]
    guides = {"initial": initial, "foreground": foreground, "background": background}
    for name, guide in guides.items():
        if list(guide.shape) != expected:
            raise ValueError(f"refinement_input: {name} has shape {list(guide.shape)}; expected {expected}")
    return torch.cat([image, *(guide.to(image.dtype) for guide in guides.values())], 1)
