"""Sides of the body are checked, warned about, and never changed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from medseg.datasets.lits import check_body
from medseg.geometry import flip_lps_ras
from medseg.io.volumes.nifti import read_nifti
from tests.datasets.lits._synthetic import phantom


@pytest.mark.parametrize("orientation", ["LAS", "RAS", "LPS", "PIR"])
def test_a_right_header_gives_no_warning_in_any_orientation(orientation: str) -> None:
    case = phantom(1, orientation)
    found = check_body("volume-1", case.image, case.affine_ras, case.label > 0)
    assert found.warnings == ()
    assert found.liver_to_right_mm is not None
    assert found.liver_to_right_mm == pytest.approx(59.0, abs=5.0)
    assert found.bone_to_back_mm is not None
    assert found.bone_to_back_mm > 15.0


@pytest.mark.trap("4.4-02")
def test_a_mirrored_header_is_told_by_the_liver_and_nothing_is_flipped() -> None:
    case = phantom()
    header = case.affine_ras.copy()
    header[0] *= -1
    before = case.image.copy()
    found = check_body("volume-1", case.image, header, case.label > 0)
    assert len(found.warnings) == 1
    assert "mm to the left of the body's centre" in found.warnings[0]
    assert "nothing was flipped" in found.warnings[0]
    np.testing.assert_array_equal(case.image, before)


@pytest.mark.trap("4.4-04")
def test_front_and_back_exchanged_is_told_by_the_bones() -> None:
    case = phantom()
    header = case.affine_ras.copy()
    header[1] *= -1
    found = check_body("volume-1", case.image, header, case.label > 0)
    assert len(found.warnings) == 1
    assert "mm in front of the body's centre, expected behind it" in found.warnings[0]


@pytest.mark.trap("4.4-04")
def test_a_half_turn_is_told_by_both() -> None:
    case = phantom()
    assert len(check_body("volume-1", case.image, flip_lps_ras(case.affine_ras), case.label > 0).warnings) == 2


def test_what_cannot_be_checked_is_said() -> None:
    case = phantom()
    air = np.full_like(case.image, -1000)
    assert "no body found" in check_body("a", air, case.affine_ras, case.label > 0).warnings[0]
    soft = np.minimum(case.image, 200)
    assert "front and back were not checked" in check_body("a", soft, case.affine_ras, case.label > 0).warnings[0]
    nothing = np.zeros(case.label.shape, bool)
    assert "no liver in the label" in check_body("a", case.image, case.affine_ras, nothing).warnings[0]
    assert check_body("a", case.image, case.affine_ras, None).liver_to_right_mm is None


def test_a_real_abdomen_lies_as_its_header_says(real_data: Callable[[str], Path]) -> None:
    folder = real_data("abdomen_totalseg")
    image = read_nifti(folder / "example_ct.nii.gz")
    liver = read_nifti(folder / "example_seg_fast_force_split.nii.gz").array == 5
    assert check_body("real", image.array, image.affine_ras, liver).warnings == ()
