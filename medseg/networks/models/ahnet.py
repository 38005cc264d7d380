"""AH-Net: a 2-D network's features, joined across the slices of anisotropic volumes."""

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
from medseg.networks.parts.plug_in import PLAIN
from medseg.networks.parts.resnet import ResNet, extent
from medseg.networks.parts.undo_halvings import undo_halvings
from medseg.networks.registry import register

__all__ = ["AHNet"]


@register("ahnet")
class AHNet(nn.Module):
    """Anisotropic hybrid network (Liu et al. 2018, https://arxiv.org/abs/1711.08580, stage 2), slices last.

    The encoder is the ResNet-50 of `MCGCN` on every slice (3x3x1 kernels; the first 7x7x3), its weights and statistics
    come from one by `transfer_from_2d`. A halving in plane strides by (2, 2, 1), then the larger of every two slices
    stays, so that none is skipped; an odd last slice and a single one stay as they are. The decoder interpolates to
    the next finer map, adds it, and appends features in dense blocks of 3x3x1 convolutions with 1x1x3 convolutions
    added. Pyramid pooling in plane precedes the last convolution. Any size and any number of slices is taken.

    27,085,500 parameters with one channel in and one class (norms included).

    The paper trains in three steps: the parent in 2-D at a learning rate of 5e-4; after the transfer the decoder alone;
    then all at 1e-3. `medseg.training.frozen.freeze` holds the encoder still in the second, its statistics too.

    Args:
        spatial_dims: 3, as in the paper; 2 leaves out all that joins slices (ours).
        in_channels: channels of the volume.
        out_channels: classes.
        layers: blocks of the encoder's four stages.
        width: channels of its stem.
        growth: channels that a dense layer appends; every block has three layers.
        windows: sides of the pyramid's windows, in voxels of the map at half the resolution; may be empty.
        act: activation.
        norm: normalisation.
        dropout: of the appended features; the paper has none.
        z_pool: whether the encoder reduces pairs of slices. Without, every map has all slices, and the encoder equals
            its parent on every triplet.
        down: how the encoder's maps are halved in plane, see `PlugIn` and `ResNet`; the same as the parent's. In 3-D
            ``"stride"`` (the paper), ``"max"`` or ``"avg"``: patches of ``"sparse"`` would span slices.
        conv: the encoder's convolutions of side 3 that do not stride, see `PlugIn`; in 3-D not ``"quadtree"``: kernels
            of one slice are no blocks of an octree.

    Attributes:
        encoder: the `ResNet` of the slices.

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

    def encode(self, x: Tensor, plan: AnyPlan | None = None) -> list[Tensor]:
        """The encoder's maps, 1/2 of the resolution first.

        Args:
            x: see `forward`.
            plan: see `forward`.
        """
        return self.encoder.encode(x, plan)

    def forward(self, x: Tensor, plan: AnyPlan | None = None) -> Tensor:
        """Segments.

        Args:
            x: volume ``[B, in_channels, H, W, D]``, slices along the last axis, of any size; with sparse halvings
                (2-D) every side a multiple of 32.
            plan: partition of the image, with ``conv="quadtree"`` (2-D) only. None: made of x.

        Returns:
            Logits ``[B, out_channels, H, W, D]``.

        Raises:
            ValueError: for another number of axes or channels, sizes or plans that do not fit.
        """
        maps, places, _ = self.encoder.run_levels(x, plan)
        fill, y = self.encoder.plug.fill, maps.pop()
        undone = [places[4:], places[3:4], places[2:3], [], places[1:2]]  # the first stage halves nothing
        for project, dense, skip, moved in zip(self.project, self.dense, reversed(maps), undone, strict=True):
            y = dense(undo_halvings(project(y), moved, skip.shape[2:], fill) + skip)
        return undo_halvings(self.head(self.pyramid(y)), places[:1], x.shape[2:], fill)

    def transfer_from_2d(self, parent: MCGCN) -> list[str]:
        """Gives the encoder the weights and statistics of a trained 2-D parent.

        Args:
            parent: with as many blocks and channels inside, on three slices of each of the volume's channels.

        Returns:
            The keys that were transferred: all of the parent's encoder.

        Raises:
            ValueError: if they do not fit; nothing is transferred then.
        """
        return transfer_encoder(self.encoder, parent)
