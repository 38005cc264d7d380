from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
from scipy.ndimage import center_of_mass, map_coordinates

from medseg.geometry import apply_affine, spacing_of
from medseg.geometry.decompose import decompose
from medseg.io.bounded.errors import DataError, SeriesChoiceError, SeriesGeometryError
from medseg.io.ct.policy import GeometryPolicy
from medseg.io.ct.series import CtSeries, read_parts, read_series
from tests.io._dicom_files import positions, stored_pixels, write_series
from tests.io._dicom_phantom import CENTRE, SPACING, largest_bend, truth, write_phantom

SHEAR, FILL = GeometryPolicy(tilt="shear"), GeometryPolicy(gap="resample")
SPLIT, KEEP = GeometryPolicy(gap="split"), GeometryPolicy(duplicate="keep-lowest")


def _refusal(folder: Path, policy: GeometryPolicy, kind: type[DataError] = SeriesGeometryError) -> str:
    with pytest.raises(kind) as caught:
        read_series(folder, policy=policy)
    text = str(caught.value)
    assert "\n" not in text
    return text


def _error_hu(series: CtSeries) -> np.ndarray:
    """Absolute difference from the analytic truth; NaN where padding takes part."""
    ras = apply_affine(series.affine_ras, np.moveaxis(np.indices(series.array.shape), 0, -1))
    error = np.abs(series.array - truth(ras * [-1, -1, 1]))
    inside = np.ones(series.array.shape, bool)
    air = series.array < -100  # truth is never below 0: these voxels hold some padding
    for axis in (0, 1):
        air = air | np.roll(air, 1, axis) | np.roll(air, -1, axis)
    inside &= ~air
    return np.where(inside, error, np.nan)


class TestTilt:
    @pytest.mark.parametrize("degrees", [2.0, -12.0, 18.5, 30.0])
    def test_the_upright_volume_equals_the_truth_within_linear_interpolation(
        self, tmp_path: Path, degrees: float
    ) -> None:
        write_phantom(tmp_path, [2.0 * k for k in range(30)], degrees)
        series = read_series(tmp_path, policy=SHEAR)
        bound = SPACING[0] ** 2 / 8 * largest_bend() + 1.0  # pixels are rounded twice
        assert np.nanmax(_error_hu(series)) <= bound
        assert np.isfinite(_error_hu(series)).mean() > 0.5
        assert decompose(series.affine_ras).shear_deg < 1e-3
        assert spacing_of(series.affine_ras)[2] == pytest.approx(2.0 * np.cos(np.radians(degrees)))

    def test_the_body_stays_where_it_was(self, tmp_path: Path) -> None:
        write_phantom(tmp_path, [2.0 * k for k in range(30)], 15.0)
        series = read_series(tmp_path, policy=SHEAR)
        centre = apply_affine(series.affine_ras, center_of_mass(series.array > 600)) * [-1, -1, 1]
        assert centre == pytest.approx(CENTRE, abs=0.1)

    def test_no_pixel_is_lost_and_the_new_ones_are_air(self, tmp_path: Path) -> None:
        write_phantom(tmp_path, [2.0 * k for k in range(30)], 20.0)
        series = read_series(tmp_path, policy=SHEAR)
        added = series.array.shape[1] - 40
        assert series.repairs[0]["rows_added"] == added == np.ceil(29 * 2.0 * np.sin(np.radians(20.0)) / 0.9)
        assert series.repairs[0]["columns_added"] == 0
        assert series.repairs[0]["degrees"] == pytest.approx(20.0, abs=1e-3)
        assert series.repairs[0]["mm"] == pytest.approx(29 * 2.0 * np.sin(np.radians(20.0)), abs=1e-3)
        filled = (series.array > -1024).sum(axis=1)
        assert set(np.unique(filled)) <= {40, 41}, "the slice's 40 rows, or 41 where each lies between two"
        assert series.array.min() == -1024

    def test_every_slice_still_has_its_one_source(self, tmp_path: Path) -> None:
        write_phantom(tmp_path, [2.0 * k for k in range(5)], 10.0)
        series = read_series(tmp_path, policy=SHEAR)
        assert series.sop_instance_uids == tuple(f"1.2.3.{k + 1}" for k in range(5))
        assert series.source_sop_instance_uids == tuple((uid,) for uid in series.sop_instance_uids)
        assert any(line.startswith("repaired (shear): gantry tilt of 10.00 degrees") for line in series.warnings)

    def test_an_upright_series_is_left_as_it_is(self, tmp_path: Path) -> None:
        write_phantom(tmp_path, [2.0 * k for k in range(5)])
        plain, same = (
            read_series(tmp_path),
            read_series(tmp_path, policy=GeometryPolicy("shear", "resample", "keep-lowest")),
        )
        assert np.array_equal(plain.array, same.array)
        assert np.array_equal(plain.affine_ras, same.affine_ras)
        assert plain.repairs == same.repairs == ()

    def test_no_gantry_tilts_by_sixty_degrees(self, tmp_path: Path) -> None:
        write_phantom(tmp_path, [2.0 * k for k in range(5)], 60.0)
        assert "expected at most 45 degrees" in _refusal(tmp_path, SHEAR)


