"""Writers and readers of all formats with unusual arrays: the same values back, or one line of the package's own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from medseg.io import read_image, write_image
from tests._hostile import refused, result_or_refusal

SUFFIXES = (".nii", ".nii.gz", ".mha", ".nrrd")
AFFINE = np.array([[-0.8, 0, 0, 10], [0, 0.7, 0, -20], [0, 0, 2.5, 30], [0, 0, 0, 1.0]])
VALUES = np.arange(-30, 30).reshape(3, 4, 5)

LAYOUTS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "negative strides": lambda a: a[::-1, ::-1, ::-1].copy()[::-1, ::-1, ::-1],
    "a negative stride over an axis of length 1": lambda a: a[:, :1, :][:, ::-1, :],
    "gaps": lambda a: np.repeat(a, 2, axis=2)[:, :, ::2],
    "another order": lambda a: a.transpose(2, 0, 1).copy().transpose(1, 2, 0),
    "Fortran order": np.asfortranarray,
    "big-endian": lambda a: a.astype(a.dtype.newbyteorder(">")),
    "read-only": lambda a: np.broadcast_to(a, a.shape),
    "one voxel": lambda a: a[:1, :1, :1],
    "one slice": lambda a: a[:, :, :1],
}
STORED = (np.int8, np.uint8, np.int16, np.uint16, np.int32, np.float32)
CONVERTED = {np.bool_: np.uint8, np.int64: np.int32, np.float64: np.float32}


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("dtype", [np.int16, np.float32])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_layout_in_memory_does_not_matter(tmp_path: Path, suffix: str, dtype: type, layout: str) -> None:
    array = LAYOUTS[layout](VALUES.astype(dtype))
    image = read_image(write_image(tmp_path / f"x{suffix}", array, AFFINE))
    np.testing.assert_array_equal(image.array, array)
    assert image.array.dtype == np.dtype(dtype) and image.array.dtype.isnative
    np.testing.assert_allclose(image.affine_ras, AFFINE, atol=1e-6)


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("dtype", [*STORED, *CONVERTED, np.float16, np.uint32, np.int64, np.complex64])
def test_a_type_is_kept_converted_as_documented_or_refused(tmp_path: Path, suffix: str, dtype: type) -> None:
    array = np.abs(VALUES).astype(dtype)
    found = result_or_refusal(lambda: read_image(write_image(tmp_path / f"x{suffix}", array, AFFINE)))
    if isinstance(found, Exception):
        assert dtype not in STORED and dtype not in CONVERTED
        assert np.dtype(dtype).name in str(found)
    else:
        np.testing.assert_array_equal(found.array, array)
        assert dtype not in STORED or found.array.dtype == np.dtype(dtype)
        assert dtype not in CONVERTED or found.array.dtype == np.dtype(CONVERTED[dtype])


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 3e38])
def test_values_that_are_not_finite_or_large_come_back_as_they_are(tmp_path: Path, suffix: str, value: float) -> None:
    array = VALUES.astype(np.float32)
    array[1, 2, 3] = value
    image = read_image(write_image(tmp_path / f"x{suffix}", array, AFFINE))
    np.testing.assert_array_equal(image.array, array)


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("shape", [(0, 4, 5), (3, 4, 0), (3, 4), (1, 3, 4, 5)])
def test_what_is_no_volume_is_refused(tmp_path: Path, suffix: str, shape: tuple[int, ...]) -> None:
    refused(lambda: write_image(tmp_path / f"x{suffix}", np.zeros(shape, np.int16), AFFINE))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.int16, torch.uint8, torch.bool])
def test_tensors_of_every_type_are_stored(tmp_path: Path, suffix: str, dtype: torch.dtype) -> None:
    tensor = torch.from_numpy(np.abs(VALUES)).to(dtype)
    image = read_image(write_image(tmp_path / f"x{suffix}", tensor, AFFINE))
    np.testing.assert_array_equal(image.array, tensor.float().numpy())
    assert image.array.dtype.kind == ("f" if dtype.is_floating_point else image.array.dtype.kind)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_tensor_with_a_gradient_is_stored(tmp_path: Path, suffix: str) -> None:
    tensor = torch.ones(3, 4, 5, requires_grad=True)
    np.testing.assert_array_equal(read_image(write_image(tmp_path / f"x{suffix}", tensor, AFFINE)).array, 1)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_the_longest_floating_type_is_stored_as_float32(tmp_path: Path, suffix: str) -> None:
    image = read_image(write_image(tmp_path / f"x{suffix}", VALUES.astype(np.longdouble), AFFINE))
    assert image.array.dtype == np.float32
    np.testing.assert_array_equal(image.array, VALUES)


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("array", [np.full((3, 4, 5), None), np.full((3, 4, 5), "a"), [[[1, 2], [3]]]], ids=str)
def test_what_holds_no_numbers_is_refused(tmp_path: Path, suffix: str, array: Any) -> None:
    refused(lambda: write_image(tmp_path / f"x{suffix}", array, AFFINE))
    assert list(tmp_path.iterdir()) == []


def changed_affine(place: tuple[int, int], value: float) -> np.ndarray:
    affine = AFFINE.copy()
    affine[place] = value
    return affine


NO_AFFINES: dict[str, Any] = {
    "NaN": changed_affine((1, 1), np.nan),
    "infinite": changed_affine((0, 0), np.inf),
    "NaN in the origin": changed_affine((2, 3), np.nan),
    "spacing 0": changed_affine((1, 1), 0.0),
    "spacing of 1e30 mm": changed_affine((0, 0), 1e30),
    "axes in a plane": np.array([[1, 1, 0, 0], [1, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1.0]]),
    "another last row": changed_affine((3, 2), 1.0),
    "3 x 3": AFFINE[:3, :3],
    "text": "RAS",
    "nothing": None,
}


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("affine", NO_AFFINES)
def test_what_is_no_grid_is_refused_in_every_format(tmp_path: Path, suffix: str, affine: str) -> None:
    line = refused(lambda: write_image(tmp_path / f"x{suffix}", np.zeros((3, 4, 5), np.uint8), NO_AFFINES[affine]))
    assert "affine" in line
    assert list(tmp_path.iterdir()) == []
