"""CheckFinite: voxels that are NaN or infinite are refused with file, count and first position, or filled if asked."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from monai.data import DataLoader, Dataset, MetaTensor

from medseg.transforms import CheckFinite, CheckFinited
from tests.transforms._menu import MenuCase, TransformMenu

BAD = np.array([[[1.0, np.nan, 3.0], [-np.inf, 5.0, 6.0]]], np.float32)
FILLED = np.array([[[1.0, -7.0, 3.0], [-7.0, 5.0, 6.0]]], np.float32)


class TestCheckFinite(TransformMenu):
    case = MenuCase(
        array=lambda: CheckFinite("fill", fill_value=-7),
        dictionary=lambda: CheckFinited("image", "fill", fill_value=-7),
        data={"image": BAD},
        expected=FILLED,
        errors=(
            (
                lambda: CheckFinite()(BAD),
                r"image: 2 of 6 voxels are not finite \(NaN or infinite\), the first at index ",
            ),
            (lambda: CheckFinited("image")({"image": BAD}), r"index \[0, 0, 1\] \(channel, then axes\); mend the file"),
            (lambda: CheckFinite("drop"), "on_nonfinite is 'drop'; expected one of refuse, fill"),
            (lambda: CheckFinite("fill", math.nan), "fill_value is nan; expected a finite number"),
            (lambda: CheckFinited(["a", "b"], ["fill"] * 3), "length"),
        ),
    )


def metatensor(values: np.ndarray) -> MetaTensor:
    return MetaTensor(torch.from_numpy(values), meta={"filename_or_obj": "case_3.nii.gz"})


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_one_such_voxel_is_refused_in_every_floating_type(bad: float, dtype: torch.dtype) -> None:
    image = torch.zeros(1, 4, 5, 6, dtype=dtype)
    image[0, 2, 0, 5] = bad
    with pytest.raises(ValueError, match=r"1 of 120 voxels .* \[0, 2, 0, 5\]"):
        CheckFinite()(image)
    filled = CheckFinite("fill", -1)(image)
    assert filled.dtype == dtype and filled.min() == -1 and torch.isfinite(filled).all()


def test_the_refusal_names_the_file_and_a_fix_that_works() -> None:
    with pytest.raises(ValueError, match=r'^case_3.nii.gz: .* set on_nonfinite to "fill", which puts -1024 there$'):
        CheckFinite()(metatensor(BAD))
    assert torch.isfinite(CheckFinite(on_nonfinite="fill")(metatensor(BAD))).all()


def test_what_was_filled_is_said_and_stands_in_the_meta_data_of_the_result_alone(
    caplog: pytest.LogCaptureFixture,
) -> None:
    image = metatensor(BAD)
    filled = CheckFinite("fill")(image)
    assert filled.meta["nonfinite"] == {"voxels": 2, "first": [0, 0, 1], "filled_with": -1024.0}
    (line,) = [record.getMessage() for record in caplog.records]
    assert line.startswith("case_3.nii.gz: 2 of 6 voxels are not finite") and line.endswith("they were set to -1024")
    assert "nonfinite" not in image.meta
    assert "nonfinite" not in CheckFinite("fill")(metatensor(FILLED)).meta


@pytest.mark.parametrize("word", ["refuse", "fill"])
@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.float32])
def test_a_finite_image_passes_as_it_is(word: str, dtype: type) -> None:
    image = np.arange(12, dtype=dtype).reshape(1, 3, 4)
    result = CheckFinite(word)(image)
    assert np.asarray(result).dtype == dtype
    np.testing.assert_array_equal(np.asarray(result), image)
    np.testing.assert_array_equal(np.asarray(CheckFinite(word)(np.zeros((1, 0, 4), dtype))), np.zeros((1, 0, 4)))


def test_every_key_has_its_own_rule_and_value() -> None:
    data = {"image": BAD, "label": BAD}
    result = CheckFinited(["image", "label"], "fill", [-7, 0])(data)
    np.testing.assert_array_equal(np.asarray(result["image"]), FILLED)
    np.testing.assert_array_equal(np.asarray(result["label"]), np.where(FILLED == -7, 0, FILLED))
    with pytest.raises(ValueError, match="2 of 6 voxels"):
        CheckFinited(["image", "label"], ["fill", "refuse"])(data)


def test_filled_and_other_images_make_one_batch() -> None:
    data = [{"image": metatensor(BAD)}, {"image": metatensor(FILLED)}]
    (batch,) = DataLoader(Dataset(data, CheckFinited("image", "fill")), batch_size=2)
    assert torch.isfinite(batch["image"]).all()
