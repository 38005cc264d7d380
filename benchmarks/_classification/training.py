"""Trains one row on one fold until validation stops improving, and tests it."""

from __future__ import annotations

import copy
import ctypes
import sys
import time
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional
from torch.utils.flop_counter import FlopCounterMode

from benchmarks._classification.data import Fold, Part
from benchmarks._classification.network import Classifier, parameters_of
from benchmarks._classification.rows import LITERAL_EPS, Row
from medseg.layers.selection_health import distinct_share, moved_share, rank_correlation
from medseg.losses import SparsityLoss, collect_patch_norms
from medseg.training.evaluator_parameters import evaluator_parameter_groups


class Settings(NamedTuple):
    """How every row is trained.

    Attributes:
        epochs: most passes over the training images; a run that ends there is recorded as capped.
        evaluations: validations in each pass, evenly spaced.
        patience: evaluations without a better validation loss after which a run stops.
        warmup: epochs of the warm-up. For no row does a validation count before its end, so that all rows stop by one
            rule.
        batch: images a step.
        rate: learning rate of AdamW at the start.
        slower_after: evaluations without improvement after which the rate falls to ``slower`` of itself.
        slower: see ``slower_after``.
        decay: weight decay.
        better: share of the validation loss by which a better one must be lower.
    """

    epochs: int = 40
    evaluations: int = 2
    patience: int = 10
    warmup: int = 8
    batch: int = 16
    rate: float = 3e-3
    slower_after: int = 3
    slower: float = 0.25
    decay: float = 1e-4
    better: float = 0.005


class Result(NamedTuple):
    """What a run leaves.

    Attributes:
        scores: logit difference of every test image.
        record: what else the run's line in the record holds.
    """

    scores: list[float]
    record: dict[str, Any]


def train_and_test(row: Row, fold: Fold, seed: int, settings: Settings) -> Result:
    """Train, keep the weights with the lowest validation loss, and score the test images."""
    keep_freed_memory()
    torch.manual_seed(seed)
    wall, cpu = time.perf_counter(), time.process_time()
    side = fold.train.images.shape[-1]
    network = Classifier(row, fold.spatial_dims, side)
    if fold.spatial_dims == 2:
        network = network.to(memory_format=torch.channels_last)
    record = _fit(network, row, fold, seed, settings)
    record["seconds"] = round(time.perf_counter() - wall, 1)
    record["cpu_seconds"] = round(time.process_time() - cpu, 1)
    scores = _scores(network, fold.test)
    record["parameters"] = parameters_of(network)
    record["macs"] = round(macs_of(network, fold.test))
    record["health"] = health(network, fold.test)
    return Result([round(float(score), 3) for score in scores], record)


def _fit(network: Classifier, row: Row, fold: Fold, seed: int, settings: Settings) -> dict[str, Any]:
    optimiser = torch.optim.AdamW(parameter_groups(network, row, settings), lr=settings.rate)
    schedule = torch.optim.lr_scheduler.ReduceLROnPlateau(
        optimiser, factor=settings.slower, patience=settings.slower_after, threshold=settings.better
    )
    generator = torch.Generator().manual_seed(seed)
    best, best_at, kept, stopped = float("inf"), 0, copy.deepcopy(network.state_dict()), False
    evaluation, first = 0, settings.warmup * settings.evaluations
    while evaluation < settings.epochs * settings.evaluations and not stopped:
        if evaluation % settings.evaluations == 0:
            order = torch.randperm(len(fold.train.labels), generator=generator)
            parts = order.tensor_split(settings.evaluations)
        for layer in network.sparse_layers():
            layer.warm = row.warmup and evaluation < first
        _train_on(network, row, fold, optimiser, generator, parts[evaluation % settings.evaluations], settings.batch)
        evaluation += 1
        if evaluation <= first:
            continue
        loss = _loss(network, fold.validation)
        schedule.step(loss)
        if loss < best * (1 - settings.better):
            best, best_at, kept = loss, evaluation, copy.deepcopy(network.state_dict())
        stopped = best_at > 0 and evaluation - best_at >= settings.patience
    network.load_state_dict(kept)
    network.eval()
    return {
        "epochs": evaluation / settings.evaluations,
        "best_epoch": best_at / settings.evaluations,
        "capped": not stopped,
        "validation_loss": None if best == float("inf") else round(best, 5),
    }


def parameter_groups(network: Classifier, row: Row, settings: Settings) -> list[dict[str, Any]]:
    """Evaluators have their own learning rate and no weight decay."""
    if not any(network.sparse_layers()):
        return [{"params": list(network.parameters()), "weight_decay": settings.decay}]
    return evaluator_parameter_groups(network, settings.rate, settings.decay, row.evaluator_rate)


