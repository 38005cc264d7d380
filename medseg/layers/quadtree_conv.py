"""Adaptive quadtree (2-D) and octree (3-D) convolution: more convolutions in regions where the image varies."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from torch import Tensor

from medseg._arguments import checked_arguments, finite_number
from medseg.layers.block_evaluator import EvaluatedPlan, LearnedEvaluator
from medseg.layers.conv_rounds import ConvRounds
from medseg.layers.keep_gradients import keep_gradients
from medseg.layers.keep_metadata import keep_metadata
from medseg.layers.named import Named, split_named
from medseg.ops.quadtree_conv import quadtree_conv
from medseg.partition import BlockPlan, PlanSettings, Quadtree, active_voxels, block_layout, make_plan

__all__ = ["AnyPlan", "QuadtreeConv"]

AnyPlan = BlockPlan | EvaluatedPlan | Quadtree
LEARNED = "learned"
_OP_ACTIVATIONS = {None: None, "relu": "relu", "leakyrelu": "leaky_relu"}


@checked_arguments
class QuadtreeConv(ConvRounds):
    """Convolves a map in rounds, each in the active blocks of a nested partition that is adapted to the image.

    With y_0 = W_0 * x (or y_0 = x) and z_r = act(norm(W_r * y + b_r)), inside the active blocks of round r

        sum        y_r = y_{r-1} + z_r, z_r from y_{r-1}
        replace    y_r = z_r, z_r from y_{r-1}
        parallel   y_r = y_{r-1} + z_r, z_r from y_0

    and y_r = y_{r-1} elsewhere. The active regions are nested, and the blocks of every round are half as large as those
    of the round before. The result of a round equals a dense convolution with a mask, at the cost of the active blocks
    only: kernels read the true values beyond the border of a block, and 0 outside of the image. Statistics of a
    normalisation are computed over the active positions.

    The partition is made once per image and passed to all layers, at every scale at which its tiles consist of whole
    voxels. A layer that is called without a partition makes its own, from ``guide`` or from its input.

    With ``evaluator="learned"`` a small network scores the blocks on the detached y_0. Its gradient is computed from
    the active blocks and a few rejected ones (``explore``), never from a dense convolution. With learned thresholds,
    add its cost penalty to the loss:

        plan = layer.own_plan(x)
        loss = criterion(layer(x, plan)) + 0.1 * layer.evaluator.cost_penalty(plan.kept)

    Args:
        spatial_dims: 2 or 3.
        in_channels: channels of the input.
        out_channels: channels of the output and of all rounds.
        rounds: number of rounds, 1 to 8.
        kernel_size: side of the rounds' kernels, 1, 3 or 5.
        mode: ``"sum"``, ``"replace"`` or ``"parallel"``.
        root_kernel: side of the kernel W_0 on the whole map (1, 3 or 5), required if the channels differ; 1 costs
            least. None: y_0 = x. It has no normalisation or activation.
        root: root blocks along each axis; round 1 has twice as many. None: see `medseg.partition.PlanSettings`.
        budget: share of the blocks that is kept in each round; it must not increase. None: 0.5, 0.25, 0.125, ...,
            or no budget if there is a threshold.
        threshold: blocks with a variation above this number are kept; one number or one per round.
        evaluator: how blocks are scored: ``"gradient"``, ``"variance"``, ``"range"``, ``"entropy"``, ``"random"`` (new
            blocks in each call, as a control), ``"learned"``, or a pair of ``"learned"`` and other arguments of
            `LearnedEvaluator`, such as ``("learned", {"select": "threshold"})``.
        reduce: whether the score of a block is the ``"max"`` or the ``"mean"`` of its cells.
        act: ``"relu"``, ``"leakyrelu"`` (with options as MONAI's pair) or None, after each round.
        norm: None, ``"batch"`` or ``"instance"`` (or a pair with options), after each round, see `ActiveNorm`.
        bias: whether the root kernel and the rounds have a bias.
        explore: share of the rejected blocks that is computed in training to train a learned evaluator, 0 to 1.
        temperature: temperature of the sigmoid in the gate of a learned evaluator, above 0.
        spacing: voxel size along each axis in mm, for partitions that the layer makes itself.

    Raises:
        ValueError: for other values.

    Example:
        >>> layer = QuadtreeConv(2, in_channels=3, out_channels=8, rounds=2, root=2, root_kernel=1)
        >>> x = torch.randn(1, 3, 32, 32)
        >>> layer(x).shape
        torch.Size([1, 8, 32, 32])
        >>> from medseg.partition import Quadtree
        >>> tree = Quadtree.from_image(x, rounds=2, root=2)
        >>> layer(x, tree).shape
        torch.Size([1, 8, 32, 32])
    """

    def __init__(
        self,
        spatial_dims: int,
        in_channels: int,
        out_channels: int,
        rounds: int = 3,
        kernel_size: int = 3,
        mode: str = "sum",
        root_kernel: int | None = None,
        root: int | Sequence[int] | None = None,
        budget: Sequence[float] | None = None,
        threshold: float | Sequence[float] | None = None,
        evaluator: Named = "gradient",
        reduce: str = "max",
        act: Named | None = "relu",
        norm: Named | None = None,
        bias: bool = True,
        explore: float = 0.05,
        temperature: float = 1.0,
        spacing: Sequence[float] | None = None,
    ) -> None:
        super().__init__(
            spatial_dims, in_channels, out_channels, rounds, kernel_size, mode, root_kernel, act, norm, bias
        )
        finite_number("QuadtreeConv", "explore", explore, 0, 1)
        finite_number("QuadtreeConv", "temperature", temperature, 0)
        self.scored_by, options = split_named("QuadtreeConv", "evaluator", evaluator)
        self.settings = PlanSettings(
            rounds=rounds,
            root=root,  # type: ignore[arg-type]
            budget=budget,  # type: ignore[arg-type]
            threshold=threshold,  # type: ignore[arg-type]
            metric="gradient" if self.scored_by == LEARNED else self.scored_by,
            reduce=reduce,
            spacing=spacing,  # type: ignore[arg-type]
        )
        self.evaluator: LearnedEvaluator | None = None
        if self.scored_by == LEARNED:
            if threshold is not None:
                raise ValueError(
                    "QuadtreeConv: a learned evaluator has no fixed threshold; give budget (with "
                    "evaluator=('learned', {'select': 'threshold'}) it is the target of learned thresholds)"
                )
            common: dict[str, Any] = {"explore": explore, "temperature": temperature}
            self.evaluator = LearnedEvaluator(spatial_dims, out_channels, self.settings, **{**common, **options})
        elif options:
            raise ValueError(f"QuadtreeConv: evaluator {self.scored_by!r} has no option {', '.join(options)}")

    @keep_metadata
    def forward(self, x: Tensor, plan: AnyPlan | None = None, guide: Tensor | None = None) -> Tensor:
        """Applies the root kernel and the rounds.

        Args:
            x: ``[B, in_channels, *S]``, contiguous or channels-last. A MetaTensor gives a MetaTensor.
            plan: partition of the image that x was computed from, see `medseg.partition`, or the result of a
                `LearnedEvaluator`; its tiles must consist of whole voxels of x. None: the layer makes its own.
            guide: ``[B, any, *S]``, from which the layer makes its own partition. None: x.

        Returns:
            ``[B, out_channels, *S]``.

        Raises:
            ValueError: for shapes that do not match, or a plan for another batch, scale or number of rounds.
        """
        self.check_input(x)
        y = x if self.root_conv is None else self.root_conv(x)
        if plan is not None and guide is not None:
            raise ValueError("QuadtreeConv: plan and guide are both given; a guide is only used to make a plan")
        rows: list[int] | None = None
        if plan is None:
            plan = self._plan_of(y, x, guide)
            if x.device.type != "cpu" and self.evaluator is None:
                rows = block_layout(x.shape[2:], self.settings).rows(x.shape[0])
        return self._run(y, self._checked(plan, x), plan if isinstance(plan, EvaluatedPlan) else None, rows)

    @keep_metadata
    def own_plan(self, x: Tensor, guide: Tensor | None = None) -> BlockPlan | EvaluatedPlan:
        """The partition that the layer makes from its input or from a guide; an `EvaluatedPlan` if it is learned."""
        self.check_input(x)
        return self._plan_of(x if self.root_conv is None or self.evaluator is None else self.root_conv(x), x, guide)

    def macs(self, plan: AnyPlan, size: Sequence[int]) -> int:
        """Multiply-adds on a batch of maps of spatial size ``size`` under a plan: root kernel and active positions.

        Positions outside of the map are not counted, and neither is the work of a learned evaluator.
        """
        blocks = plan if isinstance(plan, BlockPlan) else plan.plan
        active, size = int(active_voxels(blocks, size).sum()), tuple(size)
        return blocks.batch * self.root_macs(size) + active * (self.round_macs(size) // math.prod(size))

    def _plan_of(self, y: Tensor, x: Tensor, guide: Tensor | None) -> BlockPlan | EvaluatedPlan:
        if self.evaluator is None:
            source = x if guide is None else guide
            return make_plan(source.detach(), self.settings)
        if guide is not None:
            raise ValueError("QuadtreeConv: a learned evaluator reads the layer's own features; call it without guide")
        return self.evaluator(y)

    def _run(self, y: Tensor, plan: BlockPlan, evaluated: EvaluatedPlan | None, rows: list[int] | None) -> Tensor:
        norm, weight, bias = self.norm, self.kernels(), self.bias
        if norm.kind == "batch" and not norm.measures:
            weight, bias = norm.fold(weight, bias)
        if self.evaluator is not None:  # a plan that was given may not depend on the evaluator
            weight = keep_gradients(weight, self.evaluator.parameters())
        if rows is None and y.device.type != "cpu":
            rows = [plan.index.shape[1]] * self.rounds  # the count stays on the device: no host synchronisation
        out, stats = quadtree_conv(
            y,
            weight,
            bias,
            norm.scale if norm.measures else None,
            norm.shift if norm.measures else None,
            None if evaluated is None else evaluated.gate,
            index=plan.index,
            count=plan.count,
            explore=None if evaluated is None else evaluated.explore,
            grid=plan.grid,
            rows=rows,
            mode=self.mode,
            activation=_OP_ACTIVATIONS[self.activation],
            slope=self.slope,
            norm=norm.kind if norm.measures else None,
            eps=norm.eps,
        )
        if norm.kind == "batch" and norm.measures:
            norm.remember(stats, active_voxels(plan, y.shape[2:]).sum(1))
        return out

    def _checked(self, plan: AnyPlan, x: Tensor) -> BlockPlan:
        """The plan as tensors; raises a ValueError if it does not match the layer and its input."""
        blocks = plan if isinstance(plan, BlockPlan) else plan.plan
        size = tuple(x.shape[2:])
        if blocks.batch != x.shape[0]:
            raise ValueError(f"QuadtreeConv: the plan is for a batch of {blocks.batch}, x has {x.shape[0]} samples")
        if blocks.rounds != self.rounds:
            raise ValueError(f"QuadtreeConv: the plan has {blocks.rounds} rounds, the layer {self.rounds}")
        if len(blocks.grid) != len(size) or any(g > s for g, s in zip(blocks.grid, size, strict=True)):
            raise ValueError(
                f"QuadtreeConv: a plan of {list(blocks.grid)} tiles does not fit a map of size {list(size)}; "
                "expected at least one voxel a tile: fewer rounds, a smaller root, or a finer map"
            )
        if isinstance(plan, Quadtree):
            _check_scale(plan.size, blocks.grid, size)
        return blocks

    def extra_repr(self) -> str:
        """The settings of the layer, for ``print``."""
        share = f"budget={self.settings.budget}" if self.settings.budget else f"threshold={self.settings.threshold}"
        return f"{super().extra_repr()}, {share}, evaluator={self.scored_by}"


def _check_scale(image: tuple[int, ...], grid: tuple[int, ...], size: tuple[int, ...]) -> None:
    """Raises a ValueError unless the tiles cover the same regions of the image and of the map."""
    scales = set()
    for s, g, m in zip(image, grid, size, strict=True):
        at_image, at_map = -(-s // g), -(-m // g)
        scales.add(at_image // at_map if at_image % at_map == 0 and -(-s // (at_image // at_map)) == m else 0)
    if 0 in scales:
        raise ValueError(
            f"QuadtreeConv: the plan was made for an image of size {list(image)} with {list(grid)} tiles, the map has "
            f"size {list(size)}; expected the image's size divided by a whole number that divides its tiles"
        )
