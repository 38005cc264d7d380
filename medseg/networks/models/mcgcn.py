"""MC-GCN: the 2-D network for slice triplets that gives the anisotropic hybrid network its encoder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from monai.networks.layers.factories import Conv
from monai.networks.layers.utils import get_norm_layer
from torch import Tensor, nn

from medseg.layers.global_conv import GlobalConv
from medseg.layers.named import Named
from medseg.layers.quadtree_conv import AnyPlan
from medseg.layers.start_weights import start_weights
from medseg.networks.parts.conv_norm_act import activation, conv_norm_act
from medseg.networks.parts.image_check import check_image, takes_images
from medseg.networks.parts.planned import run
from medseg.networks.parts.plug_in import PLAIN, PlugIn
from medseg.networks.parts.resnet import ResNet
from medseg.networks.parts.resnet_weights import LoadedWeights, load_resnet
from medseg.networks.parts.undo_halvings import undo_halvings
from medseg.networks.registry import register

__all__ = ["MCGCN", "Refine"]

STEM_CHANNELS = 3


class Refine(nn.Module):
    """``x + W2 act(norm(W1 x))`` with kernels of side 3: refines the borders in a score map (Peng et al. 2017).

    Args:
        plug: `PlugIn` of the network; it makes both convolutions.
        level: level of the map.
        channels: channels of the map.
        act: activation.
        norm: normalisation.
    """

    takes_plan = True

    def __init__(self, plug: PlugIn, level: int, channels: int, act: Named, norm: Named) -> None:
        super().__init__()
        self.conv1, self.conv2 = (plug.conv(level, channels, channels, 3) for _ in range(2))
        self.norm = get_norm_layer(norm, plug.spatial_dims, channels)
        self.act = activation(act, inplace=bool(norm))

    def forward(self, x: Tensor, plan: AnyPlan | None = None) -> Tensor:
        """``[B, channels, *S]`` to a map of the same shape."""
        return x + run(self.conv2, self.act(self.norm(run(self.conv1, x, plan))), plan)


@register("mcgcn")
class MCGCN(nn.Module):
    """Multi-channel global convolutional network (Liu et al. 2018, https://arxiv.org/abs/1711.08580, stage 1).

    A ResNet-50 with three adjacent slices as input channels (`slice_triplets`). On each of its five levels, a
    `GlobalConv` computes scores of the classes, and a `Refine` refines them. The decoder repeats three steps up to the
    size of the image: interpolate linearly, add the scores of the next level, refine. The scores at 1/4 of the
    resolution are computed from the result of the first stage, after a convolution of side 1 that reduces it to the
    channels of the stem.

    It has 23,576,758 parameters with one class, 23,629,536 with two; 23,576,773 and 23,629,551 with ``project=True``.

    Args:
        spatial_dims: 2, as in the paper; 3 has cubic kernels and global convolutions with three branches (not in the
            paper).
        in_channels: channels of the image; 3 for slice triplets of one modality.
        out_channels: classes.
        layers: number of blocks in each of the four stages of the encoder.
        width: channels of its stem.
        kernel_size: side of the global convolutions, an odd number.
        project: whether a convolution of side 1, norm and activation first reduce any number of channels to three, so
            that a stem with three channels can be loaded. Such a network cannot be transferred to `AHNet`.
        act: activation.
        norm: normalisation.
        pretrained: path of a state dict of torchvision's ``resnet50`` for the encoder; ``loaded`` is then the report on
            its keys. Nothing is downloaded.
        down: how maps are halved, see `PlugIn` and `ResNet`. The decoder puts patches that a sparse halving moved back.
        conv: type of the convolutions of side 3, see `PlugIn`.

    Attributes:
        encoder: the `ResNet`.
        loaded: report on the keys of ``pretrained``, or None.

    Raises:
        ValueError: for values that do not exist or cannot be combined, and for a file of another network.

    Example:
        >>> net = MCGCN(2, in_channels=3, out_channels=2, layers=(1, 1, 1, 1), width=4)
        >>> net(slice_triplets(torch.randn(1, 1, 32, 32, 4))).shape
        torch.Size([4, 2, 32, 32])
    """

    def __init__(
        self,
        spatial_dims: int = 2,
        in_channels: int = 3,
        out_channels: int = 1,
        layers: Sequence[int] = (3, 4, 6, 3),
        width: int = 64,
        kernel_size: int = 7,
        project: bool = False,
        act: Named = "relu",
        norm: Named = "batch",
        pretrained: str | Path | None = None,
        down: Named = "stride",
        conv: Named = PLAIN,
    ) -> None:
        super().__init__()
        self.in_channels, stem = in_channels, STEM_CHANNELS if project else in_channels
        self.encoder = ResNet("MCGCN", spatial_dims, stem, layers, width, act=act, norm=norm, down=down, conv=conv)
        plug, point = self.encoder.plug, Conv["conv", spatial_dims]
        self.project = None
        if project:
            self.project = conv_norm_act(point(in_channels, stem, 1, bias=False), stem, spatial_dims, norm, act)
        scored = [width, width, *self.encoder.channels[2:]]
        self.reduce = point(self.encoder.channels[1], width, 1)
        self.score = nn.ModuleList(GlobalConv(spatial_dims, c, out_channels, kernel_size) for c in scored)
        levels = range(1, len(scored) + 1)
        self.refine = nn.ModuleList(Refine(plug, level, out_channels, act, norm) for level in levels)
        self.climb = nn.ModuleList(Refine(plug, level, out_channels, act, norm) for level in range(len(scored)))
        for module in (self.project, self.reduce, self.score, self.refine, self.climb):
            if module is not None:
                start_weights(module)
        self.loaded: LoadedWeights | None = None if pretrained is None else load_resnet(self.encoder, pretrained)

    @takes_images
    def encode(self, x: Tensor, plan: AnyPlan | None = None) -> list[Tensor]:
        """The maps of the encoder, from 1/2 of the resolution downwards.

        Args:
            x: see `forward`.
            plan: see `forward`.
        """
        return self.encoder.encode(self._projected(x), plan)

    @takes_images
    def forward(self, x: Tensor, plan: AnyPlan | None = None) -> Tensor:
        """Segments; for slice triplets, the middle slice.

        Args:
            x: image ``[B, in_channels, *S]`` of any size; with sparse halvings every side is a multiple of 32.
            plan: partition of the image, only for ``conv="quadtree"``. None: it is made from x.

        Returns:
            Logits ``[B, out_channels, *S]``.

        Raises:
            ValueError: for channels, sizes or plans that do not match.
        """
        size = x.shape[2:]
        maps, places, plan = self.encoder.run_levels(self._projected(x), plan)
        maps = [maps[0], self.reduce(maps[2]), *maps[3:]]
        scores = [run(self.refine[i], self.score[i](y), plan) for i, y in enumerate(maps)]
        fill, y = self.encoder.plug.fill, scores.pop()
        for i in reversed(range(len(scores))):
            y = undo_halvings(y, [places[i + 1]], scores[i].shape[2:], fill)
            y = run(self.climb[i + 1], y + scores[i], plan)
        return run(self.climb[0], undo_halvings(y, places[:1], size, fill), plan)

    def _projected(self, x: Tensor) -> Tensor:
        check_image("MCGCN", x, self.encoder.plug.spatial_dims, self.in_channels, network=self)
        return x if self.project is None else self.project(x)
