"""Frozen parts stay as they are, statistics too, and learn again afterwards: the three steps of AH-Net's training."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from medseg.losses import FocalCrossEntropyLoss
from medseg.networks import MCGCN, AHNet, slice_triplets
from medseg.training.frozen import freeze

SMALL: dict[str, Any] = {"layers": (1, 1, 1, 1), "width": 4}


def volumes() -> tuple[Tensor, Tensor]:
    """A bright ball in noise, and where it is."""
    generator = torch.Generator().manual_seed(0)
    at = torch.stack(torch.meshgrid(*[torch.arange(float(s)) for s in (64, 64, 4)], indexing="ij"))
    inside = ((at - torch.tensor([24.0, 36, 2]).view(3, 1, 1, 1)) ** 2).sum(0)[None, None] < 200
    return inside + 0.3 * torch.randn(1, 1, 64, 64, 4, generator=generator), inside.long()


def train(net: nn.Module, x: Tensor, label: Tensor, lr: float, steps: int) -> list[float]:
    loss, made = FocalCrossEntropyLoss(), []
    optimiser = torch.optim.Adam([p for p in net.parameters() if p.requires_grad], lr)
    for _ in range(steps):
        net.train()  # as trainers do in every iteration
        optimiser.zero_grad()
        value = loss(net(x), label)
        value.backward()
        optimiser.step()
        made.append(float(value.detach()))
    return made


def changed(before: dict[str, Tensor], module: nn.Module) -> set[str]:
    return {key for key, value in module.state_dict().items() if not torch.equal(value, before[key])}


def test_ahnet_trains_in_three_steps() -> None:
    torch.manual_seed(0)
    x, label = volumes()
    parent, net = MCGCN(2, 3, 2, **SMALL), AHNet(3, 1, 2, **SMALL, growth=4)
    slices = label.permute(0, 4, 1, 2, 3).flatten(0, 1)
    first = train(parent, slice_triplets(x), slices, 5e-4, 6)
    net.transfer_from_2d(parent)
    encoder, whole = copy.deepcopy(net.encoder.state_dict()), copy.deepcopy(net.state_dict())
    with freeze(net.encoder):
        second = train(net, x, label, 1e-3, 6)
        assert net.training and not any(m.training for m in net.encoder.modules())
        assert not changed(encoder, net.encoder)
    assert changed(whole, net) == {key for key in whole if not key.startswith("encoder.")}
    third = train(net, x, label, 1e-3, 6)
    assert changed(encoder, net.encoder) == set(encoder)
    assert first[-1] < first[0] and second[-1] < second[0] and third[-1] < second[0]


def test_parameters_that_did_not_learn_before_do_not_afterwards_and_modes_return() -> None:
    net = nn.Sequential(nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2), nn.Dropout()), nn.Linear(2, 1))
    net[0][0].bias.requires_grad_(False)
    net[0][2].eval()
    held = freeze(net[0])
    assert not any(p.requires_grad for p in net[0].parameters()) and net[1].weight.requires_grad
    held.release()
    held.release()
    assert [p.requires_grad for p in net[0].parameters()] == [True, False, True, True]
    assert [m.training for m in net[0]] == [True, True, False]
    assert not any(m.training for m in net.eval().modules()) and all(m.training for m in net.train().modules())


def test_a_copy_and_its_weights_do_not_depend_on_the_frozen_one() -> None:
    net = nn.Sequential(nn.BatchNorm1d(2), nn.Linear(2, 1))
    with freeze(net[0]):
        twin = copy.deepcopy(net)
        assert list(net.state_dict()) == list(twin.state_dict())
    twin.train()
    assert not twin[0].training and net.train()[0].training


def test_says_what_it_cannot_freeze() -> None:
    with pytest.raises(ValueError, match="freeze: no module; expected at least one"):
        freeze()
    layer = nn.Linear(1, 1)
    with freeze(layer), pytest.raises(ValueError, match="freeze: Linear is frozen already; release it first"):
        freeze(layer)
    with freeze(layer):
        assert not layer.weight.requires_grad
