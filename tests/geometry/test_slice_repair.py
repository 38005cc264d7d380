from __future__ import annotations

import numpy as np
import pytest

from medseg.geometry.slice_repair import grid_step, regular_grid, regular_runs


def test_a_missing_slice_is_blended_from_its_neighbours_and_the_others_are_kept() -> None:
    grid = regular_grid([0, 2.5, 7.5, 10])
    assert grid.along_mm == pytest.approx([0, 2.5, 5, 7.5, 10])
    assert grid.lower.tolist() == [0, 1, 1, 2, 3]
    assert grid.weight == pytest.approx([0, 0, 0.5, 0, 0])
    assert grid.unused == 0


def test_a_hole_of_three_slices_is_divided_evenly() -> None:
    grid = regular_grid([0, 1, 2, 6, 7, 8])
    assert grid.along_mm == pytest.approx(np.arange(9))
    assert grid.weight == pytest.approx([0, 0, 0, 0.25, 0.5, 0.75, 0, 0, 0])


def test_varying_steps_get_a_grid_near_their_median_that_ends_on_the_last_slice() -> None:
    along = np.concatenate([[0], np.cumsum([4.002] * 13 + [1.081] + [6.999] * 13)])
    count, step = grid_step(along)
    assert count == 36
    assert step == pytest.approx(along[-1] / 36)
    grid = regular_grid(along)
    assert grid.along_mm[[0, -1]] == pytest.approx(along[[0, -1]])
    assert np.ptp(np.diff(grid.along_mm)) < 1e-9


def test_blending_positions_gives_the_grid_back() -> None:
    """A linear function of the position is reproduced exactly, so weights and neighbours are right."""
    rng = np.random.default_rng(0)
    for _ in range(20):
        along = np.cumsum(rng.uniform(0.5, 3.0, 30))
        grid = regular_grid(along)
        upper = np.minimum(grid.lower + 1, len(along) - 1)
        blended = (1 - grid.weight) * along[grid.lower] + grid.weight * along[upper]
        step = grid.along_mm[1] - grid.along_mm[0]
        assert np.abs(blended - grid.along_mm).max() <= max(0.01 * step, 0.011)
        assert ((grid.weight >= 0) & (grid.weight < 1)).all()


def test_input_slices_that_a_coarser_grid_passes_over_are_counted() -> None:
    along = [0, 2, 4, 4.5, 5.0, 5.5, 6, 8, 10, 12, 14]
    assert regular_grid(along).unused > 0


@pytest.mark.parametrize(
    ("along", "runs"),
    [
        ([0, 1, 2, 3], [(0, 4)]),
        ([0, 1, 2, 5, 6, 7, 8], [(0, 3), (3, 7)]),
        ([0, 5, 6, 7, 8], [(1, 5)]),
        ([0, 1, 2, 3, 5, 7, 9], [(0, 4), (4, 7)]),
        ([0, 4, 8, 9, 16, 23], [(0, 3), (3, 6)]),
        ([0, 1, 2, 40, 80, 81, 82], [(0, 3), (4, 7)]),
        ([0, 1], [(0, 2)]),
        ([0], []),
    ],
)
def test_runs_are_the_longest_even_stretches(along: list[float], runs: list[tuple[int, int]]) -> None:
    assert [(run.start, run.stop) for run in regular_runs(along)] == runs


def test_every_run_is_even_and_no_slice_is_in_two() -> None:
    rng = np.random.default_rng(1)
    for _ in range(50):
        along = np.cumsum(rng.choice([1.0, 1.0, 1.0, 2.5, 7.0], 40))
        taken = np.zeros(40, int)
        for run in regular_runs(along):
            taken[run] += 1
            assert np.ptp(np.diff(along[run])) < 0.02
        assert taken.max() == 1
