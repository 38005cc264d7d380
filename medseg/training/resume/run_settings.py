"""What makes two runs the same one, and how they differ, in words."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from torch import nn
from torch.optim import Optimizer

__all__ = ["case_list_digest", "differences", "run_settings"]

Settings = dict[str, str]


def run_settings(
    named: Mapping[str, Any],
    network: nn.Module,
    optimizer: Optimizer,
    loss: object,
    training_cases: Iterable[Any],
) -> Settings:
    """The settings by which a run is recognised, as texts.

    Args:
        named: values under the names that users know, such as ``learning_rate``.
        network: names and shapes of its parameters and buffers count.
        optimizer: its kind and the options of its groups at the start count, except the learning rate.
        loss: its kind and its plain options count.
        training_cases: dictionaries with paths; the names of the files count, not the folders.

    >>> import torch
    >>> network = nn.Linear(2, 1)
    >>> found = run_settings({"seed": 0}, network, torch.optim.SGD(network.parameters(), 0.1), nn.MSELoss(), ["a.nii"])
    >>> sorted(found)
    ['loss', 'network', 'optimizer', 'seed', 'training cases']
    """
    shapes = [(name, tuple(value.shape)) for name, value in network.state_dict().items()]
    rates = ("lr", "initial_lr", "params")
    groups = [sorted((k, v) for k, v in g.items() if k not in rates and _plain(v)) for g in optimizer.param_groups]
    attributes = getattr(loss, "__dict__", {})
    options = sorted((k, v) for k, v in attributes.items() if k[0] != "_" and k != "training" and _plain(v))
    return {
        **{name: str(value) for name, value in named.items()},
        "network": f"{type(network).__name__} {_digest(shapes)}",
        "optimizer": f"{type(optimizer).__name__} {_digest(groups)}",
        "loss": f"{type(loss).__name__} {_digest(options)}",
        "training cases": case_list_digest(training_cases),
    }


def case_list_digest(cases: Iterable[Any]) -> str:
    """Number and digest of a list of cases, by the names of their files and their order.

    >>> case_list_digest([{"image": "/a/x.nii"}]) == case_list_digest([{"image": "x.nii"}])
    True
    """
    names = [_names(case) for case in cases]
    return f"{len(names)} ({_digest(names)})"


def differences(before: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    """What differs between the settings of two runs, one phrase each.

    >>> differences({"seed": "0", "loss": "Dice 12"}, {"seed": "1", "loss": "Dice 12"})
    ['seed was 0 and is 1']
    """
    absent = "not there"
    return [
        f"{name} was {before.get(name, absent)} and is {now.get(name, absent)}"
        for name in dict.fromkeys([*before, *now])
        if before.get(name) != now.get(name)
    ]


def _names(case: Any) -> Any:
    if isinstance(case, Mapping):
        return sorted((str(key), _names(value)) for key, value in case.items())
    if isinstance(case, list | tuple):
        return [_names(value) for value in case]
    return Path(case).name if isinstance(case, str | Path) else str(case)


def _plain(value: Any) -> bool:
    if isinstance(value, list | tuple):
        return all(_plain(item) for item in value)
    return value is None or isinstance(value, bool | int | float | str)


def _digest(value: Any) -> str:
    return hashlib.sha256(repr(value).encode()).hexdigest()[:8]
