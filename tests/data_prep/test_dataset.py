from __future__ import annotations

import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from data_prep.dataset import main
from medseg.geometry import apply_affine
from medseg.io.volumes.nifti import read_nifti, write_nifti
from tests.io._dicom_files import positions, write_series

AFFINE = np.array([[-0.6, 0, 0, 12.5], [0, -0.7, 0, -7.25], [0, 0, 2.5, 40], [0, 0, 0, 1.0]])


def _image(path: Path, value: int = 7) -> Path:
    array = np.full((5, 6, 4), value, np.int16)
    return write_nifti(path, array, AFFINE)


def _label(path: Path, affine: np.ndarray = AFFINE, dtype: type = np.uint8, **voxels: tuple[int, int, int]) -> Path:
    array = np.zeros((5, 6, 4), dtype)
    for name, place in voxels.items():
        array[place] = int(name.removeprefix("v"))
    return write_nifti(path, array, affine)


def _error(capsys: pytest.CaptureFixture[str]) -> str:
    text = capsys.readouterr().err
    assert text.startswith("error: ")
    assert text.count("\n") == 1
    return text


def _run(*words: object) -> int:
    return main([str(word) for word in words])


def test_pairs_become_a_training_folder(tmp_path: Path) -> None:
    a, la = _image(tmp_path / "a.nii.gz", 1), _label(tmp_path / "la.nii.gz", v5=(1, 2, 3), v6=(0, 0, 0), v9=(4, 4, 1))
    b, lb = _image(tmp_path / "b.nii.gz", 2), _label(tmp_path / "lb.nii.gz", v5=(2, 2, 2))
    out = tmp_path / "out"
    pairs = ["--pair", a, la, "--validation-pair", b, lb]
    assert _run(*pairs, "--map", "5=1", "6=2", "--names", "1=liver", "2=tumour", "--out", out) == 0
    facts = json.loads((out / "dataset.json").read_text())
    assert facts["training"] == [{"image": "images/a.nii.gz", "label": "labels/a.nii.gz"}]
    assert facts["validation"] == [{"image": "images/b.nii.gz", "label": "labels/b.nii.gz"}]
    assert facts["labels"] == {"0": "background", "1": "liver", "2": "tumour"}
    assert facts["provenance"]["label_map"] == {"5": 1, "6": 2}
    label = nib.load(out / "labels" / "a.nii.gz")
    assert label.get_data_dtype() == np.uint8
    values = np.asarray(label.dataobj)
    assert (values[1, 2, 3], values[0, 0, 0], values[4, 4, 1]) == (1, 2, 0)
    assert np.asarray(nib.load(out / "images" / "b.nii.gz").dataobj).max() == 2


def test_without_a_map_labels_are_kept(tmp_path: Path) -> None:
    image, label = _image(tmp_path / "a.nii.gz"), _label(tmp_path / "l.nii.gz", v7=(1, 2, 3))
    assert _run("--pair", image, label, "--out", tmp_path / "out") == 0
    assert read_nifti(tmp_path / "out" / "labels" / "a.nii.gz").array[1, 2, 3] == 7
    assert json.loads((tmp_path / "out" / "dataset.json").read_text())["labels"] == {"0": "background", "7": "label_7"}


def test_a_flipped_label_is_laid_on_the_image_by_its_affine(tmp_path: Path) -> None:
    image = _image(tmp_path / "a.nii.gz")
    flipped = AFFINE.copy()
    flipped[1, 1], flipped[1, 3] = 0.7, AFFINE[1, 3] - 0.7 * 5
    label = _label(tmp_path / "l.nii.gz", flipped, v1=(1, 2, 3))
    point = apply_affine(flipped, [1, 2, 3])
    assert _run("--pair", image, label, "--out", tmp_path / "out") == 0
    result = read_nifti(tmp_path / "out" / "labels" / "a.nii.gz")
    assert apply_affine(result.affine_ras, np.argwhere(result.array)[0]) == pytest.approx(point, abs=1e-4)
    record = json.loads((tmp_path / "out" / "dataset.json").read_text())["provenance"]["cases"][0]
    assert record["label_reordered"] == "axes (0, 1, 2), flipped (1,)"


