"""Traps of label maps: headers that contradict the image's, values that are no labels."""

from __future__ import annotations

import re
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from monai.transforms import Compose, LoadImaged, Orientationd, Spacingd

from medseg.geometry import make_affine
from medseg.io.volumes.nifti import read_nifti, write_nifti
from medseg.transforms import CheckAlignmentd, MapLabelsd
from medseg.transforms.spatial.check_alignment import AlignmentPolicy

SHAPE = (10, 12, 14)
SPOT = (2, 5, 7)
AFFINE = make_affine((0.7, 0.8, 2.5), (-30, 20, 100), "LPS")


@pytest.fixture
def pair(tmp_path: Path) -> dict[str, str]:
    """An image and a label that belong together index by index; the label's header reverses the first axis."""
    array = np.zeros(SHAPE, np.int16)
    array[SPOT] = 1
    header = AFFINE.copy()
    header[:3, 0] *= -1
    write_nifti(tmp_path / "image.nii.gz", array * 100, AFFINE)
    write_nifti(tmp_path / "label.nii.gz", array, header)
    return {"image": str(tmp_path / "image.nii.gz"), "label": str(tmp_path / "label.nii.gz")}


def prepare(pair: dict[str, str], policy: AlignmentPolicy | None) -> dict[str, tuple[int, ...]]:
    """Load, check and orient a pair; the index of the highest voxel of each."""
    keys = ["image", "label"]
    check = [CheckAlignmentd("label", policy=policy)] if policy else []
    orient = Orientationd(keys, axcodes="RAS", labels=None)
    sample = Compose([LoadImaged(keys, ensure_channel_first=True), *check, orient])(pair)
    return {key: np.unravel_index(np.asarray(sample[key][0]).argmax(), SHAPE) for key in keys}


@pytest.mark.trap("4.3-07")
def test_a_flipped_label_header_moves_the_label_away_unless_it_is_checked(pair: dict[str, str]) -> None:
    apart = prepare(pair, None)
    assert apart["label"] != apart["image"]
    with pytest.raises(RuntimeError) as caught:
        prepare(pair, "raise")
    assert "label.nii.gz: label and image: array axes (0,) run the other way" in str(caught.value.__cause__)
    with pytest.warns(UserWarning, match="label.nii.gz: label and image: .* by policy 'copy_from_image'"):
        together = prepare(pair, "copy_from_image")
    assert together["label"] == together["image"] == (9 - SPOT[0], 11 - SPOT[1], SPOT[2])


@pytest.mark.trap("4.3-09")
def test_nearest_keeps_the_set_of_values_and_interpolated_labels_are_refused(tmp_path: Path) -> None:
    array = np.random.default_rng(0).choice([0, 64, 128], size=SHAPE).astype(np.uint8)
    path = write_nifti(tmp_path / "label.nii.gz", array, AFFINE)
    mapped = MapLabelsd("label", {0: 0, 64: 1, 128: 2})

    def resampled(mode: str) -> Compose:
        load = LoadImaged("label", ensure_channel_first=True)
        return Compose([load, Spacingd("label", (1.1, 1.1, 1.1), mode=mode), mapped])

    assert set(np.unique(resampled("nearest")({"label": path})["label"])) == {0, 1, 2}
    with pytest.raises(RuntimeError) as caught:
        resampled("bilinear")({"label": path})
    assert re.search(
        r"label\.nii\.gz contains \d+\.\d+ at \[0, .*\], expected whole numbers", str(caught.value.__cause__)
    )
    assert "were the labels interpolated? Resample them with mode 'nearest'" in str(caught.value.__cause__)


@pytest.mark.trap("4.3-09")
@pytest.mark.parametrize("stored", ["float", "scaled"])
def test_float_and_scaled_labels_keep_their_values(tmp_path: Path, stored: str) -> None:
    array = np.random.default_rng(0).choice([0, 1, 2], size=SHAPE)
    image = nib.Nifti1Image(array.astype(np.float32 if stored == "float" else np.uint8), AFFINE)
    image.set_sform(AFFINE, code=1)
    if stored == "scaled":
        image.header.set_slope_inter(64.0, 0.0)
    nib.save(image, tmp_path / "label.nii.gz")
    values = {0: 0, 1: 1, 2: 2} if stored == "float" else {0: 0, 64: 1, 128: 2}
    assert set(np.unique(read_nifti(tmp_path / "label.nii.gz").array)) == set(values)
    pipeline = Compose([LoadImaged("label", ensure_channel_first=True), MapLabelsd("label", values)])
    result = pipeline({"label": tmp_path / "label.nii.gz"})["label"]
    np.testing.assert_array_equal(np.asarray(result[0]), array)
