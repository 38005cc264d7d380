"""CheckAlignment: every kind of difference, every policy, and what the contents say."""

from __future__ import annotations

import re
import warnings
from typing import Any

import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from monai.transforms import Compose, Flip, Orientationd

from medseg.geometry import make_affine
from medseg.io.volumes.nifti import read_nifti
from medseg.transforms import CheckAlignment, CheckAlignmentd
from tests.transforms._menu import AFFINE, MenuCase, TransformMenu

SHAPE = (10, 12, 14)
SPOT = (2, 5, 7)
IMAGE_AFFINE = make_affine((0.7, 0.8, 2.5), (-30, 20, 100), "LPS")


def label_array(dtype: type = np.uint8) -> np.ndarray:
    array = np.zeros((1, *SHAPE), dtype)
    array[0, SPOT[0], SPOT[1], SPOT[2]] = 2
    return array


def volume(array: np.ndarray, affine: np.ndarray) -> MetaTensor:
    return MetaTensor(torch.from_numpy(array), affine=torch.from_numpy(affine), meta={"filename_or_obj": "seg.nii"})


def image() -> MetaTensor:
    """Air with a piece of tissue of 100 HU around the spot."""
    hu = np.full((1, *SHAPE), -1000.0, np.float32)
    hu[0, 1:4, 4:7, 6:9] = 100.0
    return volume(hu, IMAGE_AFFINE)


def organ() -> np.ndarray:
    array = np.zeros((1, *SHAPE), np.uint8)
    array[0, 1:4, 4:7, 6:9] = 1
    return array


def flipped(affine: np.ndarray, axis: int, length: int | None = None) -> np.ndarray:
    result = affine.copy()
    if length is not None:
        result[:3, 3] += affine[:3, axis] * (length - 1)
    result[:3, axis] *= -1
    return result


def apply(policy: str, label: MetaTensor, **options: object) -> MetaTensor:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return CheckAlignment(policy, **options)(label, image())


MIRRORED = flipped(IMAGE_AFFINE, 0, SHAPE[0])  # the same space, the axis reversed
WRONG_SIGN = flipped(IMAGE_AFFINE, 0)  # the sign reversed and nothing else


class TestCheckAlignment(TransformMenu):
    case = MenuCase(
        array=CheckAlignment,
        dictionary=lambda: CheckAlignmentd("label", "image"),
        data={"label": label_array(), "image": np.zeros((1, *SHAPE))},
        expected=label_array(),
        key="label",
        second=("image",),
        dtype=torch.uint8,
        containers=("metatensor",),
        errors=(
            (lambda: CheckAlignment("fix"), "policy is 'fix', expected one of raise, reorder, resample, copy_from_im"),
            (lambda: CheckAlignment(tolerance_mm=-1), "tolerance_mm is -1, expected a number of millimetres from 0"),
            (lambda: CheckAlignment(prior_hu=(180, 40)), r"prior_hu is \(180, 40\), expected \(lowest, highest\)"),
            (lambda: CheckAlignmentd("label", policy="x"), "policy is 'x'"),
            (lambda: CheckAlignment()(label_array(), image()), "label is a ndarray without an affine, expected a Meta"),
            (
                lambda: CheckAlignment()(volume(label_array()[0], IMAGE_AFFINE), image()),
                r"label has shape \(10, 12, 14\), expected channel-first",
            ),
            (
                lambda: CheckAlignment()(Flip(0, lazy=True)(volume(label_array(), IMAGE_AFFINE)), image()),
                r"label has 1 lazy transform\(s\) pending, expected none; check the alignment right after loading",
            ),
            (
                lambda: CheckAlignment()(volume(label_array(), MIRRORED), image()),
                r"seg.nii: label and image: the same grid stored in another order: axes \(0, 1, 2\), flipped \(0,\);",
            ),
            (
                lambda: CheckAlignment()(volume(label_array(), WRONG_SIGN), image()),
                r"array axes \(0,\) run the other way .* up to 12.600 mm apart.*; choose policy",
            ),
            (
                lambda: CheckAlignment("reorder")(volume(label_array(), WRONG_SIGN), image()),
                r"array axes \(0,\) run the other way",
            ),
            (
                lambda: CheckAlignment("resample")(volume(label_array(), WRONG_SIGN), image()),
                r"array axes \(0,\) run the other way",
            ),
            (
                lambda: CheckAlignment("copy_from_image")(volume(label_array()[:, 1:], IMAGE_AFFINE), image()),
                r"grids of different shapes: label \(9, 12, 14\), image \(10, 12, 14\); policy 'copy_from_image' needs",
            ),
        ),
    )


def test_a_label_on_the_grid_is_passed_on_itself() -> None:
    label = volume(label_array(), IMAGE_AFFINE.astype(np.float32).astype(np.float64))
    for policy in ("raise", "reorder", "resample", "copy_from_image"):
        assert CheckAlignment(policy)(label, image()) is label


@pytest.mark.parametrize("policy", ["reorder", "resample"])
def test_a_reordered_label_is_laid_on_the_image_exactly(policy: str) -> None:
    stored = volume(np.ascontiguousarray(label_array()[:, ::-1].transpose(0, 3, 1, 2)), MIRRORED[:, [2, 0, 1, 3]])
    with pytest.warns(UserWarning, match=f"seg.nii: label and image: .* put on the image's grid by policy '{policy}'"):
        result = CheckAlignment(policy)(stored, image())
    np.testing.assert_array_equal(result.numpy(), label_array())
    np.testing.assert_array_equal(result.affine.numpy(), IMAGE_AFFINE)
    assert (result.dtype, result.meta["filename_or_obj"]) == (torch.uint8, "seg.nii")


