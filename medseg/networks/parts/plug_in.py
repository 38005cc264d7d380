"""Plug-in points of the backbones: arguments choose how a network halves its maps and how it convolves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from monai.networks.layers.factories import Conv
from torch import Tensor, nn

from medseg.layers import parse_placement
from medseg.layers.named import Named, split_named
from medseg.layers.quadtree_conv import LEARNED, AnyPlan
from medseg.networks.parts.halving import Down, Up
from medseg.networks.parts.shared_plan import SharedPlan
from medseg.partition import PlanSettings

__all__ = ["PlugIn"]

HALVINGS = ("max", "avg", "stride", "sparse")
PLAIN, QUADTREE = "plain", "quadtree"
_OF_PLACEMENT = {"sd": "sparse"}


class PlugIn:
    """Builds the halvings, doublings and convolutions of a backbone, and the partition that the convolutions share.

    A network with levels 0, 1, ..., each half the size of the one before, makes all its exchangeable layers by one
    `PlugIn`. Level 0 is the image; halving i is between level i and level i + 1. The example is a complete network;
    `medseg.networks.register` can add it to the registry.

    A block of several layers is a `PlannedSequential`, or it has ``forward(x, plan)`` and the class attribute
    ``takes_plan = True``.

    Args:
        owner: name of the network, for messages.
        spatial_dims: 2 or 3.
        halvings: how often the network halves its maps.
        down: ``"max"``, ``"avg"``, ``"stride"`` or ``"sparse"`` for every halving, or a placement of as many
            as there are, such as ``"max-sd-sd-max"`` (see `medseg.layers.parse_placement`). Or a pair of one of these
            and arguments. For sparse halvings these are the arguments of `SparseDownsample` (``patch`` may be a list
            with one side per sparse halving) and ``fill`` of `SparseUpsample`; else those of the pooling or
            convolution. If a placement has several kinds, the arguments are for the sparse halvings.
        conv: ``"plain"``, ``"quadtree"``, another name of MONAI's ``Conv`` factory, or a pair of a name and arguments.
            Those of ``"quadtree"`` are the arguments of `QuadtreeConv` and ``levels``, the number of adaptive levels,
            finest first. By default all levels are adaptive, except the lowest one and those below a sparse halving,
            where positions no longer correspond to image coordinates. Convolutions on other levels are plain.

    Attributes:
        kinds: ``"max"``, ``"avg"``, ``"stride"`` or ``"sparse"`` for each halving.
        fill: ``fill`` of `SparseUpsample`: the values at positions without a patch.
        adaptive_levels: number of levels with `QuadtreeConv`.

    Raises:
        ValueError: for names that do not exist and for settings that cannot be combined.

    Example:
        >>> from monai.networks.layers.factories import Conv
        >>> from torch import nn
        >>> from medseg.networks.parts.planned import run
        >>> class TwoLevelNet(nn.Module):
        ...     def __init__(self, spatial_dims, in_channels, out_channels, down="max", conv="plain"):
        ...         super().__init__()
        ...         plug = self.plug = PlugIn("TwoLevelNet", spatial_dims, 1, down, conv)
        ...         self.fine, self.down = plug.conv(0, in_channels, 16), plug.down(0, 16)
        ...         self.coarse, self.up = plug.conv(1, 16, 16), plug.up(0, 16, 16, nn.Upsample(scale_factor=2))
        ...         self.head = Conv["conv", spatial_dims](16, out_channels, 1)
        ...
        ...     def forward(self, x, plan=None):
        ...         plan = self.plug.plan(x, plan)
        ...         skip = run(self.fine, x, plan)
        ...         x, place = self.down(skip)
        ...         return self.head(skip + self.up(run(self.coarse, x, plan), place))
        >>> TwoLevelNet(2, 1, 3)(torch.randn(1, 1, 32, 32)).shape
        torch.Size([1, 3, 32, 32])
        >>> TwoLevelNet(2, 1, 3, down="sparse", conv="quadtree")(torch.randn(1, 1, 64, 64)).shape
        torch.Size([1, 3, 64, 64])
    """

    def __init__(self, owner: str, spatial_dims: int, halvings: int, down: Named = "max", conv: Named = PLAIN) -> None:
        if spatial_dims not in (2, 3):
            raise ValueError(f"{owner}: spatial_dims is {spatial_dims}; expected 2 or 3")
        self.owner, self.spatial_dims, self.halvings = owner, spatial_dims, halvings
        self.kinds, self._down_options, self.fill = self._parse_down(*split_named(owner, "down", down))
        self.conv_name, self._conv_options = split_named(owner, "conv", conv)
        if self.conv_name != PLAIN and self.conv_name.upper() not in Conv.names:
            names = ", ".join(sorted({PLAIN, *(n.lower() for n in Conv.names)} - {"conv", "convtrans"}))
            raise ValueError(f"{owner}: conv is {self.conv_name!r}; expected one of {names}")
        self.adaptive_levels = self._parse_levels() if self.conv_name == QUADTREE else 0
        self.shared = self._make_shared() if self.adaptive_levels else None

    def conv(
        self,
        level: int,
        in_channels: int,
        out_channels: int,
        kernel_size: int | Sequence[int] = 3,
        bias: bool = True,
        **arguments: Any,
    ) -> nn.Module:
        """A convolution of stride 1.

        Args:
            level: level of its input.
            in_channels: channels of its input.
            out_channels: channels of its result.
            kernel_size: side of its kernel, an odd number.
            bias: whether it has a bias.
            arguments: other arguments of a convolution, such as ``groups``; by default ``padding`` keeps the size.
        """
        sides = (kernel_size,) * self.spatial_dims if isinstance(kernel_size, int) else tuple(kernel_size)
        settings: dict[str, Any] = {"bias": bias, "padding": tuple(s // 2 for s in sides), **arguments}
        name, options = self.conv_name, self._conv_options
        if name == PLAIN or (name == QUADTREE and level >= self.adaptive_levels):
            return Conv["conv", self.spatial_dims](in_channels, out_channels, kernel_size, **settings)
        if "kernel_size" in options and "padding" not in arguments:
            settings.pop("padding")
        return Conv[name, self.spatial_dims](
            in_channels, out_channels, **{"kernel_size": kernel_size, **settings, **options}
        )

    def down(
        self,
        level: int,
        channels: int,
        out_channels: int | None = None,
        window: Sequence[int] | None = None,
        **own: Any,
    ) -> Down:
        """The halving from ``level`` to ``level + 1``.

        Args:
            level: 0 for the first halving.
            channels: channels of the input.
            out_channels: channels of the result. None: the same.
            window: default for the window of a pooling. None: 2 voxels along every axis.
            own: defaults of the network for the arguments of a strided convolution, used for ``"stride"`` only.
        """
        kind, options = self.kinds[level], self._down_options[level]
        if kind == "stride":
            options = {**own, **options}
        elif kind in ("max", "avg") and window is not None:
            options = {"kernel_size": tuple(window), **options}
        return Down(self.spatial_dims, kind, channels, out_channels or channels, options)

    def up(self, level: int, channels: int, out_channels: int, own: nn.Module) -> Up:
        """The doubling from ``level + 1`` back to ``level``.

        Args:
            level: 0 for the finest.
            channels: channels of the input.
            out_channels: channels of the result.
            own: the doubling layer of the network, which is used unless the halving of the level is sparse.
        """
        return Up(self.spatial_dims, channels, out_channels, own, self.kinds[level] == "sparse", self.fill)

    def plan(self, x: Tensor, plan: AnyPlan | None = None) -> AnyPlan | None:
        """The plan for one call of the network.

        Args:
            x: the input of the network, an image ``[B, any, *S]``.
            plan: the plan that the caller gave. None: it is made from x, once for all layers. With a learned evaluator
                there is no common plan: every layer makes its own.

        Returns:
            The plan, or None if no layer needs one.

        Raises:
            ValueError: for a plan that does not match the image at every adaptive level, or that no layer would use.
        """
        if not self.adaptive_levels:
            if plan is not None:
                raise ValueError(f"{self.owner}: a plan is given, but no convolution is adaptive; set conv='quadtree'")
            return None
        if self.shared is None:
            return plan
        if plan is None:
            plan = self.shared.make(x)
        self.shared.check(plan, tuple(x.shape[2:]))
        return plan

    def _parse_down(self, name: str, options: dict[str, Any]) -> tuple[list[str], list[dict[str, Any]], str]:
        if name in HALVINGS:
            kinds = [name] * self.halvings
        else:
            try:
                kinds = [_OF_PLACEMENT.get(kind, kind) for kind in parse_placement(name)]
            except ValueError as error:
                raise ValueError(
                    f"{self.owner}: down is {name!r}; expected one of {', '.join(HALVINGS)}, or a placement such as "
                    "'max-2sd-max'"
                ) from error
        if len(kinds) != self.halvings:
            raise ValueError(f"{self.owner}: down {name!r} has {len(kinds)} stages; expected {self.halvings}")
        mixed, sparse = len(set(kinds)) > 1, [i for i, kind in enumerate(kinds) if kind == "sparse"]
        if options and mixed and not sparse:
            raise ValueError(
                f"{self.owner}: down {name!r} has several kinds of pooling; expected no arguments, found {options}"
            )
        fill = options.pop("fill", "zeros") if sparse else "zeros"
        rows = [dict(options) if not mixed or i in sparse else {} for i in range(self.halvings)]
        patch = options.get("patch")
        if sparse and isinstance(patch, Sequence):
            if len(patch) != len(sparse):
                raise ValueError(
                    f"{self.owner}: down {name!r} has {len(sparse)} sparse stages, patch has {len(patch)} sides; "
                    "expected one side, or one for each stage"
                )
            for i, side in zip(sparse, patch, strict=True):
                rows[i]["patch"] = side
        return kinds, rows, fill

    def _parse_levels(self) -> int:
        first_sparse = self.kinds.index("sparse") if "sparse" in self.kinds else self.halvings
        most = min(self.halvings, first_sparse) + 1
        levels = self._conv_options.pop("levels", max(1, min(self.halvings, most)))
        if not 1 <= levels <= most:
            where = "" if most > self.halvings else f" (level {most} and the levels after it follow a sparse halving)"
            raise ValueError(f"{self.owner}: {levels} adaptive levels; expected 1 to {most}{where}")
        return levels

    def _make_shared(self) -> SharedPlan | None:
        options = self._conv_options
        metric = split_named(self.owner, "evaluator", options.get("evaluator", "gradient"))[0]
        if metric == LEARNED:
            return None
        keys = ("rounds", "root", "budget", "threshold", "reduce", "spacing")
        given: Mapping[str, Any] = {key: options[key] for key in keys if key in options}
        return SharedPlan(self.owner, PlanSettings(metric=metric, **given), self.adaptive_levels)
