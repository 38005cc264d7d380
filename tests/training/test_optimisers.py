"""Nine optimisers by name: each is torch's, each finds the optimum of a convex function."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from medseg.training.optimisers import OPTIMISERS, make_optimiser

# Learning rates for the function below, found by trial as for any network; AdaDelta scales its own steps.
RATES = {
    "sgd": 0.1,
    "momentum": 0.05,
    "nesterov": 0.05,
    "adagrad": 0.5,
    "adadelta": 2.0,
    "rmsprop": 0.05,
    "adam": 0.1,
    "adamax": 0.1,
    "nadam": 0.1,
}


@pytest.fixture(autouse=True)
def seed() -> Iterator[None]:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


def least_squares() -> tuple[Tensor, Tensor, Tensor]:
    """A design, its noisy answers, and the solution that the normal equations give; condition number about 10."""
    design = torch.randn(40, 4, dtype=torch.float64) * torch.tensor([1.0, 0.7, 0.5, 0.3], dtype=torch.float64)
    answers = design @ torch.tensor([1.0, -2.0, 3.0, 0.5], dtype=torch.float64) + 0.1 * torch.randn(40).double()
    return design, answers, torch.linalg.solve(design.T @ design, design.T @ answers)


@pytest.mark.parametrize("name", OPTIMISERS)
def test_finds_the_solution_of_a_least_squares_problem(name: str) -> None:
    design, answers, solution = least_squares()
    found = nn.Parameter(torch.zeros(4, dtype=torch.float64))
    optimiser = make_optimiser(name, [found], lr=RATES[name])
    # Methods that normalise their steps circle around the optimum unless the rate falls.
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: min(1.0, 2 - step / 400))
    for _ in range(800):
        optimiser.zero_grad()
        (design @ found - answers).square().mean().backward()
        optimiser.step()
        schedule.step()
    torch.testing.assert_close(found.data, solution, rtol=0, atol=1e-3)


def test_there_are_nine() -> None:
    assert set(OPTIMISERS) == set(RATES)
    assert len(OPTIMISERS) == 9


@pytest.mark.parametrize("name", OPTIMISERS)
def test_the_docs_have_a_row_for_each(name: str) -> None:
    table = (Path(__file__).parents[2] / "docs" / "optimisers.md").read_text(encoding="utf-8")
    assert f"| `{name}` | `{OPTIMISERS[name].kind.__name__}` |" in table


def test_momentum_is_sgd_with_momentum_and_nesterov_looks_ahead() -> None:
    parameters = [nn.Parameter(torch.zeros(1))]
    groups = {
        name: make_optimiser(name, parameters, lr=0.1).param_groups[0] for name in ("sgd", "momentum", "nesterov")
    }
    assert [(g["momentum"], g["nesterov"]) for g in groups.values()] == [(0, False), (0.9, False), (0.9, True)]
    assert make_optimiser("Momentum", parameters, lr=0.1, momentum=0.99).param_groups[0]["momentum"] == 0.99


def test_takes_groups_and_options_of_torch() -> None:
    groups = [{"params": [nn.Parameter(torch.zeros(1))], "lr": 0.5}, {"params": [nn.Parameter(torch.zeros(1))]}]
    made = make_optimiser("adam", groups, lr=0.1, betas=(0.8, 0.9), weight_decay=0.01)
    assert [g["lr"] for g in made.param_groups] == [0.5, 0.1]
    assert made.param_groups[1]["betas"] == (0.8, 0.9)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("adan", {}, r"name is 'adan'; expected one of sgd, .* \(did you mean 'adam'\?\)"),
        ("adam", {"lr": 0}, "lr is 0; expected a number above 0"),
        ("adam", {"momentum": 0.9}, "'adam' has no option 'momentum'; expected one of betas, eps"),
        ("sgd", {"momentum": 0.9}, "'sgd' with momentum=0.9; expected 0.0, or name='momentum' or 'nesterov'"),
        ("momentum", {"nesterov": True}, "'momentum' with nesterov=True; expected False, or name='nesterov'"),
    ],
)
def test_what_does_not_exist_is_named(name: str, options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make_optimiser(name, [nn.Parameter(torch.zeros(1))], **options)
