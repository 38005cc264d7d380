"""Three optimiser steps with every loss: by two processes that share the batches, or by one with the whole batches."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from datetime import timedelta
from pathlib import Path
from typing import Any

import monai.losses
import torch
import torch.distributed as dist
from monai.networks.nets import UNet
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from medseg.losses import (
    AcrossRanks,
    ActiveMacs,
    BCEWithLogitsLoss,
    BorderWeightedCrossEntropyLoss,
    CostPenalty,
    CrossEntropyLoss,
    DiceCELoss,
    DiceLoss,
    FocalCrossEntropyLoss,
    FocalL2Loss,
    SparseAnnotationCrossEntropyLoss,
    SparsityLoss,
    SwitchOnPlateau,
    VNetDiceLoss,
)
from medseg.losses.rank_sums import not_counted

PROCESSES = 2
SIZES = (4, 3, 1)  # samples of the three batches: equal shares, unequal ones, and none for the second process
Function = Callable[[Tensor, Tensor, Tensor], Tensor]  # of logits, labels and a map of weights


def plain(loss: Callable[..., Tensor]) -> Function:
    return lambda x, y, w: loss(x, y)


def foreground(loss: Callable[..., Tensor]) -> Function:
    return lambda x, y, w: loss(x[:, 1:].sigmoid(), 0.5 * y)


def dice_like(theirs: Callable[..., Any], ours: Callable[..., Any], **options: Any) -> tuple[Function, Function]:
    options = {"to_onehot_y": True, "softmax": True, **options}
    return plain(ours(**options)), plain(theirs(**options))


def of_one_hot(loss: Callable[..., Tensor]) -> Function:
    """MONAI's own one-hot encoding is in float32, too coarse for a comparison in float64."""
    return lambda x, y, w: loss(x, torch.cat([1 - y, y], 1).to(x))


def same(function: Function) -> tuple[Function, Function]:
    return function, function


def entropy(kind: Callable[..., Any], **options: Any) -> Function:
    loss = kind(torch.tensor([0.3, 2.0], dtype=torch.float64), ignore_index=255, **options)
    loss.weight = loss.weight.float() if kind is nn.CrossEntropyLoss else loss.weight
    return lambda x, y, w: loss(x, y[:, 0].masked_fill(w[:, 0] < 0.3, 255))


def soft(loss: nn.Module) -> Function:
    return lambda x, y, w: loss(x, torch.cat([w, 1 - w], 1))


def cases(dtype: torch.dtype) -> dict[str, tuple[Function, Function]]:
    """Each loss as it is used in two processes, and what it has to be in one."""
    md, mc = monai.losses.DiceLoss, monai.losses.DiceCELoss
    squares: dict[str, Any] = {"softmax": True, "batch": True, "squared_pred": True}
    weight = torch.tensor([0.2, 3.0], dtype=dtype)
    sparse = SparseAnnotationCrossEntropyLoss(class_weights=[1.0, 4.0])
    border = {kind: BorderWeightedCrossEntropyLoss(kind) for kind in ("mean", "sum")}
    switched = SwitchOnPlateau(nn.MSELoss(), FocalL2Loss())
    return {
        "Dice + CE of the batch": dice_like(mc, DiceCELoss, batch=True, include_background=False),
        "Dice + CE with weights": dice_like(mc, DiceCELoss, batch=True, weight=weight, label_smoothing=0.1),
        "Dice + CE of one channel": same(lambda x, y, w: DiceCELoss(sigmoid=True, batch=True)(x[:, 1:], y)),
        "Dice of the batch": dice_like(md, DiceLoss, batch=True),
        "Dice of every sample": dice_like(md, DiceLoss),
        "Dice, summed": dice_like(md, DiceLoss, reduction="sum"),
        "Jaccard with squares": tuple(
            of_one_hot(kind(**squares, jaccard=True, soft_label=True)) for kind in (DiceLoss, md)
        ),
        "Dice without ignored voxels": dice_like(md, DiceLoss, batch=True, ignore_index=0),
        "V-Net Dice": tuple(of_one_hot(kind(**squares)) for kind in (VNetDiceLoss, md)),
        "cross entropy with weights": (entropy(CrossEntropyLoss), entropy(CrossEntropyLoss)),
        "cross entropy of probabilities": (soft(CrossEntropyLoss()), soft(nn.CrossEntropyLoss())),
        "binary cross entropy": (
            lambda x, y, w: BCEWithLogitsLoss(pos_weight=torch.tensor(3.0))(x[:, 1:], y),
            lambda x, y, w: nn.BCEWithLogitsLoss(pos_weight=torch.tensor(3.0))(x[:, 1:], y.to(x)),
        ),
        "border weights": same(border["mean"]),
        "border weights, summed": same(lambda x, y, w: 0.01 * border["sum"](x, y, w)),
        "focal cross entropy": same(plain(FocalCrossEntropyLoss())),
        "focal L2": same(foreground(FocalL2Loss())),
        "sparse annotation": same(lambda x, y, w: sparse(x, y.masked_fill(w < 0.3, 255))),
        "sparsity": same(lambda x, y, w: SparsityLoss()(x.abs().flatten(1))),
        "cost": same(lambda x, y, w: CostPenalty()([ActiveMacs(x.sigmoid().sum(), x.numel())])),
        "switch on a plateau": same(foreground(switched)),
        "a mean of torch": (foreground(AcrossRanks(nn.MSELoss())), foreground(nn.MSELoss())),
        "a mean of MONAI": (
            plain(AcrossRanks(mc(to_onehot_y=True, softmax=True))),
            plain(mc(to_onehot_y=True, softmax=True)),
        ),
    }


