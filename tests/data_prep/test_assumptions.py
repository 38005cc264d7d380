"""Every refusal that a statement settles names its option, the command has it, and what was assumed is recorded."""

from __future__ import annotations

import importlib
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import nibabel as nib
import numpy as np
import pytest

from data_prep import check, convert, dataset, from_dicom, lidc, lits, lits_restore, luna16, nnunet, sparse, to_dicom
from medseg.datasets.phantom.__main__ import main as phantom
from medseg.io.results.seg_write import write_seg
from medseg.io.volumes.image import read_image
from tests.io._clinical import make_example
from tests.io._dicom_files import positions, write_series

SHAPE = (12, 14, 9)
AFFINE = np.array([[-0.6, 0, 0, 12.5], [0, -0.7, 0, -7.25], [0, 0, 2.5, 40], [0, 0, 0, 1.0]])
Main = Callable[[list[str]], int]


class Odd(NamedTuple):
    """Images whose headers need a statement: a volume and a label of zeros and ones on one grid."""

    image: Path
    label: Path
    options: list[str]


def unsigned(folder: Path) -> Odd:
    """NIfTI with negative pixdim under a valid sform."""
    for name, array in arrays().items():
        image = nib.Nifti1Image(array, AFFINE)
        image.set_sform(AFFINE, code=1)
        image.set_qform(None, code=0)
        image.header["pixdim"][2] = -0.7
        (folder / f"{name}.nii").write_bytes(image.header.binaryblock + bytes(4) + array.tobytes(order="F"))
        content = bytearray((folder / f"{name}.nii").read_bytes())
        content[108:112] = np.float32(352).tobytes()
        content[344:348] = b"n+1\0"
        (folder / f"{name}.nii").write_bytes(content)
    return Odd(folder / "image.nii", folder / "label.nii", ["--ignore-pixdim-sign"])


def frameless(folder: Path) -> Odd:
    """NRRD with spacings, and neither space nor directions."""
    for name, array in arrays().items():
        header = [
            *("NRRD0004", f"type: {array.dtype.name}", "dimension: 3", f"sizes: {' '.join(map(str, SHAPE))}"),
            *("spacings: 0.6 0.7 2.5", "endian: little", "encoding: raw", "", ""),
        ]
        (folder / f"{name}.nrrd").write_bytes("\n".join(header).encode() + array.tobytes(order="F"))
    return Odd(folder / "image.nrrd", folder / "label.nrrd", ["--assume-space", "LPS"])


def arrays() -> dict[str, Any]:
    label = np.zeros(SHAPE, np.uint8)
    label[2:6, 3:8, 5:8] = 1
    return {"image": np.where(label > 0, 100, -60).astype(np.int16), "label": label}