class TestGaps:
    def test_one_missing_slice_is_blended_and_the_others_stay_exact(self, tmp_path: Path) -> None:
        paths = write_phantom(tmp_path, [2.0 * k for k in range(30)])
        whole = read_series(tmp_path)
        paths[14].unlink()
        series = read_series(tmp_path, policy=FILL)
        assert series.array.shape == whole.array.shape
        assert series.affine_ras == pytest.approx(whole.affine_ras)
        assert np.array_equal(np.delete(series.array, 14, 2), np.delete(whole.array, 14, 2))
        bound = 4.0**2 / 8 * largest_bend() + 1.0
        assert np.abs(series.array[:, :, 14] - whole.array[:, :, 14].astype(float)).max() <= bound
        assert series.sop_instance_uids[14] == ""
        assert series.source_sop_instance_uids[14] == ("1.2.3.14", "1.2.3.16")
        assert series.source_sop_instance_uids[13] == ("1.2.3.14",)
        record = series.repairs[0]
        assert (record["rule"], record["count"], record["mm"], record["slices_after"]) == ("resample", 1, 4.0, 30)

    def test_varying_spacing_equals_the_truth_within_linear_interpolation(self, tmp_path: Path) -> None:
        z = np.concatenate([[0], np.cumsum([1.5] * 20 + [0.7] + [2.6] * 12)])
        write_phantom(tmp_path, z.tolist())
        series = read_series(tmp_path, policy=FILL)
        assert np.nanmax(_error_hu(series)) <= 2.6**2 / 8 * largest_bend() + 1.0
        assert np.array_equal(series.array[:, :, 0], read_parts(tmp_path, policy=SPLIT)[0].array[:, :, 0])
        assert series.positions_mm[-1] == pytest.approx(z[-1])

    def test_a_hole_wider_than_allowed_is_refused_with_the_option(self, tmp_path: Path) -> None:
        where = positions(10)
        write_series(tmp_path, where[:4] + where[7:])
        text = _refusal(tmp_path, FILL)
        assert "10.000 mm would need 3.0 invented slices, at most 1 is allowed" in text
        assert "--max-gap" in text
        series = read_series(tmp_path, policy=GeometryPolicy(gap="resample", max_gap=3))
        assert series.array.shape[2] == 10
        steps = np.diff(series.array[2, 1].astype(int))
        assert steps[3:7].tolist() == [25, 25, 25, 25]

    def test_unreadable_files_become_gaps_that_the_policy_fills(self, tmp_path: Path) -> None:
        paths = write_series(tmp_path, positions(6))
        paths[2].write_bytes(paths[2].read_bytes()[:-10])
        series = read_series(tmp_path, allow_partial=True, policy=FILL)
        assert series.array.shape[2] == 6
        assert [path for path, _ in series.left_out] == [paths[2]]
        assert series.source_sop_instance_uids[2] == (series.sop_instance_uids[1], series.sop_instance_uids[3])

    def test_splitting_keeps_each_even_stretch_untouched(self, tmp_path: Path) -> None:
        where = positions(12)
        paths = write_series(tmp_path, where[:5] + where[8:])
        first, second = read_parts(tmp_path, policy=SPLIT)
        assert (first.part, second.part) == (1, 2)
        assert first.files + second.files == tuple(paths)
        assert np.array_equal(first.array[:, :, 4], (stored_pixels(4) - 1024).T)
        assert np.array_equal(second.array[:, :, 0], (stored_pixels(5) - 1024).T)
        assert second.affine_ras[2, 3] == pytest.approx(where[8][2])
        assert second.repairs[0]["rule"] == "split"
        assert "splits into 2 even stretches" in _refusal(tmp_path, SPLIT, SeriesChoiceError)

    def test_a_slice_that_fits_no_stretch_is_named(self, tmp_path: Path) -> None:
        paths = write_series(tmp_path, [(0, 0, z) for z in (0.0, 2.5, 5.0, 40.0, 80.0, 82.5, 85.0)])
        parts = read_parts(tmp_path, policy=SPLIT)
        assert [part.array.shape[2] for part in parts] == [3, 3]
        assert all(paths[3] in dict(part.left_out) for part in parts)
        assert all(any(paths[3].name in line for line in part.warnings) for part in parts)

    def test_spacing_that_changes_can_have_a_rule_of_its_own(self, tmp_path: Path) -> None:
        write_series(tmp_path, [(0, 0, z) for z in (0.0, 2.5, 5.0, 6.2, 8.7)])
        assert "slice spacing varies" in _refusal(tmp_path, GeometryPolicy(gap="resample", variable="refuse"))
        assert read_series(tmp_path, policy=GeometryPolicy(variable="resample")).repairs

    def test_a_slice_beside_the_others_is_refused_under_every_policy(self, tmp_path: Path) -> None:
        write_series(tmp_path, [(3.0 * (k == 2), 0, 2.5 * k) for k in range(5)])
        for gap in ("resample", "split"):
            assert "straight line" in _refusal(tmp_path, GeometryPolicy("shear", gap, "keep-lowest"))