def test_a_label_elsewhere_is_refused_in_millimetres(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    image, moved = _image(tmp_path / "a.nii.gz"), AFFINE.copy()
    moved[2, 3] += 0.5
    assert _run("--pair", image, _label(tmp_path / "l.nii.gz", moved), "--out", tmp_path / "deep" / "out") == 3
    text = _error(capsys)
    assert "l.nii.gz is misregistered with respect to " in text
    assert "corners lie up to 0.500 mm apart, expected the same grid to 0.01 mm; if both headers are right, " in text
    assert not (tmp_path / "deep").exists()


@pytest.mark.trap("4.3-07")
def test_a_header_with_a_wrong_sign_is_refused_and_not_taken_for_a_flip(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    image, wrong = _image(tmp_path / "a.nii.gz"), AFFINE.copy()
    wrong[0, 0] *= -1
    assert _run("--pair", image, _label(tmp_path / "l.nii.gz", wrong), "--out", tmp_path / "out") == 3
    text = _error(capsys)
    assert "l.nii.gz is header_flipped with respect to " in text
    assert "array axes (0,) run the other way" in text and "find out which header is right" in text
    assert not (tmp_path / "out").exists()


def test_permuted_axes_are_laid_on_the_image_and_recorded(tmp_path: Path) -> None:
    image, array = _image(tmp_path / "a.nii.gz"), np.zeros((4, 5, 6), np.uint8)
    array[3, 1, 2] = 1
    label = write_nifti(tmp_path / "l.nii.gz", array, AFFINE[:, [2, 0, 1, 3]])
    assert _run("--pair", image, label, "--out", tmp_path / "out") == 0
    assert np.argwhere(read_nifti(tmp_path / "out" / "labels" / "a.nii.gz").array).tolist() == [[1, 2, 3]]
    record = json.loads((tmp_path / "out" / "dataset.json").read_text())["provenance"]["cases"][0]
    assert record["label_reordered"] == "axes (1, 2, 0), flipped ()"


def test_rounding_of_the_header_is_no_displacement(tmp_path: Path) -> None:
    moved = AFFINE.copy()
    moved[2, 3] += 0.005
    assert (
        _run("--pair", _image(tmp_path / "a.nii.gz"), _label(tmp_path / "l.nii.gz", moved), "--out", tmp_path / "o")
        == 0
    )
    assert np.array_equal(
        read_nifti(tmp_path / "o" / "labels" / "a.nii.gz").affine_ras,
        read_nifti(tmp_path / "o" / "images" / "a.nii.gz").affine_ras,
    )


def test_another_shape_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    image = _image(tmp_path / "a.nii.gz")
    label = write_nifti(tmp_path / "l.nii.gz", np.zeros((5, 6, 3), np.uint8), AFFINE)
    assert _run("--pair", image, label, "--out", tmp_path / "out") == 3
    assert "grids of different shapes (label (5, 6, 3), image (5, 6, 4))" in _error(capsys)


@pytest.mark.parametrize("value", [0.5, -1.0])
def test_values_that_are_no_labels_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], value: float
) -> None:
    array = np.zeros((5, 6, 4), np.float32)
    array[0, 0, 0] = value
    label = write_nifti(tmp_path / "l.nii.gz", array, AFFINE)
    assert _run("--pair", _image(tmp_path / "a.nii.gz"), label, "--out", tmp_path / "out") == 3
    assert str(value) in _error(capsys)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("what", ["image", "label"])
def test_voxels_that_are_not_finite_are_refused_with_file_count_and_first_position(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], what: str, value: float
) -> None:
    array = np.zeros((5, 6, 4), np.float32)
    array[2, 3, 1] = array[4, 0, 0] = value
    paths = {"image": _image(tmp_path / "a.nii.gz"), "label": _label(tmp_path / "l.nii.gz")}
    write_nifti(paths[what], array, AFFINE)
    assert _run("--pair", *paths.values(), "--out", tmp_path / "out") == 3
    line = _error(capsys)
    assert f"{paths[what].name}: 2 of 120 voxels are not finite (NaN or infinite), the first at index [2, 3, 1]" in line
    assert ("--on-nonfinite fill" in line) == (what == "image")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(("words", "value"), [((), -1024.0), (("--fill-value", "-1000"), -1000.0)])
