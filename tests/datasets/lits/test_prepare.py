"""Whole synthetic cases: repaired with a record, or refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from medseg.datasets.lits import find_cases, prepare_case
from medseg.datasets.lits.prepare import PreparedCase
from medseg.geometry import apply_affine
from medseg.io.bounded.errors import DataError
from tests.datasets.lits._synthetic import IDENTITY, as_sampled, phantom, write, write_flipped_label, write_pair


def prepare(folder: Path, accept_unverified: bool = False) -> PreparedCase:
    (case,) = find_cases(folder)
    return prepare_case(case, accept_unverified)


@pytest.fixture(scope="module")
def placeholder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """volume-45 with its true number of slices and size, identity headers; the label's is another one's."""
    folder = tmp_path_factory.mktemp("volume-45")
    image, label = as_sampled(phantom(), (0.74, 0.74, 2.5), 74)
    write(folder / "volume-45.nii", image, IDENTITY)
    write(folder / "segmentation-45.nii", label, IDENTITY)
    return folder


@pytest.mark.trap("4.4-01")
def test_a_placeholder_is_refused_unless_unverified_rows_are_accepted(placeholder: Path) -> None:
    with pytest.raises(DataError, match=r"volume-45: the header is a placeholder .* add --accept-unverified"):
        prepare(placeholder)


@pytest.mark.trap("4.4-01")
@pytest.mark.trap("4.4-02")
def test_an_accepted_repair_gives_the_liver_its_size_and_side_and_says_what_was_changed(placeholder: Path) -> None:
    case = prepare(placeholder, accept_unverified=True)
    assert case.record["spacing_mm"] == [0.74, 0.74, 2.5]
    assert case.record["orientation"] == "LAS"
    # The phantom's liver, but for the slices beyond the table's 74 (185 mm).
    assert case.record["liver_litres"] == pytest.approx(phantom().label.astype(bool).sum() * 7.5**3 * 1e-6, rel=0.03)
    assert case.record["body"]["liver_to_right_mm"] > 30
    assert case.record["source_affine_ras"] == IDENTITY.tolist()
    assert [(change["rule"], change["verified"]) for change in case.record["changes"]] == [
        ("set_spacing", False),
        ("reverse_first_axis_of_header", False),
    ]
    assert len(case.warnings) == 1


@pytest.mark.trap("4.4-01")
def test_a_repair_that_gives_no_liver_s_size_is_refused(placeholder: Path, tmp_path: Path) -> None:
    image, label = as_sampled(phantom(), (0.74, 0.74, 2.5), 74)
    label = np.where(np.arange(74) < 20, label, 0).astype(np.uint8)
    write(tmp_path / "volume-45.nii", image, IDENTITY)
    write(tmp_path / "segmentation-45.nii", label, IDENTITY)
    with pytest.raises(DataError, match=r"the liver measures 0\.\d\d litres, expected 0.7 to 3.5"):
        prepare(tmp_path, accept_unverified=True)


@pytest.mark.trap("4.3-22")
def test_further_axes_of_length_one_are_dropped_and_recorded(tmp_path: Path) -> None:
    source = phantom()
    write(tmp_path / "volume-1.nii", source.image[..., None], source.affine_ras)
    write(tmp_path / "segmentation-1.nii", source.label[..., None], source.affine_ras)
    case = prepare(tmp_path)
    np.testing.assert_array_equal(case.image, source.image)
    np.testing.assert_array_equal(case.label, source.label)
    assert case.record["squeezed_from"] == [*source.image.shape, 1]
    assert case.record["label_placement"]["squeezed_from"] == [*source.image.shape, 1]


@pytest.mark.trap("4.4-03")
def test_label_48_to_51_is_laid_on_by_index_and_others_are_not(tmp_path: Path) -> None:
    source = write_flipped_label(tmp_path / "known", 50)
    case = prepare(tmp_path / "known")
    np.testing.assert_array_equal(case.label, source.label)
    assert [change["rule"] for change in case.record["changes"]] == ["index_aligned"]
    assert case.record["label_placement"]["index_fraction"] > 0.9
    write_flipped_label(tmp_path / "unknown", 60)
    with pytest.raises(DataError, match="volume-60: label and image lie differently"):
        prepare(tmp_path / "unknown")


@pytest.mark.trap("4.4-05")
def test_a_volume_stacked_from_front_to_back_is_re_ordered_without_moving_a_point(tmp_path: Path) -> None:
    source = phantom(0, "RSA")
    write(tmp_path / "test-volume-59.nii", source.image, source.affine_ras)
    case = prepare(tmp_path)
    assert case.record["orientation"] == "RAS"
    assert case.record["reordering"] == {"axes": [0, 2, 1], "flips": [False, False, False]}
    assert case.image.shape == tuple(source.image.shape[axis] for axis in (0, 2, 1))
    for voxel in [(3, 5, 7), (10, 2, 20), (30, 31, 1)]:
        i, j, k = voxel
        assert case.image[i, k, j] == source.image[voxel]
        here, there = apply_affine(case.affine_ras, (i, k, j)), apply_affine(source.affine_ras, voxel)
        np.testing.assert_allclose(here, there, atol=1e-4)  # the header holds float32
    assert "take results back with data_prep.lits_restore" in case.warnings[0]


@pytest.mark.trap("4.4-04")
@pytest.mark.parametrize("orientation", ["LPS", "RAS", "LAI"])
def test_signs_that_vary_from_case_to_case_are_kept_and_cause_no_warning(tmp_path: Path, orientation: str) -> None:
    source = write_pair(tmp_path, 5, orientation=orientation)
    case = prepare(tmp_path)
    assert case.record["orientation"] == orientation
    np.testing.assert_array_equal(case.image, source.image)
    assert case.warnings == []


@pytest.mark.trap("4.4-08")
def test_cases_known_to_hold_no_tumour_are_noted_and_others_are_warned_about(tmp_path: Path) -> None:
    write_pair(tmp_path / "a", 105, n_tumours=0)
    known = prepare(tmp_path / "a")
    assert known.record["notes"] == ["volume-105: holds no tumour, as the table of known facts says"]
    assert known.warnings == []
    write_pair(tmp_path / "b", 104, n_tumours=0)
    assert prepare(tmp_path / "b").warnings == ["volume-104: holds no tumour"]
    write_pair(tmp_path / "c", 106)
    assert "but the table says none" in prepare(tmp_path / "c").warnings[0]


@pytest.mark.trap("4.4-09")
def test_tumours_of_one_voxel_and_outside_the_liver_are_reported_and_kept(tmp_path: Path) -> None:
    source = phantom()
    label = np.where(source.label > 0, 1, 0).astype(np.uint8)
    inside, outside = tuple(np.argwhere(label)[500]), (1, 1, 1)
    label[inside] = label[outside] = 2
    write(tmp_path / "volume-7.nii", source.image, source.affine_ras)
    write(tmp_path / "segmentation-7.nii", label, source.affine_ras)
    case = prepare(tmp_path)
    assert case.record["tumours"]["number"] == 2
    assert len(case.record["tumours"]["one_voxel_ras_mm"]) == 2
    assert case.record["notes"] == ["volume-7: 2 tumour(s) of a single voxel"]
    assert "1 of 2 tumours (1 voxels) do not touch the liver" in case.warnings[0]
    np.testing.assert_array_equal(case.label, label)


@pytest.mark.trap("4.4-10")
def test_the_outlier_is_kept_and_noted(tmp_path: Path) -> None:
    write_pair(tmp_path, 15)
    case = prepare(tmp_path)
    assert "marked as an outlier" in case.record["notes"][0]
    assert case.warnings == []


def test_floats_that_are_whole_become_int16_and_others_stay(tmp_path: Path) -> None:
    source = phantom()
    for number, shift in ((1, 0.0), (2, 0.25)):
        folder = tmp_path / str(number)
        write(folder / f"volume-{number}.nii", source.image.astype(np.float32) + shift, source.affine_ras)
        write(folder / f"segmentation-{number}.nii", source.label.astype(np.float32), source.affine_ras)
    whole, fractional = prepare(tmp_path / "1"), prepare(tmp_path / "2")
    assert (whole.image.dtype, fractional.image.dtype) == (np.int16, np.float32)
    np.testing.assert_array_equal(whole.image, source.image)
    assert whole.label is not None
    assert whole.label.dtype == np.uint8


def test_other_label_values_and_values_that_are_not_finite_are_refused(tmp_path: Path) -> None:
    source = phantom()
    write(tmp_path / "a" / "volume-1.nii", source.image, source.affine_ras)
    write(tmp_path / "a" / "segmentation-1.nii", source.label * 3, source.affine_ras)
    with pytest.raises(DataError, match=r"segmentation-1.nii: label values \[3, 6\] found, expected 0 background"):
        prepare(tmp_path / "a")
    broken = source.image.astype(np.float32)
    broken[0, 0, 0] = np.nan
    write(tmp_path / "b" / "test-volume-1.nii", broken, source.affine_ras)
    with pytest.raises(DataError, match=r"test-volume-1.nii: 1 of .* not finite .* first at index \[0, 0, 0\]"):
        prepare(tmp_path / "b")
    label = source.label.astype(np.float32)
    label[1, 2, 3] = np.inf
    write(tmp_path / "c" / "volume-1.nii", source.image, source.affine_ras)
    write(tmp_path / "c" / "segmentation-1.nii", label, source.affine_ras)
    with pytest.raises(DataError, match=r"segmentation-1.nii: 1 of .* not finite .* first at index \[1, 2, 3\]"):
        prepare(tmp_path / "c")
    broken[0, 0, 0] = 1e6
    write(tmp_path / "b" / "test-volume-1.nii", broken, source.affine_ras)
    with pytest.raises(DataError, match=r"values run from .* to 1e\+06, expected HU within int16"):
        prepare(tmp_path / "b")


def test_a_liver_of_odd_size_or_odd_tissue_is_warned_about(tmp_path: Path) -> None:
    source = phantom()
    shrunk = source.affine_ras.copy()
    shrunk[:3, :3] *= 0.5
    write(tmp_path / "volume-1.nii", source.image - 200, shrunk)
    write(tmp_path / "segmentation-1.nii", source.label, shrunk)
    lines = " ".join(prepare(tmp_path).warnings)
    assert "litres, expected 0.7 to 3.5; is the spacing right?" in lines
    assert "of the liver has 40 to 180 HU" in lines
