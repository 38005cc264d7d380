"""Networks with parts that a call may skip: every call leaves a gradient on every parameter, also in two processes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.multiprocessing as mp

from tests.networks._distributed import PROCESSES, work
from tests.networks._optional_parts import CALLS, OPTIONAL, arguments, built, loss_of


@pytest.mark.parametrize(("name", "call"), [(name, call) for name, call in CALLS if OPTIONAL[name].alone])
def test_every_call_leaves_a_finite_gradient_on_every_parameter(name: str, call: str) -> None:
    net = built(name)
    loss_of(net(**arguments(name, call, net))).backward()
    assert [key for key, p in net.named_parameters() if p.grad is None or not p.grad.isfinite().all()] == []


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """What the processes found; they run once for all tests."""
    if not torch.distributed.is_available() or not torch.distributed.is_gloo_available():
        pytest.skip("this torch has no gloo")
    folder = tmp_path_factory.mktemp("group")
    mp.spawn(work, (str(folder),), nprocs=PROCESSES)
    return [json.loads((Path(folder) / f"{rank}.json").read_text(encoding="utf-8")) for rank in range(PROCESSES)]


@pytest.mark.parametrize(("name", "call"), CALLS)
def test_two_processes_get_the_mean_gradient_of_their_images(name: str, call: str, found: list[dict[str, Any]]) -> None:
    assert [process[name].get(call, "an earlier call failed") for process in found] == [""] * PROCESSES
