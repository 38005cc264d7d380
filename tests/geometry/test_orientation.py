"""Orientation letters in the "to" and the "from" convention, against nibabel and SimpleITK."""

from __future__ import annotations

from itertools import permutations, product
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from medseg.geometry import codes_to_direction, direction_to_codes, make_affine, orientation_codes
from medseg.geometry.orientation import switch_code_convention

ALL_CODES = ["".join(letters) for axes in permutations(("LR", "PA", "IS")) for letters in product(*axes)]


def test_the_same_axes_have_opposite_letters_in_the_two_conventions() -> None:
    assert switch_code_convention("RAI") == "LPS"
    assert switch_code_convention("LSP") == "RIA"


@pytest.mark.parametrize("codes", ALL_CODES)
def test_codes_and_directions_undo_each_other_in_both_conventions(codes: str) -> None:
    for convention in ("to", "from"):
        assert "".join(direction_to_codes(codes_to_direction(codes, convention), convention)) == codes
    np.testing.assert_array_equal(codes_to_direction(codes, "from"), -codes_to_direction(codes, "to"))
    assert switch_code_convention(switch_code_convention(codes)) == codes


@pytest.mark.parametrize("codes", ["RAS", "LPS", "PIR"])
def test_letters_of_the_to_convention_are_nibabels(codes: str) -> None:
    affine = make_affine((1, 2, 3), direction=codes)
    assert orientation_codes(affine) == nib.aff2axcodes(affine)
    assert "".join(orientation_codes(affine, "from")) == switch_code_convention(codes)


@pytest.mark.parametrize("codes", ["LPS", "RPS", "LPI", "PSR"])
def test_letters_of_the_from_convention_are_what_itk_writes_into_a_metaimage(tmp_path: Path, codes: str) -> None:
    sitk = pytest.importorskip("SimpleITK")
    image = sitk.Image(2, 3, 4, sitk.sitkUInt8)
    lps = np.diag([-1.0, -1.0, 1.0]) @ codes_to_direction(codes)
    image.SetDirection(lps.ravel().tolist())
    sitk.WriteImage(image, str(tmp_path / "a.mhd"))
    line = next(s for s in (tmp_path / "a.mhd").read_text().splitlines() if s.startswith("AnatomicalOrientation"))
    assert line.split("=")[1].strip() == "".join(direction_to_codes(codes_to_direction(codes), "from"))


def test_bad_letters_and_conventions_are_named() -> None:
    with pytest.raises(ValueError, match="orientation 'RLS' does not name three different axes"):
        switch_code_convention("RLS")
    with pytest.raises(ValueError, match="convention is 'into', expected 'to'"):
        direction_to_codes(np.eye(3), "into")
    with pytest.raises(ValueError, match="convention is 'into', expected 'to'"):
        codes_to_direction("RAS", "into")
