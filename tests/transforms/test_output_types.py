"""Every transform with a `dtype`: nothing is cut off, nothing wraps around; whole numbers are rounded if asked for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from monai.data import MetaTensor

from medseg.transforms import (
    HUWindow,
    HUWindowd,
    MultiWindow,
    MultiWindowd,
    RandHistogramMatch,
    RandHistogramMatchd,
    RandHUWindow,
    RandHUWindowd,
    RandMultiWindow,
    RandMultiWindowd,
    VoxelToWorld,
    VoxelToWorldd,
    WorldToVoxel,
    WorldToVoxeld,
)

CT = np.array([[[-500, 0, 60, 90, 900]]], np.int16)
SHARES = [0.0, 0.2, 0.5, 0.65, 1.0]
AFFINE = np.diag([2.0, 2.0, 5.0, 1.0])
POINTS = np.array([[5.0, 7.0, 1.0]])

# Makers of array and dictionary form, each of which takes dtype and rounding.
WINDOWED: dict[str, tuple[Callable[..., Any], Callable[..., Any]]] = {
    "HUWindow": (lambda **o: HUWindow("liver", **o), lambda **o: HUWindowd("x", "liver", **o)),
    "RandHUWindow": (
        lambda **o: RandHUWindow("liver", prob=0.0, **o),
        lambda **o: RandHUWindowd("x", "liver", prob=0.0, **o),
    ),
    "MultiWindow": (lambda **o: MultiWindow(["liver"], **o), lambda **o: MultiWindowd("x", ["liver"], **o)),
    "RandMultiWindow": (
        lambda **o: RandMultiWindow(["liver"], prob=0.0, **o),
        lambda **o: RandMultiWindowd("x", ["liver"], prob=0.0, **o),
    ),
}
OTHERS: dict[str, tuple[Callable[..., Any], Callable[..., Any]]] = {
    "RandHistogramMatch": (
        lambda **o: RandHistogramMatch([CT], 1.0, **o),
        lambda **o: RandHistogramMatchd("x", [CT], 1.0, **o),
    ),
    "WorldToVoxel": (lambda **o: WorldToVoxel("RAS", **o), lambda **o: WorldToVoxeld("x", "affine", "RAS", **o)),
    "VoxelToWorld": (lambda **o: VoxelToWorld("RAS", **o), lambda **o: VoxelToWorldd("x", "affine", "RAS", **o)),
}
ALL = {**WINDOWED, **OTHERS}


def both_forms(name: str, x: Any, **options: Any) -> torch.Tensor:
    """The result of the array form, after the dictionary form has been found to give the same."""
    array, dictionary = ALL[name]
    further = (AFFINE,) if name in ("WorldToVoxel", "VoxelToWorld") else ()
    found = array(**options)(x, *further)
    same = dictionary(**options)({"x": x, "affine": AFFINE})["x"]
    assert same.dtype == found.dtype
    np.testing.assert_array_equal(same, found)
    return found


@pytest.mark.parametrize("dtype", [np.int16, "uint8", torch.int64, np.dtype(np.uint16)], ids=str)
@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("form", [0, 1], ids=["array", "dictionary"])
def test_integer_types_are_refused_when_the_transform_is_made(name: str, dtype: Any, form: int) -> None:
    with pytest.raises(ValueError, match=r"dtype is u?int\d+, which holds whole numbers only .* or rounding='nearest'"):
        ALL[name][form](dtype=dtype)


@pytest.mark.parametrize("name", [*WINDOWED, "RandHistogramMatch"])
def test_the_type_of_an_integer_image_is_refused_as_well(name: str) -> None:
    with pytest.raises(ValueError, match="dtype is None and the input is int16, which holds whole numbers only"):
        both_forms(name, CT, dtype=None)
    with pytest.raises(ValueError, match="dtype is None and the input is uint8"):
        both_forms(name, MetaTensor(torch.zeros(1, 1, 5, dtype=torch.uint8)), dtype=None)


@pytest.mark.parametrize("name", WINDOWED)
def test_rounding_gives_the_nearest_whole_number(name: str) -> None:
    for dtype, torch_dtype in ((np.uint8, torch.uint8), (torch.int16, torch.int16), (None, torch.int16)):
        found = both_forms(name, CT, out_max=255, dtype=dtype, rounding="nearest")
        assert found.dtype == torch_dtype
        assert found.flatten().tolist() == [0, 51, 128, 166, 255]  # 127.5 and 165.75 before


@pytest.mark.parametrize("name", WINDOWED)
@pytest.mark.parametrize(
    ("dtype", "expected"),
    [
        (None, torch.float64),
        (np.float16, torch.float16),
        (">f4", torch.float32),
        (np.float64, torch.float64),
        (torch.bfloat16, torch.bfloat16),
    ],
    ids=str,
)
def test_floating_types_hold_the_values(name: str, dtype: Any, expected: torch.dtype) -> None:
    found = WINDOWED[name][0](dtype=dtype)(CT.astype(np.float64))
    assert found.dtype == expected
    np.testing.assert_allclose(found.double().flatten(), SHARES, atol=max(torch.finfo(expected).eps, 1e-7))


@pytest.mark.parametrize("name", WINDOWED)
def test_an_unsigned_type_needs_clipping(name: str) -> None:
    with pytest.raises(ValueError, match="dtype is uint8 with clip=False, expected clip=True: values below 0 would wr"):
        ALL[name][0](out_max=255, clip=False, dtype=np.uint8, rounding="nearest")
    with pytest.raises(ValueError, match="and the input is uint8 with clip=False"):
        both_forms(name, CT.clip(0).astype(np.uint8), out_max=255, clip=False, dtype=None, rounding="nearest")


@pytest.mark.parametrize("name", WINDOWED)
def test_the_output_range_must_fit(name: str) -> None:
    with pytest.raises(ValueError, match="dtype is uint8, which holds 0 to 255, expected a type that"):
        ALL[name][0](out_max=400, dtype=np.uint8, rounding="nearest")
    with pytest.raises(ValueError, match="dtype is float16, which holds -65504 to 65504, expected"):
        ALL[name][0](out_max=1e6, dtype=np.float16)


@pytest.mark.parametrize("name", WINDOWED)
def test_values_beyond_a_type_are_refused_and_do_not_wrap(name: str) -> None:
    with pytest.raises(ValueError, match="result has values from -292 to 597, which int8 cannot hold"):
        both_forms(name, CT.astype(np.float64), out_max=127, clip=False, dtype=np.int8, rounding="nearest")
    with pytest.raises(ValueError, match=r"result has values from .* to .*, which float16 cannot hold"):
        both_forms(name, CT.astype(np.float64) * 1e3, out_max=6e4, clip=False, dtype=np.float16)
    with pytest.raises(ValueError, match="result has values from nan to nan, which uint8 cannot hold"):
        both_forms(name, np.full((1, 1, 5), np.nan), dtype=np.uint8, rounding="nearest")


def test_matched_histograms_are_rounded_and_not_cut_off() -> None:
    image, reference = np.array([[[3, 1, 2, 4]]], np.int16), np.array([[[10.6, 20.6, 30.6, 40.6]]])
    for dtype in (np.int16, None):
        match = RandHistogramMatch([reference], 1.0, dtype, rounding="nearest")
        assert match(image).tolist() == [[[31, 11, 21, 41]]]
        assert match(image).dtype == torch.int16
    with pytest.raises(ValueError, match="result has values from 311 to 341, which uint8 cannot hold"):
        RandHistogramMatch([reference + 300], 1.0, np.uint8, rounding="nearest")(image)


def test_points_are_rounded_and_not_cut_off() -> None:
    np.testing.assert_array_equal(both_forms("WorldToVoxel", POINTS, dtype=np.int64, rounding="nearest"), [[2, 4, 0]])
    np.testing.assert_array_equal(both_forms("VoxelToWorld", POINTS, dtype=np.int64, rounding="nearest"), [[10, 14, 5]])
    np.testing.assert_allclose(both_forms("WorldToVoxel", POINTS, dtype=None), [[2.5, 3.5, 0.2]], rtol=1e-15)
    with pytest.raises(ValueError, match="result has values from -2 to 4, which uint8 cannot hold"):
        both_forms("WorldToVoxel", POINTS * [-1, 1, 1], dtype=np.uint8, rounding="nearest")


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rounding": "floor"}, "rounding is 'floor', expected 'nearest' or None"),
        ({"dtype": bool}, "dtype is bool, expected a type of real numbers"),
        ({"dtype": np.complex64}, "dtype is complex64, expected a type of real numbers"),
        ({"dtype": "float31"}, "dtype is 'float31', expected a NumPy or torch type"),
        ({"dtype": object}, "expected a NumPy or torch type of real numbers"),
    ],
)
def test_types_that_are_not_of_numbers_are_one_line(name: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        ALL[name][0](**options)
    assert "\n" not in str(caught.value)
