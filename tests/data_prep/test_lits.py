"""The LiTS commands: whole folders are converted, doubtful cases refused, and results brought back to their grids."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from monai.data import load_decathlon_datalist
from skimage.io import imread

from data_prep.lits import main
from data_prep.lits_restore import main as restore
from medseg.io.volumes.nifti import read_nifti, write_nifti
from tests.datasets.lits._synthetic import phantom, write, write_flipped_label, write_pair


def run(*words: object) -> int:
    return main([str(word) for word in words])


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Synthetic volumes 2, 10, 50 (label header reversed) and 105 (no tumour), and test volume 59 (permuted)."""
    folder = tmp_path_factory.mktemp("lits")
    write_pair(folder / "batch 1", 10)
    write_pair(folder / "batch 1", 2, orientation="LPS")
    write_flipped_label(folder / "batch 2", 50)
    write_pair(folder / "batch 2", 105, n_tumours=0)
    case = phantom(0, "RSA")
    write(folder / "test" / "test-volume-59.nii", case.image[..., None], case.affine_ras)
    return folder


@pytest.fixture(scope="module")
def converted(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("out") / "lits"
    assert run("--images", source, "--out", out) == 0
    return out


def load(path: Path) -> dict:  # type: ignore[type-arg]
    return json.loads(path.read_text())  # type: ignore[no-any-return]


def test_everything_named_in_the_help_is_written(converted: Path) -> None:
    names = {str(path.relative_to(converted)) for path in converted.rglob("*") if path.is_file()}
    cases = ["volume-2", "volume-10", "volume-50", "volume-105", "test-volume-59"]
    assert names == {
        *(f"images/{case}.{suffix}" for case in cases for suffix in ("nii.gz", "json")),
        *(f"labels/{case}.nii.gz" for case in cases[:-1]),
        *("dataset.json", "report.json", "fingerprint.json", "fingerprint.png"),
    }


@pytest.mark.trap("4.4-07")
def test_the_list_is_in_numeric_order_and_monai_reads_it(converted: Path) -> None:
    path = str(converted / "dataset.json")
    training = load_decathlon_datalist(path, True, "training")
    assert [Path(item["image"]).name for item in training] == [f"volume-{n}.nii.gz" for n in (2, 10, 50, 105)]
    assert all(Path(item[key]).is_file() for item in training for key in ("image", "label"))
    assert [item["patient"] for item in training] == [f"LiTS {n}" for n in (2, 10, 50, 105)]
    test = load_decathlon_datalist(path, True, "test")
    assert [Path(item["image"]).name for item in test] == ["test-volume-59.nii.gz"]
    content = load(converted / "dataset.json")
    assert content["labels"] == {"0": "background", "1": "liver", "2": "tumour"}
    assert (content["numTraining"], content["numTest"]) == (4, 1)
    assert not any("fold" in item for item in content["training"])  # four cases make no five folds
    assert content["provenance"]["tumour_free"] == ["volume-105"]


def test_images_and_labels_are_the_phantoms_on_one_grid(converted: Path) -> None:
    for number, orientation in ((2, "LPS"), (10, "LAS"), (50, "LAS")):
        case = phantom(0, orientation)
        image = read_nifti(converted / "images" / f"volume-{number}.nii.gz")
        label = read_nifti(converted / "labels" / f"volume-{number}.nii.gz")
        np.testing.assert_array_equal(image.array, case.image)
        np.testing.assert_array_equal(label.array, case.label)
        np.testing.assert_array_equal(image.affine_ras, label.affine_ras)
        np.testing.assert_allclose(image.affine_ras, case.affine_ras, atol=1e-4)


@pytest.mark.trap("4.4-03")
@pytest.mark.trap("4.4-05")
def test_every_change_is_in_record_report_and_on_the_terminal(
    converted: Path, source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    changes = {row["case"]: row["changes"] for row in load(converted / "report.json")["written"]}
    assert changes["volume-10"] == []
    assert changes["volume-50"] == ["index_aligned"]
    assert changes["test-volume-59"] == ["reorder_to_ras", "squeeze"]
    assert load(converted / "images" / "test-volume-59.json")["changes"][0]["found"] == {"orientation": "RSA"}
    assert load(converted / "images" / "volume-50.json")["changes"][0]["rule"] == "index_aligned"
    assert run("--images", source, "--out", tmp_path / "again", "--json") == 0
    printed = capsys.readouterr()
    assert json.loads(printed.out) == load(converted / "report.json")
    assert "warning: volume-50: label header replaced by the image's" in printed.err
    assert "warning: test-volume-59: slices are not stacked along the body" in printed.err


def test_the_fingerprint_covers_the_labelled_cases(converted: Path) -> None:
    found = load(converted / "fingerprint.json")
    assert found["number_of_cases"] == 4
    case = phantom()
    every = [phantom(0, n_tumours=count) for count in (3, 3, 3, 0)]
    voxels = np.concatenate([item.image[item.label > 0] for item in every])
    assert found["foreground_hu"]["voxels"] == voxels.size
    assert found["foreground_hu"]["percentile_99_5"] == pytest.approx(np.percentile(voxels, 99.5), abs=1e-3)
    assert found["volumes_ml"]["liver"]["largest"] > 1000
    assert found["parts"]["tumour"]["cases_without"] == 1
    assert found["spacing_mm"]["median"] == [7.5, 7.5, 7.5]
    assert case.label.max() == 2
    assert imread(converted / "fingerprint.png").shape[0] > 500


@pytest.mark.trap("4.4-01")
def test_a_doubtful_case_is_refused_and_the_others_are_written(
    source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_pair(tmp_path / "in", 1)
    case = phantom()
    write(tmp_path / "in" / "volume-31.nii", case.image, np.eye(4))
    write(tmp_path / "in" / "segmentation-31.nii", case.label, np.eye(4))
    assert run("--images", tmp_path / "in", "--out", tmp_path / "out") == 4
    err = capsys.readouterr().err
    assert err.startswith("refused: volume-31: the header is the identity placeholder, but the image has")
    report = load(tmp_path / "out" / "report.json")
    assert [row["case"] for row in report["written"]] == ["volume-1"]
    assert [row["case"] for row in report["refused"]] == ["volume-31"]
    assert load(tmp_path / "out" / "dataset.json")["provenance"]["refused"] == ["volume-31"]


def test_a_fold_becomes_the_validation_list(source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--images", source, "--out", tmp_path / "o", "--folds", 2, "--validation-fold", 1) == 0
    content = load(tmp_path / "o" / "dataset.json")
    assert {item["fold"] for item in content["training"]} == {0}
    assert {item["fold"] for item in content["validation"]} == {1}
    assert content["numTraining"] == len(content["training"]) < 4
    path = str(tmp_path / "o" / "dataset.json")
    read = [item for key in ("training", "validation") for item in load_decathlon_datalist(path, True, key)]
    assert {Path(item["image"]).name for item in read} == {f"volume-{n}.nii.gz" for n in (2, 10, 50, 105)}
    capsys.readouterr()
    assert run("--images", source, "--out", tmp_path / "p", "--validation-fold", 1) == 3
    assert "4 labelled case(s) cannot be divided into 5 folds" in capsys.readouterr().err
    assert not (tmp_path / "p").exists()


def test_if_every_case_is_refused_nothing_is_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    case = phantom()
    write(tmp_path / "in" / "test-volume-1.nii", case.image, np.eye(4))
    assert run("--images", tmp_path / "in", "--out", tmp_path / "out") == 3
    err = capsys.readouterr().err
    assert err.startswith("error: test-volume-1: the header is the identity")
    assert err.count("\n") == 1
    assert not (tmp_path / "out").exists()


@pytest.mark.trap("4.4-06")
def test_an_external_test_set_with_the_same_patients_is_refused(
    source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = tmp_path / "dataset.json"
    other.write_text(json.dumps({"test": ["imagesTs/liver_140.nii.gz"]}))
    assert run("--images", source, "--out", tmp_path / "out", "--external", other) == 3
    assert "liver_140 is not an external case" in capsys.readouterr().err
    other.write_text(json.dumps({"training": [{"image": "amos_0001.nii.gz"}]}))
    assert run("--images", source, "--out", tmp_path / "out", "--external", other) == 0


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--images", "nowhere"], "no such folder"),
        (["--min-tumour-ml", "-1"], "expected a volume from 0"),
        (["--folds", "1"], "expected at least 2 folds"),
        (["--folds", "2", "--validation-fold", "2"], "--validation-fold is 2, expected 0 to 1"),
    ],
)
def test_wrong_usage_is_one_line(
    source: Path, tmp_path: Path, words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("--images", source, "--out", tmp_path / "out", *words) == 2
    err = capsys.readouterr().err
    assert message in err
    assert err.count("\n") == 1


@pytest.mark.trap("4.4-05")
def test_a_result_goes_back_onto_the_permuted_source_grid(
    converted: Path, source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    case = phantom(0, "RSA")
    image = read_nifti(converted / "images" / "test-volume-59.nii.gz")
    result = tmp_path / "result.nii.gz"
    write_nifti(result, (image.array > 50).astype(np.uint8), image.affine_ras)
    record, out = converted / "images" / "test-volume-59.json", tmp_path / "back.nii.gz"
    assert restore([str(result), "--record", str(record), "--out", str(out)]) == 0
    back = read_nifti(out)
    np.testing.assert_array_equal(back.array, case.image > 50)
    np.testing.assert_array_equal(back.affine_ras, read_nifti(source / "test" / "test-volume-59.nii").affine_ras)
    assert "on the grid of test-volume-59.nii" in capsys.readouterr().out


def test_a_result_of_another_grid_or_a_record_of_something_else_is_refused(
    converted: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    record, out = converted / "images" / "test-volume-59.json", tmp_path / "back.nii.gz"
    other = write_nifti(tmp_path / "other.nii.gz", np.zeros((3, 4, 5), np.uint8), np.eye(4))
    for result, given, code, message in (
        (other, record, 3, "does not lie on the grid of test-volume-59"),
        (other, converted / "report.json", 3, "is no case record"),
        (other, other, 3, "cannot be read as JSON"),
        (tmp_path / "none.nii", record, 3, "no such file"),
    ):
        assert restore([str(result), "--record", str(given), "--out", str(out)]) == code
        assert message in capsys.readouterr().err
    assert restore([str(other), "--record", str(record), "--out", str(tmp_path / "x.png")]) == 2
    assert not out.exists()


def test_cases_without_a_partner_are_refused_by_themselves_and_cases_can_be_chosen(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for number in (1, 2, 3):
        write_pair(tmp_path / "in", number)
    (tmp_path / "in" / "segmentation-2.nii").unlink()
    (tmp_path / "in" / "segmentation-3.nii").write_bytes(b"cut")
    words = ["--images", tmp_path / "in", "--out", tmp_path / "out"]
    assert run(*words) == 4
    text = capsys.readouterr().err
    assert "no segmentation-2 for volume-2" in text
    report = load(tmp_path / "out" / "report.json")
    assert [row["case"] for row in report["refused"]] == ["volume-2", "volume-3"]
    assert [row["case"] for row in report["written"]] == ["volume-1"]
    assert str(tmp_path) not in json.dumps(report), "no folder of the input gets into a file"
    assert run(*words, "--overwrite", "--skip", "volume-2", "volume-3") == 0
    assert load(tmp_path / "out" / "report.json")["left_out"] == ["volume-2", "volume-3"]
    assert run("--images", tmp_path / "in", "--out", tmp_path / "none", "--only", "volume-3") == 3
    assert run("--images", tmp_path / "in", "--out", tmp_path / "none", "--only", "volume-33") == 3
    assert "--only 'volume-33' is the name of no case; found volume-1, volume-2, volume-3" in capsys.readouterr().err
