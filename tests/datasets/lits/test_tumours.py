"""Tumours are counted as connected regions from a minimum size on, and unusual ones are named."""

from __future__ import annotations

import numpy as np
import pytest

from medseg.datasets.lits import count_tumours
from medseg.geometry import make_affine

AFFINE = make_affine((2.0, 2.0, 5.0), (-10.0, 20.0, 30.0), "LPS")  # 0.02 ml a voxel


@pytest.fixture
def label() -> np.ndarray:
    """A liver with a tumour of 8 voxels, one of a single voxel, two joined by an edge, and one far from the liver."""
    array = np.zeros((20, 20, 12), np.uint8)
    array[2:12, 2:12, 2:10] = 1
    array[3:5, 3:5, 3:5] = 2
    array[8, 8, 8] = 2
    array[10, 3, 3] = array[11, 4, 3] = 2
    array[16:18, 16, 5] = 2
    return array


@pytest.mark.trap("4.4-09")
def test_both_numbers_are_given_and_one_voxel_tumours_listed(label: np.ndarray) -> None:
    found = count_tumours(label, AFFINE, minimum_ml=0.04)
    assert found.number == 4
    assert found.at_least_minimum == 3
    assert found.volumes_ml == pytest.approx((0.16, 0.04, 0.04, 0.02))
    assert found.one_voxel_ras_mm == ((-10.0 - 16.0, 20.0 - 16.0, 30.0 + 40.0),)
    record = found.to_record()
    assert record["number"] == 4
    assert record["number_of_at_least_0.04_ml"] == 3
    assert np.count_nonzero(label == 2) == 13


def test_tumours_that_touch_no_liver_are_counted_apart(label: np.ndarray) -> None:
    found = count_tumours(label, AFFINE)
    assert found.off_liver_voxels == 2
    assert found.off_liver_ras_mm == ((-10.0 - 33.0, 20.0 - 32.0, 30.0 + 25.0),)


def test_a_tumour_inside_another_ones_rim_or_at_the_volume_s_edge_is_no_special_case() -> None:
    array = np.zeros((4, 4, 4), np.uint8)
    array[0, 0, 0] = 2
    array[0, 1, 1] = 1
    found = count_tumours(array, AFFINE)
    assert (found.number, found.off_liver_voxels) == (1, 0)


@pytest.mark.trap("4.4-08")
def test_no_tumour_is_a_count_of_zero() -> None:
    found = count_tumours(np.ones((4, 4, 4), np.uint8), AFFINE)
    assert (found.number, found.at_least_minimum, found.volumes_ml, found.off_liver_voxels) == (0, 0, (), 0)


@pytest.mark.parametrize("minimum", [-0.1, float("nan"), float("inf")])
def test_a_minimum_that_is_no_volume_is_refused(minimum: float) -> None:
    with pytest.raises(ValueError, match="expected a volume from 0"):
        count_tumours(np.zeros((2, 2, 2), np.uint8), AFFINE, minimum)
