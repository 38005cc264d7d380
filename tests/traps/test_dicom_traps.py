"""Traps of DICOM series: order, gaps, tilt, orientations, odd numbers, frames, mixtures and padding."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy.ndimage import center_of_mass

from medseg.geometry import apply_affine, orientation_codes, spacing_of, voxel_to_world
from medseg.io.bounded.errors import SeriesGeometryError
from medseg.io.ct.policy import GeometryPolicy
from medseg.io.ct.scan import list_series
from medseg.io.ct.series import read_parts, read_series
from tests.io._dicom_files import positions, stored_pixels, write_series
from tests.io._dicom_phantom import CENTRE, SPACING, truth, write_phantom
from tests.io._enhanced_files import write_enhanced

SAGITTAL = (0.0, 1.0, 0.0, 0.0, 0.0, -1.0)
EVERY_RULE = GeometryPolicy("shear", "resample", "keep-lowest")


def _refused(folder: Path, *words: str) -> None:
    with pytest.raises(SeriesGeometryError) as caught:
        read_series(folder)
    for word in words:
        assert word in str(caught.value)


@pytest.mark.trap("4.3-11")
def test_neither_instance_numbers_nor_names_order_the_slices(tmp_path: Path) -> None:
    where = positions(9)
    shuffled = np.random.default_rng(0).permutation(9)
    write_series(tmp_path, where, change=lambda k, d: setattr(d, "InstanceNumber", int(shuffled[k])))
    series = read_series(tmp_path)
    for k in range(9):
        assert np.array_equal(series.array[:, :, k], (stored_pixels(k) - 1024).T)
        assert voxel_to_world((0, 0, k), series.affine_ras, "LPS") == pytest.approx(where[k])


@pytest.mark.trap("4.3-12")
def test_spacing_comes_from_positions_and_never_from_the_tags(tmp_path: Path) -> None:
    write_series(tmp_path, positions(5, 1.25), SliceThickness=3.0, SpacingBetweenSlices=-2.5)
    assert spacing_of(read_series(tmp_path).affine_ras)[2] == pytest.approx(1.25)


@pytest.mark.trap("4.3-12")
def test_a_real_series_thicker_than_its_spacing(real_data) -> None:
    series = read_series(real_data("abdomen_totalseg/example_ct_dicom"))
    assert series.facts["slice_thickness_mm"] == 3.0
    assert spacing_of(series.affine_ras)[2] == pytest.approx(2.0)


@pytest.mark.trap("4.3-13")
class TestMissingAndDuplicateSlices:
    def test_one_of_five_missing_is_refused_filled_or_split(self, tmp_path: Path) -> None:
        where = positions(5)
        write_series(tmp_path, where[:3] + where[4:])
        _refused(tmp_path, "1 slice(s) missing at 47.500 mm", "--on-gap")
        filled = read_series(tmp_path, policy=GeometryPolicy(gap="resample"))
        assert spacing_of(filled.affine_ras)[2] == pytest.approx(2.5)
        assert np.array_equal(filled.array[:, :, 3], ((stored_pixels(2) + stored_pixels(3)) / 2 - 1024).T)
        (part,) = read_parts(tmp_path, policy=GeometryPolicy(gap="split"))
        assert part.array.shape[2] == 3
        assert len(part.left_out) == 1

    def test_a_hole_of_38_mm_is_never_bridged_unasked(self, tmp_path: Path) -> None:
        where = positions(40)
        write_series(tmp_path, where[:10] + where[25:])
        with pytest.raises(SeriesGeometryError, match=r"widest hole of 40.000 mm would need 15.0 invented slices"):
            read_series(tmp_path, policy=EVERY_RULE)

    def test_of_two_slices_at_one_place_the_lowest_instance_number_stays(self, tmp_path: Path) -> None:
        # Instance numbers descend.
        paths = write_series(tmp_path, [*positions(4), positions(4)[1]], shows=[0, 1, 2, 3, 1])
        _refused(tmp_path, "2 slices share 1 position(s): 42.500 mm", "--on-duplicate keep-lowest")
        series = read_series(tmp_path, policy=GeometryPolicy(duplicate="keep-lowest"))
        assert series.files[1] == paths[4]
        assert series.repairs[0]["different_pixels"] == 0

    def test_different_images_at_one_place_are_no_copies(self, tmp_path: Path) -> None:
        write_series(tmp_path, [*positions(4), positions(4)[1]])
        with pytest.raises(SeriesGeometryError, match="the pixels differ, by up to 300 HU") as caught:
            read_series(tmp_path, policy=EVERY_RULE)
        assert "--on-duplicate" not in str(caught.value)


@pytest.mark.trap("4.3-14")
def test_a_tilted_gantry_is_refused_or_straightened_in_place(tmp_path: Path) -> None:
    write_phantom(tmp_path, [2.0 * k for k in range(30)], 15.0)
    _refused(tmp_path, "15.0 degrees", "--on-tilt shear")
    series = read_series(tmp_path, policy=GeometryPolicy(tilt="shear"))
    third = series.affine_ras[:3, 2] / np.linalg.norm(series.affine_ras[:3, 2])
    assert abs(third @ series.affine_ras[:3, 1]) / SPACING[0] < 1e-6
    centre = apply_affine(series.affine_ras, center_of_mass(series.array > 600)) * [-1, -1, 1]
    assert centre == pytest.approx(CENTRE, abs=0.1), "stacked along the wrong axis, it would drift by 0.65 mm a slice"


@pytest.mark.trap("4.3-14")
def test_a_real_tilted_head_is_straightened_only_with_a_rule_for_its_spacing(real_data) -> None:
    folder = real_data("dicom_tilt_ge")
    _refused(folder, "18.5 degrees", "4.002 / 1.081 / 6.999 mm")
    with pytest.raises(SeriesGeometryError, match="--on-gap resample"):
        read_series(folder, policy=GeometryPolicy(tilt="shear"))
    series = read_series(folder, policy=EVERY_RULE)
    assert [record["rule"] for record in series.repairs] == ["shear", "resample"]


@pytest.mark.trap("4.3-15")
@pytest.mark.parametrize("direction", [1, -1])
def test_a_sagittal_phantom_lies_where_it_is(tmp_path: Path, direction: int) -> None:
    where = positions(6, 2.0, SAGITTAL)[::direction]
    write_series(tmp_path, where, SAGITTAL)
    series = read_series(tmp_path)
    assert spacing_of(series.affine_ras) == pytest.approx([0.6, 0.7, 2.0])
    assert orientation_codes(series.affine_ras) == ("P", "I", "R")
    for k in range(6):
        found = int(np.argmin([abs(p - series.positions_mm[k]) for p in np.array(where) @ [-1, 0, 0]]))
        lps = np.add(where[found], [0, 3 * 0.6, -2 * 0.7])
        assert voxel_to_world((3, 2, k), series.affine_ras, "LPS") == pytest.approx(lps)
        assert series.array[3, 2, k] == stored_pixels(found)[2, 3] - 1024


@pytest.mark.trap("4.3-16")
def test_numbers_longer_than_dicom_allows_keep_their_place(tmp_path: Path) -> None:
    write_series(tmp_path, positions(3))
    short, long = b"-12.5\\7.25\\", b"-12.500000000000000\\7.2500000000000000\\"
    for path in tmp_path.iterdir():
        raw = path.read_bytes()
        start = raw.index(short)
        length = int.from_bytes(raw[start - 2 : start], "little")
        value = raw[start : start + length].replace(short, long)
        value += b" " * (len(value) % 2)
        path.write_bytes(raw[: start - 2] + len(value).to_bytes(2, "little") + value + raw[start + length :])
    series = read_series(tmp_path)
    for k, where in enumerate(positions(3)):
        assert voxel_to_world((0, 0, k), series.affine_ras, "LPS") == pytest.approx(where)
    assert any("more than 16 characters" in line for line in series.warnings)


@pytest.mark.trap("4.3-17")
def test_frames_of_an_enhanced_ct_are_stacked_by_their_positions(tmp_path: Path) -> None:
    where = positions(5, orientation=SAGITTAL)
    order = [4, 1, 3, 0, 2]
    write_enhanced(
        tmp_path / "a.dcm",
        [where[n] for n in order],
        SAGITTAL,
        rescale=lambda f: (1 + f % 2, -1000),
        frame_groups=lambda f: {"FrameContentSequence": {"StackID": "1", "InStackPositionNumber": f + 1}},
    )
    series = read_series(tmp_path)
    for k in range(5):
        f = order.index(k)
        assert voxel_to_world((0, 0, k), series.affine_ras, "LPS") == pytest.approx(where[k])
        assert np.array_equal(series.array[:, :, k], (stored_pixels(f) * (1 + f % 2) - 1000).T)


@pytest.mark.trap("4.3-17")
def test_several_stacks_in_one_file_are_never_joined(tmp_path: Path) -> None:
    where = positions(6)
    write_enhanced(
        tmp_path / "a.dcm",
        where,
        frame_groups=lambda f: {"FrameContentSequence": {"StackID": "AB"[f // 3], "InStackPositionNumber": 1 + f % 3}},
    )
    _refused(tmp_path, "mixes 2 grids")
    assert [read_series(tmp_path, f"#{n}").frame_numbers for n in (1, 2)] == [(1, 2, 3), (4, 5, 6)]


@pytest.mark.trap("4.3-17")
def test_a_real_multi_frame_ct_equals_its_single_frame_original(real_data) -> None:
    folder = real_data("dicom_seg_dcmqi/23x38x3")
    single, multi = read_series(folder / "image"), read_series(folder / "multiframe")
    assert np.array_equal(single.array, multi.array)
    assert np.array_equal(single.affine_ras, multi.affine_ras)


@pytest.mark.trap("4.3-18")
def test_localizers_captures_and_other_grids_are_told_apart(tmp_path: Path) -> None:
    write_series(tmp_path / "axial", positions(4))
    write_series(tmp_path / "scout", positions(1), SAGITTAL, ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"])
    write_series(tmp_path / "shot", positions(1), SOPClassUID="1.2.840.10008.5.1.4.1.1.7", SeriesInstanceUID="1.9")
    kinds = [entry.kind for entry in list_series(tmp_path).series]
    assert kinds == ["ct", "localizer", "secondary capture"]
    assert read_series(tmp_path).array.shape == (5, 6, 4)
    write_series(tmp_path / "coronal", positions(4, orientation=SAGITTAL), SAGITTAL)
    write_series(tmp_path / "zoomed", positions(4), PixelSpacing=[0.3, 0.3])
    _refused(tmp_path, "mixes 3 grids", "--series UID#N")


@pytest.mark.trap("4.3-21")
@pytest.mark.parametrize("written", [63536, -2000])
def test_padding_becomes_air_and_other_low_values_stay(tmp_path: Path, written: int) -> None:
    def change(k: int, data: object) -> None:
        pixels = stored_pixels(k)
        pixels[0, :3], pixels[1, 0] = -2000, -1500
        data.PixelData = pixels.tobytes()
        data.add_new("PixelPaddingValue", "US" if written > 0 else "SS", written)

    write_series(tmp_path, positions(2), change=change)
    series = read_series(tmp_path)
    assert (series.array[:3, 0] == -1024).all()
    assert (series.array[0, 1] == -2524).all()
    assert any("6 padding voxels raised to -1024 HU" in line for line in series.warnings)


@pytest.mark.trap("4.3-21")
def test_a_real_chest_outside_the_scan_circle(real_data) -> None:
    series = read_series(real_data("lidc"), allow_partial=True)
    assert int(series.array.min()) == -2048
    assert any("voxels lie below -1024 HU" in line for line in series.warnings)


def test_the_phantom_is_what_it_says() -> None:
    assert truth(CENTRE) == pytest.approx(1200.0)
    assert truth(CENTRE + np.array([9.0, 0, 0])) == pytest.approx(1200.0 * np.exp(-0.5))
