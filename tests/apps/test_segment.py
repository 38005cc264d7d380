"""``medseg segment`` from end to end with a tiny bundle whose right answer is known voxel by voxel."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest

from medseg.apps.cli import main
from medseg.geometry import make_affine
from medseg.inference.outputs.folder import RESULT_FILES
from medseg.io.volumes.nifti import read_nifti, write_nifti
from tests.inference._tiny_bundle import THRESHOLD_HU, make_tiny_bundle

SHAPE = (20, 24, 18)


def ball_in_air() -> np.ndarray:
    """Int16 HU: noise around 40, a bright ellipsoid off the centre, air around."""
    grid = np.indices(SHAPE).transpose(1, 2, 3, 0).astype(float)
    array = np.random.default_rng(1).normal(40, 5, SHAPE)
    array[:, :2] = -1000
    array[(((grid - (6, 15, 8)) / (3, 4, 5)) ** 2).sum(axis=-1) <= 1] = 200
    return array.astype(np.int16)


def odd_case(path: Path, codes: str = "PSR") -> Path:
    """A NIfTI file with permuted, flipped and oblique axes, and codes 2 and 1."""
    affine = make_affine((0.8, 2.5, 1.3), (-31.0, 12.0, 55.0), codes)
    tilt = np.deg2rad(9)
    turn = np.eye(4)
    turn[:2, :2] = [[np.cos(tilt), -np.sin(tilt)], [np.sin(tilt), np.cos(tilt)]]
    image = nib.Nifti1Image(ball_in_air(), turn @ affine)
    image.set_sform(image.affine, code=2)
    image.set_qform(image.affine, code=1)
    image.header.set_xyzt_units("mm")
    nib.save(image, path)
    return path


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    return make_tiny_bundle(tmp_path / "bundle")


def segment(case: Path, out: Path, bundle: Path, *more: str) -> int:
    return main(["segment", "-i", str(case), "-o", str(out), "--bundle", str(bundle), "--device", "cpu", *more])


def load(path: Path) -> Any:
    return json.loads(path.read_text())


@pytest.mark.parametrize("codes", ["PSR", "LAS"])
def test_the_mask_is_right_and_lies_exactly_on_the_inputs_grid(tmp_path: Path, bundle: Path, codes: str) -> None:
    case = odd_case(tmp_path / "case.nii.gz", codes)
    assert segment(case, tmp_path / "out", bundle) == 0
    source, result = nib.load(case), nib.load(tmp_path / "out" / "seg.nii.gz")
    np.testing.assert_array_equal(np.asarray(result.dataobj), ball_in_air() > THRESHOLD_HU)
    np.testing.assert_array_equal(result.affine, source.affine)
    for field in ("sform_code", "qform_code", "srow_x", "srow_y", "srow_z", "quatern_b", "pixdim", "xyzt_units"):
        np.testing.assert_array_equal(result.header[field], source.header[field], err_msg=field)
    assert result.get_data_dtype() == np.uint8


def test_all_results_are_there_and_agree(tmp_path: Path, bundle: Path) -> None:
    case = odd_case(tmp_path / "case.nii.gz")
    assert segment(case, tmp_path / "out", bundle) == 0
    out = tmp_path / "out"
    assert sorted(entry.name for entry in out.iterdir()) == sorted(RESULT_FILES)
    target = ball_in_air() > THRESHOLD_HU
    entry = load(out / "statistics.json")["classes"][0]
    assert entry["name"] == "bright tissue"
    assert entry["n_voxels"] == target.sum()
    assert entry["volume_ml"] == pytest.approx(target.sum() * 0.8 * 2.5 * 1.3 / 1000, rel=1e-5)
    assert entry["hu"]["mean"] == 200.0
    report = load(out / "run.json")
    for output in report["outputs"]:
        content = (out / output["path"]).read_bytes()
        assert (output["sha256"], output["bytes"]) == (hashlib.sha256(content).hexdigest(), len(content))
    assert {output["path"] for output in report["outputs"]} == set(RESULT_FILES) - {"run.json"}
    weights = (bundle / "models" / "model.pt").read_bytes()
    assert report["weights_sha256"] == hashlib.sha256(weights).hexdigest()
    assert report["bundle"] == {"name": "tiny_threshold", "version": "0.1.0"}
    assert report["device"]["device"] == "cpu"
    assert report["peak_rss_bytes"] > 50 << 20
    assert list(report["stage_seconds"]) == ["read case", "run bundle", "measure", "draw preview", "write report"]
    assert "python -m monai.bundle run" in report["equivalent_command"]


def test_reports_and_log_do_not_carry_the_cases_name_or_path(tmp_path: Path, bundle: Path) -> None:
    folder = tmp_path / "ward7"
    folder.mkdir()
    assert segment(odd_case(folder / "MUSTERMANN_ERIKA.nii.gz"), tmp_path / "out", bundle) == 0
    for name in ("run.json", "statistics.json", "report.html", "medseg.log"):
        text = (tmp_path / "out" / name).read_text()
        assert "MUSTERMANN" not in text, name
        assert "ward7" not in text, name
    assert "stage: measure" in (tmp_path / "out" / "medseg.log").read_text()


def test_plain_stage_lines_go_to_stderr_and_the_result_to_stdout(
    tmp_path: Path, bundle: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    case = odd_case(tmp_path / "case.nii")
    assert segment(case, tmp_path / "out", bundle) == 0
    out, err = capfd.readouterr()
    lines = [line for line in err.splitlines() if line.startswith("[")]
    assert [line.split("]")[0] for line in lines] == [f"[{n}/5" for n in range(1, 6)]
    assert "Traceback" not in err
    assert "bright tissue:" in out
    assert segment(case, tmp_path / "out", bundle, "--overwrite", "--quiet") == 0
    assert capfd.readouterr() == ("", "")


def test_the_html_report_agrees_with_the_statistics_and_can_be_left_out(tmp_path: Path, bundle: Path) -> None:
    case, folder = odd_case(tmp_path / "case.nii"), tmp_path / "out"
    assert segment(case, folder, bundle, "--quiet") == 0
    text = (folder / "report.html").read_text()
    entry, run = load(folder / "statistics.json")["classes"][0], load(folder / "run.json")
    assert f"<td>{entry['volume_ml']:.2f}</td>" in text
    assert run["weights_sha256"] in text
    assert segment(case, folder, bundle, "--quiet", "--no-report", "--overwrite") == 0
    left = {path.name for path in folder.iterdir()}
    assert left == set(RESULT_FILES) - {"report.html"}
    assert {output["path"] for output in load(folder / "run.json")["outputs"]} == left - {"run.json"}
    assert segment(case, folder, bundle, "--quiet", "--overwrite") == 0


def test_json_alone_is_printed_on_stdout_and_agrees_with_the_files(
    tmp_path: Path, bundle: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    case, folder = odd_case(tmp_path / "case.nii"), tmp_path / "out"
    assert segment(case, folder, bundle, "--json") == 0
    out, err = capfd.readouterr()
    printed = json.loads(out)
    assert err.startswith("[1/")
    assert printed["output"] == str(folder)
    assert printed["statistics"] == load(folder / "statistics.json")
    assert printed["warnings"] == load(folder / "run.json")["warnings"]
    assert {entry["path"] for entry in printed["files"]} == {path.name for path in folder.iterdir()}
    for entry in printed["files"]:
        assert entry["sha256"] == hashlib.sha256((folder / entry["path"]).read_bytes()).hexdigest()
    assert segment(case, folder, bundle, "--json", "--quiet", "--overwrite") == 0
    out, err = capfd.readouterr()
    assert (json.loads(out)["statistics"], err) == (printed["statistics"], "")
    assert segment(case, folder, bundle, "--json", "--dry-run", "--overwrite") == 2
    assert "leave one of them out" in capfd.readouterr().err


def test_an_earlier_result_needs_overwrite(tmp_path: Path, bundle: Path, capsys: pytest.CaptureFixture[str]) -> None:
    case = odd_case(tmp_path / "case.nii")
    assert segment(case, tmp_path / "out", bundle) == 0
    before = load(tmp_path / "out" / "run.json")["started_at"]
    assert segment(case, tmp_path / "out", bundle) == 2
    assert "--overwrite" in capsys.readouterr().err
    assert load(tmp_path / "out" / "run.json")["started_at"] == before


def test_a_failure_in_the_bundle_leaves_no_result_and_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    broken = make_tiny_bundle(tmp_path / "broken", run=["$@evaluator.run()", "$1 / 0"])
    case = odd_case(tmp_path / "case.nii")
    assert segment(case, tmp_path / "out", broken, "--quiet") == 1
    assert capsys.readouterr().err == "error: ZeroDivisionError: division by zero\n"
    assert not (tmp_path / "out").exists()
    assert not list(tmp_path.glob(".out*"))
    assert segment(case, tmp_path / "out", broken, "--quiet", "--traceback") == 1
    assert "Traceback" in capsys.readouterr().err


def test_a_failed_overwrite_says_where_the_earlier_result_is(
    tmp_path: Path, bundle: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    case = odd_case(tmp_path / "case.nii")
    assert segment(case, tmp_path / "out", bundle, "--quiet") == 0
    broken = make_tiny_bundle(tmp_path / "broken", run=["$1 / 0"])
    assert segment(case, tmp_path / "out", broken, "--overwrite") == 1
    assert f"the earlier result is kept in {tmp_path / 'out.previous'}" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
    assert (tmp_path / "out.previous" / "seg.nii.gz").is_file()


def test_a_bundle_that_writes_no_mask_or_unknown_classes_fails(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    case = odd_case(tmp_path / "case.nii")
    silent = make_tiny_bundle(tmp_path / "silent", run=["$None"])
    assert segment(case, tmp_path / "out", silent, "--quiet") == 1
    assert "without writing seg.nii.gz" in capsys.readouterr().err
    unnamed = make_tiny_bundle(tmp_path / "unnamed")
    text = (unnamed / "configs" / "metadata.json").read_text().replace('"1": "bright', '"2": "bright')
    (unnamed / "configs" / "metadata.json").write_text(text)
    assert segment(case, tmp_path / "out", unnamed, "--quiet") == 1
    assert "holds the value 1" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_missing_weights_say_how_to_get_them(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bare = make_tiny_bundle(tmp_path / "bare", weights=False)
    (bare / "configs" / "train.json").write_text("{}")
    case = odd_case(tmp_path / "case.nii")
    assert segment(case, tmp_path / "out", bare) == 2
    line = capsys.readouterr().err
    for hint in ("train.json", "make demo", "--weights FILE"):
        assert hint in line
    assert segment(case, tmp_path / "out", bare, "--weights", str(tmp_path / "none.pt")) == 2


def test_weights_of_another_network_fail_with_one_line(
    tmp_path: Path, bundle: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import torch

    torch.save({"other": torch.zeros(1)}, tmp_path / "other.pt")
    case = odd_case(tmp_path / "case.nii")
    assert segment(case, tmp_path / "out", bundle, "--quiet", "--weights", str(tmp_path / "other.pt")) == 1
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert "weights of another network" in err


def test_a_dry_run_prints_the_plan_and_writes_nothing(
    tmp_path: Path, bundle: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    case = odd_case(tmp_path / "case.nii")
    before = sorted(tmp_path.rglob("*"))
    assert segment(case, tmp_path / "out", bundle, "--dry-run") == 0
    plan = capsys.readouterr().out
    for words in (
        "20 x 24 x 18 voxels",
        "PSR",
        "bright tissue",
        "python -m monai.bundle run",
        "<CASE>/case.nii",
        "GiB",
    ):
        assert words in plan
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("top", [None, "bundle"], ids=["at the top", "in a folder"])
def test_a_bundle_in_an_archive_gives_the_results_of_its_folder(
    tmp_path: Path,
    bundle: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    top: str | None,
) -> None:
    case = odd_case(tmp_path / "case.nii.gz")
    archive = Path(shutil.make_archive(str(tmp_path / "packed"), "zip", tmp_path if top else bundle, top))
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(temporary))
    assert segment(case, tmp_path / "a", bundle) == 0
    assert segment(case, tmp_path / "b", archive) == 0
    assert (tmp_path / "b/seg.nii.gz").read_bytes() == (tmp_path / "a/seg.nii.gz").read_bytes()
    assert load(tmp_path / "b/statistics.json") == load(tmp_path / "a/statistics.json")
    report = load(tmp_path / "b/run.json")
    assert report["weights_sha256"] == load(tmp_path / "a/run.json")["weights_sha256"]
    assert "--config_file BUNDLE/configs/inference.json" in report["equivalent_command"]
    assert "--weights BUNDLE/models/model.pt" in report["equivalent_command"]
    assert not [path for path in (tmp_path / "b").glob("*.*") if str(temporary).encode() in path.read_bytes()]
    assert segment(case, tmp_path / "c", archive, "--dry-run") == 0
    assert "weights:  BUNDLE/models/model.pt" in (plan := capsys.readouterr().out)
    assert str(temporary) not in plan
    assert not list(temporary.iterdir()), "nothing of an archive stays behind"


def test_an_archive_without_weights_does_not_advise_training_in_a_folder_that_is_gone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = make_tiny_bundle(tmp_path / "bundle", weights=False)
    (folder / "configs/train.json").write_text("{}")
    archive = Path(shutil.make_archive(str(tmp_path / "packed"), "gztar", folder))
    assert segment(odd_case(tmp_path / "case.nii.gz"), tmp_path / "out", archive) == 2
    text = capsys.readouterr().err
    assert "packed.tar.gz/models/model.pt: no weights there" in text
    assert "monai.bundle run" not in text


def test_data_that_cannot_be_trusted_exit_with_3(
    tmp_path: Path, bundle: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    image = nib.Nifti1Image(ball_in_air(), np.eye(4))
    image.set_sform(None, code=0)
    image.set_qform(None, code=0)
    nib.save(image, tmp_path / "no_orientation.nii")
    assert segment(tmp_path / "no_orientation.nii", tmp_path / "out", bundle, "--quiet") == 3
    assert "sform and qform" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_too_little_memory_is_refused_before_the_run(
    tmp_path: Path, bundle: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("medseg.inference.segment_case.available_memory", lambda: 1000)
    assert segment(odd_case(tmp_path / "case.nii"), tmp_path / "out", bundle, "--quiet") == 5
    assert "0.0 GiB are free" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_limit_of_memory_is_kept_before_the_run(
    tmp_path: Path, bundle: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    case = odd_case(tmp_path / "case.nii")
    assert segment(case, tmp_path / "out", bundle, "--quiet", "--max-memory", "0.1") == 5
    assert "GiB, more than the limit of 0.10 GiB (--max-memory" in capsys.readouterr().err
    assert segment(case, tmp_path / "out", bundle, "--quiet", "--max-memory", "0") == 2
    assert "expected a number of GiB above 0" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
    assert segment(case, tmp_path / "out", bundle, "--quiet", "--max-memory", "64") == 0


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_the_precision_of_the_network_is_recorded(tmp_path: Path, bundle: Path, precision: str) -> None:
    case = odd_case(tmp_path / "case.nii")
    assert segment(case, tmp_path / "out", bundle, "--quiet", "--precision", precision) == 0
    report = json.loads((tmp_path / "out" / "run.json").read_text())
    assert report["precision"] == precision


def test_as_a_process_nothing_but_results_is_printed(tmp_path: Path, bundle: Path) -> None:
    case = odd_case(tmp_path / "case.nii")
    arguments = ["segment", "-i", str(case), "-o", str(tmp_path / "out"), "--bundle", str(bundle), "--device", "cpu"]
    done = subprocess.run([sys.executable, "-m", "medseg", *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0
    names = ["read case", "run bundle tiny_threshold on cpu", "measure", "draw preview", "write report"]
    assert done.stderr.splitlines() == [f"[{n}/5] {name}" for n, name in enumerate(names, 1)]
    assert done.stdout.splitlines()[-1] == f"results in {tmp_path / 'out'}"
    assert len(done.stdout.splitlines()) == 2


def test_an_empty_mask_is_a_result_with_a_warning(tmp_path: Path, bundle: Path) -> None:
    array = np.minimum(ball_in_air(), 60)
    case = write_nifti(tmp_path / "case.nii", array, make_affine((1, 1, 1)))
    assert segment(case, tmp_path / "out", bundle) == 0
    assert "no voxel was labelled bright tissue" in load(tmp_path / "out" / "run.json")["warnings"]
    assert not np.asarray(read_nifti(tmp_path / "out" / "seg.nii.gz").array).any()


def test_a_dicom_folder_gives_the_mask_of_its_own_voxels(tmp_path: Path, bundle: Path, real_data) -> None:
    from medseg.io.ct.series import read_series

    folder = real_data("abdomen_totalseg/example_ct_dicom")
    assert segment(folder, tmp_path / "out", bundle, "--quiet") == 0
    series, mask = read_series(folder), read_nifti(tmp_path / "out" / "seg.nii.gz")
    np.testing.assert_array_equal(mask.array, series.array > THRESHOLD_HU)
    np.testing.assert_allclose(mask.affine_ras, series.affine_ras, atol=1e-4)
    report = load(tmp_path / "out" / "run.json")
    assert report["input"]["kind"] == "dicom"
    assert not any(uid in json.dumps(report) for uid in series.sop_instance_uids)
