"""CheckHeader: a NIfTI file is refused before it is loaded, in the words of the reader; its path is passed on."""

from __future__ import annotations

import logging
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from monai.transforms import Compose, LoadImaged

from medseg.inference import read_case
from medseg.inference.errors import IntegrityError
from medseg.io.bounded.errors import DataError
from medseg.transforms import CheckHeader, CheckHeaderd


def save(path: Path, shape: tuple[int, ...] = (4, 5, 6), sform: int = 1, qform: int = 0, **fields: object) -> Path:
    image = nib.Nifti1Image(np.arange(np.prod(shape), dtype=np.int16).reshape(shape), np.eye(4))
    image.set_sform(np.eye(4), code=sform)
    image.set_qform(np.eye(4), code=qform)
    for name, value in fields.items():
        image.header[name] = value
    nib.save(image, path)
    return path


def contradiction(path: Path) -> Path:
    image = nib.Nifti1Image(np.zeros((4, 5, 6), np.int16), np.eye(4))
    image.set_sform(np.diag([1.0, 1.0, 2.0, 1.0]), code=1)
    image.set_qform(np.eye(4), code=1)
    nib.save(image, path)
    return path


def test_a_path_and_a_list_of_paths_are_passed_on(tmp_path: Path) -> None:
    path = save(tmp_path / "a.nii.gz")
    assert CheckHeader()(path) is path
    assert CheckHeader("refuse")([str(path), path]) == [str(path), path]


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
@pytest.mark.parametrize(
    "shape",
    [(4, 5, 1), (1, 5, 6)],
)
def test_one_slice_is_refused_as_segment_refuses_it(tmp_path: Path, suffix: str, shape: tuple[int, ...]) -> None:
    path = save(tmp_path / f"a{suffix}", shape)
    with pytest.raises(IntegrityError) as expected:
        read_case(path)
    with pytest.raises(DataError) as caught:
        CheckHeader("ignore")(path)
    assert str(caught.value) == str(expected.value)
    assert str(caught.value).endswith(f"image has shape {shape}, expected at least 2 voxels along each axis")


def test_a_remedy_names_the_command_that_has_it(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"codes are both 0, .* data_prep.dataset --assume-space LPS"):
        CheckHeader()(save(tmp_path / "a.nii.gz", sform=0, qform=0))


def test_a_contradiction_is_a_warning_once_an_error_or_ignored(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = contradiction(tmp_path / "a.nii.gz")
    check = CheckHeader()
    with caplog.at_level(logging.WARNING):
        check(path), check(path)
        CheckHeader("ignore")(path)
    (line,) = [record.getMessage() for record in caplog.records]
    assert line.startswith(f"{path}: sform and qform put the corners up to 5.000 mm apart")
    with pytest.raises(DataError) as caught:
        CheckHeader("refuse")(path)
    assert str(caught.value) == line


def test_an_unknown_word_is_refused_at_once() -> None:
    with pytest.raises(ValueError, match="on_doubt is 'stop'; expected one of warn, refuse, ignore"):
        CheckHeader("stop")


def test_the_dictionary_form_stands_before_the_loader(tmp_path: Path) -> None:
    load = Compose([CheckHeaderd(["image", "label"], allow_missing_keys=True), LoadImaged("image")])
    assert load({"image": save(tmp_path / "a.nii.gz")})["image"].shape == (4, 5, 6)
    with pytest.raises(RuntimeError) as caught:
        load({"image": save(tmp_path / "b.nii.gz", sform=0, qform=0)})
    assert isinstance(caught.value.__cause__, DataError)
    with pytest.raises(KeyError):
        CheckHeaderd("label")({"image": "a.nii.gz"})
