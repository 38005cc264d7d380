"""The benchmark of transforms is fair: every peer gives our output at the quick sizes."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks._transforms import geodesic, others, texture
from benchmarks._transforms.case import Case, row_of

CASES = texture.cases(quick=True) + others.cases(quick=True)


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.name} / {case.peer_name}")
def test_peers_agree_with_ours(case: Case) -> None:
    assert case.checked_difference() <= case.tolerance


def test_outputs_that_differ_are_not_timed() -> None:
    wrong = Case("a", lambda: np.ones(3), "b", lambda: np.array([1, 1, 2.0]))
    with pytest.raises(RuntimeError, match=r"a: the outputs differ by 0\.333, expected at most 1e-05"):
        row_of(wrong, 3, 1.0)
    with pytest.raises(RuntimeError, match=r"a: the outputs have shapes \(3,\) and \(3, 1\)"):
        row_of(wrong._replace(peer=lambda: np.ones((3, 1))), 3, 1.0)


def test_a_row_scales_the_peer_and_meets_its_bar_or_not() -> None:
    case = Case("a", lambda: sum(range(20000)), "b", lambda: sum(range(20000)), bar=1e-3, scale=1000.0)
    row = row_of(case, 5, 1.0)
    assert row["ratio"] == pytest.approx(row["peer_ms"] / row["ours_ms"])
    assert row["ratio"] > 50
    assert row["pass"] is True
    assert row_of(case._replace(bar=1e9), 3, 1.0)["pass"] is False


def test_a_missing_peer_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(geodesic, "peer_call", lambda image, seeds: None)
    (row,) = geodesic.rows(quick=True)
    assert row["peer"] == "missing: pip install FastGeodis"
    assert "pass" not in row
    assert row["ours_ms"] > 0