class TestDuplicates:
    def test_of_copies_the_lowest_instance_number_is_kept(self, tmp_path: Path) -> None:
        where = [*positions(4), positions(4)[2], positions(4)[1]]
        paths = write_series(tmp_path, where, shows=[0, 1, 2, 3, 2, 1])  # instance numbers descend
        series = read_series(tmp_path, policy=KEEP)
        assert series.files == (paths[0], paths[5], paths[4], paths[3])
        record = series.repairs[0]
        assert (record["rule"], record["count"], record["mm"]) == ("keep-lowest", 2, [42.5, 45.0])
        assert (record["identical_pixels"], record["different_pixels"]) == (2, 0)
        assert {path for path, _ in series.left_out} == {paths[1], paths[2]}

    def test_a_second_copy_of_one_file_is_recognised(self, tmp_path: Path) -> None:
        paths = write_series(tmp_path, positions(4))
        (tmp_path / "copy").write_bytes(paths[1].read_bytes())
        record = read_series(tmp_path, policy=KEEP).repairs[0]
        assert (record["identical_pixels"], record["different_pixels"]) == (1, 0)

    @pytest.mark.parametrize("number", [None, 7])
    def test_numbers_that_do_not_tell_slices_apart_are_no_rule(self, tmp_path: Path, number: int | None) -> None:
        where = [*positions(4), positions(4)[2]]
        write_series(tmp_path, where, change=lambda k, d: setattr(d, "InstanceNumber", number), shows=[0, 1, 2, 3, 2])
        assert "no InstanceNumber that tells them apart" in _refusal(tmp_path, KEEP)

    def test_repetitions_of_different_acquisitions_are_volumes_of_their_own(self, tmp_path: Path) -> None:
        def change(k: int, data: object) -> None:
            data.AcquisitionNumber = 1 + k // 4

        write_series(tmp_path, [*positions(4), *positions(4)], change=change)
        assert "mixes 2 grids" in _refusal(tmp_path, KEEP)
        assert "acquisition 2" in _refusal(tmp_path, KEEP)
        second = read_series(tmp_path, "#2")
        assert np.array_equal(second.array[:, :, 0], (stored_pixels(4) - 1024).T)
        assert second.name.endswith("#2")


