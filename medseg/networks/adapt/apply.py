"""Replaces poolings, strided and plain convolutions of an existing network by adaptive layers and keeps its weights."""

from __future__ import annotations

import copy
from typing import Any

from torch import Tensor, nn

from medseg.layers import SparseDownsample
from medseg.layers.named import Named, split_named
from medseg.networks.adapt.candidates import Candidate, Selection, find_candidates, is_selected, observe
from medseg.networks.adapt.placement import place
from medseg.networks.adapt.report import AdaptReport, AdaptRow
from medseg.networks.adapt.swaps import Swap, describe, quadtree_swap, sparse_swap, why_not_quadtree

__all__ = ["adapt"]

_UPSAMPLING = (nn.Upsample, nn.ConvTranspose2d, nn.ConvTranspose3d, nn.PixelShuffle)
Request = tuple[str, dict[str, Any]] | None


def adapt(
    net: nn.Module,
    *,
    spatial_dims: int,
    down: Named | None = None,
    conv: Named | None = None,
    select: Selection = None,
    example: Tensor | None = None,
    dry_run: bool = False,
    in_place: bool = False,
) -> tuple[nn.Module, AdaptReport]:
    """Makes a network adaptive without changes to its code.

    ``down`` replaces the layers that halve a map: max and average poolings become `medseg.layers.SparseDownsample`; a
    convolution with stride 2 becomes a `SparseDownsample` followed by the convolution without the stride. Two layers
    that read the same tensor (the branches of a residual unit) share one `SparseDownsample`, so that both branches keep
    the same patches. The function of the network changes: train it again, starting from its weights.

    ``conv`` replaces plain convolutions (stride 1, side 3 or 5, zero padding that keeps the size) by
    `medseg.layers.QuadtreeConv`. The convolution becomes the root kernel; the new rounds are initially zero, with leaky
    ReLU. The new network initially computes exactly the same function (not with ``mode="replace"``; the report says
    this for each layer). Every layer makes its own partition from its input.

    Nothing else is changed. Layers that match but cannot be replaced are not changed, and the report gives the reason.

    Args:
        net: any `torch.nn.Module` with convolutions or poolings as submodules.
        spatial_dims: 2 or 3.
        down: which halving stages become sparse, in the order in which they run: ``"sd"`` for all of them, or a
            placement of as many stages as there are, such as ``"max-sd-sd-max"`` or ``"4sd"`` (``max`` and ``avg`` do
            not change a stage). Or a pair of it and arguments of `SparseDownsample`; ``patch`` may be one side, or one
            for each ``sd``. By default it is `medseg.layers.default_patch` of the map.
        conv: ``"quadtree"``, or a pair of it and the arguments of `QuadtreeConv`.
        select: layers to replace, by dotted name: a glob pattern, several of them, or a function of name and module.
            None: all.
        example: an input of the network, required for ``down``: the network runs on it once, in evaluation mode, to
            find order, channels and sizes. For ``conv`` it is used to exclude layers with maps that are too small.
        dry_run: only report; the network is returned unchanged.
        in_place: change ``net`` itself instead of a copy.

    Returns:
        ``(network, report)``.

    Raises:
        ValueError: if neither ``down`` nor ``conv`` is given, if no layer matches, if no matching layer can be replaced
            (not in a dry run), or if a placement does not match the network.

    Example:
        >>> from torch import nn
        >>> plain = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.MaxPool2d(2), nn.Conv2d(4, 4, 3, padding=1))
        >>> net, report = adapt(plain, spatial_dims=2, down="sd", example=torch.zeros(1, 1, 32, 32))
        >>> [row.after for row in report.changed]
        ['SparseDownsample(patch 8)']
        >>> net(torch.randn(1, 1, 32, 32)).shape
        torch.Size([1, 4, 16, 16])
    """
    sparse = None if down is None else split_named("adapt", "down", down)
    quadtree = None if conv is None else split_named("adapt", "conv", conv)
    _check_request(net, spatial_dims, sparse, quadtree, example)
    work = net if in_place or dry_run else copy.deepcopy(net)
    found = find_candidates(work, spatial_dims)
    wanted = [c for c in found if is_selected(c, select) and (quadtree if c.kind == "plain" else sparse)]
    if not wanted:
        raise ValueError(_nothing(net, spatial_dims, found, select))
    if example is not None:
        ran = observe(work, found, example)
        wanted = [c for c in ran if c in wanted] + [c for c in wanted if c not in ran]
    swaps = _choose(wanted, spatial_dims, sparse, quadtree, example is not None)
    rows = tuple(_row(candidate, outcome) for candidate, outcome in swaps)
    done = {candidate.module: outcome.layer for candidate, outcome in swaps if isinstance(outcome, Swap)}
    report = AdaptReport(rows, _warnings(work, done), dry_run)
    if dry_run:
        return net, report
    if not done:
        raise ValueError(
            f"adapt: none of the {len(rows)} layers that match can be swapped; {rows[0].name}: {rows[0].note}"
        )
    _put(work, done)
    return work, report