def refused_then_taken(main: Main, words: list[str], options: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """Run without and with the options; the refusal must name them. Returns what is printed in the end."""
    assert main(words) == 3
    printed = capsys.readouterr()
    text = printed.err + printed.out
    assert options[0] in text, text
    parser = importlib.import_module(main.__module__)._parser()
    assert options[0] in parser._option_string_actions
    assert main([*words, *options]) == 0, capsys.readouterr().err
    printed = capsys.readouterr()
    return printed.err + printed.out


KINDS = pytest.mark.parametrize("make", [unsigned, frameless])


@KINDS
def test_a_check_takes_the_statement_and_writes_images_that_need_it_no_more(
    make: Callable[[Path], Odd], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    odd = make(tmp_path)
    words = ["--pair", str(odd.image), str(odd.label)]
    printed = refused_then_taken(check.main, words, odd.options, capsys)
    assert "note: image: " in printed and "as stated" in printed
    assert check.main([*words, "--out-data", str(tmp_path / "data"), *odd.options]) == 0
    content = json.loads((tmp_path / "data" / "integrity.json").read_text())
    assert any(content["settings"]["stated"].values())
    assert all("as stated" in content["reports"][0]["notes"][n] for n in (0, 1))
    (image,) = (tmp_path / "data" / "images").iterdir()
    assert read_image(image).info.warnings == ()
    assert np.array_equal(read_image(image).array, arrays()["image"])
    assert check.main([str(tmp_path / "data" / "dataset.json")]) == 0


def test_a_check_that_has_nothing_to_carry_out_writes_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    odd = unsigned(tmp_path)
    assert check.main(["--pair", str(odd.image), str(odd.label), "--out-data", str(tmp_path / "data")]) == 2
    assert "--out-data needs a rule (--fix) or a statement" in capsys.readouterr().err


@KINDS
def test_sparse_labels_record_the_statement(
    make: Callable[[Path], Odd], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    odd = make(tmp_path)
    words = ["--label", str(odd.label), "--slices", "1", "--axes", "z", "--out", str(tmp_path / "s.nii")]
    refused_then_taken(sparse.main, words, odd.options, capsys)
    assert "as stated" in json.loads((tmp_path / "s.json").read_text())["warnings"][0]


@KINDS
def test_an_export_takes_the_statement(
    make: Callable[[Path], Odd], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    odd = make(tmp_path)
    content = {
        "labels": {"0": "background", "1": "liver"},
        "modality": {"0": "CT"},
        "training": [
            {"image": odd.image.name, "label": odd.label.name, "fold": 0},
            {"image": f"other{odd.image.suffix}", "label": odd.label.name, "fold": 1},
        ],
    }
    (tmp_path / f"other{odd.image.suffix}").write_bytes(odd.image.read_bytes())
    (tmp_path / "dataset.json").write_text(json.dumps(content))
    words = ["--dataset", str(tmp_path / "dataset.json"), "--out", str(tmp_path / "raw"), "--id", "1", "--name", "A"]
    refused_then_taken(nnunet.main, words, odd.options, capsys)


@KINDS
def test_grids_for_masks_take_the_statement_and_record_it(
    make: Callable[[Path], Odd], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    odd = make(tmp_path)
    grid = read_image(odd.image, assume=_stated(odd))
    example = make_example(tmp_path / "ct", grid.affine_ras, arrays()["label"])
    write_seg(tmp_path / "s.dcm", example.labels, example.affine_ras, example.source, {1: "liver"})
    words = [str(tmp_path / "s.dcm"), "--like", str(odd.image), "--out", str(tmp_path / "out")]
    refused_then_taken(from_dicom.main, words, odd.options, capsys)
    assert any("as stated" in line for line in json.loads((tmp_path / "out" / "segments.json").read_text())["warnings"])
    words = ["--mask", str(odd.label), "--series", str(tmp_path / "ct"), "--type", "seg", "--out"]
    printed = refused_then_taken(to_dicom.main, [*words, str(tmp_path / "new.dcm")], odd.options, capsys)
    assert "as stated" in printed


def _stated(odd: Odd) -> Any:
    from medseg.io.volumes.assumptions import ImageAssumptions

    return ImageAssumptions("LPS", True)


@KINDS
def test_findings_are_placed_under_the_statement(
    make: Callable[[Path], Odd], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    odd = make(tmp_path)
    (tmp_path / "a.csv").write_text("seriesuid,coordX,coordY,coordZ,diameter_mm\n1.2.3,-1,-1,41,5\n")
    words = ["--csv", str(tmp_path / "a.csv"), "--image", str(odd.image), "--series", "1.2.3"]
    refused_then_taken(luna16.main, words, odd.options, capsys)


def test_a_data_set_takes_the_statement_and_records_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    odd = unsigned(tmp_path)
    words = ["--pair", str(odd.image), str(odd.label), "--out", str(tmp_path / "set")]
    printed = refused_then_taken(dataset.main, words, odd.options, capsys)
    assert "warning: image: pixdim is 0.6, -0.7, 2.5 mm" in printed
    (case,) = json.loads((tmp_path / "set" / "dataset.json").read_text())["provenance"]["cases"]
    assert [("as stated" in line) for line in case["warnings"]] == [True, True]


def test_lits_takes_the_statement_and_records_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    odd = unsigned(tmp_path)
    (tmp_path / "in").mkdir()
    odd.image.rename(tmp_path / "in" / "volume-0.nii")
    odd.label.rename(tmp_path / "in" / "segmentation-0.nii")
    words = ["--images", str(tmp_path / "in"), "--out", str(tmp_path / "lits")]
    refused_then_taken(lits.main, words, odd.options, capsys)
    report = json.loads((tmp_path / "lits" / "report.json").read_text())
    assert sum("as stated" in line for line in report["warnings"]) == 2
    record = str(tmp_path / "lits" / "images" / "volume-0.json")
    words = [str(tmp_path / "in" / "segmentation-0.nii"), "--record", record, "--out", str(tmp_path / "back.nii")]
    refused_then_taken(lits_restore.main, words, odd.options, capsys)


RESCALE = ["--assume-rescale", "1", "-1024"]


def test_series_without_rescaling_take_the_statement_and_record_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_series(tmp_path / "ct", positions(4), change=lambda k, d: delattr(d, "RescaleSlope") if k == 2 else None)
    printed = refused_then_taken(convert.main, [str(tmp_path / "ct"), str(tmp_path / "out")], RESCALE, capsys)
    assert "warning: RescaleSlope or RescaleIntercept is absent in 1 of 4 slices: slope 1 and intercept" in printed
    facts = json.loads((tmp_path / "out" / "ct.json").read_text())
    assert facts["assumed_rescale"] == {"slope": 1.0, "intercept": -1024.0, "slices": 1}
    ct = read_image(tmp_path / "out" / "ct.nii.gz")
    nib.save(nib.Nifti1Image((ct.array > 300).astype(np.uint8), ct.affine_ras), tmp_path / "label.nii.gz")
    pair = ["--pair", str(tmp_path / "ct"), str(tmp_path / "label.nii.gz")]
    assert "as stated" in refused_then_taken(check.main, pair, RESCALE, capsys)
    refused_then_taken(dataset.main, [*pair, "--out", str(tmp_path / "set")], RESCALE, capsys)
    record = json.loads((tmp_path / "set" / "images" / "ct.json").read_text())
    assert record["assumed_rescale"]["slices"] == 1


def test_an_annotated_case_takes_the_statement(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import pydicom

    words = ["--kind", "chest", "--count", "1", "--spacing", "4", "4", "4", "--format", "dicom", "--out", str(tmp_path)]
    assert phantom(words) == 0
    (path, *_) = sorted(tmp_path.rglob("*.dcm"))
    data = pydicom.dcmread(path)
    stated = ["--assume-rescale", str(data.RescaleSlope), str(data.RescaleIntercept)]
    del data.RescaleIntercept
    data.save_as(path)
    refused_then_taken(lidc.main, ["--dicom", str(tmp_path), "--out", str(tmp_path / "out")], stated, capsys)
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert any(re.search(r"absent in 1 of \d+ slices", line) for line in summary["warnings"])


@pytest.mark.parametrize("value", [["0", "1"], ["nan", "0"], ["1", "inf"]])
def test_numbers_that_cannot_rescale_are_wrong_usage(
    tmp_path: Path, value: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    write_series(tmp_path / "ct", positions(3))
    assert convert.main([str(tmp_path / "ct"), str(tmp_path / "out"), "--assume-rescale", *value]) == 2
    assert "expected finite numbers and a slope but 0" in capsys.readouterr().err
