"""The residual network with bottlenecks that several papers use, in 2-D, in 3-D, and slice by slice in volumes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from monai.networks.layers.factories import Conv, Pool
from monai.networks.layers.utils import get_norm_layer
from torch import Tensor, nn

from medseg.layers import PatchIndex
from medseg.layers.named import Named, split_named
from medseg.layers.quadtree_conv import AnyPlan
from medseg.layers.start_weights import start_weights
from medseg.networks.parts.conv_norm_act import activation
from medseg.networks.parts.image_check import check_image, takes_images
from medseg.networks.parts.planned import PlannedSequential, run
from medseg.networks.parts.plug_in import PLAIN, QUADTREE, PlugIn

__all__ = ["Bottleneck", "ResNet", "extent"]

EXPANSION = 4


def extent(spatial_dims: int, side: int, across: int | None = None) -> tuple[int, ...]:
    """``side`` along each axis; in 3-D ``across``, if it is given, along the last axis."""
    return (side,) * (spatial_dims - 1) + (side if across is None or spatial_dims == 2 else across,)


class Bottleneck(nn.Module):
    """``act(norm(W1 act(norm(W3 act(norm(W1 x))))) + shortcut(x))``, W1 of side 1, W3 of side 3 with the stride.

    Args:
        plug: `PlugIn` of the network; it makes W3 if W3 has no stride and no dilation.
        level: level of the result.
        channels: channels of the input.
        width: channels of the bottleneck; the result has four times as many.
        stride: 1 or 2.
        dilation: dilation of W3.
        act: activation.
        norm: normalisation.
        flat: whether kernels have extent 1, and stride 1, along the last of three axes.
        pool_slices: whether pairs of slices of the result are reduced to their maximum, see `PairMax`.
    """

    takes_plan = True

    def __init__(
        self,
        plug: PlugIn,
        level: int,
        channels: int,
        width: int,
        stride: int,
        dilation: int,
        act: Named,
        norm: Named,
        flat: bool,
        pool_slices: bool,
    ) -> None:
        super().__init__()
        d, across = plug.spatial_dims, 1 if flat else None
        conv, kernel, step = Conv["conv", d], extent(d, 3, across), extent(d, stride, across)
        out = EXPANSION * width
        self.conv1, self.bn1 = conv(channels, width, 1, bias=False), get_norm_layer(norm, d, width)
        if stride == dilation == 1:
            self.conv2 = plug.conv(level, width, width, kernel, bias=False)
        else:
            padding = tuple(k // 2 * dilation for k in kernel)
            self.conv2 = conv(width, width, kernel, stride=step, padding=padding, dilation=dilation, bias=False)
        self.bn2 = get_norm_layer(norm, d, width)
        self.conv3, self.bn3 = conv(width, out, 1, bias=False), get_norm_layer(norm, d, out)
        self.downsample: nn.Module | None = None
        if stride != 1 or channels != out:
            shortcut = conv(channels, out, 1, stride=step, bias=False)
            self.downsample = nn.Sequential(shortcut, get_norm_layer(norm, d, out))
        self.acts = nn.ModuleList(activation(act, inplace=bool(norm)) for _ in range(3))
        self.pool = PairMax() if pool_slices else nn.Identity()

    def forward(self, x: Tensor, plan: AnyPlan | None = None) -> Tensor:
        """``[B, channels, *S]`` to ``[B, 4 width, *S / stride]``, with sides rounded up."""
        y = self.acts[0](self.bn1(self.conv1(x)))
        y = self.acts[1](self.bn2(run(self.conv2, y, plan)))
        y = self.bn3(self.conv3(y))
        return self.pool(self.acts[2](y + (x if self.downsample is None else self.downsample(x))))


class PairMax(nn.MaxPool3d):
    """Maximum of every two neighbours along the last of three axes; a last slice without a partner is kept."""

    def __init__(self) -> None:
        super().__init__((1, 1, 2), ceil_mode=True)


class Unmoved(nn.Module):
    """A halving that does not move patches, with the same form of result as one that can."""

    def __init__(self, halve: nn.Module) -> None:
        super().__init__()
        self.halve = halve

    def forward(self, x: Tensor) -> tuple[Tensor, None]:
        """The halved map, and None."""
        return self.halve(x), None


class ResNet(nn.Module):
    """Encoder of a residual network with bottlenecks (He et al. 2016, https://arxiv.org/abs/1512.03385).

    ``layers=(3, 4, 6, 3)`` is ResNet-50, (3, 4, 23, 3) is ResNet-101. The stride of a stage is in its first convolution
    of side 3, and parameters have the names of torchvision, so that its weights can be loaded (`load_resnet`). Half of
    an odd side is rounded up, so images of any size are accepted.

    Args:
        owner: name of the network that uses it, for messages.
        spatial_dims: 2 or 3.
        in_channels: channels of the image.
        layers: number of blocks in each of the four stages.
        width: channels of the stem; the stages have 4, 8, 16 and 32 times as many.
        output_stride: 32, 16 or 8; further strides are replaced by dilation.
        act: activation.
        norm: normalisation.
        down: how maps are halved, see `PlugIn`. ``"stride"``: a 7^d convolution with stride 2, max pooling over 3^d
            voxels with stride 2, and strides in the stages. Other halvings are before the first block of a stage.
        conv: type of the convolutions of side 3 without stride and dilation, see `PlugIn`.
        flat: in 3-D, process every slice by itself (slices are along the last axis): kernels and poolings have extent 1
            along this axis, only the first kernel has extent 3, and ``in_channels`` is that of the volume. ``down``
            must not be ``"sparse"`` and ``conv`` not ``"quadtree"``, because their patches and blocks contain several
            slices.
        pool_slices: with ``flat``, every halving in the plane also reduces pairs of slices to their maximum.

    Attributes:
        channels: channels of the maps that `encode` returns.

    Raises:
        ValueError: for values that do not exist or cannot be combined.

    Example:
        >>> net = ResNet("my network", 2, in_channels=3, layers=(1, 1, 1, 1), width=4)
        >>> [list(maps.shape[1:]) for maps in net.encode(torch.randn(1, 3, 64, 64))]
        [[4, 32, 32], [16, 16, 16], [32, 8, 8], [64, 4, 4], [128, 2, 2]]
    """

    def __init__(
        self,
        owner: str,
        spatial_dims: int,
        in_channels: int,
        layers: Sequence[int] = (3, 4, 6, 3),
        width: int = 64,
        output_stride: int = 32,
        act: Named = "relu",
        norm: Named = "batch",
        down: Named = "stride",
        conv: Named = PLAIN,
        flat: bool = False,
        pool_slices: bool = True,
    ) -> None:
        super().__init__()
        if len(layers) != 4 or min(layers) < 1:
            raise ValueError(f"{owner}: layers is {list(layers)}; expected 4 numbers of blocks, each at least 1")
        if output_stride not in (8, 16, 32):
            raise ValueError(f"{owner}: output_stride is {output_stride}; expected 8, 16 or 32")
        self.owner, self.in_channels = owner, in_channels
        plug = self.plug = PlugIn(owner, spatial_dims, output_stride.bit_length() - 1, down, conv)
        if "stride" in plug.kinds and split_named(owner, "down", down)[1]:
            raise ValueError(
                f"{owner}: down is {down!r}; expected 'stride' without arguments, which the network sets itself"
            )
        flat = flat and spatial_dims == 3
        if flat and ("sparse" in plug.kinds or plug.conv_name == QUADTREE):
            raise ValueError(
                f"{owner}: down is {down!r}, conv is {conv!r} in 3-D; expected neither 'sparse' nor 'quadtree': the "
                "encoder works slice by slice, and their patches and blocks contain several slices; use them in 2-D"
            )
        self._details: dict[str, Any] = {"act": act, "norm": norm, "flat": flat}
        pool_slices = pool_slices and flat
        self._make_stem(width, pool_slices)
        self.channels = [width]
        self.layer1, self.layer2, self.layer3, self.layer4 = (
            self._make_stage(i, blocks, width, pool_slices) for i, blocks in enumerate(layers)
        )
        start_weights(self)

    @takes_images
    def encode(self, x: Tensor, plan: AnyPlan | None = None) -> list[Tensor]:
        """Results of the stem and the stages, from 1/2 of the resolution downwards, with ``channels`` channels.

        Args:
            x: see `run_levels`.
            plan: see `run_levels`.
        """
        maps = self.run_levels(x, plan)[0]
        return [maps[0], *maps[2:]]

    def run_levels(
        self, x: Tensor, plan: AnyPlan | None = None
    ) -> tuple[list[Tensor], list[PatchIndex | None], AnyPlan | None]:
        """All maps that a decoder may need.

        Args:
            x: image ``[B, in_channels, *S]``.
            plan: partition of the image for adaptive convolutions. None: it is made from x.

        Returns:
            The results of the stem, of the halving after it, and of the four stages; the `PatchIndex` of every halving
            (None if it moves no patches); the plan that was used.

        Raises:
            ValueError: for an image or plan that does not match.
        """
        self._check(x)
        plan = self.plug.plan(x, plan)
        x, maps, places = self.act(self.bn1(self.conv1(x))), [], []
        for halve, pool in zip(self.halvings, self.slice_pools, strict=False):  # there are two slice_pools
            x, place = halve(x)
            x = pool(x)
            maps.append(x)
            places.append(place)
        for i, stage in enumerate((self.layer1, self.layer2, self.layer3, self.layer4)):
            if 1 <= i < len(self.halvings) - 1:
                x, place = self.halvings[i + 1](x)
                places.append(place)
            x = run(stage, x, plan)
            maps.append(x)
        return maps, places, plan

    @property
    def _window(self) -> tuple[int, ...]:
        return extent(self.plug.spatial_dims, 2, 1 if self._details["flat"] else None)

    def _make_stem(self, width: int, pool_slices: bool) -> None:
        plug, flat, norm = self.plug, self._details["flat"], self._details["norm"]
        d, strides = plug.spatial_dims, [kind == "stride" for kind in plug.kinds]
        kernel = extent(d, 7, 3 if flat else None)
        self.conv1 = Conv["conv", d](
            self.in_channels,
            width,
            kernel,
            stride=extent(d, 2, 1 if flat else None) if strides[0] else 1,
            padding=tuple(k // 2 for k in kernel),
            bias=False,
        )
        self.bn1 = get_norm_layer(norm, d, width)
        self.act = activation(self._details["act"], inplace=bool(norm))
        own = {"kernel_size": extent(d, 3, 1 if flat else None), "stride": extent(d, 2, 1 if flat else None)}
        pool = Pool["max", d](**own, padding=extent(d, 1, 0 if flat else None))
        self.halvings = nn.ModuleList(
            (
                Unmoved(nn.Identity()) if strides[0] else plug.down(0, width, window=self._window),
                Unmoved(pool) if strides[1] else plug.down(1, width, window=self._window),
            )
        )
        self.slice_pools = nn.ModuleList(PairMax() if pool_slices else nn.Identity() for _ in range(2))

    def _make_stage(self, stage: int, blocks: int, width: int, pool_slices: bool) -> PlannedSequential:
        plug, inside, halvings = self.plug, width * 2**stage, len(self.plug.kinds)
        before = width if stage == 0 else self.channels[-1]
        halves = 1 <= stage < halvings - 1
        strides = halves and plug.kinds[stage + 1] == "stride"
        if halves:
            own = Unmoved(nn.Identity()) if strides else plug.down(stage + 1, before, window=self._window)
            self.halvings.append(own)
        # The first block of a dilated stage still has the dilation of the stage before.
        dilation = 2 ** max(0, stage + 2 - halvings)
        level, made = min(stage + 2, halvings), []
        for i in range(blocks):
            first = i == 0
            stride = 2 if first and strides else 1
            spread = max(1, dilation // 2) if first else dilation
            made.append(
                Bottleneck(
                    plug,
                    level,
                    before,
                    inside,
                    stride,
                    spread,
                    **self._details,
                    pool_slices=pool_slices and halves and first,
                )
            )
            before = EXPANSION * inside
        self.channels.append(before)
        return PlannedSequential(*made)

    def _check(self, x: Tensor) -> None:
        sparse = "sparse" in self.plug.kinds
        step = 2 ** len(self.plug.kinds)
        check_image(self.owner, x, self.plug.spatial_dims, self.in_channels, step if sparse else 1, network=self)
        halved = x.shape[2:4] if self._details["flat"] else x.shape[2:]
        if set(self.plug.kinds) != {"stride"} and min(halved) < step:
            axes = "of the first two axes" if self._details["flat"] else "axis"
            raise ValueError(
                f"{self.owner}: image of size {list(x.shape[2:])}; expected at least {step} along each {axes}"
            )