def test_they_are_filled_where_asked_for_and_it_is_said_and_recorded(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], words: tuple[str, ...], value: float
) -> None:
    array = np.full((5, 6, 4), 40, np.float32)
    array[2, 3, 1] = np.nan
    image, label = write_nifti(tmp_path / "a.nii.gz", array, AFFINE), _label(tmp_path / "l.nii.gz", v1=(1, 1, 1))
    assert _run("--pair", image, label, "--out", tmp_path / "out", "--on-nonfinite", "fill", *words) == 0
    assert "warning: a: 1 of 120 voxels are not finite" in (text := capsys.readouterr().err)
    assert text.endswith(f"they were set to {value:g} HU\n")
    written = read_nifti(tmp_path / "out" / "images" / "a.nii.gz").array
    np.testing.assert_array_equal(written, np.where(np.isnan(array), value, array))
    (case,) = json.loads((tmp_path / "out" / "dataset.json").read_text())["provenance"]["cases"]
    assert case["image_nonfinite"] == {"voxels": 1, "first": [2, 3, 1], "filled_with": value}


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--fill-value", "-1000"), "--fill-value is of use only with --on-nonfinite fill"),
        (("--on-nonfinite", "fill", "--fill-value", "nan"), "--fill-value is nan; expected a finite number"),
    ],
)
def test_a_fill_value_of_no_use_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], words: tuple[str, ...], says: str
) -> None:
    pair = ["--pair", _image(tmp_path / "a.nii.gz"), _label(tmp_path / "l.nii.gz", v1=(1, 1, 1))]
    assert _run(*pair, "--out", tmp_path / "out", *words) == 2
    assert says in _error(capsys)


