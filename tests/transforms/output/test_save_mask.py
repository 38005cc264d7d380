"""Saving predicted masks on the grid of their source, through MONAI's own loading and inverting."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from monai.transforms import Compose, Invertd, LoadImaged, Orientationd, Spacingd

from medseg.io.volumes.nifti import write_nifti
from medseg.transforms import SaveMask, SaveMaskd
from medseg.transforms.output.save_mask import case_name
from tests.io.volumes.test_nifti import SHAPE, geometry_bytes, oblique_affine, save, voxels
from tests.transforms._menu import AFFINE, MenuCase, TransformMenu, as_metatensor


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return save(tmp_path / "case_07.nii.gz", voxels(), sform=2, qform=1)


def loaded(source: Path) -> MetaTensor:
    return LoadImaged(keys="image", ensure_channel_first=True)({"image": source})["image"]


def mask_of(source: Path) -> MetaTensor:
    """A mask on the source's own grid: every third voxel."""
    image = loaded(source)
    return MetaTensor((image.as_tensor() % 3 == 0).to(torch.uint8), meta=image.meta)


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/a/b/case.nii.gz", "case"),
        ("case.nii", "case"),
        ("CASE.NII.GZ", "CASE"),
        ("v1.2.nii.gz", "v1.2"),
        ("scan.mha", "scan.mha"),
    ],
)
def test_case_names_lose_the_nifti_suffix_only(path: str, name: str) -> None:
    assert case_name(path) == name


def test_a_mask_is_saved_with_the_geometry_of_its_source(source: Path, tmp_path: Path) -> None:
    data = {"pred": mask_of(source), "other": 5}
    result = SaveMaskd("pred", tmp_path / "out")(data)
    target = tmp_path / "out" / "case_07_seg.nii.gz"
    assert result == data
    assert geometry_bytes(target) == geometry_bytes(source)
    stored = nib.load(target)
    assert stored.get_data_dtype() == np.uint8
    np.testing.assert_array_equal(np.asanyarray(stored.dataobj), voxels() % 3 == 0)
    assert list((tmp_path / "out").iterdir()) == [target]


def test_a_mask_that_was_reoriented_and_resampled_lands_on_its_own_voxels(source: Path, tmp_path: Path) -> None:
    # A resampled grid and back is exact for a mask that is constant along each axis' neighbourhood: one half-space.
    array = np.zeros(SHAPE, np.int16)
    array[:, :3] = 100
    source = write_nifti(tmp_path / "half.nii.gz", array, oblique_affine("SLA"))
    forward = Compose(
        [
            LoadImaged(keys="image", ensure_channel_first=True),
            Orientationd(keys="image", axcodes="RAS", labels=None),
            Spacingd(keys="image", pixdim=(0.6, 0.6, 0.6), mode="bilinear"),
        ]
    )
    data = forward({"image": source})
    data["pred"] = (data["image"] > 50).to(torch.uint8)
    back = Invertd("pred", forward, "image", nearest_interp=True, to_tensor=True)(data)
    SaveMaskd("pred", tmp_path / "out")(back)
    stored = nib.load(tmp_path / "out" / "half_seg.nii.gz")
    np.testing.assert_array_equal(np.asanyarray(stored.dataobj), array > 50)
    assert geometry_bytes(tmp_path / "out" / "half_seg.nii.gz") == geometry_bytes(source)


def test_the_name_is_the_caller_s_choice(source: Path, tmp_path: Path) -> None:
    transform = SaveMaskd("pred", tmp_path / "out", output_name="liver_of_{case}")
    assert transform.target_of(source) == tmp_path / "out" / "liver_of_case_07.nii.gz"
    transform({"pred": mask_of(source)})
    assert transform.target_of(source).is_file()


def test_an_existing_file_is_kept_unless_overwriting_is_allowed(source: Path, tmp_path: Path) -> None:
    target = tmp_path / "out" / "case_07_seg.nii.gz"
    target.parent.mkdir()
    target.write_bytes(b"somebody's work")
    with pytest.raises(ValueError, match="exists already; remove it, choose another output_dir or set overwrite"):
        SaveMaskd("pred", target.parent)({"pred": mask_of(source)})
    assert target.read_bytes() == b"somebody's work"
    SaveMaskd("pred", target.parent, overwrite=True)({"pred": mask_of(source)})
    assert nib.load(target).shape == SHAPE


