"""The check of a data set: every kind of difference is named with its size in mm and with its remedy."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest

from data_prep.check import main
from medseg.io.volumes.image import read_image, write_image
from medseg.io.volumes.nifti import read_nifti, write_nifti
from tests.io._dicom_files import positions, write_series

AFFINE = np.array([[-0.6, 0, 0, 12.5], [0, -0.7, 0, -7.25], [0, 0, 2.5, 40], [0, 0, 0, 1.0]])
SHAPE = (12, 14, 9)
INSIDE = (slice(2, 6), slice(3, 8), slice(5, 8))  # off the middle, so that flips are seen
FLIP_X = np.diag([-1.0, 1, 1, 1])


def ct(seed: int = 0) -> np.ndarray:
    array = np.random.default_rng(seed).integers(-90, -30, SHAPE).astype(np.int16)
    array[INSIDE] = 100
    return array


def mask() -> np.ndarray:
    array = np.zeros(SHAPE, np.uint8)
    array[INSIDE] = 1
    return array


def make_pair(folder: Path, label: np.ndarray | None = None, affine: np.ndarray = AFFINE, seed: int = 0) -> list[str]:
    image = write_nifti(folder / "image.nii.gz", ct(seed), AFFINE)
    label = write_nifti(folder / "label.nii.gz", mask() if label is None else label, affine)
    return ["--pair", str(image), str(label)]


def check(tmp_path: Path, *words: str) -> tuple[int, dict[str, Any]]:
    """Exit code and integrity.json."""
    out = tmp_path / "report"
    code = main([*map(str, words), "--out", str(out), "--overwrite"])
    return code, json.loads((out / "integrity.json").read_text())


def kinds(report: dict[str, Any]) -> list[str]:
    return [problem["kind"] for problem in report["problems"]]


def flipped_header() -> np.ndarray:
    """The x axis is said to run the other way from the same first voxel."""
    return AFFINE @ FLIP_X


def flipped_storage() -> tuple[np.ndarray, np.ndarray]:
    """The same points, stored from the other end."""
    affine = AFFINE @ FLIP_X
    affine[:3, 3] += AFFINE[:3, 0] * (SHAPE[0] - 1)
    return mask()[::-1], affine


def test_a_sound_pair_passes(tmp_path: Path) -> None:
    code, found = check(tmp_path, *make_pair(tmp_path))
    report = found["reports"][0]
    assert (code, report["grid"], report["corner_displacement_mm"], report["problems"]) == (0, "same", 0.0, [])
    assert report["label_voxels"] == {"1": 60}
    assert not list((tmp_path / "report").glob("*.png"))


def test_noise_of_the_header_is_rounding(tmp_path: Path) -> None:
    shifted = AFFINE.copy()
    shifted[0, 3] += 0.004
    code, found = check(tmp_path, *make_pair(tmp_path, affine=shifted))
    assert code == 0
    assert found["reports"][0]["grid"] == "rounding"
    assert found["reports"][0]["corner_displacement_mm"] == pytest.approx(0.004, abs=1e-4)
    assert check(tmp_path, *make_pair(tmp_path, affine=shifted), "--tolerance", "0.001")[0] == 3


def test_another_axis_order_is_named_and_mended_without_changing_a_voxel(tmp_path: Path) -> None:
    words = make_pair(tmp_path, *flipped_storage())
    code, found = check(tmp_path, *words)
    assert code == 3
    assert found["reports"][0]["grid"] == "reordered"
    assert found["reports"][0]["corner_displacement_mm"] == pytest.approx(0.6 * 11, abs=1e-4)
    assert (tmp_path / "report" / "image.png").stat().st_size > 5000
    code, found = check(tmp_path, *words, "--fix", "reorder-label", "--out-data", str(tmp_path / "data"))
    assert code == 0
    assert found["reports"][0]["fix"]["corner_displacement_after_mm"] == 0.0
    np.testing.assert_array_equal(read_nifti(tmp_path / "data" / "labels" / "image.nii.gz").array, mask())
    assert main([str(tmp_path / "data" / "dataset.json")]) == 0


def test_a_flipped_header_is_judged_by_the_intensities_under_the_label(tmp_path: Path) -> None:
    words = make_pair(tmp_path, affine=flipped_header())
    code, found = check(tmp_path, *words, "--prior-hu", "40", "180")
    report = found["reports"][0]
    assert (code, report["grid"]) == (3, "header_flipped")
    assert report["evidence"]["plausible_by_index"] == 1.0
    assert report["evidence"]["plausible_by_header"] in (None, 0.0)
    fixing = ["--fix", "header-from-image", "--out-data", str(tmp_path / "data")]
    assert check(tmp_path, *words, "--prior-hu", "40", "180", *fixing)[0] == 0
    mended = read_nifti(tmp_path / "data" / "labels" / "image.nii.gz")
    np.testing.assert_array_equal(mended.array, mask())
    np.testing.assert_allclose(mended.affine_ras, AFFINE, atol=1e-5)


def test_a_rule_that_the_intensities_contradict_is_not_carried_out(tmp_path: Path) -> None:
    moved = np.roll(mask(), 3, axis=1)  # index by index it lies beside the bright part
    affine = AFFINE.copy()
    affine[:3, 3] -= 3 * AFFINE[:3, 1]  # by its header it lies on it
    words = [*make_pair(tmp_path, moved, affine), "--prior-hu", "40", "180"]
    code, found = check(tmp_path, *words, "--fix", "header-from-image", "--out-data", str(tmp_path / "data"))
    assert code == 3
    assert found["reports"][0]["evidence"]["speaks_for"] == "header"
    assert found["reports"][0]["fix"] is None
    fixing = ["--fix", "resample-label", "--out-data", str(tmp_path / "data"), "--overwrite"]
    assert check(tmp_path, *words, *fixing)[0] == 0
    np.testing.assert_array_equal(read_nifti(tmp_path / "data" / "labels" / "image.nii.gz").array, mask())


def test_a_label_of_some_slices_is_another_extent_and_padded_exactly(tmp_path: Path) -> None:
    affine = AFFINE.copy()
    affine[:3, 3] += 4 * AFFINE[:3, 2]
    words = make_pair(tmp_path, mask()[:, :, 4:], affine)
    code, found = check(tmp_path, *words, "--fix", "resample-label", "--out-data", str(tmp_path / "data"))
    assert code == 0
    assert found["reports"][0]["grid"] == "other_extent"
    assert found["reports"][0]["corner_displacement_mm"] is None
    assert found["reports"][0]["fix"]["label_voxels_after"] == 60
    np.testing.assert_array_equal(read_nifti(tmp_path / "data" / "labels" / "image.nii.gz").array, mask())


def test_a_shift_is_misregistration_in_millimetres(tmp_path: Path) -> None:
    shifted = AFFINE.copy()
    shifted[1, 3] += 3.2
    code, found = check(tmp_path, *make_pair(tmp_path, affine=shifted))
    assert (code, found["reports"][0]["grid"]) == (3, "misregistered")
    assert found["reports"][0]["corner_displacement_mm"] == pytest.approx(3.2, abs=1e-4)


def test_a_label_that_leaves_the_image_is_not_resampled_away(tmp_path: Path) -> None:
    far = AFFINE.copy()
    far[2, 3] += 500.3
    words = make_pair(tmp_path, affine=far)
    code, found = check(tmp_path, *words, "--fix", "resample-label", "--out-data", str(tmp_path / "data"))
    assert code == 3
    assert any("outside the image" in note for note in found["reports"][0]["notes"])
    assert not (tmp_path / "data" / "labels").exists()


@pytest.mark.parametrize(
    ("label", "kind"),
    [
        (mask().astype(np.float32) * 0.5, "label_values"),
        (np.where(mask() > 0, np.nan, 0).astype(np.float32), "not_finite"),
        (-mask().astype(np.int16), "label_values"),
    ],
)
def test_label_values_must_be_whole(tmp_path: Path, label: np.ndarray, kind: str) -> None:
    code, found = check(tmp_path, *make_pair(tmp_path, label))
    assert (code, kinds(found["reports"][0])) == (3, [kind])


def almost(label: np.ndarray) -> np.ndarray:
    """The values that an interpolation in float32 leaves of whole ones."""
    return (label.astype(np.float32) * np.float32(0.99999)).astype(np.float32)


def test_nearly_whole_values_are_rounded_by_rule_and_recorded(tmp_path: Path) -> None:
    words = make_pair(tmp_path, almost(mask() * 3))
    code, found = check(tmp_path, *words)
    assert (code, kinds(found["reports"][0])) == (3, ["label_values"])
    assert found["reports"][0]["problems"][0]["fixes"] == ["round-label", "exclude"]
    assert found["reports"][0]["label_voxels"] == {"3": 60}
    code, found = check(tmp_path, *words, "--fix", "round-label", "--out-data", str(tmp_path / "data"))
    fix = found["reports"][0]["fix"]
    assert (code, fix["rule"], fix["voxels_rounded"]) == (0, "round-label", 60)
    assert fix["largest_rounding"] == pytest.approx(3e-5, rel=0.05)
    mended = read_nifti(tmp_path / "data" / "labels" / "image.nii.gz").array
    assert mended.dtype == np.uint8
    np.testing.assert_array_equal(mended, mask() * 3)


def test_rounding_and_another_order_are_mended_together_and_only_if_both_are_asked_for(tmp_path: Path) -> None:
    label, affine = flipped_storage()
    words = make_pair(tmp_path, almost(label), affine)
    data = ["--out-data", str(tmp_path / "data"), "--overwrite"]
    for rule in ("round-label", "reorder-label"):
        code, found = check(tmp_path, *words, "--fix", rule, *data)
        assert (code, found["reports"][0]["fix"]) == (3, None)
    code, found = check(tmp_path, *words, "--fix", "reorder-label", "--fix", "round-label", *data)
    assert (code, found["reports"][0]["fix"]["rule"]) == (0, "reorder-label, round-label")
    np.testing.assert_array_equal(read_nifti(tmp_path / "data" / "labels" / "image.nii.gz").array, mask())
    code, found = check(tmp_path, *words, "--fix", "reorder-label", "--fix", "exclude", *data)
    assert (code, found["reports"][0]["fix"]["rule"]) == (0, "exclude")


def test_rounded_values_must_be_in_the_list_too(tmp_path: Path) -> None:
    make_pair(tmp_path, almost(mask() * 7))
    item = {"image": "image.nii.gz", "label": "label.nii.gz"}
    _, found = check(tmp_path, dataset(tmp_path, {"0": "background", "1": "liver"}, training=[item]))
    assert kinds(found["reports"][0]) == ["label_values", "unknown_labels"]
    assert "data_prep.dataset --map OLD=NEW" in found["reports"][0]["problems"][1]["text"]


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_voxels_that_are_not_finite_are_problems_with_count_position_and_a_way_out(
    tmp_path: Path, value: float
) -> None:
    image = ct().astype(np.float32)
    image[1, 2, 3] = image[2, 2, 2] = value
    words = make_pair(tmp_path)
    write_nifti(tmp_path / "image.nii.gz", image, AFFINE)
    code, found = check(tmp_path, *words)
    (problem,) = found["reports"][0]["problems"]
    assert (code, problem["kind"]) == (3, "not_finite")
    assert problem["text"].startswith(f"image: 2 of {image.size} voxels are not finite")
    assert "the first at index [1, 2, 3] (i, j, k); data_prep.dataset --on-nonfinite fill sets them" in problem["text"]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda image: image / 2000 + 0.5, "scaled to 0..1"),
        (lambda image: image * 0 - 1000, "every voxel is -1000"),
        (lambda image: image + 1024, "intercept of -1024 was not applied"),
    ],
)
def test_an_image_that_can_be_no_ct_is_noted_with_the_likely_cause(
    tmp_path: Path, change: Callable[[np.ndarray], np.ndarray], words: str
) -> None:
    image = np.where(np.indices((8, 8, 8))[0] < 3, -1000.0, 40.0)
    assert make_note(tmp_path / "right", image) == []
    (note,) = make_note(tmp_path / "wrong", change(image))
    assert note.startswith("image: ") and words in note


def make_note(folder: Path, image: np.ndarray) -> list[str]:
    write_nifti(folder / "image.nii.gz", image.astype(np.float32), AFFINE)
    write_nifti(folder / "label.nii.gz", (np.indices(image.shape)[0] == 4).astype(np.uint8), AFFINE)
    _, found = check(folder, "--pair", str(folder / "image.nii.gz"), str(folder / "label.nii.gz"))
    return found["reports"][0]["notes"]


def dataset(folder: Path, labels: dict[str, Any], **lists: list[dict[str, str]]) -> str:
    path = folder / "dataset.json"
    path.write_text(json.dumps({"labels": labels, **lists}))
    return str(path)


def test_values_that_the_list_does_not_name_are_found(tmp_path: Path) -> None:
    make_pair(tmp_path, mask() * 7)
    item = {"image": "image.nii.gz", "label": "label.nii.gz"}
    for labels in ({"0": "background", "1": "liver"}, {"background": 0, "liver": [1, 2]}):
        code, found = check(tmp_path, dataset(tmp_path, labels, training=[item]))
        assert (code, kinds(found["reports"][0])) == (3, ["unknown_labels"])
        assert "7" in found["reports"][0]["problems"][0]["text"]


def test_the_prior_follows_the_name_of_the_label(tmp_path: Path) -> None:
    make_pair(tmp_path, affine=flipped_header())
    item = {"image": "image.nii.gz", "label": "label.nii.gz"}
    _, found = check(tmp_path, dataset(tmp_path, {"0": "background", "1": "liver"}, training=[item]))
    assert found["settings"]["prior_hu"] == [40.0, 180.0]
    assert found["reports"][0]["evidence"]["plausible_by_index"] == 1.0


def test_an_image_of_the_training_that_is_tested_under_another_name_is_leakage(tmp_path: Path) -> None:
    make_pair(tmp_path)
    write_image(tmp_path / "copy.mha", ct(), AFFINE)
    write_nifti(tmp_path / "other.nii.gz", ct(1), AFFINE)
    first = {"image": "image.nii.gz", "label": "label.nii.gz"}
    path = dataset(tmp_path, {"1": "liver"}, training=[first], test=[{"image": "copy.mha"}, {"image": "other.nii.gz"}])
    code, found = check(tmp_path, path)
    assert code == 3
    assert [kinds(report) for report in found["reports"]] == [[], ["leakage"], []]
    code, found = check(tmp_path, path, "--fix", "exclude", "--out-data", str(tmp_path / "data"))
    assert code == 0
    kept = json.loads((tmp_path / "data" / "dataset.json").read_text())
    assert kept["test"] == [{"image": "images/other.nii.gz"}]


def test_the_same_voxels_twice_in_one_list_are_a_duplicate(tmp_path: Path) -> None:
    words = make_pair(tmp_path / "a") + make_pair(tmp_path / "b")
    code, found = check(tmp_path, *words)
    assert code == 3
    assert [report["name"] for report in found["reports"]] == ["a_image", "b_image"]
    assert [kinds(report) for report in found["reports"]] == [[], ["duplicate"]]


def test_an_unreadable_file_is_named_and_the_others_are_checked(tmp_path: Path) -> None:
    words = make_pair(tmp_path / "a") + make_pair(tmp_path / "b", seed=1)
    (tmp_path / "a" / "label.nii.gz").write_bytes(b"\x1f\x8b cut")
    code, found = check(tmp_path, *words)
    assert code == 3
    assert [kinds(report) for report in found["reports"]] == [["unreadable"], []]


def test_cases_are_chosen_by_name(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = make_pair(tmp_path / "a") + make_pair(tmp_path / "b", seed=1)
    (tmp_path / "a" / "label.nii.gz").write_bytes(b"\x1f\x8b cut")
    code, found = check(tmp_path, *words, "--skip", "a_image")
    assert (code, [report["name"] for report in found["reports"]]) == (0, ["b_image"])
    code, found = check(tmp_path, *words, "--only", "a_image")
    assert (code, [kinds(report) for report in found["reports"]]) == (3, [["unreadable"]])
    capsys.readouterr()
    assert main([*words, "--skip", "c_image"]) == 3
    assert "--skip 'c_image' is the name of no case; found a_image, b_image" in capsys.readouterr().err


def test_folders_pair_by_name_and_name_what_is_alone(tmp_path: Path) -> None:
    images, labels = tmp_path / "imagesTr", tmp_path / "labelsTr"
    write_nifti(images / "liver_1_0000.nii.gz", ct(), AFFINE)
    write_nifti(images / "liver_2_0000.nii.gz", ct(1), AFFINE)
    write_image(labels / "liver_1.mha", mask(), AFFINE)
    code, found = check(tmp_path, "--images", str(images), "--labels", str(labels))
    assert code == 3
    assert [(report["name"], kinds(report)) for report in found["reports"]] == [
        ("liver_1", []),
        ("liver_2_0000.nii.gz", ["unmatched"]),
    ]


def test_a_dicom_folder_may_be_the_image(tmp_path: Path) -> None:
    write_series(tmp_path / "dicom", positions(4))
    from medseg.io.ct.series import read_series

    series = read_series(tmp_path / "dicom")
    write_nifti(tmp_path / "label.nii.gz", np.ones(series.array.shape, np.uint8), series.affine_ras)
    words = ["--pair", str(tmp_path / "dicom"), str(tmp_path / "label.nii.gz")]
    assert check(tmp_path, *words)[0] == 0
    data = tmp_path / "data"
    assert main([*words, "--fix", "exclude", "--out-data", str(data)]) == 0
    np.testing.assert_array_equal(read_image(data / "images" / "dicom.nii.gz").array, series.array)


def test_copies_keep_the_grid_and_no_free_text(tmp_path: Path) -> None:
    words = make_pair(tmp_path)
    source = nib.load(tmp_path / "image.nii.gz")
    source.header["descrip"] = b"CANARY"
    nib.save(source, tmp_path / "image.nii.gz")
    data = tmp_path / "data"
    assert main([*words, "--fix", "exclude", "--out-data", str(data)]) == 0
    copy = nib.load(data / "images" / "image.nii.gz")
    assert b"CANARY" not in copy.header.binaryblock
    np.testing.assert_array_equal(np.asarray(copy.dataobj), ct())
    np.testing.assert_array_equal(copy.affine, source.affine)


def test_links_leave_the_unchanged_where_they_are(tmp_path: Path) -> None:
    words = make_pair(tmp_path, *flipped_storage())
    data = tmp_path / "data"
    assert main([*words, "--fix", "reorder-label", "--out-data", str(data), "--link"]) == 0
    assert (data / "images" / "image.nii.gz").resolve() == (tmp_path / "image.nii.gz").resolve()
    assert not (data / "labels" / "image.nii.gz").is_symlink()


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ([], "give one of DATASET_JSON"),
        (["--images", "."], "--images and --labels belong together"),
        (["--pair", "a.nii", "b.nii", "--fix", "exclude"], "--out-data"),
        (["--pair", "a.nii", "b.nii", "--prior-hu", "5", "1"], "lower value first"),
    ],
)
def test_wrong_usage_is_one_line(words: list[str], says: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words) == 2
    text = capsys.readouterr().err
    assert says in text
    assert text.count("\n") == 1


def test_the_public_pairs_are_classified_as_they_are(tmp_path: Path, real_data: Callable[..., Path]) -> None:
    abdomen, livers = real_data("abdomen_totalseg"), real_data("liver_hcc_medrad")
    pairs = [
        (abdomen / "example_ct_sm.nii.gz", abdomen / "example_seg.nii.gz"),
        (abdomen / "example_ct_dicom", abdomen / "example_seg_dicom.nii.gz"),
        (livers / "Patient1" / "liver.nii.gz", livers / "Patient1" / "nodule.nii.gz"),
    ]
    code, found = check(tmp_path, *(word for pair in pairs for word in ("--pair", *map(str, pair))))
    assert code == 3
    assert [report["grid"] for report in found["reports"]] == ["same", "reordered", "other_extent"]
