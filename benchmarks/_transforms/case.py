"""One comparison of a transform with a peer: what runs, how its outputs are compared, and the row that comes of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from benchmarks import _harness as harness


def _same(output: Any) -> Any:
    return output


class Case(NamedTuple):
    """A comparison.

    Attributes:
        name: the row's name, with the size.
        ours: our call.
        peer_name: what the peer is.
        peer: the peer's call.
        as_peer: our output in the peer's form.
        tolerance: how far the outputs may differ, of ``|a - b| / (1 + |b|)``.
        bar: the ratio to be reached, or None.
        scale: factor for the peer's time, where the peer does only a part of the work.
        ideal: a call that takes at least as little time as any implementation can, such as a copy, with its name; or
            None.
    """

    name: str
    ours: Callable[[], Any]
    peer_name: str
    peer: Callable[[], Any]
    as_peer: Callable[[Any], Any] = _same
    tolerance: float = 1e-5
    bar: float | None = None
    scale: float = 1.0
    ideal: tuple[str, Callable[[], Any]] | None = None

    def difference(self) -> float:
        """The largest difference of the two outputs, of ``|a - b| / (1 + |b|)``."""
        found, wanted = (np.asarray(v, dtype=np.float64) for v in (self.as_peer(self.ours()), self.peer()))
        if found.shape != wanted.shape:
            raise RuntimeError(f"{self.name}: the outputs have shapes {found.shape} and {wanted.shape}")
        error: NDArray[np.float64] = np.abs(found - wanted) / (1 + np.abs(wanted))
        return float(error.max())

    def checked_difference(self) -> float:
        """The difference, or a RuntimeError if it is above the tolerance."""
        difference = self.difference()
        if not difference <= self.tolerance:
            raise RuntimeError(
                f"{self.name}: the outputs differ by {difference:.3g}, expected at most {self.tolerance:g}"
            )
        return difference


def row_of(case: Case, repeats: int, seconds: float) -> harness.Row:
    """The row of a comparison: outputs compared, then both timed in turn."""
    difference = case.checked_difference()
    functions = {"ours": case.ours, "peer": case.peer}
    if case.ideal is not None:
        functions["ideal"] = case.ideal[1]
    times = {name: t.median_ms for name, t in harness.time_interleaved(functions, repeats, seconds).items()}
    ratio = case.scale * times["peer"] / times["ours"]
    row: harness.Row = {
        "case": case.name,
        "ours_ms": times["ours"],
        "peer": case.peer_name,
        "peer_ms": case.scale * times["peer"],
        "ratio": ratio,
    }
    if case.ideal is not None:
        row |= {"ideal": f"{case.ideal[0]} {times['ideal']:.2f} ms"}
        row |= {"percent_of_ideal": 100 * times["ideal"] / times["ours"]}
    if case.bar is not None:
        row |= {"bar": case.bar, "pass": ratio >= case.bar}
    return row | {"difference": f"{difference:.1e}"}