def _check_request(
    net: nn.Module, spatial_dims: int, sparse: Request, quadtree: Request, example: Tensor | None
) -> None:
    if spatial_dims not in (2, 3):
        raise ValueError(f"adapt: spatial_dims is {spatial_dims}; expected 2 or 3")
    if sparse is None and quadtree is None:
        raise ValueError("adapt: nothing to do; give down, for example 'max-sd-sd-max', or conv='quadtree', or both")
    if quadtree is not None and quadtree[0] != "quadtree":
        raise ValueError(f"adapt: conv is {quadtree[0]!r}; expected 'quadtree'")
    if sparse is not None and example is None:
        raise ValueError(
            "adapt: down needs an example input, to find order, channels and sizes: example=torch.zeros(1, C, ...)"
        )
    if not any(True for _ in net.children()):
        raise ValueError(f"adapt: the network is a single {type(net).__name__}; put it into a nn.Sequential")


def _nothing(net: nn.Module, spatial_dims: int, found: list[Candidate], select: Selection) -> str:
    there = ", ".join(
        f"{sum(c.kind == kind for c in found)} {text}"
        for kind, text in (("pool", "poolings"), ("strided", "strided convolutions"), ("plain", "plain convolutions"))
    )
    first = f", for example {found[0].name}" if found else ""
    return (
        f"adapt: no layer of {type(net).__name__} matches"
        + ("" if select is None else f" select={select!r}")
        + f"; in {spatial_dims}-D it has {there}{first}"
    )


def _choose(
    wanted: list[Candidate], spatial_dims: int, sparse: Request, quadtree: Request, observed: bool
) -> list[tuple[Candidate, Swap | str]]:
    """For every candidate the replacement, or the reason why there is none."""
    halving = [c for c in wanted if c.kind != "plain" and c.source is not None]
    placed = place(halving, *sparse) if sparse is not None else {}
    shared: dict[int, SparseDownsample] = {}
    outcomes: list[tuple[Candidate, Swap | str]] = []
    for candidate in wanted:
        outcome: Swap | str
        if observed and candidate.source is None:
            outcome = "it does not run on the example input"
        elif candidate.kind == "plain":
            assert quadtree is not None
            reason = why_not_quadtree(candidate, quadtree[1].get("rounds", 3))
            outcome = reason or quadtree_swap(candidate, spatial_dims, quadtree[1])
        else:
            options = placed[candidate.name]
            outcome = options if isinstance(options, str) else _sparse(candidate, spatial_dims, options, shared)
        outcomes.append((candidate, outcome))
    return outcomes


def _sparse(
    candidate: Candidate, spatial_dims: int, options: dict[str, Any], shared: dict[int, SparseDownsample]
) -> Swap:
    swap = sparse_swap(candidate, spatial_dims, options, shared.get(id(candidate.source)))
    layer = swap.layer[0] if isinstance(swap.layer, nn.Sequential) else swap.layer
    assert isinstance(layer, SparseDownsample)
    shared[id(candidate.source)] = layer
    return swap


def _row(candidate: Candidate, outcome: Swap | str) -> AdaptRow:
    before = describe(candidate.module)
    if isinstance(outcome, str):
        return AdaptRow(candidate.name, before, before, "-", outcome)
    return AdaptRow(candidate.name, before, describe(outcome.layer), outcome.kept, outcome.note)


def _warnings(net: nn.Module, done: dict[nn.Module, nn.Module]) -> tuple[str, ...]:
    up = sum(isinstance(module, _UPSAMPLING) for module in net.modules())
    sparse = any(isinstance(child, SparseDownsample) for layer in done.values() for child in layer.modules())
    if not (up and sparse):
        return ()
    return (
        f"the network has {up} upsampling layers, and sparse downsampling moves patches to other positions: skip "
        "connections join maps with patches at different positions, unless SparseUpsample puts them back",
    )


def _put(net: nn.Module, done: dict[nn.Module, nn.Module]) -> None:
    for parent in list(net.modules()):
        for name, child in list(parent._modules.items()):
            if child is not None and child in done:
                parent._modules[name] = done[child]
