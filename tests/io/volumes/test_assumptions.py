"""What a user states takes the place of what a header leaves open, is named, and overrules nothing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from medseg.geometry import flip_lps_ras
from medseg.io.bounded.errors import DataError
from medseg.io.results.seg_nrrd import read_seg_nrrd, write_seg_nrrd
from medseg.io.volumes.assumptions import ImageAssumptions
from medseg.io.volumes.image import read_image, read_image_info
from medseg.io.volumes.nifti import read_nifti, write_nifti
from tests.io._image_files import oblique_affine, voxels, write_nrrd_text
from tests.io.volumes.test_nifti_guards import changed

LPS, RAS = ImageAssumptions(space="LPS"), ImageAssumptions(space="RAS")
UNSIGNED = ImageAssumptions(ignore_pixdim_sign=True)
TURNED = {"space_directions": "(0,2,0) (0,0,-3) (4,0,0)", "space_origin": "(10,20,30)"}
TURNED_AFFINE = np.array([[0, 0, 4, 10], [2, 0, 0, 20], [0, -3, 0, 30], [0, 0, 0, 1.0]])
NO_DIRECTIONS = {"space": None, "space_directions": None, "space_origin": None, "kinds": None}


@pytest.mark.parametrize("space", [None, "scanner-xyz", "3D-right-handed"])
def test_directions_without_an_anatomical_frame_get_the_stated_one(tmp_path: Path, space: str | None) -> None:
    path = write_nrrd_text(tmp_path / "a.nrrd", **TURNED, space=space)
    with pytest.raises(DataError, match=r"is known, state it with --assume-space LPS or --assume-space RAS"):
        read_image(path)
    for stated, affine in ((RAS, TURNED_AFFINE), (LPS, flip_lps_ras(TURNED_AFFINE))):
        image = read_image(path, assume=stated)
        np.testing.assert_array_equal(image.affine_ras, affine)
        np.testing.assert_array_equal(image.array, voxels())
        assert image.info.assumed == image.info.warnings[:1]
        assert f"; {stated.space} as stated (--assume-space)" in image.info.assumed[0]


def test_spacings_without_directions_run_along_the_stated_axes(tmp_path: Path) -> None:
    path = write_nrrd_text(tmp_path / "a.nrrd", **NO_DIRECTIONS, spacings="1 2 0.625")
    image = read_image(path, assume=LPS)
    np.testing.assert_array_equal(image.affine_ras, np.diag([-1, -2, 0.625, 1.0]))
    assert image.info.assumed == (
        "the header names no space and no directions; axes run along LPS as stated (--assume-space), from 0 mm on",
    )
    np.testing.assert_array_equal(read_image(path, assume=RAS).affine_ras, np.diag([1, 2, 0.625, 1.0]))


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({**NO_DIRECTIONS}, "no spacings"),
        ({**NO_DIRECTIONS, "spacings": "1 2"}, "spacings are given for 2 axes, expected 3"),
        ({**NO_DIRECTIONS, "spacings": "1 2 nan"}, "not a finite number|expected"),
    ],
)
def test_a_spacing_that_is_not_there_is_not_made_up(tmp_path: Path, fields: dict[str, str | None], says: str) -> None:
    with pytest.raises(DataError, match=says):
        read_image(write_nrrd_text(tmp_path / "a.nrrd", **fields), assume=LPS)


def test_a_frame_that_is_stated_in_the_file_is_not_overruled(tmp_path: Path) -> None:
    path = write_nrrd_text(tmp_path / "a.nrrd", **TURNED)
    info = read_image_info(path, assume=ImageAssumptions("LPS", True))
    np.testing.assert_array_equal(info.affine_ras, TURNED_AFFINE)
    assert info.assumed == ()
    nifti = write_nifti(tmp_path / "a.nii", voxels(), oblique_affine())
    found = read_nifti(nifti, assume=ImageAssumptions("LPS", True))
    np.testing.assert_allclose(found.affine_ras, oblique_affine(), atol=1e-5)
    assert found.assumed == ()


def test_a_segmentation_without_a_frame_is_read_as_stated(tmp_path: Path) -> None:
    path = write_seg_nrrd(tmp_path / "a.seg.nrrd", voxels()[None] > 0, ["liver"], oblique_affine())
    path.write_bytes(path.read_bytes().replace(b"space: left-posterior-superior\n", b"", 1))
    with pytest.raises(DataError, match="--assume-space"):
        read_seg_nrrd(path)
    np.testing.assert_allclose(read_seg_nrrd(path, assume=LPS).affine_ras, oblique_affine(), atol=1e-12)


QFAC = float(np.sign(np.linalg.det(oblique_affine())))
PIXDIM = (QFAC, 0.8, -2.5, 1.3, 0.0, 0.0, 0.0, 0.0)


@pytest.mark.parametrize("codes", [(0, 1), (1, 1)], ids=["sform", "both"])
def test_negative_spacings_under_a_sform_leave_its_geometry(tmp_path: Path, codes: tuple[int, int]) -> None:
    path = changed(tmp_path / "a.nii", pixdim=PIXDIM, codes=codes)
    with pytest.raises(DataError, match=r"pixdim \(spacing\) is 0\.8, -2\.5, 1\.3, .*--ignore-pixdim-sign"):
        read_image(path)
    image = read_image(path, assume=UNSIGNED)
    np.testing.assert_allclose(image.affine_ras, oblique_affine(), atol=1e-5)
    assert image.info.warnings == image.info.assumed
    assert "pixdim is 0.8, -2.5, 1.3 mm: signs ignored as stated" in image.info.assumed[0]
    assert "the sform gives the geometry" in image.info.assumed[0]


def test_negative_spacings_under_a_qform_alone_count_by_their_size(tmp_path: Path) -> None:
    path = changed(tmp_path / "a.nii", pixdim=PIXDIM, codes=(1, 0))
    plain = changed(tmp_path / "b.nii", codes=(1, 0))
    found = read_nifti(path, assume=UNSIGNED)
    np.testing.assert_allclose(found.affine_ras, read_nifti(plain).affine_ras, rtol=0, atol=1e-6)
    assert "their absolute values are used" in found.assumed[0]


def test_a_file_without_orientation_runs_along_the_stated_axes(tmp_path: Path) -> None:
    path = changed(tmp_path / "a.nii", codes=(0, 0))
    with pytest.raises(DataError, match=r"orientation is unknown.*--assume-space LPS"):
        read_image(path)
    image = read_image(path, assume=LPS)
    np.testing.assert_allclose(image.affine_ras, np.diag([-0.8, -2.5, 1.3, 1]), atol=1e-6)
    assert image.info.assumed == (
        "sform and qform codes are both 0: axes run along LPS as stated (--assume-space), from 0 mm on",
    )


@pytest.mark.parametrize("pixdim", [(1.0, 0.0, 2.5, 1.3, 0, 0, 0, 0), (1.0, float("nan"), 2.5, 1.3, 0, 0, 0, 0)])
def test_spacings_that_are_no_length_stay_refused(tmp_path: Path, pixdim: tuple[float, ...]) -> None:
    with pytest.raises(DataError, match="expected three positive numbers of mm; correct the header"):
        read_image(changed(tmp_path / "a.nii", pixdim=pixdim), assume=ImageAssumptions("LPS", True))


def test_another_frame_cannot_be_stated() -> None:
    with pytest.raises(DataError, match="space is 'LAS', expected one of LPS, RAS"):
        ImageAssumptions(space="LAS")
