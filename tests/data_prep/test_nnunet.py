"""Exports for nnU-Net: its layout and names, grids and labels checked, patients never divided."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from data_prep.nnunet import main
from medseg.geometry import make_affine
from medseg.io.volumes.nifti import read_nifti, write_nifti

AFFINE = make_affine((0.8, 0.8, 2.5), (10, -20, 30), "LPS")
SHAPE = (8, 9, 10)


def run(dataset: Path, out: Path, *words: object) -> int:
    return main(["--dataset", str(dataset), "--out", str(out), "--id", "501", "--name", "Liver", *map(str, words)])


def load(path: Path) -> Any:
    return json.loads(path.read_text())


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    """Ten cases of six patients with guides, every other one with a tumour, and a test case without a guide."""
    folder, rng = tmp_path / "in", np.random.default_rng(0)
    items = []
    for n in range(11):
        image = rng.integers(-100, 200, SHAPE).astype(np.int16)
        label = np.zeros(SHAPE, np.uint8)
        label[2:6, 2:6, 2:6] = 1
        label[3, 3, 3] = 1 + n % 2
        write_nifti(folder / "images" / f"volume-{n}.nii.gz", image, AFFINE, "free text")
        write_nifti(folder / "labels" / f"volume-{n}.nii.gz", label, AFFINE)
        write_nifti(folder / "guides" / f"volume-{n}.nii.gz", (label > 0).astype(np.float32) / 2, AFFINE)
        item = {key: f"{key}s/volume-{n}.nii.gz" for key in ("image", "label", "guide")}
        items.append(item | {"patient": f"P{n // 2 if n < 8 else n}"})
    content = {
        "name": "synthetic",
        "modality": {"0": "CT"},
        "labels": {"0": "background", "1": "liver", "2": "tumour"},
        "training": items[:10],
        "test": [items[10]["image"]],
    }
    (folder / "dataset.json").write_text(json.dumps(content))
    return folder / "dataset.json"


def edit(dataset: Path, **changes: Any) -> None:
    dataset.write_text(json.dumps(load(dataset) | changes))


def test_the_export_has_nnunet_s_layout(dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(dataset, tmp_path / "raw", "--folds", 3) == 0
    folder = tmp_path / "raw" / "Dataset501_Liver"
    assert load(folder / "dataset.json") == {
        "name": "synthetic",
        "channel_names": {"0": "CT"},
        "labels": {"background": 0, "liver": 1, "tumour": 2},
        "numTraining": 10,
        "file_ending": ".nii.gz",
        "guide_channels": [],
    }
    names = {str(path.relative_to(folder)) for path in folder.rglob("*.nii.gz")}
    assert names == {
        *(f"imagesTr/volume-{n}_0000.nii.gz" for n in range(10)),
        *(f"labelsTr/volume-{n}.nii.gz" for n in range(10)),
        "imagesTs/volume-10_0000.nii.gz",
    }
    written = read_nifti(folder / "imagesTr" / "volume-3_0000.nii.gz")
    source = read_nifti(dataset.parent / "images" / "volume-3.nii.gz")
    np.testing.assert_array_equal(written.array, source.array)
    np.testing.assert_array_equal(written.affine_ras, source.affine_ras)
    assert written.header["descrip"].tobytes().strip(b"\0") == b""
    assert "10 training and 1 test case(s), channels ['CT']" in capsys.readouterr().out


def test_patients_are_never_divided_between_folds(dataset: Path, tmp_path: Path) -> None:
    preprocessed = tmp_path / "preprocessed"
    assert run(dataset, tmp_path / "raw", "--folds", 3, "--preprocessed", preprocessed) == 0
    splits = load(tmp_path / "raw" / "Dataset501_Liver" / "splits_final.json")
    assert load(preprocessed / "Dataset501_Liver" / "splits_final.json") == splits
    patient = {Path(item["image"]).name[:-7]: item["patient"] for item in load(dataset)["training"]}
    assert sorted(name for split in splits for name in split["val"]) == sorted(patient)
    for split in splits:
        assert set(split["train"]) == set(patient) - set(split["val"])
        assert not {patient[name] for name in split["train"]} & {patient[name] for name in split["val"]}


def test_a_guide_becomes_the_last_channel_as_it_is(
    dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--folds", 3, "--guide", "guide", "--missing-guide", "zero"]
    assert run(dataset, tmp_path / "raw", *words) == 0
    folder = tmp_path / "raw" / "Dataset501_Liver"
    written = load(folder / "dataset.json")
    assert written["channel_names"] == {"0": "CT", "1": "noNorm"}
    assert written["guide_channels"] == [1]
    guide = read_nifti(folder / "imagesTr" / "volume-4_0001.nii.gz")
    np.testing.assert_array_equal(guide.array, read_nifti(dataset.parent / "guides" / "volume-4.nii.gz").array)
    assert not read_nifti(folder / "imagesTs" / "volume-10_0001.nii.gz").array.any()
    assert "1 case(s) get an all-zero guide, which means no guide: volume-10" in capsys.readouterr().err


def test_a_missing_guide_is_refused_unless_zero_is_asked_for(
    dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(dataset, tmp_path / "raw", "--guide", "guide") == 3
    assert "case volume-10 has no 'guide'" in capsys.readouterr().err
    assert not (tmp_path / "raw").exists()


def test_unlabelled_voxels_become_nnunet_s_ignore_label(
    dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = dataset.parent / "labels" / "volume-5.nii.gz"
    sparse = read_nifti(path).array.copy()
    sparse[:, :, 5:] = 255
    write_nifti(path, sparse, AFFINE)
    assert run(dataset, tmp_path / "raw", "--folds", 3) == 4
    assert "label values [255] found, expected [0, 1, 2]" in capsys.readouterr().err
    assert run(dataset, tmp_path / "raw", "--folds", 3, "--ignore-label", 255, "--overwrite") == 0
    folder = tmp_path / "raw" / "Dataset501_Liver"
    assert load(folder / "dataset.json")["labels"] == {"background": 0, "liver": 1, "tumour": 2, "ignore": 3}
    written = read_nifti(folder / "labelsTr" / "volume-5.nii.gz").array
    np.testing.assert_array_equal(written, np.where(sparse == 255, 3, sparse))


def test_the_list_s_own_folds_and_validation_set_are_kept(
    dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    items = load(dataset)["training"]
    edit(dataset, training=[item | {"fold": n // 4} for n, item in enumerate(items)])
    assert run(dataset, tmp_path / "a") == 0
    splits = load(tmp_path / "a" / "Dataset501_Liver" / "splits_final.json")
    assert splits[0]["val"] == ["volume-0", "volume-1", "volume-2", "volume-3"]
    assert [len(split["val"]) for split in splits] == [4, 4, 2]
    numbered = [item | {"fold": n // 4} for n, item in enumerate(items)]
    edit(dataset, training=numbered[4:], validation=numbered[:4])
    assert run(dataset, tmp_path / "a", "--overwrite") == 0
    assert load(tmp_path / "a" / "Dataset501_Liver" / "splits_final.json") == splits
    edit(dataset, training=items[:6], validation=items[6:])
    assert run(dataset, tmp_path / "b") == 0
    (split,) = load(tmp_path / "b" / "Dataset501_Liver" / "splits_final.json")
    assert split["val"] == [f"volume-{n}" for n in (6, 7, 8, 9)]
    edit(dataset, training=items[:7], validation=items[7:])
    assert run(dataset, tmp_path / "c") == 3
    assert "patient 'P3' has cases in training and in validation" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"labels": {"0": "background", "2": "tumour"}}, "labels have the values [0, 2], expected 0, 1, 2"),
        ({"labels": ["liver"]}, "'labels' is ['liver'], expected an object"),
        ({"labels": {"0": "background", "1": "a", "2": "a"}}, "expected different names"),
        ({"modality": {"0": "CT", "1": "PET"}}, "expected one channel"),
        ({"training": []}, "'training' is empty"),
        ({"training": [{"image": "images/none.nii"}]}, "case none has no 'label'"),
        (
            {"training": [{"image": "images/none.nii", "label": "labels/volume-1.nii.gz"}]},
            "none.nii, which is not a file",
        ),
        ({"training": 3}, "'training' is a int, expected a list"),
        ({"test": [{"label": "x"}]}, "expected an object with a path 'image'"),
    ],
)
def test_lists_that_nnunet_could_not_use_are_refused_in_one_line(
    dataset: Path, tmp_path: Path, changes: dict[str, Any], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    edit(dataset, **changes)
    assert run(dataset, tmp_path / "raw", "--folds", 3) == 3
    err = capsys.readouterr().err
    assert message in err
    assert err.count("\n") == 1
    assert not (tmp_path / "raw").exists()


def test_files_on_other_grids_sheared_or_not_finite_are_refused(
    dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = dataset.parent
    originals = {path: path.read_bytes() for path in folder.rglob("volume-2.nii.gz")}
    moved = AFFINE.copy()
    moved[0, 3] += 1
    sheared = AFFINE.copy()
    sheared[1, 2] += 0.5
    broken = np.zeros(SHAPE, np.float32)
    broken[0, 0, 0] = np.nan
    cases = [
        ("labels", np.zeros(SHAPE, np.uint8), moved, "labels/volume-2.nii.gz: corners lie up to 1.000 mm apart"),
        ("guides", np.zeros(SHAPE, np.float32), moved, "guides/volume-2.nii.gz: corners lie up to 1.000 mm apart"),
        ("guides", broken, AFFINE, f"guides/volume-2.nii.gz: 1 of {np.prod(SHAPE)} voxels are not finite"),
        ("images", broken, AFFINE, f"images/volume-2.nii.gz: 1 of {np.prod(SHAPE)} voxels are not finite"),
        ("images", np.zeros(SHAPE, np.int16), sheared, "degrees off perpendicular"),
    ]
    for kind, array, affine, message in cases:
        write_nifti(folder / kind / "volume-2.nii.gz", array, affine)
        words = ["--folds", 3, "--guide", "guide", "--missing-guide", "zero", "--overwrite"]
        code, text = run(dataset, tmp_path / "raw", *words), capsys.readouterr().err
        assert (code, message in text) == (4, True), message
        assert text.startswith("refused: volume-2: ")
        names = {path.name for path in (tmp_path / "raw").rglob("*.nii.gz")}
        assert names == {f"volume-{n}_000{c}.nii.gz" for n in range(11) for c in (0, 1) if n != 2} | {
            f"volume-{n}.nii.gz" for n in range(10) if n != 2
        }
        for path, content in originals.items():
            path.write_bytes(content)


def test_refused_and_unwanted_cases_are_in_no_fold_and_in_no_count(
    dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (dataset.parent / "images" / "volume-2.nii.gz").unlink()
    (dataset.parent / "labels" / "volume-3.nii.gz").write_bytes(b"\x1f\x8b cut")
    words = ["--folds", 3, "--skip", "volume-5", "volume-10"]
    assert run(dataset, tmp_path / "raw", *words) == 4
    printed = capsys.readouterr()
    assert [line.split(":")[1] for line in printed.err.splitlines()[:2]] == [" volume-2", " volume-3"]
    assert "7 training and 0 test case(s)" in printed.out
    folder = tmp_path / "raw" / "Dataset501_Liver"
    content = load(folder / "dataset.json")
    assert (content["numTraining"], content["refused"]) == (7, ["volume-2", "volume-3"])
    assert content["left_out"] == ["volume-5", "volume-10"]
    used = {name for split in load(folder / "splits_final.json") for name in (*split["train"], *split["val"])}
    assert used == {f"volume-{n}" for n in (0, 1, 4, 6, 7, 8, 9)}
    assert run(dataset, tmp_path / "few", "--folds", 2, "--only", *(f"volume-{n}" for n in (0, 1, 4, 6))) == 0
    assert run(dataset, tmp_path / "none", "--only", "volume-2") == 3
    assert run(dataset, tmp_path / "none", "--skip", "volume-77") == 3
    assert "--skip 'volume-77' is the name of no case" in capsys.readouterr().err
    assert not (tmp_path / "none").exists()


def test_empty_labels_are_named(dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_nifti(dataset.parent / "labels" / "volume-1.nii.gz", np.zeros(SHAPE, np.uint8), AFFINE)
    assert run(dataset, tmp_path / "raw", "--folds", 3) == 0
    assert "warning: 1 training case(s) have an empty label: volume-1" in capsys.readouterr().err


def test_folds_and_patients_that_do_not_fit_are_refused(
    dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(dataset, tmp_path / "raw", "--folds", 7) == 3
    assert "6 patient(s) cannot be divided into 7 folds" in capsys.readouterr().err
    items = load(dataset)["training"]
    del items[0]["patient"]
    edit(dataset, training=items)
    assert run(dataset, tmp_path / "raw") == 3
    assert "9 of 10 cases have a 'patient', expected all or none" in capsys.readouterr().err
    assert run(dataset, tmp_path / "raw", "--patient-key", "person") == 0
    assert "no case has a 'person': each is taken for a patient of its own" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--id", 0], "--id is 0, expected 1 to 999"),
        (["--name", "a b"], "--name is 'a b'"),
        (["--folds", 1], "--folds is 1"),
        (["--missing-guide", "zero"], "needs --guide KEY"),
    ],
)
def test_wrong_usage_is_one_line(
    dataset: Path, tmp_path: Path, words: list[object], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(dataset, tmp_path / "raw", *words) == 2
    assert message in capsys.readouterr().err


def test_an_earlier_export_is_replaced_only_with_leave(dataset: Path, tmp_path: Path) -> None:
    assert run(dataset, tmp_path / "raw", "--folds", 3) == 0
    assert run(dataset, tmp_path / "raw", "--folds", 3) == 2
    assert run(dataset, tmp_path / "raw", "--folds", 2, "--overwrite") == 0
    assert len(load(tmp_path / "raw" / "Dataset501_Liver" / "splits_final.json")) == 2


def test_nnunet_s_own_check_passes(dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("nnunetv2")
    from nnunetv2.experiment_planning.verify_dataset_integrity import verify_dataset_integrity

    assert run(dataset, tmp_path / "raw", "--folds", 3, "--guide", "guide", "--missing-guide", "zero") == 0
    verify_dataset_integrity(str(tmp_path / "raw" / "Dataset501_Liver"), num_processes=1)
