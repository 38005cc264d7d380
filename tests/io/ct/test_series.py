from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest
from pydicom.encaps import encapsulate
from pydicom.uid import DeflatedExplicitVRLittleEndian, JPEG2000Lossless, RLELossless

from medseg.geometry import apply_affine, orientation_codes, spacing_of
from medseg.io.bounded.errors import DataError, SeriesChoiceError, SeriesGeometryError, UnreadableFileError
from medseg.io.ct.series import CtSeries, read_series
from tests.io._dicom_files import AXIAL, SERIES_UID, make_slice, positions, stored_pixels, write_series

SAGITTAL = (0.0, 1.0, 0.0, 0.0, 0.0, -1.0)
CORONAL = (1.0, 0.0, 0.0, 0.0, 0.0, -1.0)
FLIPPED = (-1.0, 0.0, 0.0, 0.0, 1.0, 0.0)
OBLIQUE = (0.8, 0.6, 0.0, -0.36, 0.48, 0.8)
ALL_ORIENTATIONS = pytest.mark.parametrize(
    "orientation",
    [AXIAL, SAGITTAL, CORONAL, FLIPPED, OBLIQUE],
    ids=["axial", "sagittal", "coronal", "flipped", "oblique"],
)


def _refusal(folder: Path, kind: type[Exception] = DataError, **options: object) -> str:
    with pytest.raises(kind) as caught:
        read_series(folder, **options)
    text = str(caught.value)
    assert "\n" not in text
    return text


class TestVolume:
    @ALL_ORIENTATIONS
    def test_every_voxel_lies_where_dicom_puts_it(self, tmp_path: Path, orientation: tuple[float, ...]) -> None:
        where = positions(4, 2.5, orientation)
        write_series(tmp_path, where, orientation)
        series = read_series(tmp_path)
        assert series.array.shape == (5, 6, 4)
        assert series.array.dtype == np.int16
        row_direction, column_direction = np.array(orientation[:3]), np.array(orientation[3:])
        for i, j, k in [(0, 0, 0), (4, 0, 0), (0, 5, 0), (2, 3, 1), (4, 5, 3)]:
            lps = np.array(where[k]) + row_direction * 0.6 * i + column_direction * 0.7 * j
            ras = lps * [-1, -1, 1]
            assert apply_affine(series.affine_ras, [i, j, k]) == pytest.approx(ras, abs=1e-5)
            assert series.array[i, j, k] == stored_pixels(k)[j, i] - 1024

    @ALL_ORIENTATIONS
    def test_simpleitk_gives_the_same_voxels_and_points(self, tmp_path: Path, orientation: tuple[float, ...]) -> None:
        write_series(tmp_path, positions(4, 2.5, orientation), orientation)
        _assert_equal_to_simpleitk(read_series(tmp_path))

    def test_slice_thickness_and_instance_numbers_play_no_part(self, tmp_path: Path) -> None:
        write_series(tmp_path, positions(5, 1.25))
        series = read_series(tmp_path)
        assert spacing_of(series.affine_ras) == pytest.approx([0.6, 0.7, 1.25])
        assert series.facts["slice_thickness_mm"] == 9.0
        assert orientation_codes(series.affine_ras) == ("L", "P", "S")
        assert np.diff(series.positions_mm) == pytest.approx([1.25] * 4)

    def test_uids_and_files_follow_the_slices(self, tmp_path: Path) -> None:
        uids = [f"1.2.3.{k}" for k in range(3)]
        paths = write_series(tmp_path, positions(3), change=lambda k, d: setattr(d, "SOPInstanceUID", uids[k]))
        series = read_series(tmp_path)
        assert series.sop_instance_uids == tuple(uids)
        assert series.files == tuple(paths)
        assert series.series_uid == SERIES_UID

    def test_an_empty_sop_uid_is_taken_from_the_file_meta(self, tmp_path: Path) -> None:
        write_series(tmp_path, positions(2), SOPInstanceUID="")
        assert all(uid.startswith("1.2.826") for uid in read_series(tmp_path).sop_instance_uids)

    def test_files_that_are_not_dicom_are_counted(self, tmp_path: Path) -> None:
        write_series(tmp_path / "deep" / "er", positions(3))
        (tmp_path / "notes.txt").write_text("hello")
        (tmp_path / "empty").touch()
        assert read_series(tmp_path).ignored_files == 2

    def test_a_file_without_the_preamble_is_still_dicom(self, tmp_path: Path) -> None:
        for k, position in enumerate(positions(3)):
            data = make_slice(stored_pixels(k), position)
            data.preamble = None
            del data.file_meta
            data.save_as(tmp_path / str(k), implicit_vr=True, little_endian=True)
        series = read_series(tmp_path)
        assert series.ignored_files == 0
        assert series.array[3, 2, 1] == stored_pixels(1)[2, 3] - 1024

    def test_numbers_longer_than_dicom_allows_keep_their_geometry(self, tmp_path: Path) -> None:
        write_series(tmp_path, positions(3))
        for k, path in enumerate(sorted(tmp_path.iterdir())):
            raw = path.read_bytes()
            assert raw.count(b"-12.5\\7.25\\") == 1
            start = raw.index(b"-12.5\\7.25\\")
            length = int.from_bytes(raw[start - 2 : start], "little")
            value = raw[start : start + length].replace(b"-12.5\\", b"-12.50000000000000000\\")
            value += b" " * (len(value) % 2)
            path.write_bytes(raw[: start - 2] + len(value).to_bytes(2, "little") + value + raw[start + length :])
            assert k < 3
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            series = read_series(tmp_path)
        assert series.affine_ras[:3, 3] == pytest.approx([12.5, -7.25, 40.0])
        assert any("more than 16 characters" in line for line in series.warnings)


