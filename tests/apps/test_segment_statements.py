"""``medseg segment`` on files whose headers leave something open: the option named settles it and is recorded."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from medseg.geometry import spacing_of
from medseg.inference import read_case
from medseg.io.volumes.assumptions import ImageAssumptions
from medseg.io.volumes.nifti import read_nifti
from tests.apps.test_segment import SHAPE, ball_in_air, load, segment
from tests.inference._tiny_bundle import THRESHOLD_HU, make_tiny_bundle
from tests.io._dicom_files import positions, write_series

SPACING = (0.8, 0.7, 2.5)


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    return make_tiny_bundle(tmp_path / "bundle")


def with_header(path: Path, sform: bool, pixdim: tuple[float, float, float]) -> Path:
    """The ball in a NIfTI file whose spacing field is as given, and whose only orientation may be the sform."""
    image = nib.Nifti1Image(ball_in_air(), None)
    image.set_sform(np.diag([*SPACING, 1]) if sform else None, code=int(sform))
    image.set_qform(None, code=0)
    image.header["pixdim"][1:4] = pixdim
    image.header["vox_offset"] = 352
    path.write_bytes(image.header.binaryblock + bytes(4) + ball_in_air().tobytes(order="F"))
    content = bytearray(path.read_bytes())
    content[344:348] = b"n+1\0"
    path.write_bytes(content)
    return path


@pytest.mark.parametrize(
    ("sform", "pixdim", "options", "words"),
    [
        (True, (0.8, -0.7, 2.5), ["--ignore-pixdim-sign"], "signs ignored as stated"),
        (False, SPACING, ["--assume-space", "RAS"], "axes run along RAS as stated"),
        (False, (0.8, -0.7, 2.5), ["--ignore-pixdim-sign", "--assume-space", "LPS"], "axes run along LPS as stated"),
    ],
)
def test_a_statement_about_a_nifti_header_is_taken_and_recorded(
    tmp_path: Path,
    bundle: Path,
    capsys: pytest.CaptureFixture[str],
    sform: bool,
    pixdim: tuple[float, float, float],
    options: list[str],
    words: str,
) -> None:
    case = with_header(tmp_path / "case.nii", sform, pixdim)
    assert segment(case, tmp_path / "out", bundle) == 3
    assert options[0 if sform else -2] in capsys.readouterr().err
    assert segment(case, tmp_path / "out", bundle, *options) == 0
    assert words in capsys.readouterr().err
    assert any(words in line for line in load(tmp_path / "out" / "run.json")["input"]["assumed"])
    result = read_nifti(tmp_path / "out" / "seg.nii.gz")  # the result needs no statement
    assert result.warnings == ()
    np.testing.assert_array_equal(result.array, ball_in_air() > THRESHOLD_HU)
    assert spacing_of(result.affine_ras) == pytest.approx(SPACING)


def test_the_spacing_that_is_stated_to_be_right_is_that_of_the_result(tmp_path: Path, bundle: Path) -> None:
    case = with_header(tmp_path / "case.nii", True, (0.8, 0.7, 5.0))
    assert segment(case, tmp_path / "out", bundle, "--spacing-from", "pixdim") == 0
    result = read_nifti(tmp_path / "out" / "seg.nii.gz")
    assert result.warnings == ()
    assert spacing_of(result.affine_ras) == pytest.approx((0.8, 0.7, 5.0))
    volume = load(tmp_path / "out" / "statistics.json")["classes"][0]["volume_ml"]
    assert volume == pytest.approx((ball_in_air() > THRESHOLD_HU).sum() * 0.8 * 0.7 * 5 / 1000)


def test_slices_without_rescaling_take_the_statement(
    tmp_path: Path, bundle: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_series(tmp_path / "ct", positions(4), change=lambda k, d: delattr(d, "RescaleSlope") if k == 2 else None)
    assert segment(tmp_path / "ct", tmp_path / "out", bundle) == 3
    assert "--assume-rescale" in capsys.readouterr().err
    assert segment(tmp_path / "ct", tmp_path / "out", bundle, "--assume-rescale", "1", "-1024") == 0
    assert "slope 1 and intercept -1024 as stated (--assume-rescale)" in capsys.readouterr().err
    (line,) = load(tmp_path / "out" / "run.json")["input"]["assumed"]
    assert "absent in 1 of 4 slices" in line


def test_a_slope_that_cannot_rescale_is_wrong_usage(
    tmp_path: Path, bundle: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_series(tmp_path / "ct", positions(4))
    assert segment(tmp_path / "ct", tmp_path / "out", bundle, "--assume-rescale", "0", "1") == 2
    assert "expected finite numbers and a slope but 0" in capsys.readouterr().err


def test_python_takes_the_statement_too(tmp_path: Path) -> None:
    case = read_case(with_header(tmp_path / "case.nii", False, SPACING), assume=ImageAssumptions(space="RAS"))
    assert case.array.shape == SHAPE
    assert case.file is None  # other programs would not read it as it was read here
    assert case.facts()["assumed"] == list(case.assumed)


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (errno.EROFS, "the file system is read-only"),
        (errno.EACCES, "permission denied"),
        (errno.ENOTEMPTY, "another program wrote there"),
    ],
)
@pytest.mark.parametrize("call", ["mkdtemp", "rename"])
def test_what_the_system_refuses_is_said_of_the_result_folder(
    tmp_path: Path,
    bundle: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    number: int,
    words: str,
    call: str,
) -> None:
    case = with_header(tmp_path / "case.nii", True, SPACING)

    def refuse(*paths: object, **_: object) -> None:
        raise OSError(number, os.strerror(number), "/tmp/.hidden-name")

    target = "tempfile.mkdtemp" if call == "mkdtemp" else "os.rename"
    monkeypatch.setattr(f"medseg.inference.outputs.folder.{target}", refuse)
    assert segment(case, tmp_path / "out", bundle, "--quiet") == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"error: {tmp_path / 'out'}: {words}")
    assert "Errno" not in line and "hidden-name" not in line
