"""Cases from NIfTI files and DICOM folders; unusable ones are refused with the right exit code."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from medseg.geometry import make_affine
from medseg.inference.case import read_case
from medseg.inference.errors import ConfigurationError, IntegrityError
from medseg.inference.input_rules import InputRules
from medseg.io.ct.scan import list_series
from medseg.io.volumes.nifti import read_nifti, write_nifti
from tests.io._dicom_files import positions, write_series

AFFINE = make_affine((1.0, 2.0, 3.0), (5.0, 6.0, 7.0), "LAS")


def ct(shape: tuple[int, int, int] = (5, 6, 7)) -> np.ndarray:
    return np.random.default_rng(0).integers(-1000, 400, shape, dtype=np.int16)


def test_a_nifti_case_keeps_type_values_and_geometry(tmp_path: Path) -> None:
    path = write_nifti(tmp_path / "pat.one.nii.gz", ct(), AFFINE)
    case = read_case(path)
    assert (case.name, case.kind, case.array.dtype, case.warnings) == ("pat.one", "nifti", np.int16, ())
    np.testing.assert_array_equal(case.array, ct())
    np.testing.assert_allclose(case.affine_ras, AFFINE)
    assert case.as_nifti(tmp_path) == path


def test_facts_for_reports_carry_no_name_and_no_path(tmp_path: Path) -> None:
    facts = read_case(write_nifti(tmp_path / "MUSTERMANN.nii", ct(), AFFINE)).facts()
    assert facts["orientation"] == "LAS"
    assert facts["spacing_mm"] == [1.0, 2.0, 3.0]
    assert "MUSTERMANN" not in repr(facts)
    assert str(tmp_path) not in repr(facts)


def test_values_that_are_not_hounsfield_units_are_pointed_out(tmp_path: Path) -> None:
    path = write_nifti(tmp_path / "a.nii", ct().clip(0, 255).astype(np.uint8), AFFINE)
    case = read_case(path)
    assert "these are probably 8-bit grey values" in case.warnings[0]
    assert case.verdict is not None and not case.verdict.plausible
    with pytest.raises(IntegrityError, match=r"a\.nii: values run from 0 to 255, .* 8-bit grey values"):
        read_case(path, rules=InputRules(strict=True))


def test_voxels_that_are_not_finite_are_refused_or_filled_and_facts_say_so(tmp_path: Path) -> None:
    array = ct().astype(np.float32)
    array[0, 0, 1:4] = np.nan
    path = write_nifti(tmp_path / "a.nii", array, AFFINE)
    with pytest.raises(IntegrityError, match=r"a\.nii: 3 of 210 voxels are not finite .* first at index \[0, 0, 1\]"):
        read_case(path)
    case = read_case(path, rules=InputRules("fill", -1000.0))
    assert case.warnings[0].startswith("3 of 210 voxels are not finite")
    assert case.facts()["nonfinite"] == {"voxels": 3, "first": [0, 0, 1], "filled_with": -1000.0}
    np.testing.assert_array_equal(case.array, np.where(np.isnan(array), -1000, array))
    assert case.file is None and case.as_nifti(tmp_path / "scratch") != path
    np.testing.assert_array_equal(read_nifti(tmp_path / "scratch" / "image.nii").array, case.array)


def test_an_array_of_the_caller_is_not_changed() -> None:
    array = ct().astype(np.float32)
    array[1, 1, 1] = np.inf
    case = read_case(array, affine_ras=AFFINE, rules=InputRules("fill"))
    assert np.isinf(array[1, 1, 1]) and case.array[1, 1, 1] == -1024


@pytest.mark.parametrize("rules", [InputRules("drop"), InputRules("fill", float("nan"))])
def test_rules_that_are_wrong_in_themselves_are_usage_errors(rules: InputRules) -> None:
    with pytest.raises(ConfigurationError, match=r"on_nonfinite is 'drop'|fill_value is nan"):
        read_case(ct(), affine_ras=AFFINE, rules=rules)


def test_wrong_arguments_are_usage_errors(tmp_path: Path) -> None:
    (tmp_path / "scan.png").write_text("x")
    path = write_nifti(tmp_path / "a.nii", ct(), AFFINE)
    for arguments in ((tmp_path / "none.nii",), (tmp_path / "scan.png",), (path, "1.2.3")):
        with pytest.raises(ConfigurationError):
            read_case(*arguments)


def test_unusable_data_are_integrity_errors(tmp_path: Path) -> None:
    (tmp_path / "cut.nii.gz").write_bytes(b"\x1f\x8b not gzip")
    (tmp_path / "empty_folder").mkdir()
    flat = write_nifti(tmp_path / "flat.nii", ct((5, 6, 1)), AFFINE)
    nothing = write_nifti(tmp_path / "nan.nii", np.full((3, 3, 3), np.nan, np.float32), AFFINE)
    for path in (tmp_path / "cut.nii.gz", tmp_path / "empty_folder", flat, nothing):
        with pytest.raises(IntegrityError) as caught:
            read_case(path)
        assert str(path) in str(caught.value)
        assert "\n" not in str(caught.value)


def test_one_of_several_series_is_chosen_by_its_uid_or_its_entry(tmp_path: Path) -> None:
    for name, uid, count in (("a", "1.2.3.4", 3), ("b", "1.2.3.5", 4)):
        write_series(tmp_path / name, positions(count), SeriesInstanceUID=uid)
    listing = list_series(tmp_path)
    for case in (tmp_path, listing):
        assert read_case(case, "1.2.3.5").array.shape[2] == 4
        with pytest.raises(IntegrityError, match="2 series in one folder"):
            read_case(case)
    second = next(entry for entry in listing.series if entry.uid == "1.2.3.5")
    chosen = read_case(second)
    assert (chosen.array.shape[2], chosen.source) == (4, tmp_path / "b")
    with pytest.raises(ConfigurationError, match="the case is one series"):
        read_case(second, "1.2.3.4")


def test_only_an_array_gets_its_affine_from_the_caller(tmp_path: Path) -> None:
    path = write_nifti(tmp_path / "a.nii", ct(), AFFINE)
    with pytest.raises(ConfigurationError, match="affine_ras: the case is not an array"):
        read_case(path, affine_ras=AFFINE)


def test_a_dicom_series_becomes_a_nifti_file_with_the_same_grid(tmp_path: Path, real_data) -> None:
    case = read_case(real_data("abdomen_totalseg/example_ct_dicom"))
    assert (case.kind, case.array.shape) == ("dicom", (512, 512, 20))
    written = read_nifti(case.as_nifti(tmp_path))
    np.testing.assert_array_equal(written.array, case.array)
    np.testing.assert_allclose(written.affine_ras, case.affine_ras, atol=1e-4)
