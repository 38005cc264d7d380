from __future__ import annotations

from pathlib import Path

import pytest
from pydicom.encaps import encapsulate
from pydicom.uid import JPEG2000Lossless

from medseg.io.bounded.errors import DataError
from medseg.io.ct.scan import list_series
from medseg.io.ct.series import read_parts
from medseg.io.ct.verdict import SeriesVerdict, judge_series
from tests.io._dicom_files import positions, write_series
from tests.io._dicom_phantom import tilted, write_phantom
from tests.io._enhanced_files import write_enhanced


def _verdict(folder: Path) -> SeriesVerdict:
    (entry,) = list_series(folder).series
    return judge_series(entry)


def test_an_even_series_is_ok_with_its_grid(tmp_path: Path) -> None:
    write_series(tmp_path, positions(4))
    found = _verdict(tmp_path)
    assert found == SeriesVerdict("ok", (), "", (0.6, 0.7, 2.5), (40.0, 47.5), "LPS", 0.0)


def test_an_oblique_series_tells_its_angle(tmp_path: Path) -> None:
    write_series(tmp_path, positions(4, orientation=tilted(20.0)), tilted(20.0))
    assert _verdict(tmp_path).status == "ok", "slices that advance along their normal are not tilted"
    assert _verdict(tmp_path).off_axis_deg == pytest.approx(20.0, abs=0.01)


def test_a_multi_frame_file_is_judged_like_single_ones(tmp_path: Path) -> None:
    write_enhanced(tmp_path / "a.dcm", positions(4))
    assert _verdict(tmp_path).status == "ok"


@pytest.mark.parametrize(
    ("places", "words", "fix"),
    [
        ([0, 2, 6, 8, 10], "1 slice(s) missing at 4.000 mm", "--on-gap resample"),
        ([0, 2, 4, 14, 16, 18], "missing", "--on-gap split"),
        ([0, 2, 4, 4, 6], "2 slices share 1 position(s): 4.000 mm", "--on-duplicate keep-lowest"),
        ([0, 2, 4, 5.5, 7, 8.5], "slice spacing varies: 2.000 / 1.500 mm", "--on-gap resample"),
    ],
)
def test_what_can_be_repaired_names_the_millimetres_and_options_that_work(
    tmp_path: Path, places: list[float], words: str, fix: str
) -> None:
    write_series(tmp_path, [(0, 0, z) for z in places], shows=[int(z) for z in places])
    found = _verdict(tmp_path)
    assert found.status == "repairable"
    assert words in found.findings[0]
    assert found.fix == fix


def test_the_options_named_for_a_tilt_with_a_gap_do_read_the_series(tmp_path: Path) -> None:
    from data_prep.convert import main

    write_phantom(tmp_path / "in", [0, 2, 4, 8, 10, 12], 15.0)
    found = _verdict(tmp_path / "in")
    assert found.fix == "--on-tilt shear --on-gap resample"
    assert any("15.0 degrees" in line for line in found.findings)
    assert main([str(tmp_path / "in"), str(tmp_path / "out")]) == 3
    assert main([str(tmp_path / "in"), str(tmp_path / "out"), *found.fix.split()]) == 0


@pytest.mark.parametrize(
    ("tags", "words"),
    [
        ({"PhotometricInterpretation": "MONOCHROME1"}, "3 of 3 slices: PhotometricInterpretation MONOCHROME1"),
        ({"RescaleSlope": None}, "RescaleSlope is absent"),
        ({"ImagePositionPatient": None}, "ImagePositionPatient is absent"),
        ({"BurnedInAnnotation": "YES"}, "BurnedInAnnotation is YES"),
        ({"NumberOfFrames": 7}, "multi-frame image (7 frames) without functional groups"),
    ],
)
def test_what_no_option_repairs_is_refused_without_naming_a_path(
    tmp_path: Path, tags: dict[str, object], words: str
) -> None:
    write_series(tmp_path, positions(3), **tags)
    found = _verdict(tmp_path)
    assert (found.status, found.fix) == ("refused", "")
    assert words in found.findings[0]
    assert str(tmp_path) not in str(found)


def test_a_file_cut_off_is_noticed_by_its_size(tmp_path: Path) -> None:
    path = write_series(tmp_path, positions(4))[1]
    path.write_bytes(path.read_bytes()[:-7])
    found = _verdict(tmp_path)
    assert found.findings == ("1 of 4 slices: 53 bytes of pixel data, expected 60; the file is cut off",)
    with pytest.raises(DataError, match="53 bytes of pixel data, expected 60"):
        read_parts(tmp_path)


def test_an_absent_decoder_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import pydicom.pixels

    class Absent:
        is_available, available_plugins = False, ()

    def change(k: int, data: object) -> None:
        data.file_meta.TransferSyntaxUID = JPEG2000Lossless
        data.PixelData = encapsulate([b"never decoded"])

    write_series(tmp_path, positions(2), change=change)
    monkeypatch.setattr(pydicom.pixels, "get_decoder", lambda uid: Absent())
    assert "pip install pylibjpeg pylibjpeg-openjpeg" in _verdict(tmp_path).findings[0]


def test_a_single_slice_is_refused(tmp_path: Path) -> None:
    write_series(tmp_path, positions(1))
    assert "a single slice" in _verdict(tmp_path).findings[0]


@pytest.mark.parametrize(
    ("tags", "words"),
    [({"Modality": "MR"}, "other modality"), ({"ImageType": ["ORIGINAL", "PRIMARY", "LOCALIZER"]}, "localizer")],
)
def test_what_is_no_ct_volume_says_what_it_is(tmp_path: Path, tags: dict[str, object], words: str) -> None:
    write_series(tmp_path, positions(2), **tags)
    found = _verdict(tmp_path)
    assert (found.status, found.findings) == ("no volume", (words,))
