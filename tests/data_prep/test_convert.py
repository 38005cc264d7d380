from __future__ import annotations

import gzip
import json
import shutil
import subprocess
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from pydicom.dataset import Dataset
from pydicom.valuerep import DSfloat

from data_prep.convert import main
from medseg.geometry import corner_displacement_mm
from medseg.io.ct.series import read_series
from medseg.io.ct.sidecar import voxel_sha256
from tests.io._dicom_files import SERIES_UID, positions, stored_pixels, write_series
from tests.io._refused_access import refuse_access

_TEXT_TAGS = (
    "PatientName",
    "PatientID",
    "PatientComments",
    "InstitutionName",
    "InstitutionAddress",
    "StationName",
    "OperatorsName",
    "ReferringPhysicianName",
    "AccessionNumber",
    "StudyID",
    "StudyDescription",
    "SeriesDescription",
    "ImageComments",
    "DeviceSerialNumber",
    "ProtocolName",
    "AcquisitionDeviceProcessingDescription",
)


@pytest.fixture
def series(tmp_path: Path) -> Path:
    write_series(tmp_path / "dicom", positions(4), ConvolutionKernel="B31f", KVP=120)
    return tmp_path / "dicom"


def _error(capsys: pytest.CaptureFixture[str]) -> str:
    text = capsys.readouterr().err
    assert text.startswith("error: ")
    assert text.count("\n") == 1
    return text


def test_a_folder_gets_the_image_and_its_sidecar(series: Path, tmp_path: Path) -> None:
    assert main([str(series), str(tmp_path / "out")]) == 0
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["ct.json", "ct.nii.gz"]
    image = nib.load(tmp_path / "out" / "ct.nii.gz")
    assert image.get_data_dtype() == np.int16
    assert np.array_equal(np.asarray(image.dataobj)[:, :, 2], (stored_pixels(2) - 1024).T)
    assert corner_displacement_mm(image.affine, read_series(series).affine_ras, image.shape) < 1e-5
    assert (int(image.header["sform_code"]), int(image.header["qform_code"])) == (1, 1)


def test_a_file_name_is_taken_as_it_is(series: Path, tmp_path: Path) -> None:
    assert main([str(series), str(tmp_path / "case7.nii.gz")]) == 0
    assert (tmp_path / "case7.json").is_file()
    assert (tmp_path / "case7.nii.gz").is_file()


def test_the_sidecar_tells_recorded_thickness_from_true_spacing(series: Path, tmp_path: Path) -> None:
    main([str(series), str(tmp_path / "out")])
    facts = json.loads((tmp_path / "out" / "ct.json").read_text())
    assert facts["spacing_mm"] == [0.6, 0.7, 2.5]
    assert facts["slice_thickness_recorded_mm"] == 9.0
    assert facts["orientation"] == "LPS"
    assert facts["kernel"] == ["B31f"]
    assert facts["kvp"] == 120
    assert facts["rescale"] == [{"slope": 1.0, "intercept": -1024.0}]
    assert facts["transfer_syntax"][0]["name"] == "Explicit VR Little Endian"
    assert facts["series_instance_uid"] == SERIES_UID
    assert facts["sop_instance_uids"] == list(read_series(series).sop_instance_uids)
    assert facts["slice_positions_mm"] == [40.0, 42.5, 45.0, 47.5]
    assert facts["voxel_sha256"] == voxel_sha256(np.asarray(nib.load(tmp_path / "out" / "ct.nii.gz").dataobj))


