"""Passes a plan to the adaptive layers inside the blocks of a network."""

from __future__ import annotations

from torch import Tensor, nn

from medseg.layers import QuadtreeConv
from medseg.layers.quadtree_conv import AnyPlan

__all__ = ["PlannedSequential", "run"]


def run(module: nn.Module, x: Tensor, plan: AnyPlan | None) -> Tensor:
    """Calls a module, with the plan if it takes one.

    Modules that take a plan are `QuadtreeConv`, `PlannedSequential`, and all modules with ``forward(x, plan)`` and the
    class attribute ``takes_plan = True``.
    """
    takes = isinstance(module, QuadtreeConv) or getattr(module, "takes_plan", False)
    return module(x, plan) if takes else module(x)


class PlannedSequential(nn.Sequential):
    """`torch.nn.Sequential` that passes a plan to the modules that take one.

    Example:
        >>> from medseg.layers import QuadtreeConv
        >>> from medseg.partition import Quadtree
        >>> block = PlannedSequential(QuadtreeConv(2, 4, 4, rounds=1, root=2), torch.nn.ReLU())
        >>> x = torch.randn(1, 4, 16, 16)
        >>> block(x, Quadtree.from_image(x, rounds=1, root=2)).shape
        torch.Size([1, 4, 16, 16])
    """

    takes_plan = True

    def forward(self, x: Tensor, plan: AnyPlan | None = None) -> Tensor:
        """Applies the modules one after the other.

        Args:
            x: input of the first module.
            plan: partition of the image, or None.
        """
        for module in self:
            x = run(module, x, plan)
        return x