def batch(step: int, dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor]:
    """Image, label and weights of one batch; the share of foreground differs much among the samples."""
    random = torch.Generator().manual_seed(step)
    image = torch.rand(SIZES[step], 1, 16, 16, generator=random)
    limit = torch.linspace(0.05, 0.6, SIZES[step])[:, None, None, None]
    return image.to(dtype), (image < limit).long(), torch.rand(image.shape, generator=random).to(dtype)


def trained(name: str, dtype: torch.dtype, rank: int | None) -> dict[str, Any]:
    """Losses and parameters after the steps; of one process with the whole batches if the rank is None."""
    torch.manual_seed(0)
    net = UNet(2, 1, 2, channels=(4, 8), strides=(2,), num_res_units=0, norm="INSTANCE").to(dtype)
    run = net if rank is None else DistributedDataParallel(net)
    # Adam divides by the size of the gradient; in float32 that makes noise as large as a step.
    adam = dtype == torch.float64
    steps = torch.optim.AdamW(net.parameters(), 0.002) if adam else torch.optim.SGD(net.parameters(), 0.05, 0.9)
    function = cases(dtype)[name][1 if rank is None else 0]
    losses = []
    for step in range(len(SIZES)):
        whole = batch(step, dtype)
        share = whole if rank is None else tuple(t[rank::PROCESSES] for t in whole)
        empty = not len(share[0])
        image, label, weight = (t[:1] for t in whole) if empty else share
        steps.zero_grad()
        with not_counted() if empty else nullcontext():
            loss = function(run(image), label, weight)
        loss.backward()
        steps.step()
        losses.append(loss.item())
    return {"losses": losses, "parameters": torch.cat([p.detach().flatten() for p in net.parameters()])}


def refusals() -> dict[str, str]:
    """What several processes say to losses that are no means over samples."""

    def says(loss: Callable[[], Callable[..., Tensor]]) -> str:
        image, label, _ = batch(0, torch.float32)
        try:
            loss()(torch.cat([image, 1 - image], 1)[:1], label[:1])
        except ValueError as error:
            return str(error)
        return ""

    def of_the_batch(x: Tensor, y: Tensor) -> Tensor:
        return 1 - 2 * (x[:, 1:] * y).sum() / (x[:, 1:].sum() + y.sum())

    options: dict[str, Any] = {"to_onehot_y": True, "softmax": True, "batch": True}
    weight = torch.tensor([1.0, 2.0])
    return {
        "DiceCELoss": says(lambda: AcrossRanks(monai.losses.DiceCELoss(**options))),
        "TverskyLoss": says(lambda: AcrossRanks(monai.losses.TverskyLoss(**options))),
        "CrossEntropyLoss": says(lambda: AcrossRanks(nn.CrossEntropyLoss(weight))),
        "of_the_batch": says(lambda: AcrossRanks(of_the_batch)),
        "own": says(lambda: AcrossRanks(DiceCELoss(**options))),
    }


def work(rank: int, folder: str) -> None:
    """All losses in one process of the group; writes what came out."""
    torch.set_num_threads(1)
    store = (Path(folder) / "store").as_uri()
    dist.init_process_group("gloo", init_method=store, rank=rank, world_size=PROCESSES, timeout=timedelta(seconds=60))
    found = {(name, dtype): trained(name, dtype, rank) for dtype in DTYPES for name in cases(dtype)}
    said = refusals()
    torch.save({"found": {f"{n} {d}": f for (n, d), f in found.items()}, "said": said}, f"{folder}/{rank}.pt")
    dist.destroy_process_group()


DTYPES = (torch.float64, torch.float32)