def _train_on(
    network: Classifier,
    row: Row,
    fold: Fold,
    optimiser: torch.optim.Optimizer,
    generator: torch.Generator,
    order: Tensor,
    batch: int,
) -> None:
    network.train()
    sparsity = SparsityLoss(eps=LITERAL_EPS, weight=row.sparsity) if row.sparsity else None
    for numbers in order.split(batch):
        if len(numbers) < 2:
            continue  # batch norm has no statistics of one image of one pixel
        part = fold.train.take(numbers.numpy())
        images, masks = part.images, part.masks
        if fold.symmetric:
            images, masks = _turn(generator, images, masks)
        loss = functional.cross_entropy(network(_laid_out(images), masks), part.labels)
        if sparsity is not None:
            loss = loss + sparsity(collect_patch_norms(network))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()


def _turn(generator: torch.Generator, images: Tensor, masks: Tensor | None) -> tuple[Tensor, Tensor | None]:
    """One of the eight flips and quarter turns, the same for the whole batch."""
    flip_y, flip_x, swap = (bool(torch.randint(2, (), generator=generator)) for _ in range(3))
    axes = [axis for axis, wanted in ((2, flip_y), (3, flip_x)) if wanted]

    def apply(x: Tensor) -> Tensor:
        x = x.flip(axes) if axes else x
        return x.transpose(2, 3) if swap else x

    return apply(images), None if masks is None else apply(masks)


def _laid_out(images: Tensor) -> Tensor:
    return images.contiguous(memory_format=torch.channels_last) if images.dim() == 4 else images


@torch.no_grad()
def _outputs(network: Classifier, part: Part, batch: int = 64) -> Tensor:
    network.eval()
    masks = [None] * len(part.images) if part.masks is None else part.masks.split(batch)
    return torch.cat([network(_laid_out(x), mask) for x, mask in zip(part.images.split(batch), masks, strict=False)])


def _loss(network: Classifier, part: Part) -> float:
    return float(functional.cross_entropy(_outputs(network, part), part.labels))


def _scores(network: Classifier, part: Part) -> np.ndarray:
    outputs = _outputs(network, part)
    return (outputs[:, 1] - outputs[:, 0]).numpy()


def macs_of(network: Classifier, part: Part, images: int = 16) -> float:
    """Multiply-adds of convolutions and matrix products for one image, averaged over some test images.

    A round counts its active positions, also where a dense convolution computes it; making a partition from gradients
    is not counted.
    """
    network.eval()
    x, mask = _laid_out(part.images[:images]), None if part.masks is None else part.masks[:images]
    stage = network.rounds
    sparse_rounds = stage.partition not in ("", "dense")
    with torch.no_grad():
        network(x, mask)
        stage.off = sparse_rounds
        with FlopCounterMode(display=False) as counter:
            network(x, mask)
        stage.off = False
    return (counter.get_total_flops() / 2 + (stage.macs() if sparse_rounds else 0.0)) / len(x)


@torch.no_grad()
def health(network: Classifier, part: Part, images: int = 128) -> dict[str, Any]:
    """What sparse layers choose and what partitions cover, on some test images.

    ``distinct``: share of different patches among those chosen; ``moved``: share of chosen patches that the next image
    does not choose; ``norm_rank``: rank correlation of learned scores with the patches' norms; ``pointing``: share of
    images in which a target pixel survives all halvings; ``share``: part of the last map that stems from the target;
    ``active`` and ``cover``: share of the map, and of the target's pixels, inside each round's set.
    """
    network.eval()
    x = _laid_out(part.images[:images])
    mask = None if part.masks is None else part.masks[:images]
    sparse = list(network.sparse_layers())
    for layer in sparse:
        layer.record = True
    network(x, mask)
    selections = [layer.selection for layer in sparse if layer.selection is not None]
    for layer in sparse:
        layer.record = False
    found: dict[str, Any] = {}
    if selections:
        found["distinct"] = [round(distinct_share(s.place.index), 3) for s in selections]
        found["moved"] = [round(moved_share(s.place.index), 3) for s in selections]
    if selections and all(s.scores is not None for s in selections):
        found["norm_rank"] = [round(rank_correlation(s.scores, s.norms), 3) for s in selections if s.scores is not None]
    if mask is not None:
        place = network.follow(x, mask).flatten(1).float()
        found["pointing"] = round(float(place.amax(1).mean()), 3)
        found["share"] = round(float(place.mean()), 3)
    return found | network.rounds.health(mask)


def keep_freed_memory() -> None:
    """Keeps freed memory for the next step instead of giving it back to the system (glibc; else nothing happens)."""
    if sys.platform == "linux":
        try:
            mallopt = ctypes.CDLL(None).mallopt
        except AttributeError:  # another C library
            return
        mallopt(-3, 1 << 30)  # M_MMAP_THRESHOLD
        mallopt(-1, 1 << 30)  # M_TRIM_THRESHOLD
