"""The study's network: a plain CNN whose halvings are pooled or sparsely downsampled, with rounds between them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmarks._classification.adaptive_stage import AdaptiveStage
from benchmarks._classification.rows import PATCH, PLACEMENTS, Row
from medseg.layers import PatchIndex, SparseDownsample
from medseg.ops import patch_gather

CHANNELS = {2: (8, 8, 16, 24, 32, 48), 3: (8, 16, 24, 32)}
ADAPTIVE_STAGE = 1
"""Rounds are added after the convolution of this stage: at the 64 x 64 map."""
CLASSES = 2
CONTENT_QUERIES = {"position": 0.0, "norm": 1.0, "query_std": 0.3}
"""Start of the slots' queries: the content of a patch decides, not its place; the norm prefers large values."""


class Classifier(nn.Module):
    """A plain CNN: in each stage a convolution of side 3, batch norm, ReLU and a halving; then mean or maximum and a
    linear layer.

    Args:
        row: what the halvings and rounds are.
        spatial_dims: 2 (six halvings of 128) or 3 (four of 32).
        side: side of the images.
    """

    def __init__(self, row: Row, spatial_dims: int = 2, side: int = 128) -> None:
        super().__init__()
        conv, norm = (nn.Conv2d, nn.BatchNorm2d) if spatial_dims == 2 else (nn.Conv3d, nn.BatchNorm3d)
        self.head = row.head
        blocks, halvings, before = [], [], 1
        for stage, channels in enumerate(CHANNELS[spatial_dims]):
            blocks.append(
                nn.Sequential(conv(before, channels, 3, padding=1, bias=False), norm(channels), nn.ReLU(inplace=True))
            )
            halvings.append(_halving(row, spatial_dims, stage, channels, side >> stage))
            before = channels
        self.blocks, self.halvings = nn.ModuleList(blocks), nn.ModuleList(halvings)
        self.rounds = AdaptiveStage(row, CHANNELS[spatial_dims][ADAPTIVE_STAGE], spatial_dims)
        self.linear = nn.Linear(before, CLASSES)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """Logits ``[B, 2]``.

        Args:
            x: images ``[B, 1, *spatial]``.
            mask: the target; only the oracle partition reads it.
        """
        image = x
        for stage, (block, halving) in enumerate(zip(self.blocks, self.halvings, strict=True)):
            x = block(x)
            if stage == ADAPTIVE_STAGE:
                x = self.rounds(x, image, mask)
            x = halving(x)
        flat = x.flatten(2)
        return self.linear(flat.mean(2) if self.head == "mean" else flat.amax(2))

    def sparse_layers(self) -> Iterator[SparseDownsample]:
        """The sparse downsampling layers, first to last."""
        return (layer for layer in self.halvings if isinstance(layer, SparseDownsample))

    @torch.no_grad()
    def follow(self, x: Tensor, mask: Tensor) -> Tensor:
        """Where the target is after the last halving: bool ``[B, 1, *last]``, followed through every selection."""
        image, place = x, mask.to(x.dtype)
        for stage, (block, halving) in enumerate(zip(self.blocks, self.halvings, strict=True)):
            x = block(x)
            if stage == ADAPTIVE_STAGE:
                x = self.rounds(x, image, mask)
            if isinstance(halving, SparseDownsample):
                halving.record = True
                x = halving(x)
                halving.record = False
                chosen = chosen_patches(halving)
                grid = [side // chosen.patch for side in x.shape[2:]]
                place = patch_gather(place, chosen.index, chosen.patch, grid)
            else:
                x, place = halving(x), _max_pool(place)
        return place > 0


def _halving(row: Row, spatial_dims: int, stage: int, channels: int, side: int) -> nn.Module:
    if PLACEMENTS[spatial_dims][row.placement][stage] == "max":
        return nn.MaxPool2d(2) if spatial_dims == 2 else nn.MaxPool3d(2)
    options: dict[str, Any] = {"assignment": row.assignment, "surrogate": row.surrogate}
    evaluator = ("slots", CONTENT_QUERIES) if row.evaluator == "slots" else row.evaluator
    norms = "mean" if row.sparsity else None
    return SparseDownsample(
        spatial_dims, channels, PATCH[spatial_dims][side], evaluator=evaluator, keep_norms=norms, **options
    )


def chosen_patches(layer: SparseDownsample) -> PatchIndex:
    """Which patches the layer kept in its last recorded call."""
    if layer.selection is None:
        raise RuntimeError("the layer has not recorded a call; set record before it")
    return layer.selection.place


def _max_pool(x: Tensor) -> Tensor:
    return functional.max_pool2d(x, 2) if x.dim() == 4 else functional.max_pool3d(x, 2)


def parameters_of(network: nn.Module) -> int:
    """Number of trained values."""
    return sum(p.numel() for p in network.parameters() if p.requires_grad)
