"""A synthetic task in which few pixels decide (is there a blob among lines, dots and noise?) and a small network."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from medseg.layers import SparseDownsample, make_poolings
from medseg.ops import patch_gather
from medseg.training.evaluator_parameters import evaluator_parameter_groups
from medseg.training.warmup import SparseWarmup

SIZE = 64
CHANNELS = (8, 24, 48, 64)


class Blobs(NamedTuple):
    """Images [n, 1, 64, 64], labels [n] (1: a blob is present), masks of the blob [n, 1, 64, 64]."""

    images: Tensor
    labels: Tensor
    masks: Tensor


def _disc(centre: Tensor, radius: Tensor, grid: Tensor) -> Tensor:
    """Soft discs [n, 64, 64] of centres [n, 2] and radii [n]."""
    distance = (grid - centre[:, :, None, None]).square().sum(1).sqrt()
    return (radius[:, None, None] - distance + 0.5).clamp(0, 1)


def _line(start: Tensor, end: Tensor, grid: Tensor) -> Tensor:
    """Soft lines [n, 64, 64] about 2 pixels wide."""
    along = end - start
    offset = grid - start[:, :, None, None]
    t = (offset * along[:, :, None, None]).sum(1) / along.square().sum(1)[:, None, None].clamp(min=1)
    nearest = t.clamp(0, 1)[:, None] * along[:, :, None, None]
    return (1.5 - (offset - nearest).square().sum(1).sqrt()).clamp(0, 1)


def blobs(count: int, seed: int) -> Blobs:
    """Half of the images hold a blob 6 to 8 pixels wide; all hold 3 lines and 4 dots 2 to 4 pixels wide, and noise."""
    generator = torch.Generator().manual_seed(seed)

    def draw(low: float, high: float, *shape: int) -> Tensor:
        return low + (high - low) * torch.rand(count, *shape, generator=generator)

    axis = torch.arange(SIZE, dtype=torch.float32)
    grid = torch.stack(torch.meshgrid(axis, axis, indexing="ij"))[None]
    image = torch.zeros(count, SIZE, SIZE)
    for _ in range(3):
        line = _line(draw(0, SIZE, 2), draw(0, SIZE, 2), grid)
        image = torch.maximum(image, draw(0.5, 0.9, 1, 1) * line)
    for _ in range(4):
        image = torch.maximum(image, draw(0.6, 1.0, 1, 1) * _disc(draw(0, SIZE, 2), draw(1.0, 2.0), grid))
    labels = torch.arange(count) % 2
    blob = _disc(draw(6, SIZE - 6, 2), draw(3.0, 4.0), grid) * labels[:, None, None]
    image = torch.maximum(image, draw(0.7, 1.0, 1, 1) * blob)
    image = image + 0.12 * torch.randn(image.shape, generator=generator)
    return Blobs(image[:, None], labels, (blob > 0.5).float()[:, None])


class BlobNet(nn.Module):
    """Four stages of convolution and halving, global average, linear."""

    def __init__(self, placement: str, **options: object) -> None:
        super().__init__()
        self.stages = nn.ModuleList()
        before = 1
        for channels in CHANNELS:
            convolution = nn.Conv2d(before, channels, 3, padding=1, bias=False)
            self.stages.append(nn.Sequential(convolution, nn.BatchNorm2d(channels), nn.ReLU()))
            before = channels
        self.pools = make_poolings(placement, 2, CHANNELS, SIZE, patch=(8, 8, 4, 2), **options)
        self.head = nn.Linear(before, 2)

    def forward(self, x: Tensor) -> Tensor:
        for stage, pool in zip(self.stages, self.pools, strict=True):
            x = pool(stage(x))
        return self.head(x.mean((2, 3)))

    def route(self, masks: Tensor) -> Tensor:
        """What is left of the masks after all halvings, by the selections of the last recorded call."""
        for pool in self.pools:
            if isinstance(pool, SparseDownsample):
                place = pool.selection.place
                grid = [s // (2 * place.patch) for s in place.size]
                masks = patch_gather(masks, place.index, place.patch, grid)
            else:
                masks = F.max_pool2d(masks, 2)
        return masks


def train(network: BlobNet, data: Blobs, epochs: int, warm: int, lr: float = 3e-3, batch: int = 32) -> None:
    """AdamW with a one-cycle schedule; layers of sparse downsampling start with a warm-up and slow evaluators."""
    sparse = any(isinstance(m, SparseDownsample) for m in network.modules())
    groups = evaluator_parameter_groups(network, lr, 1e-2) if sparse else [{"params": network.parameters(), "lr": lr}]
    optimiser = torch.optim.AdamW(groups, lr=lr)
    steps = epochs * (len(data.labels) // batch)
    rates = [group["lr"] for group in groups]
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, rates, total_steps=steps)
    warmup = SparseWarmup(network, warm) if sparse else None
    generator = torch.Generator().manual_seed(1)
    network.train()
    for epoch in range(1, epochs + 1):
        if warmup is not None:
            warmup(epoch)
        for chosen in torch.randperm(len(data.labels), generator=generator).split(batch):
            if len(chosen) < batch:
                continue
            optimiser.zero_grad()
            F.cross_entropy(network(data.images[chosen]), data.labels[chosen]).backward()
            optimiser.step()
            schedule.step()


@torch.no_grad()
def evaluate(network: BlobNet, data: Blobs) -> tuple[float, float]:
    """Accuracy, and the share of images with a blob in which some of its pixels survive all halvings."""
    network.eval()
    right, survived = [], []
    for pool in network.pools:
        pool.record = True
    for chosen in torch.arange(len(data.labels)).split(100):
        right.append(network(data.images[chosen]).argmax(1) == data.labels[chosen])
        positive = data.labels[chosen] == 1
        survived.append(network.route(data.masks[chosen]).flatten(1).amax(1)[positive] > 0)
    return torch.cat(right).float().mean().item(), torch.cat(survived).float().mean().item()
