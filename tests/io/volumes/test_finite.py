"""Voxels that are not finite: found with count and first position, refused in one line or filled in a copy."""

from __future__ import annotations

import math

import numpy as np
import pytest

from medseg.io.bounded.errors import DataError
from medseg.io.volumes.finite import NonFinite, check_fill_value, find_nonfinite, settle_nonfinite


def image(dtype: type = np.float32) -> np.ndarray:
    return np.arange(24, dtype=dtype).reshape(2, 3, 4)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, ">f4"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_count_and_first_position_do_not_depend_on_type_and_memory_order(bad: float, dtype: str, order: str) -> None:
    array = np.array(image().astype(dtype), order=order)
    array[1, 2, 0] = array[0, 2, 3] = bad
    assert find_nonfinite(array) == NonFinite(2, 24, (0, 2, 3))


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.float32])
def test_finite_and_empty_images_pass_as_they_are(dtype: type) -> None:
    for array in (image(dtype), np.zeros((0, 3, 3), dtype)):
        assert find_nonfinite(array) is None
        assert settle_nonfinite(array, "a.nii")[0] is array


def test_a_refusal_is_one_line_with_file_count_position_and_a_way_out() -> None:
    array = image()
    array[1, 0, 2] = np.inf
    with pytest.raises(DataError) as caught:
        settle_nonfinite(array, "a.nii", remedy="--on-nonfinite fill")
    assert str(caught.value) == (
        "a.nii: 1 of 24 voxels are not finite (NaN or infinite), the first at index [1, 0, 2] (i, j, k); mend the "
        "file, or give --on-nonfinite fill, which puts -1024 there"
    )
    with pytest.raises(DataError, match=r"mend the file$"):
        settle_nonfinite(array, "a.nii")


def test_filling_changes_these_voxels_alone_in_a_copy_of_the_same_type() -> None:
    array = image()
    array[1, 0, 2] = np.nan
    filled, found = settle_nonfinite(array, "a.nii", "fill", -1000)
    expected = image()
    expected[1, 0, 2] = -1000
    np.testing.assert_array_equal(filled, expected)
    assert filled.dtype == np.float32 and np.isnan(array[1, 0, 2])
    assert found is not None and found.record(-1000.0) == {"voxels": 1, "first": [1, 0, 2], "filled_with": -1000.0}


def test_an_image_without_any_finite_voxel_is_refused_even_where_filling_was_asked_for() -> None:
    with pytest.raises(DataError, match=r"a\.nii: no voxel holds a finite value"):
        settle_nonfinite(np.full((2, 2, 2), np.nan), "a.nii", "fill")


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_wrong_rules_are_named(value: float) -> None:
    with pytest.raises(ValueError, match="on_nonfinite is 'drop'; expected one of refuse, fill"):
        settle_nonfinite(image(), "a.nii", "drop")
    with pytest.raises(ValueError, match=f"--fill-value is {value}; expected a finite number, such as -1024"):
        check_fill_value(value, "--fill-value")