class TestPolicy:
    def test_an_unknown_outcome_is_named_with_the_known_ones(self) -> None:
        with pytest.raises(DataError, match="tilt is 'fix', expected one of refuse, shear"):
            GeometryPolicy(tilt="fix")
        with pytest.raises(DataError, match="max_gap is nan"):
            GeometryPolicy(max_gap=float("nan"))

    def test_a_policy_survives_pickling(self) -> None:
        policy = GeometryPolicy("shear", "resample", "keep-lowest", "split", 2.0)
        assert pickle.loads(pickle.dumps(policy)) == policy

    def test_every_fault_is_named_with_its_option(self, tmp_path: Path) -> None:
        write_phantom(tmp_path, [0.0, 2.0, 4.0, 8.0, 10.0], 15.0)
        text = _refusal(tmp_path, GeometryPolicy())
        assert "15.0 degrees" in text
        assert "1 slice(s) missing" in text
        assert "--on-tilt shear" in text
        assert "--on-gap resample" in text


class TestRealHead:
    def test_it_is_repaired_only_if_tilt_and_spacing_both_have_a_rule(self, real_data) -> None:
        folder = real_data("dicom_tilt_ge")
        assert "--on-gap" in _refusal(folder, SHEAR)
        assert "--on-tilt" in _refusal(folder, FILL)
        raw = read_parts(folder, policy=GeometryPolicy("shear", "split"))
        assert [part.array.shape[2] for part in raw] == [14, 14]
        series = read_series(folder, policy=GeometryPolicy("shear", "resample"))
        assert [record["rule"] for record in series.repairs] == ["shear", "resample"]
        assert series.repairs[0]["degrees"] == pytest.approx(18.5, abs=0.01)
        assert decompose(series.affine_ras).shear_deg < 0.01
        _assert_equal_to_point_sampling(series, folder)


def _assert_equal_to_point_sampling(series: CtSeries, folder: Path) -> None:
    """Every 16th pixel of an unblended slice against bilinear sampling of its own file, through patient space."""
    import pydicom

    checked = 0
    for k in range(0, series.array.shape[2], 6):
        if series.sop_instance_uids[k] == "":
            continue
        data = pydicom.dcmread(series.files[k])
        stored = data.pixel_array.astype(float)
        stored[stored == data.PixelPaddingValue] = -1024.0 - float(data.RescaleIntercept)
        pixels = np.pad(stored + float(data.RescaleIntercept), 1, constant_values=-1024.0)
        index = np.stack(np.meshgrid(range(0, 512, 16), range(0, series.array.shape[1], 16), [k]), -1).reshape(-1, 3)
        lps = apply_affine(series.affine_ras, index) * [-1, -1, 1] - np.array(data.ImagePositionPatient, float)
        plane = np.array(data.ImageOrientationPatient, float).reshape(2, 3)
        column, row = lps @ plane[0] / data.PixelSpacing[1], lps @ plane[1] / data.PixelSpacing[0]
        assert lps @ np.cross(*plane) == pytest.approx(0, abs=0.05)
        expected = map_coordinates(pixels, [row + 1, column + 1], order=1, mode="constant", cval=-1024.0)
        edge = (row < 0) & (row > -1)
        found = series.array[tuple(index.T)]
        assert np.abs(found - expected)[~edge].max() < 8, "a hundredth of a pixel on a steep edge"
        checked += 1
    assert checked > 2