@pytest.mark.parametrize("header", [MIRRORED, WRONG_SIGN], ids=["mirrored", "wrong sign"])
def test_copying_the_affine_leaves_the_array_as_it_is(header: np.ndarray) -> None:
    result = apply("copy_from_image", volume(label_array(), header))
    np.testing.assert_array_equal(result.numpy(), label_array())
    np.testing.assert_array_equal(result.affine.numpy(), IMAGE_AFFINE)


def test_resampling_takes_the_nearest_voxel_and_keeps_the_set_of_values() -> None:
    coarse = IMAGE_AFFINE.copy()
    coarse[:3, :3] *= 2
    array = np.random.default_rng(0).choice([0, 3, 64], size=(1, 5, 6, 7)).astype(np.int16)
    result = apply("resample", volume(array, coarse)).numpy()
    assert result.shape == (1, *SHAPE)
    assert result.dtype == np.int16
    np.testing.assert_array_equal(result[:, ::2, ::2, ::2], array)
    assert set(np.unique(result)) == {0, 3, 64}


def test_a_label_that_would_be_lost_by_resampling_is_refused() -> None:
    far = IMAGE_AFFINE.copy()
    far[2, 3] += 1000
    with pytest.raises(ValueError, match=r"up to 1000\.000 mm apart; by its header the whole label lies outside"):
        apply("resample", volume(label_array(), far))
    assert not apply("resample", volume(label_array() * 0, far)).any()


def test_contents_are_asked_which_header_is_right() -> None:
    # The array belongs to the image index by index; its header says the opposite.
    by_index = volume(organ(), MIRRORED)
    text = r"Dice with voxels of 40 to 180 HU is 1.000 by index and 0.000 by header"
    with pytest.raises(ValueError, match=f"{text}; choose policy"):
        apply("raise", by_index, prior_hu=(40, 180))
    for policy in ("reorder", "resample"):
        with pytest.raises(ValueError, match=f"{text}, which contradicts policy '{policy}'"):
            apply(policy, by_index, prior_hu=(40, 180))
    np.testing.assert_array_equal(apply("copy_from_image", by_index, prior_hu=(40, 180)).numpy(), organ())


def test_contents_also_speak_for_the_header() -> None:
    by_header = volume(organ()[:, ::-1].copy(), MIRRORED)
    with pytest.raises(ValueError, match=r"is 0\.000 by index and 1\.000 by header, which contradicts policy 'copy"):
        apply("copy_from_image", by_header, prior_hu=(40, 180))
    np.testing.assert_array_equal(apply("reorder", by_header, prior_hu=(40, 180)).numpy(), organ())


@pytest.mark.parametrize("moved", [False, True], ids=["the sign alone", "sign and origin"])
def test_the_contents_of_a_real_ct_betray_a_reversed_label_header(real_data: Any, moved: bool) -> None:
    scan = read_nifti(real_data("abdomen_totalseg/example_ct.nii.gz"))
    labels = read_nifti(real_data("abdomen_totalseg/example_seg_fast_force_split.nii.gz"))
    ct = volume(scan.array[None].astype(np.float32), scan.affine_ras)
    liver = (labels.array == 5)[None].astype(np.uint8)
    header = flipped(labels.affine_ras, 0, liver.shape[1] if moved else None)
    with pytest.raises(ValueError, match="Dice with voxels of 40 to 180 HU") as caught:
        CheckAlignment(prior_hu=(40, 180))(volume(liver, header), ct)
    by_index, by_header = (float(dice) for dice in re.findall(r"(0\.\d{3}) by", str(caught.value)))
    assert by_index > 2 * by_header


def test_the_tolerance_is_in_millimetres() -> None:
    moved = IMAGE_AFFINE.copy()
    moved[2, 3] += 0.3
    label = volume(label_array(), moved)
    assert CheckAlignment(tolerance_mm=0.5)(label, image()) is label
    with pytest.raises(ValueError, match=r"corners lie up to 0\.300 mm apart"):
        CheckAlignment()(label, image())


def test_after_the_check_image_and_label_stay_together_under_orientation() -> None:
    sample = {"image": image(), "label": volume(organ(), WRONG_SIGN)}
    turn = Orientationd(["image", "label"], axcodes="RAS", labels=None)
    apart = turn(dict(sample))
    assert not np.array_equal(apart["label"].numpy() > 0, apart["image"].numpy() > 0)
    pipeline = Compose([CheckAlignmentd("label", policy="copy_from_image"), turn])
    with pytest.warns(UserWarning, match="copy_from_image"):
        together = pipeline(sample)
    np.testing.assert_array_equal(together["label"].numpy() > 0, together["image"].numpy() > 0)


def test_a_missing_image_is_named() -> None:
    with pytest.raises(KeyError, match=r"no item 'ct' to compare with; found \['label'\]"):
        CheckAlignmentd("label", "ct")({"label": volume(label_array(), np.asarray(AFFINE))})
