"""One process of a group that trains networks with optional parts, and what it finds in every call."""

from __future__ import annotations

import copy
import json
from datetime import timedelta
from pathlib import Path

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from tests.networks._optional_parts import OPTIONAL, arguments, built, loss_of

PROCESSES = 2


def work(rank: int, folder: str) -> None:
    """Runs all calls of all networks one after the other; writes what is wrong in each, by network and call."""
    torch.set_num_threads(1)
    store = (Path(folder) / "store").as_uri()
    dist.init_process_group("gloo", init_method=store, rank=rank, world_size=PROCESSES, timeout=timedelta(seconds=60))
    found = {name: faults(name, rank) for name in OPTIONAL}
    (Path(folder) / f"{rank}.json").write_text(json.dumps(found), encoding="utf-8")
    dist.destroy_process_group()


def faults(name: str, rank: int) -> dict[str, str]:
    """For every call of a network "", or what is wrong. Each process has an image of its own."""
    net, found = built(name), {}
    shared = DistributedDataParallel(net)
    for call in OPTIONAL[name].calls:
        expected = mean_gradients(name, call, net)
        net.zero_grad(set_to_none=True)
        try:
            given = arguments(name, call, net, rank)
            torch.manual_seed(rank)
            loss_of(shared(**given)).backward()
        except RuntimeError as error:
            found[call] = str(error).splitlines()[0]
            break  # the group cannot go on
        found[call] = compared(net, expected)
    return found


def mean_gradients(name: str, call: str, net: nn.Module) -> dict[str, Tensor]:
    """What the gradients have to be: the mean over the images of all processes, each run in a copy of its own."""
    total: dict[str, Tensor] = {}
    for rank in range(PROCESSES):
        twin = copy.deepcopy(net)
        twin.zero_grad(set_to_none=True)
        given = arguments(name, call, twin, rank)
        torch.manual_seed(rank)
        loss_of(twin(**given)).backward()
        for key, parameter in twin.named_parameters():
            gradient = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
            total[key] = total.get(key, 0) + gradient / PROCESSES
    return total


def compared(net: nn.Module, expected: dict[str, Tensor]) -> str:
    for key, parameter in net.named_parameters():
        if parameter.grad is None:
            return f"{key} has no gradient"
        if not torch.allclose(parameter.grad, expected[key], rtol=1e-4, atol=1e-6):
            return f"{key} differs by {float((parameter.grad - expected[key]).abs().max()):.2e}"
    return ""
