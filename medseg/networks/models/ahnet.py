"""AH-Net: features of a 2-D network, combined across the slices of anisotropic volumes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from medseg.layers.named import Dropout, Named
from medseg.layers.quadtree_conv import AnyPlan
from medseg.layers.start_weights import start_weights
from medseg.networks.models.ahnet_transfer import transfer_encoder
from medseg.networks.models.mcgcn import MCGCN
from medseg.networks.parts.ahnet_blocks import DenseLayer, PyramidPooling, norm_act_conv
from medseg.networks.parts.image_check import takes_images
from medseg.networks.parts.plug_in import PLAIN
from medseg.networks.parts.resnet import ResNet, extent
from medseg.networks.parts.undo_halvings import undo_halvings
from medseg.networks.registry import register

__all__ = ["AHNet"]


@register("ahnet")
class AHNet(nn.Module):
    """Anisotropic hybrid network (Liu et al. 2018, https://arxiv.org/abs/1711.08580, stage 2), slices last.

    The encoder is the ResNet-50 of `MCGCN`, applied to every slice (3x3x1 kernels; the first 7x7x3). `transfer_from_2d`
    copies the weights and statistics of a trained `MCGCN`. A halving in the plane has stride (2, 2, 1), followed by the
    maximum of every two slices, so that no slice is skipped; a last slice without a partner is kept. The decoder
    interpolates to the next finer map, adds it, and appends features in dense blocks of 3x3x1 convolutions with added
    1x1x3 convolutions. Pyramid pooling in the plane precedes the last convolution. Volumes of any size and any number
    of slices are accepted.

    It has 27,085,500 parameters with one input channel and one class (norms included).

    The paper trains in three steps: the 2-D parent at a learning rate of 5e-4; after the transfer only the decoder;
    then the whole network at 1e-3. For the second step, `medseg.training.frozen.freeze` freezes the parameters and the
    statistics of the encoder.

    Args:
        spatial_dims: 3, as in the paper; 2 leaves out everything that combines slices (not in the paper).
        in_channels: channels of the volume.
        out_channels: classes.
        layers: number of blocks in each of the four stages of the encoder.
        width: channels of its stem.
        growth: channels that a dense layer appends; every block has three layers.
        windows: sides of the windows of the pyramid, in voxels of the map at half the resolution; may be empty.
        act: activation.
        norm: normalisation.
        dropout: dropout of the appended features; the paper has none.
        z_pool: whether the encoder reduces pairs of slices. If not, every map has all slices, and the encoder computes
            the same as its parent does for each triplet.
        down: how maps of the encoder are halved in the plane, see `PlugIn` and `ResNet`; the same as for the parent. In
            3-D ``"stride"`` (as in the paper), ``"max"`` or ``"avg"``: patches of ``"sparse"`` would contain several
            slices.
        conv: type of the convolutions of side 3 without stride in the encoder, see `PlugIn`; in 3-D not ``"quadtree"``,
            because blocks of an octree contain several slices.

    Attributes:
        encoder: the `ResNet` that is applied to the slices.

    Raises:
        ValueError: for values that do not exist.

    Example:
        >>> net = AHNet(3, in_channels=1, out_channels=2, layers=(1, 1, 1, 1), width=4, growth=2).eval()
        >>> net(torch.randn(1, 1, 32, 32, 5)).shape
        torch.Size([1, 2, 32, 32, 5])
    """

    def __init__(
        self,
        spatial_dims: int = 3,
        in_channels: int = 1,
        out_channels: int = 1,
        layers: Sequence[int] = (3, 4, 6, 3),
        width: int = 64,
        growth: int = 20,
        windows: Sequence[int] = (8, 16, 32, 64),
        act: Named = "relu",
        norm: Named = "batch",
        dropout: Dropout = None,
        z_pool: bool = True,
        down: Named = "stride",
        conv: Named = PLAIN,
    ) -> None:
        super().__init__()
        if growth < 1 or any(window < 1 for window in windows):
            raise ValueError(f"AHNet: growth is {growth}, windows are {list(windows)}; expected numbers of at least 1")
        plugged: dict[str, Any] = {"act": act, "norm": norm, "down": down, "conv": conv}
        self.encoder = ResNet(
            "AHNet", spatial_dims, in_channels, layers, width, **plugged, flat=True, pool_slices=z_pool
        )
        d, below = spatial_dims, self.encoder.channels[-1]
        self.project, self.dense = nn.ModuleList(), nn.ModuleList()
        for skip in reversed([width, *self.encoder.channels[:-1]]):  # the stem's result has two scales
            self.project.append(norm_act_conv(d, below, skip, act, norm))
            rows = [DenseLayer(d, skip + i * growth, growth, act, norm, dropout) for i in range(3)]
            self.dense.append(nn.Sequential(*rows))
            below = skip + len(rows) * growth
        self.pyramid = PyramidPooling(d, below, windows)
        self.head = norm_act_conv(d, below + len(self.pyramid.windows), out_channels, act, norm, extent(d, 3, 1))
        for module in (self.project, self.dense, self.pyramid, self.head):
            start_weights(module)

    @takes_images
    def encode(self, x: Tensor, plan: AnyPlan | None = None) -> list[Tensor]:
        """The maps of the encoder, from 1/2 of the resolution downwards.

        Args:
            x: see `forward`.
            plan: see `forward`.
        """
        return self.encoder.encode(x, plan)

    @takes_images
    def forward(self, x: Tensor, plan: AnyPlan | None = None) -> Tensor:
        """Segments.

        Args:
            x: volume ``[B, in_channels, H, W, D]`` of any size, slices along the last axis; with sparse halvings (2-D)
                every side is a multiple of 32.
            plan: partition of the image, only for ``conv="quadtree"`` (2-D). None: it is made from x.

        Returns:
            Logits ``[B, out_channels, H, W, D]``.

        Raises:
            ValueError: for another number of axes or channels, or sizes or plans that do not match.
        """
        maps, places, _ = self.encoder.run_levels(x, plan)
        fill, y = self.encoder.plug.fill, maps.pop()
        undone = [places[4:], places[3:4], places[2:3], [], places[1:2]]  # the first stage does not halve the map
        for project, dense, skip, moved in zip(self.project, self.dense, reversed(maps), undone, strict=True):
            y = dense(undo_halvings(project(y), moved, skip.shape[2:], fill) + skip)
        return undo_halvings(self.head(self.pyramid(y)), places[:1], x.shape[2:], fill)

    def transfer_from_2d(self, parent: MCGCN) -> list[str]:
        """Copies the weights and statistics of a trained 2-D parent into the encoder.

        Args:
            parent: network with the same numbers of blocks and channels, and three slices of each channel of the
                volume as input.

        Returns:
            The keys that were transferred: all keys of the encoder of the parent.

        Raises:
            ValueError: if the networks do not match; then nothing is transferred.
        """
        return transfer_encoder(self.encoder, parent)
