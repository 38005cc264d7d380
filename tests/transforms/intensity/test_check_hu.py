"""CheckHU: an image that can hardly be a CT in HU is named in the log or refused; the image is passed on as it is."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from monai.data import MetaTensor

from medseg.transforms import CheckHU, CheckHUd
from tests.transforms._menu import MenuCase, TransformMenu


def scan() -> np.ndarray:
    """Tissue with a bone in air."""
    image = np.full((1, 8, 8, 8), -1000, np.float32)
    image[:, 2:7, 2:7, 1:7] = 40
    image[:, 4, 4, 2:6] = 700
    return image


def inside() -> np.ndarray:
    return scan()[:, 2:7, 2:7, 1:7]


WRONG = {
    "scaled to 0..1": (scan() + 1000) / 1700,
    "every voxel is -1000": np.full_like(scan(), -1000),
    "intercept of -1024 was not applied": scan() + 1024,
    "normalised to mean 0": (scan() - scan().mean()) / scan().std(),
}


class TestCheckHU(TransformMenu):
    case = MenuCase(
        array=lambda: CheckHU("refuse"),
        dictionary=lambda: CheckHUd("image", "refuse"),
        data={"image": scan()},
        expected=scan(),
        errors=(
            (lambda: CheckHU("refuse")(scan() / 1000), "^image: values run from -1 to 0.7; expected air near -1000"),
            (
                lambda: CheckHUd("image", "refuse")({"image": inside()}),
                r"crop inside the body \(set cropped to true\)$",
            ),
            (lambda: CheckHU("drop"), "on_doubt is 'drop'; expected one of warn, refuse, ignore"),
        ),
    )


def metatensor(values: np.ndarray, name: str = "case_3.nii.gz") -> MetaTensor:
    return MetaTensor(torch.from_numpy(values), meta={"filename_or_obj": name})


@pytest.mark.parametrize("words", WRONG)
def test_a_doubt_is_one_line_with_file_and_cause_and_the_image_is_passed_on(
    words: str, caplog: pytest.LogCaptureFixture
) -> None:
    image = metatensor(WRONG[words].astype(np.float32))
    assert torch.equal(CheckHU()(image), image)
    (record,) = caplog.records
    assert record.levelname == "WARNING"
    line = record.getMessage()
    assert line.startswith("case_3.nii.gz: ") and words in line and "\n" not in line
    with pytest.raises(ValueError, match=words):
        CheckHU("refuse")(image)


def test_an_image_that_is_read_in_every_epoch_is_named_once(caplog: pytest.LogCaptureFixture) -> None:
    check = CheckHUd("image")
    for name in ("a.nii", "b.nii", "a.nii", "b.nii"):
        check({"image": metatensor(WRONG["scaled to 0..1"], name)})
    assert [record.getMessage().split(":")[0] for record in caplog.records] == ["a.nii", "b.nii"]


def test_a_stated_crop_and_an_image_nobody_asks_about_raise_no_doubt(caplog: pytest.LogCaptureFixture) -> None:
    CheckHU("refuse", cropped=True)(inside())
    CheckHUd("image", "refuse", cropped=True)({"image": inside()})
    CheckHU("ignore")(WRONG["scaled to 0..1"])
    assert not caplog.records


@pytest.mark.parametrize("dtype", [torch.int16, torch.float16, torch.bfloat16, torch.float64])
def test_every_type_that_holds_hounsfield_units_is_judged(dtype: torch.dtype) -> None:
    image = torch.from_numpy(scan()).to(dtype)
    assert CheckHU("refuse")(image).dtype == dtype
    with pytest.raises(ValueError, match="every voxel is 0"):
        CheckHU("refuse")(image * 0)
