from __future__ import annotations

import numpy as np
import pytest

from medseg.geometry import apply_affine
from medseg.geometry.slice_stack import (
    distinct_steps,
    find_problem,
    longest_regular_run,
    slice_normal,
    stack_affine_ras,
    stack_order,
)

UP = np.array([0.0, 0.0, 1.0])


def _along_z(*z: float) -> np.ndarray:
    return np.column_stack([np.zeros(len(z)), np.zeros(len(z)), z])


def test_the_normal_is_row_direction_times_column_direction() -> None:
    assert slice_normal([0, 1, 0, 0, 0, -1]) == pytest.approx([-1, 0, 0])


@pytest.mark.parametrize("cosines", [[1, 0, 0, 1, 0, 0], [1, 0, 0, 0, 2, 0], [1, 0, 0, 0, float("nan"), 0]])
def test_directions_that_are_no_orthogonal_unit_vectors_are_refused(cosines: list[float]) -> None:
    with pytest.raises(ValueError, match="orthogonal unit vectors"):
        slice_normal(cosines)


def test_order_is_along_the_normal_and_stable() -> None:
    assert stack_order(_along_z(3, 1, 2, 1), UP).tolist() == [1, 3, 2, 0]
    assert stack_order(_along_z(3, 1, 2, 1), -UP).tolist() == [0, 2, 1, 3]


def test_regular_slices_have_no_problem() -> None:
    assert find_problem(_along_z(0, 1.25, 2.5, 3.75), UP) is None


def test_positions_rounded_to_two_decimals_are_regular() -> None:
    assert find_problem(_along_z(*np.round(np.arange(200) * 0.625, 2)), UP) is None


@pytest.mark.parametrize(
    ("z", "kind", "words"),
    [
        ((0, 1, 1, 2), "duplicate", "2 slices share 1 position(s): 1.000"),
        ((0, 2, 4, 10, 12), "missing", "2 slice(s) missing at 6.000, 8.000 mm"),
        ((0, 2.5, 7.5), "missing", "1 slice(s) missing at 5.000 mm"),
        ((0, 2.5, 5.0, 6.25), "variable", "2.500 / 1.250"),
        ((0, 1, 2.03, 3.03), "variable", "1.000 / 1.030"),
    ],
)
def test_problems_along_the_normal(z: tuple[float, ...], kind: str, words: str) -> None:
    problem = find_problem(_along_z(*z), UP)
    assert problem is not None
    assert problem.kind == kind
    assert words in problem.text


def test_spacing_that_drifts_slowly_is_noticed() -> None:
    steps = np.concatenate([np.full(200, 1.0), np.full(200, 1.009)])
    problem = find_problem(_along_z(*np.concatenate([[0], np.cumsum(steps)])), UP)
    assert problem is not None
    assert problem.kind == "shifted"


@pytest.mark.parametrize(("degrees", "tilted"), [(0.05, False), (0.2, True), (18.5, True)])
def test_tilt_above_a_tenth_of_a_degree(degrees: float, tilted: bool) -> None:
    z = np.arange(5.0)
    positions = np.column_stack([np.zeros(5), z * np.tan(np.radians(degrees)), z])
    problem = find_problem(positions, UP)
    assert (problem is not None and problem.kind == "tilt") == tilted
    if problem is not None:
        assert f"{degrees:.1f} degrees" in problem.text


def test_distinct_steps_come_in_order_of_appearance() -> None:
    assert distinct_steps([0, 4.002, 8.004, 9.085, 16.084, 20.0861]) == [4.002, 1.081, 6.999]


def test_longest_run_between_gaps() -> None:
    run, dropped = longest_regular_run([0, 1, 2, 5, 6, 7, 8, 20])
    assert run == slice(3, 7)
    assert dropped == [0, 1, 2, 20]


def test_longest_run_of_equals_is_the_first() -> None:
    assert longest_regular_run([0, 1, 2, 10, 11, 12])[0] == slice(0, 3)
    assert longest_regular_run([4.0]) == (slice(0, 1), [])


def test_affine_columns_are_column_row_and_slice_steps() -> None:
    cosines = [0, 1, 0, 0, 0, -1]
    positions = np.array([[10.0, 20.0, 30.0], [8.0, 20.0, 30.0], [6.0, 20.0, 30.0]])
    affine = stack_affine_ras(positions, cosines, (0.7, 0.6))
    lps = positions[0] + 2 * 0.6 * np.array([0, 1, 0]) + 3 * 0.7 * np.array([0, 0, -1]) + 1 * np.array([-2.0, 0, 0])
    assert apply_affine(affine, [2, 3, 1]) == pytest.approx(lps * [-1, -1, 1])
