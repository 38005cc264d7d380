"""The command that merges label files: one map, a record, conflicts by a named rule, and no private name."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from data_prep.labels import main
from medseg.geometry import make_affine
from medseg.io import read_image, write_image
from tests.data_prep._canaries import MARK, leaks

AFFINE = make_affine((0.8, 0.7, 2.5), (5.0, 6.0, 7.0), "LPS")
SHAPE = (12, 10, 8)


def box(*where: slice) -> Any:
    mask = np.zeros(SHAPE, np.uint8)
    mask[where] = 255  # as exports of single structures have it
    return mask


LIVER = box(slice(1, 11), slice(1, 9), slice(1, 7))
FIRST = box(slice(2, 4), slice(2, 4), slice(2, 4))
SECOND = box(slice(7, 10), slice(5, 8), slice(3, 6))
RULES = ("liver=1", "livertumor*=2")


def write_case(folder: Path) -> Path:
    for name, mask in (("liver", LIVER), ("livertumor01", FIRST), ("livertumor02", SECOND)):
        write_image(folder / f"{name}.nii.gz", mask, AFFINE)
    return folder


def run(folder: Path, out: Path, *words: object, rules: tuple[str, ...] = RULES) -> int:
    return main(["--in", str(folder), "--out", str(out), "--map", *rules, *map(str, words)])


def test_several_files_become_one_label_map_with_a_record(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "label.nii.gz"
    assert run(write_case(tmp_path / "in"), out, "--on-conflict", "last", "--instances", tmp_path / "i.nii.gz") == 0
    found = read_image(out)
    expected = np.where((FIRST > 0) | (SECOND > 0), 2, LIVER > 0)
    np.testing.assert_array_equal(found.array, expected)
    np.testing.assert_allclose(found.affine_ras, AFFINE, atol=1e-6)
    record = json.loads((tmp_path / "label.json").read_text())
    assert [entry["rule"] for entry in record["sources"]] == [1, 2, 2]
    assert [(i["value"], i["voxels"]) for i in record["islands"]] == [(1, 480 - 8 - 27), (2, 27), (2, 8)]
    assert record["islands"][1]["volume_ml"] == pytest.approx(27 * 0.8 * 0.7 * 2.5 / 1000, abs=1e-6)
    assert sum(entry["voxels"] for entry in record["conflicts"]) == 35
    instances = read_image(tmp_path / "i.nii.gz").array
    assert instances[8, 6, 4] == 2
    assert instances[3, 3, 3] == 3
    printed = capsys.readouterr().out
    assert "label 2: 35 voxels" in printed
    assert "island 2: label 2" in printed


def test_a_conflict_is_refused_unless_a_rule_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = write_case(tmp_path / "in")
    assert run(folder, tmp_path / "o.nii.gz") == 3
    err = capsys.readouterr().err
    assert "claim 8 voxel(s) with different values" in err
    assert "choose --on-conflict first, last or highest" in err
    assert not (tmp_path / "o.nii.gz").exists()
    assert run(folder, tmp_path / "o.nii.gz", "--on-conflict", "first") == 0
    assert set(np.unique(read_image(tmp_path / "o.nii.gz").array)) == {0, 1}


def test_stray_voxels_of_a_file_are_warned_about(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = write_case(tmp_path / "in")
    write_image(folder / "livertumor02.nii.gz", SECOND | box(slice(2, 3), slice(8, 9), slice(1, 2)), AFFINE)
    assert run(folder, tmp_path / "o.nii.gz", "--on-conflict", "last", "--json") == 0
    printed = capsys.readouterr()
    assert "beside its largest part it lies in island 4 (1 voxel)" in printed.err
    assert json.loads(printed.out) == json.loads((tmp_path / "o.json").read_text())


def test_a_file_in_another_order_of_voxels_is_put_into_the_first_one_s(tmp_path: Path) -> None:
    folder = write_case(tmp_path / "in")
    turned = AFFINE.copy()
    turned[:3, 3] += turned[:3, 0] * (SHAPE[0] - 1)
    turned[:3, 0] *= -1
    assert run(folder, tmp_path / "a.nii.gz", "--on-conflict", "last") == 0
    write_image(folder / "livertumor01.nii.gz", FIRST[::-1], turned)
    assert run(folder, tmp_path / "b.nii.gz", "--on-conflict", "last") == 0
    np.testing.assert_array_equal(read_image(tmp_path / "a.nii.gz").array, read_image(tmp_path / "b.nii.gz").array)
    record = json.loads((tmp_path / "b.json").read_text())
    assert [entry["reordered"] for entry in record["sources"]] == [False, True, False]


@pytest.mark.parametrize(
    ("rules", "words", "code", "message"),
    [
        (("liver=1",), (), 3, "no --map fits the name"),
        ((*RULES, "spleen=3"), (), 3, "no label file fits --map 'spleen'"),
        (("liver",), (), 2, "expected PATTERN=VALUES"),
        (("liver=x",), (), 2, "is no map of values"),
        (("liver=1:1", "livertumor*=2"), (), 3, "holds the value 255, which its map does not name"),
        (("*=skip",), (), 3, "no label file is left"),
        (RULES, ("--cases", "--instances", "x.nii.gz"), 2, "--instances belongs to one case"),
        (RULES, ("--cases",), 3, "holds no folder"),
    ],
)
def test_wrong_maps_are_one_line(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    rules: tuple[str, ...],
    words: tuple[str, ...],
    code: int,
    message: str,
) -> None:
    assert run(write_case(tmp_path / "in"), tmp_path / "o.nii.gz", *words, rules=rules) == code
    err = capsys.readouterr().err
    assert message in err
    assert err.count("\n") == 1


def test_files_of_another_grid_and_other_outputs_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = write_case(tmp_path / "in")
    assert run(folder, tmp_path / "o.mha") == 2
    write_image(tmp_path / "ct.nii.gz", np.zeros((12, 10, 9), np.int16), AFFINE)
    assert run(folder, tmp_path / "o.nii.gz", "--image", tmp_path / "ct.nii.gz") == 3
    assert "lies on another grid than" in capsys.readouterr().err
    (tmp_path / "o.json").touch()
    assert run(folder, tmp_path / "o.nii.gz", "--on-conflict", "last") == 2
    assert run(folder, tmp_path / "o.nii.gz", "--on-conflict", "last", "--overwrite") == 0


def test_many_cases_are_accepted_by_evaluation_and_training(tmp_path: Path) -> None:
    for name in ("patient_1", "patient_2"):
        write_case(tmp_path / "in" / name)
    out = tmp_path / "labels"
    assert run(tmp_path / "in", out, "--cases", "--on-conflict", "last") == 0
    assert sorted(path.name for path in out.glob("*.nii.gz")) == ["patient_1.nii.gz", "patient_2.nii.gz"]
    summary = json.loads((out / "labels.json").read_text())
    assert summary["cases"]["patient_1"]["voxels"] == {"0": 480, "1": 445, "2": 35}
    from medseg.apps.cli import main as medseg

    words = ["--pred", str(out), "--truth", str(out), "-o", str(tmp_path / "scores"), "--scheme", "lits"]
    assert medseg(["evaluate", *words, "--tolerance", "none", "--resamples", "10"]) == 0
    assert json.loads((tmp_path / "scores" / "summary.json").read_text())["lits"]["lesion_recall"] == 1.0
    from monai.transforms import LoadImage

    loaded = LoadImage(image_only=True, ensure_channel_first=True)(out / "patient_1.nii.gz")
    assert loaded.shape == (1, *SHAPE)
    assert sorted(loaded.unique().tolist()) == [0, 1, 2]


def test_a_case_that_cannot_be_merged_is_refused_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("patient_1", "patient_2"):
        write_case(tmp_path / "in" / name)
    (tmp_path / "in" / "patient_2" / "liver.nii.gz").write_bytes(b"broken")
    out = tmp_path / "labels"
    assert run(tmp_path / "in", out, "--cases", "--on-conflict", "last") == 4
    assert "refused: patient_2: " in capsys.readouterr().err
    assert [path.name for path in out.glob("*.nii.gz")] == ["patient_1.nii.gz"]
    assert [row["name"] for row in json.loads((out / "labels.json").read_text())["refused"]] == ["patient_2"]
    assert run(tmp_path / "in", tmp_path / "none", "--cases") == 3
    assert not (tmp_path / "none").exists()


def test_no_private_name_gets_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = tmp_path / f"{MARK}_in"
    folder = write_case(root / f"{MARK}_SMITH")
    for path in sorted(folder.iterdir()):
        path.rename(path.with_name(f"{MARK}_{path.name}"))
    rules = ("*_liver=1", "*tumor*=2")
    assert run(root, tmp_path / "out", "--cases", "--on-conflict", "last", rules=rules) == 0
    assert run(folder, tmp_path / "one.nii.gz", "--on-conflict", "last", rules=rules) == 0
    assert run(folder, tmp_path / "two.nii.gz", rules=rules) == 3
    assert run(folder, tmp_path / "two.nii.gz", rules=rules[:1]) == 3
    printed = capsys.readouterr()
    assert leaks(tmp_path / "out", tmp_path / "one.nii.gz", tmp_path / "one.json", printed.out + printed.err) == []
    assert (tmp_path / "out" / "case_0001.nii.gz").is_file()
    assert run(folder, tmp_path / "two.nii.gz", "--show-names", rules=rules) == 3
    assert f"{MARK}_liver.nii.gz" in capsys.readouterr().err