class TestHounsfieldUnits:
    def test_every_slice_uses_its_own_slope_and_intercept(self, tmp_path: Path) -> None:
        def change(k: int, data: object) -> None:
            data.RescaleSlope, data.RescaleIntercept = k + 1, -1000 * k

        write_series(tmp_path, positions(3), change=change)
        array = read_series(tmp_path).array
        for k in range(3):
            assert np.array_equal(array[:, :, k], (stored_pixels(k) * (k + 1) - 1000 * k).T)

    def test_fractional_values_are_rounded_and_reported(self, tmp_path: Path) -> None:
        write_series(tmp_path, positions(2), RescaleSlope="0.5")
        series = read_series(tmp_path)
        assert np.abs(series.array[:, :, 0] - (stored_pixels(0).T * 0.5 - 1024)).max() == 0.5
        assert any("rounded" in line for line in series.warnings)

    def test_padding_stored_unsigned_in_a_signed_image_becomes_air(self, tmp_path: Path) -> None:
        def change(k: int, data: object) -> None:
            pixels = stored_pixels(k)
            pixels[0, :3], pixels[1, 0] = -2000, -1500
            data.PixelData = pixels.tobytes()
            data.add_new("PixelPaddingValue", "US", 63536)

        write_series(tmp_path, positions(2), change=change)
        series = read_series(tmp_path)
        assert (series.array[:3, 0] == -1024).all()
        assert (series.array[0, 1] == -2524).all(), "a value that is no padding is kept as it is"
        assert any("6 padding voxels" in line for line in series.warnings)
        assert any("2 voxels lie below -1024" in line for line in series.warnings)

    def test_padding_that_would_be_tissue_is_left_alone(self, tmp_path: Path) -> None:
        write_series(tmp_path, positions(2), change=lambda k, d: d.add_new("PixelPaddingValue", "SS", 1012))
        series = read_series(tmp_path)
        assert series.array[2, 1, 0] == 1012 - 1024
        assert any("1 voxels hold PixelPaddingValue" in line for line in series.warnings)

    def test_a_deflated_series_equals_the_plain_one(self, tmp_path: Path) -> None:
        write_series(tmp_path / "plain", positions(3))
        deflate = DeflatedExplicitVRLittleEndian
        write_series(
            tmp_path / "z", positions(3), change=lambda k, d: setattr(d.file_meta, "TransferSyntaxUID", deflate)
        )
        assert np.array_equal(read_series(tmp_path / "plain").array, read_series(tmp_path / "z").array)

    def test_a_compressed_series_equals_the_plain_one(self, tmp_path: Path) -> None:
        write_series(tmp_path / "plain", positions(3))
        write_series(tmp_path / "rle", positions(3), change=lambda k, d: d.compress(RLELossless))
        plain, packed = read_series(tmp_path / "plain"), read_series(tmp_path / "rle")
        assert np.array_equal(plain.array, packed.array)
        assert packed.facts["transfer_syntax"] == [{"uid": "1.2.840.10008.1.2.5", "name": "RLE Lossless"}]