def test_json_prints_the_sidecar(series: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main([str(series), str(tmp_path / "out"), "--json"])
    assert json.loads(capsys.readouterr().out) == json.loads((tmp_path / "out" / "ct.json").read_text())


def test_nothing_is_overwritten_without_leave(series: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "ct.nii.gz").write_text("precious")
    assert main([str(series), str(out)]) == 2
    assert "--overwrite" in _error(capsys)
    assert (out / "ct.nii.gz").read_text() == "precious"
    assert main([str(series), str(out), "--overwrite"]) == 0
    assert nib.load(out / "ct.nii.gz").shape == (5, 6, 4)


def test_after_a_refusal_nothing_exists(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_series(tmp_path / "dicom", [(0, 0, 0), (0, 0, 1), (0, 0, 3)])
    assert main([str(tmp_path / "dicom"), str(tmp_path / "deep" / "out")]) == 3
    assert "1 slice(s) missing" in _error(capsys)
    assert not (tmp_path / "deep").exists()


def test_several_series_need_a_choice(series: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_series(series / "other", positions(2), SeriesInstanceUID="1.2.3.4")
    assert main([str(series), str(tmp_path / "out")]) == 3
    assert "--series UID" in _error(capsys)
    assert main([str(series), str(tmp_path / "out"), "--series", "1.2.3.4"]) == 0


def test_a_missing_input_is_wrong_usage(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(tmp_path / "absent"), str(tmp_path / "out")]) == 2
    assert "no such folder" in _error(capsys)
    with pytest.raises(SystemExit) as left:
        main(["only-one"])
    assert left.value.code == 2
    _error(capsys)


def test_a_failed_write_is_a_run_time_failure(series: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("in the way")
    assert main([str(series), str(tmp_path / "file" / "out")]) == 1
    _error(capsys)


@pytest.mark.filterwarnings("ignore:The value length")
def test_no_word_about_the_patient_leaves_the_dicom_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    canary = "CANARY"

    def plant(_: int, data: Dataset) -> None:
        for keyword in _TEXT_TAGS:
            setattr(data, keyword, canary)
        for keyword in ("PatientBirthDate", "StudyDate", "SeriesDate", "AcquisitionDate"):
            setattr(data, keyword, "19770707")
        data.ConvolutionKernel = f"{canary}: a kernel has no colon"
        item = Dataset()
        item.PatientName = canary
        data.ReferencedPatientSequence = [item]
        data.add_new((0x0009, 0x0010), "LO", canary)
        data.add_new((0x0009, 0x1001), "UT", canary)

    write_series(tmp_path / "dicom", positions(3), change=plant)
    assert main([str(tmp_path / "dicom"), str(tmp_path / "out")]) == 0
    printed = capsys.readouterr()
    voxels = gzip.decompress((tmp_path / "out" / "ct.nii.gz").read_bytes())
    sidecar = (tmp_path / "out" / "ct.json").read_bytes()
    for text in (voxels, sidecar, (printed.out + printed.err).encode()):
        assert canary.encode() not in text
        assert b"19770707" not in text


def test_help_is_light() -> None:
    code = "import sys, data_prep.{0} as m\ntry: m.main(['--help'])\nexcept SystemExit as e: assert e.code == 0\n"
    code += "sys.exit(any(name in sys.modules for name in ('torch', 'pydicom', 'nibabel', 'scipy')))"
    for name in ("convert", "dataset", "lidc"):
        done = subprocess.run([sys.executable, "-c", code.format(name)], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        assert "exit codes: 0" in done.stdout


def test_a_real_abdomen_has_its_true_spacing(real_data, tmp_path: Path) -> None:
    assert main([str(real_data("abdomen_totalseg/example_ct_dicom")), str(tmp_path / "out")]) == 0
    facts = json.loads((tmp_path / "out" / "ct.json").read_text())
    assert facts["spacing_mm"][2] == 2.0
    assert facts["slice_thickness_recorded_mm"] == 3.0
    assert facts["transfer_syntax"][0]["uid"] == "1.2.840.10008.1.2.4.90"
    assert len(set(facts["sop_instance_uids"])) == 20


def test_a_real_tilted_head_is_refused(real_data, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(real_data("dicom_tilt_ge")), str(tmp_path / "out")]) == 3
    text = _error(capsys)
    assert "18.5 degrees" in text
    assert "4.002 / 1.081 / 6.999" in text
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("what", ["header", "pixels", "folder"])
def test_slices_that_may_not_be_read_are_one_line_in_words(
    series: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    path = sorted(series.iterdir())[1]
    if what == "folder":
        (series / "SMITH").mkdir()
        path = path.rename(series / "SMITH" / "IM1").parent
    if what == "pixels":
        from medseg.io.ct import scan
        from medseg.io.ct import series as reader

        listing = scan.list_series(series)
        monkeypatch.setattr(reader, "list_series", lambda *_: listing)
    refuse_access(monkeypatch, path)
    assert main([str(series), str(tmp_path / "out")]) == 3
    text = _error(capsys)
    assert "permission denied; ask its owner for access" in text
    assert ("folder cannot be listed" in text) == (what == "folder")
    for raw in ("Errno", "PosixPath", "hidden)", "SMITH", "fetch"):
        assert raw not in text.removesuffix("(names are hidden; --show-names shows them)\n")
    assert not (tmp_path / "out").exists()


def test_many_like_warnings_are_one_line_that_says_where_all_are(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    paths = write_series(tmp_path / "dicom", positions(7))
    for path in paths[:6]:
        shutil.copy(path, path.with_name(f"IM{path.name.rpartition('_')[2]}00"))
    out = tmp_path / "out"
    assert main([str(tmp_path / "dicom"), str(out), "--on-duplicate", "keep-lowest"]) == 0
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("warning: left out ")]
    assert len(lines) == 1
    assert lines[0].endswith(f"is kept (and 5 more like it, all in {out / 'ct.json'})")
    facts = json.loads((out / "ct.json").read_text())
    assert sum(line.startswith("left out ") for line in facts["warnings"]) == len(facts["left_out"]) == 6


def test_a_series_that_lost_its_last_slice_is_converted_with_the_count(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_series(tmp_path / "dicom", positions(4), NumberOfSeriesRelatedInstances=5)
    assert main([str(tmp_path / "dicom"), str(tmp_path / "out")]) == 0
    assert "warning: 1 of 5 instance(s) of the series are absent" in capsys.readouterr().err
    assert "1 of 5" in str(json.loads((tmp_path / "out" / "ct.json").read_text())["warnings"])


def test_a_contradiction_of_the_header_is_warned_of_with_both_figures(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_series(tmp_path / "dicom", positions(4), SpacingBetweenSlices=5.0)
    assert main([str(tmp_path / "dicom"), str(tmp_path / "out")]) == 0
    assert "SpacingBetweenSlices is 5 mm, but the positions are 2.5 mm apart" in capsys.readouterr().err


@pytest.mark.parametrize("value", ["nan", "inf", "-inf"])
@pytest.mark.parametrize("tag", ["RescaleSlope", "RescaleIntercept"])
def test_a_rescaling_that_would_give_values_that_are_not_finite_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], tag: str, value: str
) -> None:
    """The only way to such values: stored pixels are whole numbers, and so are the HU written."""

    def change(k: int, data: Dataset) -> None:
        if k == 1:
            data[tag].value = DSfloat(value, validation_mode=0)

    write_series(tmp_path / "dicom", positions(4), change=change)
    assert main([str(tmp_path / "dicom"), str(tmp_path / "out")]) == 3
    assert f"{tag} is {value}, expected 1 finite number(s)" in _error(capsys)
    assert not (tmp_path / "out").exists()
