"""Nine optimisers by name: a configuration chooses one with a single key."""

from __future__ import annotations

import inspect
from collections.abc import Iterable
from difflib import get_close_matches
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.optim import Optimizer

__all__ = ["OPTIMISERS", "OptimiserEntry", "make_optimiser"]


class OptimiserEntry(NamedTuple):
    """The optimiser class behind a name.

    Attributes:
        kind: torch's class.
        fixed: arguments that define this method; they cannot be changed.
        defaults: arguments that medseg sets unless they are given; all others have torch's defaults.

    >>> OPTIMISERS["nesterov"].kind.__name__, OPTIMISERS["nesterov"].defaults
    ('SGD', {'momentum': 0.9})
    """

    kind: type[Optimizer]
    fixed: dict[str, Any]
    defaults: dict[str, Any]


OPTIMISERS: dict[str, OptimiserEntry] = {
    "sgd": OptimiserEntry(torch.optim.SGD, {"momentum": 0.0, "nesterov": False}, {}),
    "momentum": OptimiserEntry(torch.optim.SGD, {"nesterov": False}, {"momentum": 0.9}),
    "nesterov": OptimiserEntry(torch.optim.SGD, {"nesterov": True}, {"momentum": 0.9}),
    "adagrad": OptimiserEntry(torch.optim.Adagrad, {}, {}),
    "adadelta": OptimiserEntry(torch.optim.Adadelta, {}, {}),
    "rmsprop": OptimiserEntry(torch.optim.RMSprop, {}, {}),
    "adam": OptimiserEntry(torch.optim.Adam, {}, {}),
    "adamax": OptimiserEntry(torch.optim.Adamax, {}, {}),
    "nadam": OptimiserEntry(torch.optim.NAdam, {}, {}),
}
"""Name to torch's class and arguments; ``docs/optimisers.md`` says which to use when."""


def make_optimiser(
    name: str, params: Iterable[Tensor] | Iterable[dict[str, Any]], lr: float | None = None, **options: Any
) -> Optimizer:
    """Make one of torch's optimisers.

    In a MONAI bundle::

        "optimizer": {
            "_target_": "medseg.training.optimisers.make_optimiser",
            "name": "nesterov",
            "params": "$@network.parameters()",
            "lr": 0.01
        }

    Args:
        name: a key of `OPTIMISERS`, in upper or lower case.
        params: parameters, or parameter groups (see `medseg.training.evaluator_parameters`).
        lr: learning rate, above 0. None: torch's default for the method, which is rarely suitable.
        **options: further arguments of torch's class, such as ``weight_decay``, or ``momentum=0.99`` for momentum.

    Returns:
        The optimiser.

    Raises:
        ValueError: for a name or an option that the method does not have, or a learning rate that is not positive.

    >>> import torch
    >>> optimiser = make_optimiser("nesterov", torch.nn.Linear(2, 1).parameters(), lr=0.01)
    >>> type(optimiser).__name__, optimiser.defaults["momentum"], optimiser.defaults["nesterov"]
    ('SGD', 0.9, True)
    """
    entry = OPTIMISERS.get(name.lower())
    if entry is None:
        near = get_close_matches(name.lower(), OPTIMISERS, n=1)
        hint = f" (did you mean {near[0]!r}?)" if near else ""
        raise ValueError(f"make_optimiser: name is {name!r}; expected one of {', '.join(OPTIMISERS)}{hint}")
    _check_options(name.lower(), entry, options)
    if lr is not None:
        if not lr > 0:
            raise ValueError(f"make_optimiser: lr is {lr}; expected a number above 0")
        options["lr"] = lr
    return entry.kind(params, **{**entry.defaults, **options, **entry.fixed})


def _check_options(name: str, entry: OptimiserEntry, options: dict[str, Any]) -> None:
    known = [p for p in inspect.signature(entry.kind).parameters if p not in ("params", "lr")]
    for option, value in options.items():
        if option in entry.fixed and value != entry.fixed[option]:
            others = [n for n, e in OPTIMISERS.items() if e.kind is entry.kind and e.fixed.get(option) in (None, value)]
            raise ValueError(
                f"make_optimiser: {name!r} with {option}={value}; expected {entry.fixed[option]}, "
                f"or name={' or '.join(map(repr, others))}"
            )
        if option not in known:
            raise ValueError(
                f"make_optimiser: {name!r} has no option {option!r}; expected one of "
                f"{', '.join(o for o in known if o not in entry.fixed)}"
            )
