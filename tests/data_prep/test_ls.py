from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from pydicom.dataset import Dataset

from data_prep.ls import main
from tests.io._dicom_files import SERIES_UID, positions, write_series

UID = "1.2.826.0.1.3680043.8.498"


def _table(capsys: pytest.CaptureFixture[str], *words: str) -> list[str]:
    assert main(list(words)) == 0
    return capsys.readouterr().out.splitlines()


def _rows(capsys: pytest.CaptureFixture[str], *words: str) -> list[dict[str, object]]:
    assert main([*words, "--json"]) == 0
    return json.loads(capsys.readouterr().out)["series"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    where = positions(8)
    write_series(tmp_path / "a", where)
    write_series(tmp_path / "b", where[:3] + where[4:], SeriesInstanceUID=f"{UID}.22")
    write_series(tmp_path / "c", positions(2), Modality="MR", SeriesInstanceUID=f"{UID}.23")
    write_series(tmp_path / "d", positions(1), Modality="SEG", SeriesInstanceUID=f"{UID}.24")
    (tmp_path / "notes.txt").write_text("x")
    return tmp_path


def test_one_row_for_each_series_with_its_verdict(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = _table(capsys, str(folder))
    assert lines[0].split("  ")[0] == "series"
    assert len(lines) == 6
    whole, gap, mr, seg, rest = lines[1:]
    assert "5 x 6 x 8" in whole and "0.6 x 0.7 x 2.5" in whole and "40 to 57.5" in whole and whole.endswith("  ok")
    assert "1 slice(s) missing at 47.500 mm" in gap and gap.endswith("use --on-gap resample")
    assert "no volume: other modality" in mr
    assert "no volume: no image" in seg
    assert rest == "1 other files are not DICOM"


def test_json_gives_whole_uids_and_numbers(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = {row["series"]: row for row in _rows(capsys, str(folder))}
    row = rows[SERIES_UID]
    assert row["size"] == [5, 6, 8]
    assert row["spacing_mm"] == [0.6, 0.7, 2.5]
    assert row["range_mm"] == [40.0, 57.5]
    assert (row["files"], row["axes"], row["status"], row["fix"]) == (8, "LPS", "ok", "")
    assert row["transfer_syntax"] == ["1.2.840.10008.1.2.1"]
    assert rows[f"{UID}.22"]["status"] == "repairable"


def test_short_uids_are_long_enough_to_tell_series_apart(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for n, middle in enumerate(("11", "12")):
        write_series(tmp_path / str(n), positions(2), SeriesInstanceUID=f"{UID}.{middle}.1234567890.1234567890")
    names = [line.split()[0] for line in _table(capsys, str(tmp_path))[1:]]
    assert len(set(names)) == 2
    assert all(name.startswith("...") for name in names)
    whole = [line.split()[0] for line in _table(capsys, str(tmp_path), "--uids")[1:]]
    assert whole == [f"{UID}.{middle}.1234567890.1234567890" for middle in ("11", "12")]


def test_each_grid_of_a_mixed_series_has_a_row_and_a_number(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_series(tmp_path / "a", positions(4))
    write_series(tmp_path / "b", positions(3), PixelSpacing=[0.5, 0.5])
    write_series(tmp_path / "c", positions(1), ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"])
    rows = _rows(capsys, str(tmp_path))
    assert [row["series"] for row in rows] == [f"{SERIES_UID}#{n}" for n in (1, 2, 3)]
    assert [row["status"] for row in rows] == ["ok", "ok", "no volume"]


def test_phases_of_one_series_have_a_row_each_that_says_what_tells_them_apart(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_series(tmp_path, positions(4) * 2, change=lambda k, d: setattr(d, "TriggerTime", str(400 * (k // 4))))
    first, second = _table(capsys, str(tmp_path))[1:]
    assert first.split()[0].endswith("#1") and first.endswith(
        "ok: one of several sets at these positions: TriggerTime 0"
    )
    assert second.split()[0].endswith("#2") and second.endswith("TriggerTime 400")


def test_copies_are_offered_an_option_and_different_images_are_not(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_series(tmp_path / "a", positions(3) * 2, shows=[0, 1, 2] * 2)
    write_series(tmp_path / "b", positions(3) * 2, SeriesInstanceUID=f"{UID}.22")
    copies, different = _rows(capsys, str(tmp_path))
    assert (copies["status"], copies["fix"]) == ("repairable", "--on-duplicate keep-lowest")
    assert (different["status"], different["fix"]) == ("refused", "")
    assert "the pixels differ" in str(different["findings"])


def test_a_series_that_lost_its_last_slice_is_listed_with_the_count(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_series(tmp_path, positions(4), NumberOfSeriesRelatedInstances=5)
    assert "ok: 1 of 5 instance(s) of the series are absent" in _table(capsys, str(tmp_path))[1]


def test_deep_decodes_and_names_what_fails(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from pydicom.uid import RLELossless

    path = write_series(tmp_path, positions(4), change=lambda k, d: d.compress(RLELossless))[2]
    assert _rows(capsys, str(tmp_path), "--deep")[0]["hu_range"] == [-24, 330]
    path.write_bytes(path.read_bytes()[:-40])
    assert _rows(capsys, str(tmp_path))[0]["status"] == "ok", "headers alone cannot tell"
    row = _rows(capsys, str(tmp_path), "--deep")[0]
    assert row["status"] == "refused"
    assert "1 of 4 slices cannot be decoded" in row["findings"][0]
    assert str(tmp_path) not in str(row)


def test_paths_are_named_only_when_asked_for(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_series(tmp_path / "SMITH", positions(3))
    (tmp_path / "SMITH" / "bad.dcm").write_text("x")
    text = "\n".join(_table(capsys, str(tmp_path)))
    assert "SMITH" not in text
    assert "1 DICOM file(s) cannot be read" in text
    text = "\n".join(_table(capsys, str(tmp_path), "--paths"))
    assert "SMITH/bad.dcm: not DICOM inside" in text


@pytest.mark.filterwarnings("ignore:The value length")
def test_no_word_about_the_patient_is_printed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def plant(_: int, data: Dataset) -> None:
        for keyword in ("PatientName", "PatientID", "SeriesDescription", "StudyDescription", "ProtocolName"):
            setattr(data, keyword, "CANARY")
        data.BodyPartExamined = data.ConvolutionKernel = "CANARY"
        data.add_new((0x0009, 0x0010), "LO", "CANARY")

    write_series(tmp_path / "a", [(0, 0, z) for z in (0, 1, 1, 5)], change=plant)
    write_series(tmp_path / "b", positions(2), change=plant, Modality="CANARY OF A NAME", SeriesInstanceUID="1.2.3")
    for options in ([], ["--json"], ["--deep"], ["--uids"]):
        assert main([str(tmp_path), *options]) == 0
        printed = capsys.readouterr()
        assert "CANARY" not in printed.out + printed.err
    assert main([str(tmp_path), "--descriptions"]) == 0
    assert "CANARY" in capsys.readouterr().out


def test_a_folder_without_dicom(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a.txt").write_text("x")
    assert main([str(tmp_path)]) == 3
    assert "no DICOM files among 1 files" in capsys.readouterr().err
    assert main([str(tmp_path / "absent")]) == 2


def test_help_is_light() -> None:
    code = "import sys, data_prep.ls as m\ntry: m.main(['--help'])\nexcept SystemExit as e: assert e.code == 0\n"
    code += "sys.exit(any(name in sys.modules for name in ('torch', 'pydicom', 'nibabel', 'scipy', 'numpy')))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("name", "statuses"),
    [
        ("dicom_tilt_ge", {"repairable": 1}),
        ("abdomen_totalseg/example_ct_dicom", {"ok": 1}),
        ("lidc", {"refused": 1}),
        ("dicom_seg_dcmqi", {"ok": 5, "no volume": 5}),
        ("dicom_seg_highdicom", {"refused": 1, "no volume": 7}),
        ("rtstruct_dicompyler", {"refused": 1, "no volume": 1}),
    ],
)
def test_the_real_folders(real_data, capsys: pytest.CaptureFixture[str], name: str, statuses: dict[str, int]) -> None:
    rows = _rows(capsys, str(real_data(name)))
    found = [row["status"] for row in rows]
    assert {status: found.count(status) for status in found} == statuses
    if name == "lidc":
        assert rows[0]["findings"] == [
            "1 of 84 slices: 51078 bytes of pixel data, expected 524288; the file is cut off"
        ]
    if name == "dicom_tilt_ge":
        assert rows[0]["fix"] == "--on-tilt shear --on-gap resample"
