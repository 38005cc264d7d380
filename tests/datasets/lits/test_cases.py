"""LiTS files are found in any folders, paired, and put into numeric order."""

from __future__ import annotations

from pathlib import Path

import pytest

from medseg.datasets.lits import find_cases, lits_number
from medseg.io.bounded.errors import DataError


def touch(folder: Path, *names: str) -> Path:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return folder


@pytest.mark.trap("4.4-07")
def test_cases_come_by_number_from_whatever_batch_they_lie_in(tmp_path: Path) -> None:
    numbers = [*range(27, 32), 2, 10, 0]
    images = touch(tmp_path / "i", *(f"batch {1 + (n > 27)}/volume-{n}.nii" for n in numbers))
    labels = touch(tmp_path / "s", *(f"segmentation-{n}.nii.gz" for n in numbers))
    touch(images, "Test/test-volume-10.nii", "Test/test-volume-9.nii.gz")
    cases = find_cases(images, labels)
    assert [case.name for case in cases] == [
        *(f"volume-{n}" for n in (0, 2, 10, 27, 28, 29, 30, 31)),
        "test-volume-9",
        "test-volume-10",
    ]
    assert cases[2].image == images / "batch 1" / "volume-10.nii"
    assert cases[2].label == labels / "segmentation-10.nii.gz"
    assert cases[-1].is_test
    assert cases[-1].label is None


def test_images_and_labels_may_share_a_folder_and_other_files_do_not_matter(tmp_path: Path) -> None:
    touch(tmp_path, "volume-1.nii", "segmentation-1.nii", "volume-1.nii.txt", "my-volume-2.nii", "readme.md")
    assert [case.name for case in find_cases(tmp_path)] == ["volume-1"]


def test_a_folder_of_test_volumes_needs_no_labels(tmp_path: Path) -> None:
    assert [case.name for case in find_cases(touch(tmp_path, "test-volume-3.nii"))] == ["test-volume-3"]


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["volume-1.nii", "volume-2.nii", "segmentation-1.nii"], "no segmentation-2 for volume-2; fetch the label"),
        (
            ["volume-1.nii", "segmentation-1.nii", "segmentation-7.nii"],
            "no volume-7 for segmentation-7; fetch",
        ),
        (["volume-1.nii", "a/volume-01.nii.gz", "segmentation-1.nii"], "are the same case 1, expected one file"),
        (["scan.nii"], "no file is named like volume-N.nii"),
        (["volume-1.nii"], "no file is named like segmentation-N.nii"),
    ],
)
def test_what_does_not_pair_up_is_named(tmp_path: Path, names: list[str], message: str) -> None:
    with pytest.raises(DataError, match=message):
        find_cases(touch(tmp_path, *names))


def test_cases_that_do_not_pair_up_can_be_returned_with_the_reason(tmp_path: Path) -> None:
    names = ("volume-1.nii", "segmentation-1.nii", "volume-2.nii", "segmentation-7.nii", "a/volume-1.nii.gz")
    touch(tmp_path, *names, "volume-10.nii", "segmentation-10.nii", "test-volume-3.nii")
    cases = find_cases(tmp_path, allow_partial=True)
    assert [case.name for case in cases] == ["volume-1", "volume-2", "volume-7", "volume-10", "test-volume-3"]
    assert [bool(case.fault) for case in cases] == [True, True, True, False, False]
    with pytest.raises(DataError, match=r"are the same case 1, .* \(and 2 more cases\)"):
        find_cases(tmp_path)


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="nowhere: no such folder"):
        find_cases(tmp_path / "nowhere")


def test_numbers_are_read_from_names_with_and_without_suffix() -> None:
    names = ["volume-007.nii.gz", "test-volume-59", "segmentation-12.nii", "liver_3.nii", "volume-x"]
    assert [lits_number(name) for name in names] == [7, 59, 12, None, None]
