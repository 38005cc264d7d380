"""The commands that messages name mend what they are named for."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from data_prep import check, dataset, to_dicom
from medseg.io.volumes.image import read_image, write_image
from medseg.io.volumes.mending import is_nearly_whole
from tests.io._clinical import Example, make_example


@pytest.fixture
def example(tmp_path: Path) -> Example:
    made = make_example(tmp_path / "ct")
    write_image(tmp_path / "image.nii.gz", np.zeros(made.labels.shape, np.int16), made.affine_ras)
    return made


def mend(tmp_path: Path, image: Path, label: Path, message: str) -> Path:
    """Run the command that a message names, on the pair that it is about; returns the mended label."""
    found = re.search(r"python -m data_prep\.check --pair \w+ \w+ --fix (\S+) --out-data DIR", message)
    assert found, message
    words = ["--pair", str(image), str(label), "--fix", found[1], "--out-data", str(tmp_path / "mended")]
    assert check.main(words) == 0
    (mended,) = (tmp_path / "mended" / "labels").iterdir()
    return mended


def part_of_the_slices(example: Example) -> tuple[np.ndarray, np.ndarray]:
    affine = example.affine_ras.copy()
    affine[:3, 3] += affine[:3, 2]
    return example.labels[:, :, 1:4], affine


def part_from_the_other_end(example: Example) -> tuple[np.ndarray, np.ndarray]:
    labels, affine = part_of_the_slices(example)
    flip = np.diag([1.0, 1, -1, 1])
    flip[2, 3] = labels.shape[2] - 1
    return labels[:, :, ::-1], affine @ flip


def interpolated(example: Example) -> tuple[np.ndarray, np.ndarray]:
    values = example.labels.astype(np.float32)
    values[values == 2] = 1.99999
    values[values == 1] = np.float32(1.0005)
    return values, example.affine_ras


def flipped_header(example: Example) -> tuple[np.ndarray, np.ndarray]:
    return example.labels, example.affine_ras @ np.diag([-1.0, 1, 1, 1])


@pytest.mark.parametrize("make", [part_of_the_slices, part_from_the_other_end, interpolated, flipped_header])
def test_a_refused_mask_of_a_series_is_mended_by_the_command_that_the_refusal_names(
    example: Example, tmp_path: Path, capsys: pytest.CaptureFixture[str], make: object
) -> None:
    write_image(tmp_path / "mask.nii.gz", *make(example))  # type: ignore[operator]
    words = ["--series", str(tmp_path / "ct"), "--type", "seg", "--out", str(tmp_path / "out.dcm")]
    assert to_dicom.main(["--mask", str(tmp_path / "mask.nii.gz"), *words]) == 3
    mended = mend(tmp_path, tmp_path / "ct", tmp_path / "mask.nii.gz", capsys.readouterr().err)
    assert to_dicom.main(["--mask", str(mended), *words]) == 0
    assert np.array_equal(read_image(mended).array, example.labels)


@pytest.mark.parametrize("make", [part_of_the_slices, interpolated, flipped_header])
def test_a_refused_pair_of_a_data_set_is_mended_by_the_command_that_the_refusal_names(
    example: Example, tmp_path: Path, capsys: pytest.CaptureFixture[str], make: object
) -> None:
    write_image(tmp_path / "label.nii.gz", *make(example))  # type: ignore[operator]
    pair = ["--pair", str(tmp_path / "image.nii.gz")]
    assert dataset.main([*pair, str(tmp_path / "label.nii.gz"), "--out", str(tmp_path / "set")]) == 3
    mended = mend(tmp_path, tmp_path / "image.nii.gz", tmp_path / "label.nii.gz", capsys.readouterr().err)
    assert dataset.main([*pair, str(mended), "--out", str(tmp_path / "set")]) == 0


@pytest.mark.parametrize(
    ("values", "nearly"),
    [
        ([0, 1, 255], True),
        ([0.99999, 1.001, 2 - 1e-3], True),
        ([-1e-6, 1], True),
        ([0.9989], False),
        ([0.5], False),
        ([-1.0], False),
        ([np.nan, 1], False),
        ([np.inf], False),
        ([], True),
    ],
)
def test_only_values_within_a_thousandth_of_whole_numbers_are_rounded(values: list[float], nearly: bool) -> None:
    assert is_nearly_whole(values) is nearly
