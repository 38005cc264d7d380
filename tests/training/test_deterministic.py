"""deterministic: off, warn or strict."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from medseg.io.bounded.errors import DataError
from medseg.training.deterministic import set_deterministic


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    yield
    torch.use_deterministic_algorithms(False)


def without_kernel() -> torch.Tensor:
    """An operator that has no deterministic kernel, on a CPU either."""
    torch.utils.deterministic.fill_uninitialized_memory = True
    return torch.zeros(4).put_(torch.tensor([1, 1]), torch.tensor([1.0, 2.0]))


def test_off_and_warn_go_on_and_strict_stops_with_the_name_of_the_operator() -> None:
    set_deterministic("off")
    without_kernel()
    set_deterministic("warn")
    with pytest.warns(UserWarning, match="put_"):
        without_kernel()
    set_deterministic("strict")
    with pytest.raises(RuntimeError, match="put_"):
        without_kernel()


def test_another_word_is_refused_and_changes_nothing() -> None:
    set_deterministic("strict")
    with pytest.raises(DataError, match="deterministic is 'yes'; expected one of off, warn, strict"):
        set_deterministic("yes")
    assert torch.are_deterministic_algorithms_enabled()