def test_labels_beyond_255_need_a_map(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    image, label = _image(tmp_path / "a.nii.gz"), _label(tmp_path / "l.nii.gz", dtype=np.int16, v300=(1, 1, 1))
    assert _run("--pair", image, label, "--out", tmp_path / "out") == 3
    assert "--map" in _error(capsys)
    assert _run("--pair", image, label, "--map", "300=1", "--out", tmp_path / "out") == 0


def test_a_dicom_folder_is_converted_on_the_way(tmp_path: Path) -> None:
    write_series(tmp_path / "case", positions(4))
    label = _label(tmp_path / "l.nii.gz", v1=(1, 2, 3))
    assert _run("--pair", tmp_path / "case", label, "--out", tmp_path / "out") == 0
    assert (tmp_path / "out" / "images" / "case.json").is_file()
    assert read_nifti(tmp_path / "out" / "images" / "case.nii.gz").array.shape == (5, 6, 4)


def test_equal_file_names_take_their_folder_along(tmp_path: Path) -> None:
    words: list[object] = []
    for name in ("p1", "p2"):
        words += ["--pair", _image(tmp_path / name / "ct.nii.gz"), _label(tmp_path / name / "seg.nii.gz")]
    assert _run(*words, "--out", tmp_path / "out") == 0
    assert sorted(path.name for path in (tmp_path / "out" / "images").iterdir()) == ["p1_ct.nii.gz", "p2_ct.nii.gz"]


def test_one_pair_in_both_lists_is_written_once_and_said(tmp_path: Path) -> None:
    pair = [_image(tmp_path / "a.nii.gz"), _label(tmp_path / "l.nii.gz")]
    assert _run("--pair", *pair, "--validation-pair", *pair, "--out", tmp_path / "out") == 0
    facts = json.loads((tmp_path / "out" / "dataset.json").read_text())
    assert facts["training"] == facts["validation"]
    assert "do not generalise" in facts["description"]


def test_nothing_is_overwritten_without_leave(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pair = ["--pair", _image(tmp_path / "a.nii.gz"), _label(tmp_path / "l.nii.gz")]
    out = tmp_path / "out"
    assert _run(*pair, "--out", out) == 0
    capsys.readouterr()
    assert _run(*pair, "--out", out) == 2
    assert "--overwrite" in _error(capsys)
    (out / "mark").touch()
    assert _run(*pair, "--out", out, "--overwrite") == 0
    assert not (out / "mark").exists()


def test_a_folder_of_another_making_is_never_replaced(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "precious"
    out.mkdir()
    (out / "thesis.txt").write_text("years of work")
    pair = ["--pair", _image(tmp_path / "a.nii.gz"), _label(tmp_path / "l.nii.gz")]
    assert _run(*pair, "--out", out, "--overwrite") == 2
    assert "holds no dataset.json" in _error(capsys)
    assert (out / "thesis.txt").exists()


@pytest.mark.parametrize(
    ("words", "found"),
    [
        (["--map", "5-1"], "not OLD=NEW"),
        (["--map", "5=1", "5=2"], "two new values"),
        (["--names", "liver"], "not VALUE=NAME"),
        (["--names", "3=spleen"], "gives a name to 3"),
    ],
)
def test_wrong_usage_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str], found: str
) -> None:
    pair = ["--pair", _image(tmp_path / "a.nii.gz"), _label(tmp_path / "l.nii.gz")]
    assert _run(*pair, *words, "--out", tmp_path / "out") == 2
    assert found in _error(capsys)
    assert not (tmp_path / "out").exists()


def test_a_mapped_value_that_occurs_nowhere_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pair = ["--pair", _image(tmp_path / "a.nii.gz"), _label(tmp_path / "l.nii.gz", v5=(1, 1, 1))]
    assert _run(*pair, "--map", "5=1", "6=2", "--out", tmp_path / "out") == 0
    assert "--map names 6" in capsys.readouterr().err


def test_real_pairs_agree_with_the_published_counts(real_data, tmp_path: Path) -> None:
    root = real_data("abdomen_totalseg")
    dicom = ["--pair", root / "example_ct_dicom", root / "example_seg_dicom.nii.gz"]
    nifti = ["--pair", root / "example_ct.nii.gz", root / "example_seg_fast_force_split.nii.gz"]
    small = ["--validation-pair", root / "example_ct_sm.nii.gz", root / "example_seg.nii.gz"]
    out = tmp_path / "out"
    assert _run(*dicom, *nifti, *small, "--map", "5=1", "--names", "1=liver", "--out", out) == 0
    cases = json.loads((out / "dataset.json").read_text())["provenance"]["cases"]
    assert [case["label_voxels"]["1"] for case in cases][1:] == [41692, 38634]
    assert [case["label_reordered"] for case in cases] == ["axes (0, 1, 2), flipped (1,)", None, None]
    source = read_nifti(root / "example_seg_dicom.nii.gz")
    ours = read_nifti(out / "labels" / "example_ct_dicom.nii.gz")
    before = apply_affine(source.affine_ras, np.argwhere(source.array == 5)).mean(axis=0)
    after = apply_affine(ours.affine_ras, np.argwhere(ours.array == 1)).mean(axis=0)
    assert after == pytest.approx(before, abs=1e-3)
    liver = read_nifti(out / "images" / "example_ct_dicom.nii.gz").array[ours.array == 1]
    assert 50 < np.median(liver) < 180, "contrast-enhanced liver tissue lies under the label"


def _three(tmp_path: Path) -> list[object]:
    """Three pairs, of which the second does not lie on its image's grid."""
    moved = AFFINE.copy()
    moved[2, 3] += 0.5
    words: list[object] = []
    for name, affine in (("a", AFFINE), ("b", moved), ("ct", AFFINE)):
        label = _label(tmp_path / f"l{name}.nii.gz", affine, v1=(1, 2, 3))
        words += ["--pair", _image(tmp_path / f"{name}.nii.gz"), label]
    return words


def test_one_bad_pair_is_refused_and_the_others_are_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    assert _run(*_three(tmp_path), "--out", out) == 4
    text = capsys.readouterr().err
    assert text.startswith("refused: b: ") and text.count("refused:") == 1
    assert sorted(path.name for path in out.rglob("*.nii.gz")) == ["a.nii.gz", "a.nii.gz", "ct.nii.gz", "ct.nii.gz"]
    content = json.loads((out / "dataset.json").read_text())
    assert content["numTraining"] == 2
    (refused,) = content["provenance"]["refused"]
    assert refused["name"] == "b" and "misregistered" in refused["reason"]
    assert str(tmp_path) not in refused["reason"], "no folder of the input gets into a file"


def test_pairs_are_chosen_by_name(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = _three(tmp_path)
    assert _run(*words, "--skip", "b", "--out", tmp_path / "out") == 0
    content = json.loads((tmp_path / "out" / "dataset.json").read_text())
    assert (content["numTraining"], content["provenance"]["left_out"]) == (2, ["b"])
    capsys.readouterr()
    for choice, says in ((["--only", "b"], "misregistered"), (["--only", "z"], "--only 'z' is the name of no case")):
        assert _run(*words, *choice, "--out", tmp_path / "none") == 3
        assert says in _error(capsys)
    assert not (tmp_path / "none").exists()


def test_a_set_without_training_cases_is_not_made(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = _three(tmp_path)
    words[6] = "--validation-pair"
    assert _run(*words, "--skip", "a", "--out", tmp_path / "out") == 3
    assert "misregistered" in _error(capsys)


def test_an_empty_label_is_named_and_recorded(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--pair", _image(tmp_path / "a.nii.gz"), _label(tmp_path / "l.nii.gz", v1=(1, 2, 3)), "--map", "5=1"]
    assert _run(*words, "--out", tmp_path / "out") == 0
    assert "warning: a: its label is empty, no value that --map names occurs" in capsys.readouterr().err
    (case,) = json.loads((tmp_path / "out" / "dataset.json").read_text())["provenance"]["cases"]
    assert case["warnings"] == ["its label is empty, no value that --map names occurs"]