class TestRefusals:
    def test_missing_slices_are_named_with_their_neighbours(self, tmp_path: Path) -> None:
        where = positions(8)
        paths = write_series(tmp_path, [where[k] for k in (0, 1, 2, 5, 6, 7)])
        text = _refusal(tmp_path, SeriesGeometryError)
        assert "2 slice(s) missing at 47.500, 50.000 mm" in text
        assert paths[2].name in text
        assert paths[3].name in text

    def test_one_missing_of_four_is_noticed(self, tmp_path: Path) -> None:
        where = positions(4)
        write_series(tmp_path, [where[0], where[1], where[3]])
        assert "1 slice(s) missing at 45.000 mm" in _refusal(tmp_path, SeriesGeometryError)

    def test_two_slices_at_one_position(self, tmp_path: Path) -> None:
        paths = write_series(tmp_path, [*positions(4), positions(4)[2]])
        text = _refusal(tmp_path, SeriesGeometryError)
        assert "45.000 mm" in text
        assert paths[2].name in text
        assert paths[4].name in text

    def test_variable_spacing_lists_the_spacings(self, tmp_path: Path) -> None:
        write_series(tmp_path, [(0, 0, z) for z in (0.0, 2.5, 5.0, 6.1, 8.6)])
        assert "2.500 / 1.100 mm" in _refusal(tmp_path, SeriesGeometryError)

    def test_gantry_tilt_names_the_angle_and_spacing(self, tmp_path: Path) -> None:
        angle = np.radians(15.0)
        tilted = (1.0, 0.0, 0.0, 0.0, round(np.cos(angle), 7), round(-np.sin(angle), 7))
        write_series(tmp_path, [(0, 0, 2.5 * k) for k in range(4)], tilted)
        text = _refusal(tmp_path, SeriesGeometryError)
        assert "15.0 degrees" in text
        assert f"{2.5 * np.cos(angle):.3f} mm" in text

    def test_a_tilt_below_a_tenth_of_a_degree_is_rounding(self, tmp_path: Path) -> None:
        write_series(tmp_path, [(0, 0.0015 * k, 2.5 * k) for k in range(4)])
        assert read_series(tmp_path).array.shape[2] == 4

    def test_a_slice_pushed_sideways(self, tmp_path: Path) -> None:
        write_series(tmp_path, [(3.0 * (k == 2), 0, 2.5 * k) for k in range(5)])
        assert "off the evenly spaced straight line" in _refusal(tmp_path, SeriesGeometryError)

    def test_mixed_orientations_in_one_series(self, tmp_path: Path) -> None:
        write_series(tmp_path / "a", positions(3))
        write_series(tmp_path / "b", positions(1), SAGITTAL)
        text = _refusal(tmp_path, SeriesGeometryError)
        assert "mixes 2 grids" in text
        assert "3 files" in text
        assert "1 files" in text

    def test_mixed_sizes_in_one_series(self, tmp_path: Path) -> None:
        write_series(tmp_path, positions(3))
        make_slice(stored_pixels(0, (4, 4)), (0, 0, 99)).save_as(tmp_path / "odd", enforce_file_format=True)
        assert "mixes 2 grids" in _refusal(tmp_path, SeriesGeometryError)

    def test_several_series_are_listed_with_the_fix(self, tmp_path: Path) -> None:
        write_series(tmp_path / "a", positions(3), SeriesDescription="Name^Patient")
        write_series(tmp_path / "b", positions(2), SeriesInstanceUID="1.2.3.4")
        text = _refusal(tmp_path, SeriesChoiceError)
        assert "--series" in text
        assert f"{SERIES_UID} [CT, 3 files, 5 x 6 pixels]" in text
        assert "1.2.3.4 [CT, 2 files, 5 x 6 pixels]" in text
        assert "Name" not in text
        assert read_series(tmp_path, "1.2.3.4").array.shape[2] == 2

    def test_an_unknown_series(self, tmp_path: Path) -> None:
        write_series(tmp_path, positions(3))
        assert f"no series 9.9; found {SERIES_UID}" in _refusal(tmp_path, SeriesChoiceError, series_uid="9.9")

    def test_no_dicom_at_all(self, tmp_path: Path) -> None:
        (tmp_path / "a.txt").write_text("x")
        assert "no DICOM images found (1 files are not DICOM" in _refusal(tmp_path, SeriesChoiceError)
        assert "no such folder" in _refusal(tmp_path / "absent")

    def test_another_image_series_beside_the_ct_is_mentioned(self, tmp_path: Path) -> None:
        write_series(tmp_path / "a", positions(3))
        write_series(tmp_path / "b", positions(1), SeriesInstanceUID="1.2.3.4", Modality="CR")
        assert any("1.2.3.4 [CR, 1 files" in line for line in read_series(tmp_path).warnings)

    def test_another_modality(self, tmp_path: Path) -> None:
        write_series(tmp_path, positions(3), Modality="MR")
        assert "expected modality CT" in _refusal(tmp_path, SeriesChoiceError)

    @pytest.mark.parametrize(
        ("tags", "words"),
        [
            ({"PhotometricInterpretation": "MONOCHROME1"}, "MONOCHROME1"),
            ({"SamplesPerPixel": 3, "PhotometricInterpretation": "RGB"}, "RGB with 3"),
            ({"NumberOfFrames": 7}, "multi-frame image (7 frames)"),
            ({"RescaleSlope": None}, "RescaleSlope is absent"),
            ({"BurnedInAnnotation": "YES"}, "BurnedInAnnotation"),
            ({"ImagePositionPatient": None}, "ImagePositionPatient is absent"),
            ({"ImagePositionPatient": [1.0, 2.0]}, "expected 3 finite number(s)"),
            ({"ImageOrientationPatient": [1, 0, 0, 1, 0, 0]}, "not a pair of orthogonal unit vectors"),
            ({"PixelSpacing": [0.0, 0.5]}, "expected two positive numbers"),
            ({"RescaleSlope": 100}, "expected -32768 to 32767"),
        ],
    )
    def test_contents_that_make_no_ct_volume(self, tmp_path: Path, tags: dict[str, object], words: str) -> None:
        write_series(tmp_path, positions(3), **tags)
        text = _refusal(tmp_path)
        assert words in text
        assert "IM" in text, "the message names a file"

    def test_a_header_that_declares_far_too_much(self, tmp_path: Path) -> None:
        write_series(tmp_path, positions(2), Rows=65535, Columns=65535)
        assert "65535 rows x 65535 columns, expected 1 to 8192" in _refusal(tmp_path)
        write_series(tmp_path, positions(2), Rows=8000, Columns=8000)
        assert "expected 128000000" in _refusal(tmp_path, UnreadableFileError)

    def test_a_volume_beyond_the_memory_budget(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        write_series(tmp_path, positions(3))
        monkeypatch.setenv("MEDSEG_MAX_IMAGE_GIB", "1e-7")
        text = _refusal(tmp_path)
        assert "5 x 6 x 3 voxels of 2 byte(s)" in text
        assert "MEDSEG_MAX_IMAGE_GIB" in text

    def test_wherever_a_file_is_cut_the_series_is_never_read_as_if_whole(self, tmp_path: Path) -> None:
        path = write_series(tmp_path, positions(3))[1]
        whole = path.read_bytes()
        for length in range(132, len(whole) - 1, 5):
            path.write_bytes(whole[:length])
            _refusal(tmp_path)

    def test_damaged_bytes_end_in_a_volume_or_in_one_line(self, tmp_path: Path) -> None:
        path = write_series(tmp_path, positions(4))[1]
        whole = path.read_bytes()
        rng = np.random.default_rng(0)
        for _ in range(150):
            raw = bytearray(whole)
            for place in rng.integers(132, len(whole), 3):
                raw[place] = rng.integers(256)
            path.write_bytes(bytes(raw))
            try:
                assert read_series(tmp_path).array.shape == (5, 6, 4)
            except DataError as error:
                assert "\n" not in str(error)

    def test_a_single_slice_has_no_spacing(self, tmp_path: Path) -> None:
        write_series(tmp_path, positions(1))
        assert "only 1 slice" in _refusal(tmp_path, SeriesGeometryError)

    @pytest.mark.parametrize("cut", [20, 300])
    def test_a_file_cut_off_in_its_pixels_is_named(self, tmp_path: Path, cut: int) -> None:
        path = write_series(tmp_path, positions(4))[1]
        path.write_bytes(path.read_bytes()[: -min(cut, 59)])
        text = _refusal(tmp_path, UnreadableFileError)
        assert str(path) in text
        assert "expected 60" in text

    def test_an_empty_file_called_dcm_is_named(self, tmp_path: Path) -> None:
        write_series(tmp_path, positions(4))
        (tmp_path / "._note.dcm").touch()
        assert read_series(tmp_path).ignored_files == 1
        (tmp_path / "slice5.dcm").touch()
        assert "slice5.dcm: not DICOM inside (0 bytes)" in _refusal(tmp_path, UnreadableFileError)

    def test_a_compressed_file_cut_off_is_named(self, tmp_path: Path) -> None:
        path = write_series(tmp_path, positions(4), change=lambda k, d: d.compress(RLELossless))[2]
        path.write_bytes(path.read_bytes()[:-30])
        assert str(path) in _refusal(tmp_path, UnreadableFileError)

    def test_a_file_cut_off_in_its_header_is_named(self, tmp_path: Path) -> None:
        path = write_series(tmp_path, positions(4))[1]
        raw = path.read_bytes()
        path.write_bytes(raw[: raw.index(SERIES_UID.encode()) + 5])
        assert path.name in _refusal(tmp_path)

    def test_a_missing_decoder_is_named_with_its_package(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        import pydicom.pixels

        class Absent:
            is_available, available_plugins = False, ()

        def change(k: int, data: object) -> None:
            data.file_meta.TransferSyntaxUID = JPEG2000Lossless
            data.PixelData = encapsulate([b"never decoded"])

        write_series(tmp_path, positions(2), change=change)
        monkeypatch.setattr(pydicom.pixels, "get_decoder", lambda uid: Absent())
        text = _refusal(tmp_path, UnreadableFileError)
        assert "JPEG 2000" in text
        assert "pip install pylibjpeg pylibjpeg-openjpeg" in text


class TestPartialSeries:
    def test_unreadable_files_at_the_end_are_left_out_by_name(self, tmp_path: Path) -> None:
        path = write_series(tmp_path, positions(5))[4]
        path.write_bytes(path.read_bytes()[:-10])
        series = read_series(tmp_path, allow_partial=True)
        assert series.array.shape[2] == 4
        assert [name for name, _ in series.left_out] == [path]
        assert any(path.name in line and "expected 60" in line for line in series.warnings)

    def test_the_longest_stretch_without_a_gap_is_kept(self, tmp_path: Path) -> None:
        paths = write_series(tmp_path, positions(8))
        paths[2].write_bytes(paths[2].read_bytes()[:-10])
        series = read_series(tmp_path, allow_partial=True)
        assert series.files == tuple(paths[3:])
        assert {name for name, _ in series.left_out} == set(paths[:3])
        assert np.array_equal(series.array[:, :, 0], (stored_pixels(3) - 1024).T)
        assert series.affine_ras[2, 3] == pytest.approx(47.5)

    def test_the_lower_instance_number_wins_at_one_position(self, tmp_path: Path) -> None:
        # Instance numbers descend.
        paths = write_series(tmp_path, [*positions(4), positions(4)[2]], shows=[0, 1, 2, 3, 2])
        series = read_series(tmp_path, allow_partial=True)
        assert series.files[2] == paths[4]
        assert [name for name, _ in series.left_out] == [paths[2]]

    def test_different_images_at_one_position_are_refused_all_the_same(self, tmp_path: Path) -> None:
        write_series(tmp_path, [*positions(4), positions(4)[2]])
        text = _refusal(tmp_path, SeriesGeometryError, allow_partial=True)
        assert "the pixels differ, by up to 200 HU" in text

    def test_the_readable_one_of_two_copies_is_kept(self, tmp_path: Path) -> None:
        paths = write_series(tmp_path, [*positions(4), positions(4)[2]], shows=[0, 1, 2, 3, 2])
        paths[4].write_bytes(paths[4].read_bytes()[:-20])
        series = read_series(tmp_path, allow_partial=True)
        assert series.files[2] == paths[2]
        assert series.array.shape[2] == 4

    def test_variable_spacing_is_refused_all_the_same(self, tmp_path: Path) -> None:
        write_series(tmp_path, [(0, 0, z) for z in (0.0, 2.5, 5.0, 6.1, 8.6)])
        assert "slice spacing varies" in _refusal(tmp_path, SeriesGeometryError, allow_partial=True)


class TestRealSeries:
    def test_abdomen_equals_simpleitk(self, real_data) -> None:
        series = read_series(real_data("abdomen_totalseg/example_ct_dicom"))
        assert spacing_of(series.affine_ras) == pytest.approx([0.9765625, 0.9765625, 2.0])
        assert series.facts["slice_thickness_mm"] == 3.0
        _assert_equal_to_simpleitk(series)

    def test_abdomen_equals_monai(self, real_data) -> None:
        from monai.data import PydicomReader

        folder = real_data("abdomen_totalseg/example_ct_dicom")
        series = read_series(folder)
        reader = PydicomReader()
        data, meta = reader.get_data(reader.read(str(folder)))
        affine = np.asarray(meta["affine"])
        # The peer may run through the slices the other way: compare values at equal physical points.
        index = np.array([[i, j, k] for i in (0, 100, 511) for j in (3, 250, 511) for k in range(20)])
        points = apply_affine(series.affine_ras, index)
        theirs = np.rint(apply_affine(np.linalg.inv(affine), points)).astype(int)
        assert apply_affine(affine, theirs) == pytest.approx(points, abs=1e-4)
        assert np.array_equal(np.asarray(data)[tuple(theirs.T)], series.array[tuple(index.T)])

    def test_a_tilted_head_is_refused_with_its_angle_and_spacings(self, real_data) -> None:
        text = _refusal(real_data("dicom_tilt_ge"), SeriesGeometryError)
        assert "18.5 degrees" in text
        assert "4.002 / 1.081 / 6.999 mm" in text

    def test_a_partial_chest_names_the_cut_file_and_keeps_the_rest(self, real_data) -> None:
        folder = real_data("lidc/LIDC-IDRI-0001")
        assert "1-084.dcm: 51078 bytes of pixel data, expected 524288" in _refusal(folder, UnreadableFileError)
        series = read_series(folder, allow_partial=True)
        assert series.array.shape == (512, 512, 83)
        assert [path.name for path, _ in series.left_out] == ["1-084.dcm"]
        assert series.positions_mm[0] == -215.0
        assert series.positions_mm[-1] == -10.0
        assert int(series.array.min()) == -2048


def _assert_equal_to_simpleitk(series: CtSeries) -> None:
    sitk = pytest.importorskip("SimpleITK")
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames([str(path) for path in series.files])
    image = reader.Execute()
    assert np.array_equal(sitk.GetArrayFromImage(image), series.array.transpose(2, 1, 0))
    last = [n - 1 for n in series.array.shape]
    for index in ([0, 0, 0], [last[0], 0, 0], [0, last[1], 0], [0, 0, last[2]], last):
        lps = np.array(image.TransformIndexToPhysicalPoint(index))
        assert apply_affine(series.affine_ras, index) == pytest.approx(lps * [-1, -1, 1], abs=1e-4)