@pytest.mark.parametrize("value", [0.5, -1.0, 256.0, float("nan")])
def test_values_that_are_no_labels_are_refused(source: Path, tmp_path: Path, value: float) -> None:
    mask = mask_of(source).float()
    mask[0, 1, 2, 3] = value
    with pytest.raises(ValueError, match=r"case_07\.nii\.gz: mask holds values other than whole numbers 0 to 255"):
        SaveMaskd("pred", tmp_path / "out")({"pred": mask})
    assert not (tmp_path / "out").exists()


def test_labels_to_255_are_kept(source: Path, tmp_path: Path) -> None:
    mask = mask_of(source).float()
    mask[0, 1, 2, 3] = 255.0
    SaveMaskd("pred", tmp_path / "out")({"pred": mask})
    assert np.asanyarray(nib.load(tmp_path / "out" / "case_07_seg.nii.gz").dataobj)[1, 2, 3] == 255


@pytest.mark.parametrize("channels", [0, 2], ids=["no channel axis", "two channels"])
def test_a_mask_needs_exactly_one_channel(source: Path, tmp_path: Path, channels: int) -> None:
    mask = mask_of(source)
    mask = torch.cat([mask, mask]) if channels else mask[0]
    with pytest.raises(ValueError, match=r"mask has shape \(.*\), expected one channel \(1, i, j, k\)"):
        SaveMaskd("pred", tmp_path / "out")({"pred": mask})


def test_a_mask_that_is_not_back_on_its_grid_is_refused(source: Path, tmp_path: Path) -> None:
    mask = mask_of(source)
    mask.affine[0, 3] += 0.5
    with pytest.raises(ValueError, match=r"mask is 0\.500 mm off the file's grid; invert the spatial transforms first"):
        SaveMaskd("pred", tmp_path / "out")({"pred": mask})
    assert not (tmp_path / "out").exists()


def test_a_mask_with_another_shape_is_refused(source: Path, tmp_path: Path) -> None:
    mask = mask_of(source)[:, :, :, :5]
    with pytest.raises(ValueError, match=r"grid is \(5, 6, 7\), but the result has shape \(5, 6, 5\)"):
        SaveMaskd("pred", tmp_path / "out")({"pred": mask})


def test_a_mask_without_a_source_file_is_refused(tmp_path: Path) -> None:
    for mask in (torch.zeros(1, 2, 2, 2), MetaTensor(torch.zeros(1, 2, 2, 2))):
        with pytest.raises(ValueError, match="mask was loaded from None, expected a NIfTI file"):
            SaveMaskd("pred", tmp_path)({"pred": mask})
    other = MetaTensor(torch.zeros(1, 2, 2, 2), meta={"filename_or_obj": "scan.mha"})
    with pytest.raises(ValueError, match=r"loaded from 'scan\.mha', expected a NIfTI file"):
        SaveMaskd("pred", tmp_path)({"pred": other})


def test_a_missing_key_raises_unless_it_may_be_missing(source: Path, tmp_path: Path) -> None:
    with pytest.raises(KeyError, match="pred"):
        SaveMaskd("pred", tmp_path / "out")({"image": 1})
    assert SaveMaskd("pred", tmp_path / "out", allow_missing_keys=True)({"image": 1}) == {"image": 1}


MASK = (np.arange(24).reshape(1, 2, 3, 4) % 3 == 0).astype(np.uint8)


class TestSaveMask(TransformMenu):
    """The menu; the file that the menu's MetaTensors name lies in the working folder."""

    case = MenuCase(
        array=lambda: SaveMask("out", overwrite=True),
        dictionary=lambda: SaveMaskd("image", "out", overwrite=True),
        data={"image": MASK},
        expected=MASK,
        dtype=torch.uint8,
        containers=("metatensor",),
        errors=(
            (lambda: SaveMask("out")(torch.from_numpy(MASK)), "mask was loaded from None, expected a NIfTI file"),
            (lambda: SaveMask("out")(as_metatensor(MASK[0])), r"mask has shape \(2, 3, 4\), expected one channel"),
            (lambda: SaveMask("out")(as_metatensor(MASK * 0.5)), "mask holds values other than whole numbers"),
        ),
    )

    @pytest.fixture(autouse=True)
    def folder(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(tmp_path)
        write_nifti("case.nii.gz", np.zeros((2, 3, 4), np.int16), AFFINE.numpy())
