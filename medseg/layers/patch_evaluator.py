"""Evaluators: small networks that score the patches of a map for `medseg.layers.SparseDownsample`."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from monai.networks.layers.factories import Pool
from torch import Tensor, nn
from torch.nn import functional as F

from medseg._arguments import checked_arguments, finite_number
from medseg.layers.keep_metadata import keep_metadata
from medseg.layers.map_check import check_map

__all__ = ["PatchDescriptor", "SharedPatchEvaluator", "SlotPatchEvaluator", "patch_l1"]


def patch_l1(x: Tensor, patch: int, reduction: str = "mean") -> Tensor:
    """L1 norm of every patch, over its channels and voxels.

    Args:
        x: ``[B, C, H, W]`` or ``[B, C, D, H, W]``, spatial sizes multiples of ``patch``.
        patch: side of a patch in voxels.
        reduction: "mean" divides by the number of values of a patch, "sum" does not.

    Returns:
        ``[B, N]``, patches in raster order, in float32 (float64 for float64 x).

    Raises:
        ValueError: for an unknown reduction.

    Example:
        >>> x = torch.ones(1, 3, 8, 8)
        >>> x[..., :4, :4] = -2
        >>> patch_l1(x, patch=4)
        tensor([[2., 1., 1., 1.]])
        >>> patch_l1(x, patch=4, reduction="sum")
        tensor([[96., 48., 48., 48.]])
    """
    if reduction not in ("mean", "sum"):
        raise ValueError(f"patch_l1: reduction is {reduction!r}; expected 'mean' or 'sum'")
    check_map("patch_l1", x, sides=patch)
    d = x.ndim - 2
    pool = F.avg_pool2d if d == 2 else F.avg_pool3d
    # The sum over a patch does not fit in 16 bits.
    precision = torch.float64 if x.dtype == torch.float64 else torch.float32
    mean = pool(x.abs().mean(1, keepdim=True, dtype=precision), patch).flatten(1)
    return mean if reduction == "mean" else mean * (x.shape[1] * patch**d)


class PatchDescriptor(nn.Module):
    """Mean and maximum of every patch per channel, followed by batch normalisation without affine parameters.

    Args:
        spatial_dims: 2 or 3.
        channels: channels of the map.
        owner: name of the evaluator, for messages.
    """

    def __init__(self, spatial_dims: int, channels: int, owner: str = "PatchDescriptor") -> None:
        super().__init__()
        self.owner = owner
        self.average, self.maximum = Pool["AVG", spatial_dims], Pool["MAX", spatial_dims]
        self.norm = nn.BatchNorm1d(2 * channels, affine=False)

    def forward(self, x: Tensor, patch: int) -> Tensor:
        """Descriptors ``[B, N, 2 C]`` of the patches of ``x [B, C, *S]``, in the dtype of the running statistics."""
        if x.ndim < 3 or 2 * x.shape[1] != self.norm.num_features:
            expected = f"[B, {self.norm.num_features // 2}, *S]"
            raise ValueError(f"{self.owner}: input has shape {list(x.shape)}; expected {expected}")
        check_map(self.owner, x, sides=patch)
        pooled = torch.cat([self.average(patch)(x), self.maximum(patch)(x)], dim=1).flatten(2)
        return self.norm(pooled.to(self.norm.running_mean.dtype)).transpose(1, 2)


class _ContentKey(nn.Module):
    """Key of ``rank`` numbers from the descriptor of a patch; a bias of the last layer would only shift all scores."""

    def __init__(self, channels: int, hidden: int, rank: int) -> None:
        super().__init__()
        self.hidden = nn.Linear(2 * channels, hidden)
        self.key = nn.Linear(hidden, rank, bias=False)

    def forward(self, description: Tensor) -> Tensor:
        return self.key(F.relu(self.hidden(description)))


@checked_arguments
class SharedPatchEvaluator(nn.Module):
    """One score per patch: ``s_k = s0 * mean(desc_k) + q . W2 relu(W1 desc_k + b1)``, initially with s0 = 1 and q = 0.

    A new evaluator therefore selects the patches with the largest normalised mean and maximum.

    Args:
        spatial_dims: 2 or 3.
        channels: channels of the map.
        hidden: number of hidden units.
        rank: length of key and query.

    Example:
        >>> evaluator = SharedPatchEvaluator(spatial_dims=2, channels=3)
        >>> evaluator(torch.randn(2, 3, 16, 16), patch=4).shape
        torch.Size([2, 16])
    """

    def __init__(self, spatial_dims: int, channels: int, hidden: int = 32, rank: int = 8) -> None:
        super().__init__()
        self.describe = PatchDescriptor(spatial_dims, channels, "SharedPatchEvaluator")
        self.content = _ContentKey(channels, hidden, rank)
        self.query = nn.Parameter(torch.zeros(rank))
        self.start = nn.Parameter(torch.ones(()))

    @keep_metadata
    def forward(self, x: Tensor, patch: int) -> Tensor:
        """Scores of the patches of ``x [B, C, *S]``: ``[B, N]`` in the dtype of the parameters."""
        description = self.describe(x, patch)
        return self.start * description.mean(2) + self.content(description) @ self.query


@checked_arguments
class SlotPatchEvaluator(nn.Module):
    """A score for every pair of patch and output slot, as a product of keys and queries.

    The key of a patch is [content key; mean of its descriptor; positional key (y, x, y^2 + x^2)], with integer patch
    coordinates relative to the centre. The initial query of a slot is [0; ``norm``; ``position`` * (2 y, 2 x, -1)],
    where (y, x) is the position of a patch, every second one along each axis. With the defaults a new layer selects
    exactly every second patch along each axis. A learned table is added to the queries; it is interpolated to the grid
    of the slots.

    Args:
        spatial_dims: 2 or 3.
        channels: channels of the map.
        hidden: number of hidden units.
        rank: length of the content key.
        grid: slots of the learned table along every axis (one number, or one per axis).
        position: initial weight of the positional part; with 0 only the content decides.
        norm: initial weight of the mean of the descriptor.
        query_std: standard deviation of the initial content queries.

    Example:
        >>> evaluator = SlotPatchEvaluator(spatial_dims=2, channels=3)
        >>> keys, queries = evaluator(torch.randn(2, 3, 16, 16), patch=4)
        >>> keys.shape[:2], queries.shape[:1]
        (torch.Size([2, 16]), torch.Size([4]))
    """

    def __init__(
        self,
        spatial_dims: int,
        channels: int,
        hidden: int = 32,
        rank: int = 8,
        grid: int | Sequence[int] = 8,
        position: float = 1.0,
        norm: float = 0.0,
        query_std: float = 0.0,
    ) -> None:
        super().__init__()
        sizes = (grid,) * spatial_dims if isinstance(grid, int) else tuple(grid)
        if len(sizes) != spatial_dims or min(sizes) < 1:
            raise ValueError(f"SlotPatchEvaluator: grid is {grid}; expected {spatial_dims} numbers of at least 1")
        self.describe = PatchDescriptor(spatial_dims, channels, "SlotPatchEvaluator")
        self.content = _ContentKey(channels, hidden, rank)
        for name, value in (("position", position), ("norm", norm), ("query_std", query_std)):
            finite_number("SlotPatchEvaluator", name, value)
        self.position, self.norm, self.rank = position, norm, rank
        table = torch.zeros(rank + 1 + spatial_dims + 1, *sizes)
        table[:rank].normal_(std=query_std) if query_std > 0 else None
        self.table = nn.Parameter(table)

    @keep_metadata
    def forward(self, x: Tensor, patch: int) -> tuple[Tensor, Tensor]:
        """Keys ``[B, N, r]`` and queries ``[M, r]`` for ``x [B, C, *S]``, in the dtype of the parameters."""
        description = self.describe(x, patch)
        grid = [s // patch for s in x.shape[2:]]
        place = _centred_places(grid, 1, self.table)
        position = torch.cat([place, place.square().sum(1, keepdim=True)], dim=1).expand(x.shape[0], -1, -1)
        keys = torch.cat([self.content(description), description.mean(2, keepdim=True), position], dim=2)
        return keys, self._queries(grid)

    def _queries(self, grid: list[int]) -> Tensor:
        slots = [g // 2 for g in grid]
        table = self.table
        if list(table.shape[1:]) != slots:
            mode = "bilinear" if len(slots) == 2 else "trilinear"
            table = F.interpolate(table[None], size=slots, mode=mode, align_corners=False)[0]
        target = _centred_places(grid, 2, self.table)
        ones = target.new_ones(target.shape[0], 1)
        start = [ones.expand(-1, self.rank) * 0, ones * self.norm, 2 * self.position * target, -self.position * ones]
        return table.flatten(1).T + torch.cat(start, dim=1)


def _centred_places(grid: list[int], step: int, like: Tensor) -> Tensor:
    """Coordinates ``[count, d]`` of every ``step``-th patch of a grid, relative to the centre of the grid."""
    axes = [torch.arange(0, n, step, device=like.device, dtype=like.dtype) - (n - 1) / 2 for n in grid]
    return torch.stack(torch.meshgrid(*axes, indexing="ij"), dim=-1).flatten(0, -2)
