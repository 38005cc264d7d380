"""Volumes in memory become cases: same voxels, same place, whatever library holds them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from monai.data import MetaTensor

from medseg.geometry import make_affine
from medseg.inference.case import read_case
from medseg.inference.errors import ConfigurationError, IntegrityError

AFFINE = make_affine((1.0, 2.0, 3.0), (5.0, 6.0, 7.0), "LAS")
ARRAY = np.random.default_rng(0).integers(-1000, 400, (5, 6, 7)).astype(np.int16)
FLIP_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])

FORMS: dict[str, Callable[[], Any]] = {
    "array": lambda: ARRAY,
    "one channel first": lambda: ARRAY[None],
    "float64": lambda: ARRAY.astype(np.float64),
    "big-endian": lambda: ARRAY.astype(">i2"),
    "negative strides": lambda: ARRAY[::-1].copy()[::-1],
    "tensor": lambda: torch.from_numpy(ARRAY),
    "tensor that requires a gradient": lambda: torch.from_numpy(ARRAY).float().requires_grad_(),
}


@pytest.mark.parametrize("form", FORMS)
def test_an_array_keeps_its_voxels_and_gets_the_affine_given(form: str) -> None:
    case = read_case(FORMS[form](), affine_ras=AFFINE)
    np.testing.assert_array_equal(case.array, ARRAY)
    np.testing.assert_array_equal(case.affine_ras, AFFINE)
    assert (case.kind, case.source, case.name, case.array.dtype.isnative) == ("array", None, "", True)


def test_bfloat16_is_taken() -> None:
    values = torch.tensor([-1000.0, 40.0]).repeat(2, 2, 1).to(torch.bfloat16)
    np.testing.assert_array_equal(read_case(values, affine_ras=AFFINE).array, values.float())


@pytest.mark.parametrize(("space", "own"), [("RAS", AFFINE), ("LPS", FLIP_LPS @ AFFINE), (None, AFFINE)])
def test_a_metatensor_brings_its_own_affine_in_ras_or_lps(space: str | None, own: np.ndarray) -> None:
    meta = {} if space is None else {"space": space}
    case = read_case(MetaTensor(torch.from_numpy(ARRAY)[None], affine=torch.from_numpy(own), meta=meta))
    np.testing.assert_array_equal(case.array, ARRAY)
    np.testing.assert_allclose(case.affine_ras, AFFINE)


@pytest.mark.parametrize(
    ("values", "options", "words"),
    [
        (ARRAY, {}, "affine is missing; give affine_ras"),
        (MetaTensor(ARRAY), {"affine_ras": AFFINE}, "brings its own affine"),
        (ARRAY[0], {"affine_ras": AFFINE}, r"shape is \(6, 7\), expected three axes"),
        (np.stack([ARRAY, ARRAY]), {"affine_ras": AFFINE}, r"shape is \(2, 5, 6, 7\)"),
        (ARRAY, {"affine_ras": AFFINE[:3]}, r"shape is \(3, 4\), expected 4 x 4"),
        (ARRAY, {"affine_ras": AFFINE, "series_uid": "1.2"}, "series_uid: the case is an array"),
        ([1, 2, 3], {"affine_ras": AFFINE}, "case is a list, expected the path"),
    ],
)
def test_wrong_arguments_are_named(values: Any, options: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigurationError, match=words):
        read_case(values, **options)


@pytest.mark.parametrize(
    ("values", "affine", "words"),
    [
        (ARRAY.astype(complex), AFFINE, "voxels have type complex128"),
        (ARRAY.astype(np.int64) << 40, AFFINE, "does not fit into int32"),
        (ARRAY > 0, AFFINE, "voxels have type bool"),
        (np.full((3, 3, 3), np.nan), AFFINE, "no voxel holds a finite value"),
        (ARRAY[:1], AFFINE, r"shape \(1, 6, 7\), expected at least 2"),
        (ARRAY, np.zeros((4, 4)), "last row"),
        (ARRAY, np.diag([1.0, 1.0, 0.0, 1.0]), "spacing of 1 x 1 x 0 mm"),
        (ARRAY, np.diag([1.0, np.nan, 1.0, 1.0]), "not finite numbers"),
    ],
)
def test_unusable_data_are_integrity_errors_in_one_line(values: Any, affine: np.ndarray, words: str) -> None:
    with pytest.raises(IntegrityError, match=words) as caught:
        read_case(values, affine_ras=affine)
    assert str(caught.value).startswith("array: ")
    assert "\n" not in str(caught.value)
