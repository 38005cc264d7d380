from __future__ import annotations

import numpy as np
import pytest

from medseg.geometry.extent import lattice_shift

OBLIQUE = np.array([[0.6, -0.2, 0.1, 5], [0.2, 0.7, -0.3, -40], [0.05, 0.2, 2.4, 9], [0, 0, 0, 1]])


def moved(shift: tuple[float, float, float]) -> np.ndarray:
    affine = OBLIQUE.copy()
    affine[:3, 3] += OBLIQUE[:3, :3] @ shift
    return affine


@pytest.mark.parametrize("shift", [(0, 0, 0), (0, 0, 9), (-3, 2, 1)])
def test_a_part_of_the_lattice_is_found_by_its_first_voxel(shift: tuple[int, int, int]) -> None:
    assert lattice_shift(moved(shift), (4, 5, 6), OBLIQUE) == shift


def test_half_a_voxel_is_another_lattice() -> None:
    assert lattice_shift(moved((0, 0, 0.5)), (4, 5, 6), OBLIQUE) is None


def test_a_slightly_different_spacing_counts_by_its_effect_at_the_far_corner() -> None:
    affine = OBLIQUE.copy()
    affine[:3, 2] *= 1.0005  # 1.2 micrometres a slice
    assert lattice_shift(affine, (4, 5, 6), OBLIQUE) == (0, 0, 0)
    assert lattice_shift(affine, (4, 5, 100), OBLIQUE) is None


def test_turned_axes_are_another_lattice() -> None:
    assert lattice_shift(OBLIQUE @ np.diag([-1.0, 1, 1, 1]), (4, 5, 6), OBLIQUE) is None
