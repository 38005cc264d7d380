"""Commands that read an image say what its reader found odd: here a sform of another spacing than pixdim."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from data_prep import check, dataset, luna16, nnunet, sparse, to_dicom
from medseg.datasets.lits.cases import LitsCase
from medseg.datasets.lits.prepare import prepare_case
from tests.io._clinical import make_example

WORDS = "the sform has a spacing of 1 x 1 x 1 mm, pixdim says 0.8 x 0.8 x 2.5 mm"


def _contradiction(path: Path, array: np.ndarray, spacing: float = 1.0) -> Path:
    affine = np.diag([spacing, spacing, spacing, 1.0])
    image = nib.Nifti1Image(array, affine)
    image.set_sform(affine, code=1)
    image.set_qform(None, code=0)
    image.header.set_xyzt_units("mm")
    nib.save(image, path)
    content = bytearray(path.read_bytes())
    struct.pack_into("<3f", content, 80, 0.8, 0.8, 2.5)
    path.write_bytes(content)
    return path


@pytest.fixture
def pair(tmp_path: Path) -> tuple[Path, Path]:
    rng = np.random.default_rng(0)
    image = _contradiction(tmp_path / "image.nii", rng.integers(-900, 400, (9, 8, 7)).astype(np.int16))
    return image, _contradiction(tmp_path / "label.nii", rng.integers(0, 2, (9, 8, 7)).astype(np.uint8))


def test_dataset_names_image_and_label(
    pair: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    image, label = pair
    assert dataset.main(["--pair", str(image), str(label), "--out", str(tmp_path / "out")]) == 0
    assert capsys.readouterr().err.count(WORDS) == 2


def test_sparse_prints_and_records_it(
    pair: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "sparse.nii.gz"
    assert sparse.main(["--label", str(pair[1]), "--slices", "2", "--out", str(out)]) == 0
    assert WORDS in capsys.readouterr().err
    assert WORDS in str(json.loads((tmp_path / "sparse.json").read_text())["warnings"])


def test_to_dicom_says_it_before_it_refuses_the_grid(
    pair: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    example = make_example(tmp_path / "ct")
    words = ["--mask", str(pair[1]), "--series", str(example.folder), "--out", str(tmp_path / "a.dcm"), "--type", "seg"]
    assert to_dicom.main(words) == 3
    assert WORDS in capsys.readouterr().err


def test_check_notes_it(pair: tuple[Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    check.main(["--pair", str(pair[0]), str(pair[1]), "--json"])
    (report,) = json.loads(capsys.readouterr().out)["reports"]
    assert [line.partition(":")[0] for line in report["notes"] if WORDS in line] == ["label", "image"]


def test_luna16_warns(pair: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = tmp_path / "a.csv"
    table.write_text("seriesuid,coordX,coordY,coordZ,diameter_mm\n1.2.3,-5,-10,-26,6\n")
    assert luna16.main(["--csv", str(table), "--image", str(pair[0]), "--series", "1.2.3"]) == 0
    assert WORDS in capsys.readouterr().err


def test_nnunet_warns_with_the_case(
    pair: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("image", "label"):
        (tmp_path / f"second_{name}.nii").write_bytes((tmp_path / f"{name}.nii").read_bytes())
    rows = [
        {"image": f"{start}image.nii", "label": f"{start}label.nii", "patient": start or "first"}
        for start in ("", "second_")
    ]
    content = {"name": "x", "modality": {"0": "CT"}, "labels": {"0": "background", "1": "liver"}, "training": rows}
    (tmp_path / "dataset.json").write_text(json.dumps(content))
    words = ["--dataset", str(tmp_path / "dataset.json"), "--out", str(tmp_path / "raw"), "--id", "5", "--name", "X"]
    assert nnunet.main([*words, "--folds", "2"]) == 0
    assert WORDS in capsys.readouterr().err


def test_lits_records_it(tmp_path: Path) -> None:
    image = _contradiction(tmp_path / "volume-3.nii", np.full((30, 30, 30), 60, np.int16), 2.0)
    label = np.zeros((30, 30, 30), np.uint8)
    label[5:20, 5:20, 5:20] = 1
    segmentation = _contradiction(tmp_path / "segmentation-3.nii", label, 2.0)
    lines = prepare_case(LitsCase("volume-3", 3, False, image, segmentation)).record["warnings"]
    words = "the sform has a spacing of 2 x 2 x 2 mm, pixdim says 0.8 x 0.8 x 2.5 mm"
    assert [line.split(":")[1].strip() for line in lines if words in line] == ["image", "label"]
