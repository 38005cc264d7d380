"""Trains one net on one fold until validation stops improving."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from monai.losses import DiceCELoss
from torch import Tensor, nn

from benchmarks._guided.cases import LIVER, TUMOUR
from benchmarks._guided.prepared import Batch, Prepared, Sampler, crop_around, slices_of
from benchmarks._guided.rows import Net, build
from medseg.layers.guidance import Guidance

CLASS_WEIGHTS = (0.3, 0.5, 2.2)
"""Of the cross-entropy: tumour is rare, and an unweighted net long finds none."""


class Settings(NamedTuple):
    """How every net is trained.

    Attributes:
        most: evaluations after which a run stops and says that it hit its cap.
        steps: between two evaluations.
        patience: evaluations without a better validation loss after which a run stops.
        batch: slices a step.
        rate: learning rate of AdamW at the start.
        slower_after: evaluations without improvement after which the rate falls to ``slower`` of itself.
        slower: see ``slower_after``.
        decay: weight decay.
        better: share of the validation loss by which a better one must be lower.
        slices: of every validation case that are looked at.
    """

    most: int = 60
    steps: int = 20
    patience: int = 10
    batch: int = 8
    rate: float = 3e-3
    slower_after: int = 2
    slower: float = 0.3
    decay: float = 1e-3
    better: float = 0.002
    slices: int = 8


class Scale(NamedTuple):
    """Mean and standard deviation of the texture features of training slices with tumour; the flag stays as it is."""

    mean: Tensor
    deviation: Tensor


class Trained(NamedTuple):
    """A trained net."""

    module: nn.Module
    scale: Scale
    record: dict[str, Any]


def texture_scale(cases: Sequence[Prepared]) -> Scale:
    """The scale that brings texture features of tumours to about unit size."""
    rows = torch.cat([case.given["oracle"].texture for case in cases])
    known = rows[rows[:, -1] > 0]
    mean, deviation = known.mean(0), known.std(0).clamp(min=1e-6)
    mean[-1], deviation[-1] = 0.0, 1.0
    return Scale(mean, deviation)


def run_net(module: nn.Module, net: Net, batch: Batch, scale: Scale, guided: Tensor | None) -> Tensor:
    """Logits ``[B, 3, H, W]``.

    Args:
        module: the net.
        net: what it reads.
        batch: its input.
        scale: of the texture.
        guided: bool ``[B]``, samples whose guidance it may read; None for all.
    """
    guidance = Guidance(
        appearance=batch.appearance if net.density else None,
        spatial=batch.spatial if net.spatial else None,
        texture=(batch.texture - scale.mean) / scale.deviation * batch.texture[:, -1:] if net.texture else None,
        guided=guided if net.guided else None,
    )
    found: Tensor = module(batch.image, guidance=guidance)
    return found


def fit(
    net: Net,
    training: Sequence[Prepared],
    validation: Sequence[Prepared],
    seed: int,
    settings: Settings,
    trunk: dict[str, Tensor] | None = None,
) -> Trained:
    """Train and keep the weights with the lowest validation loss.

    Args:
        net: what to train.
        training: cases to learn from.
        validation: cases that decide when to stop and which weights are kept.
        seed: of weights, batches and withheld guidance.
        settings: how to train.
        trunk: weights that the trunk starts from; None for random ones.
    """
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    module, scale, sampler = build(net), texture_scale(training), Sampler(training, rng)
    if trunk is not None:
        module.backbone.load_state_dict(trunk)
    optimiser = torch.optim.AdamW(module.parameters(), lr=settings.rate, weight_decay=settings.decay)
    schedule = torch.optim.lr_scheduler.ReduceLROnPlateau(
        optimiser, factor=settings.slower, patience=settings.slower_after, threshold=settings.better
    )
    criterion, watched = _criterion(), [_watched(case, settings.slices) for case in validation]
    best, best_at, kept, evaluation = float("inf"), 0, copy.deepcopy(module.state_dict()), 0
    while evaluation < settings.most and evaluation - best_at < settings.patience:
        module.train()
        for _ in range(settings.steps):
            batch = sampler.batch(settings.batch)
            guided = torch.from_numpy(rng.random(settings.batch) < net.present)
            loss = criterion(run_net(module, net, batch, scale, guided), batch.label[:, None])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
        evaluation += 1
        value = _validation_loss(module, net, watched, scale)
        schedule.step(value)
        if value < best * (1 - settings.better):
            best, best_at, kept = value, evaluation, copy.deepcopy(module.state_dict())
    module.load_state_dict(kept)
    record = {
        "evaluations": evaluation,
        "best_at": best_at,
        "capped": evaluation - best_at < settings.patience,
        "validation_loss": round(best, 4),
        "parameters": sum(p.numel() for p in module.parameters()),
    }
    return Trained(module.eval(), scale, record)


def _criterion() -> DiceCELoss:
    return DiceCELoss(
        include_background=False, to_onehot_y=True, softmax=True, batch=True, weight=torch.tensor(CLASS_WEIGHTS)
    )


def _watched(case: Prepared, count: int) -> Batch:
    """Evenly spaced slices, half of them with tumour, in the liver's box, with a user's guidance."""
    numbers: list[int] = []
    for there in (case.label == TUMOUR, case.label >= LIVER):
        found = there.flatten(1).any(1).nonzero()[:, 0]
        numbers += found[torch.linspace(0, len(found) - 1, count // 2).round().long()].tolist()
    return slices_of(case, numbers, crop_around(case.label >= LIVER), case.given["middle"])


@torch.no_grad()
def _validation_loss(module: nn.Module, net: Net, watched: Sequence[Batch], scale: Scale) -> float:
    """Mean over the cases; a net that guidance is sometimes withheld from is seen with and without."""
    module.eval()
    criterion = _criterion()
    ways = (True, False) if net.present < 1 else (True,)
    values = [
        float(criterion(run_net(module, net, batch, scale, torch.full((len(batch.image),), way)), batch.label[:, None]))
        for batch in watched
        for way in ways
    ]
    return float(np.mean(values))
