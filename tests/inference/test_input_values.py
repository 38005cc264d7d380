"""``segment`` on values that no network should see: not finite, or no CT in Hounsfield units."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from medseg.apps.cli import main
from medseg.geometry import make_affine
from medseg.inference.errors import ConfigurationError, IntegrityError
from medseg.inference.segment_case import segment
from medseg.io.volumes.nifti import read_nifti, write_nifti
from tests.inference._tiny_bundle import THRESHOLD_HU, make_tiny_bundle

AFFINE = make_affine((0.75, 0.75, 2.5), (-31.0, 12.0, 55.0), "LPS")


def scan() -> np.ndarray:
    """Noise around 40 with a bright block off the centre, and air at one side."""
    array = np.random.default_rng(1).normal(40, 5, (20, 24, 18)).round()
    array[:, :4] = -1000
    array[5:9, 12:18, 6:12] = 200
    return array.astype(np.float32)


def inside() -> np.ndarray:
    """A crop without air."""
    return scan()[:, 6:]


# The three that were reported, and others of the same kind, with words of the cause.
WRONG: dict[str, tuple[Callable[[], np.ndarray], str]] = {
    "scaled to 0..1": (lambda: (scan() + 1000) / 1200, "scaled to 0..1"),
    "constant -1000": (lambda: np.full_like(scan(), -1000), "every voxel is -1000"),
    "+1024 unsigned": (lambda: (scan() + 1024).astype(np.uint16), "the intercept of -1024 was not applied"),
    "8 bit": (lambda: ((scan() + 1000) / 1200 * 255).astype(np.uint8), "8-bit grey values"),
    "normalised": (lambda: (scan() - scan().mean()) / scan().std(), "normalised to mean 0"),
    "inverted": (lambda: -scan(), "the sign is inverted"),
}


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    return make_tiny_bundle(tmp_path / "bundle")


def command(folder: Path, array: np.ndarray, bundle: Path, *words: str) -> int:
    case = write_nifti(folder / "case.nii.gz", array, AFFINE)
    out = ["-o", str(folder / "out"), "--bundle", str(bundle), "--device", "cpu"]
    return main(["segment", "-i", str(case), *out, *words])


def report_of(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "out" / "run.json").read_text())


@pytest.mark.parametrize("kind", WRONG)
def test_a_doubt_is_one_warning_in_terminal_report_and_result(
    tmp_path: Path, bundle: Path, capsys: pytest.CaptureFixture[str], kind: str
) -> None:
    make, words = WRONG[kind]
    assert command(tmp_path, make(), bundle) == 0
    shown = [line for line in capsys.readouterr().err.splitlines() if "expected air near -1000" in line]
    assert len(shown) == 1 and shown[0].startswith("warning: ") and words in shown[0]
    report = report_of(tmp_path)
    doubt = shown[0].removeprefix("warning: ")
    assert report["warnings"].count(doubt) == 1
    assert (report["input"]["hounsfield"]["plausible"], report["input"]["hounsfield"]["stated_crop"]) == (False, False)
    assert doubt in segment(make(), bundle, device="cpu", affine_ras=AFFINE).warnings


@pytest.mark.parametrize("kind", WRONG)
def test_strict_refuses_with_the_file_before_anything_runs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], kind: str
) -> None:
    make, words = WRONG[kind]
    broken = make_tiny_bundle(tmp_path / "bundle", run=["$1 / 0"])
    assert command(tmp_path, make(), broken, "--strict", "--quiet") == 3
    line = capsys.readouterr().err
    assert line.startswith("error: <CASE>/case.nii.gz: ") and words in line and line.count("\n") == 1
    assert not (tmp_path / "out").exists()
    with pytest.raises(IntegrityError, match=words):
        segment(make(), broken, device="cpu", affine_ras=AFFINE, strict=True)


def test_a_ct_and_a_stated_crop_pass_strictly_without_a_word(
    tmp_path: Path, bundle: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert segment(scan(), bundle, device="cpu", affine_ras=AFFINE, strict=True).warnings == ()
    assert segment(inside(), bundle, device="cpu", affine_ras=AFFINE, strict=True, cropped=True).warnings == ()
    assert command(tmp_path, inside(), bundle, "--strict") == 3
    assert "crop inside the body (--cropped, cropped=True)" in capsys.readouterr().err
    assert command(tmp_path, inside(), bundle, "--strict", "--cropped") == 0
    assert "warning" not in capsys.readouterr().err
    found = report_of(tmp_path)["input"]["hounsfield"]
    assert (found["plausible"], found["stated_crop"], found["doubt"]) == (True, True, None)


def test_the_doubt_stands_in_the_plan_of_a_dry_run_too(
    tmp_path: Path, bundle: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command(tmp_path, scan() + 1024, bundle, "--dry-run") == 0
    assert capsys.readouterr().out.count("the intercept of -1024 was not applied") == 1
    assert command(tmp_path, scan() + 1024, bundle, "--dry-run", "--strict") == 3


def test_real_scans_are_segmented_strictly_without_a_doubt(bundle: Path, real_data: Callable[[str], Path]) -> None:
    for name in ("example_ct.nii.gz", "example_ct_sm.nii.gz", "example_ct_dicom"):
        result = segment(real_data(f"abdomen_totalseg/{name}"), bundle, device="cpu", strict=True)
        assert not [line for line in result.warnings if "HU" in line]


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_voxels_that_are_not_finite_are_refused_in_one_line(
    tmp_path: Path, bundle: Path, capsys: pytest.CaptureFixture[str], value: float
) -> None:
    array = scan()
    array[3, 7, 0] = array[4, 0, 0] = value
    assert command(tmp_path, array, bundle, "--quiet") == 3
    assert capsys.readouterr().err == (
        f"error: <CASE>/case.nii.gz: 2 of {array.size} voxels are not finite (NaN or infinite), the first at "
        'index [3, 7, 0] (i, j, k); mend the file, or give --on-nonfinite fill (on_nonfinite="fill"), which puts -1024 '
        "there (names are hidden; --show-names shows them)\n"
    )
    assert not (tmp_path / "out").exists()
    with pytest.raises(IntegrityError, match=r"^array: 2 of \d+ voxels are not finite"):
        segment(array, bundle, device="cpu", affine_ras=AFFINE)


@pytest.mark.parametrize(("words", "fill"), [((), -1024.0), (("--fill-value", "-1000"), -1000.0)])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_filled_voxels_are_said_and_recorded_and_the_network_sees_the_fill_value(
    tmp_path: Path, bundle: Path, capsys: pytest.CaptureFixture[str], value: float, words: tuple[str, ...], fill: float
) -> None:
    array = scan()
    array[6, 14, 8] = array[19, 23, 17] = value
    assert command(tmp_path, array, bundle, "--on-nonfinite", "fill", *words) == 0
    shown = [line for line in capsys.readouterr().err.splitlines() if "not finite" in line]
    assert shown == [
        f"warning: 2 of {array.size} voxels are not finite (NaN or infinite), the first at index [6, 14, 8] (i, j, k); "
        f"they were set to {fill:g} HU"
    ]
    report = report_of(tmp_path)
    assert report["input"]["nonfinite"] == {"voxels": 2, "first": [6, 14, 8], "filled_with": fill}
    mask = read_nifti(tmp_path / "out" / "seg.nii.gz")
    np.testing.assert_array_equal(mask.array, np.where(np.isfinite(array), array, fill) > THRESHOLD_HU)
    np.testing.assert_allclose(mask.affine_ras, AFFINE, atol=1e-5)
    statistics = json.loads((tmp_path / "out" / "statistics.json").read_text())
    assert statistics["classes"][0]["hu"]["mean"] == 200.0


def test_one_bad_voxel_does_not_change_the_rest_of_the_mask(bundle: Path) -> None:
    array = scan()
    whole = segment(array, bundle, device="cpu", affine_ras=AFFINE).mask
    array[0, 0, 0] = np.nan
    filled = segment(array, bundle, device="cpu", affine_ras=AFFINE, on_nonfinite="fill").mask
    np.testing.assert_array_equal(filled, whole)


def test_a_finite_case_records_that_nothing_was_filled(tmp_path: Path, bundle: Path) -> None:
    assert command(tmp_path, scan(), bundle, "--on-nonfinite", "fill") == 0
    assert report_of(tmp_path)["input"]["nonfinite"] is None


def test_wrong_options_are_usage_errors(tmp_path: Path, bundle: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for words, says in (
        (("--fill-value", "-1000"), "--fill-value is of use only with --on-nonfinite fill"),
        (("--on-nonfinite", "fill", "--fill-value", "nan"), "--fill-value is nan; expected a finite number"),
        (("--on-nonfinite", "drop"), "invalid choice: 'drop'"),
    ):
        assert command(tmp_path, scan(), bundle, *words) == 2
        assert says in capsys.readouterr().err
    with pytest.raises(ConfigurationError, match="on_nonfinite is 'drop'; expected one of refuse, fill"):
        segment(scan(), bundle, affine_ras=AFFINE, on_nonfinite="drop")


def test_a_bundle_that_judges_values_itself_is_told_that_it_was_done(tmp_path: Path) -> None:
    changes = {"on_hu_doubt": "refuse", "run": ["$@evaluator.run() if @on_hu_doubt == 'ignore' else 1 / 0"]}
    result = segment(
        inside(), make_tiny_bundle(tmp_path / "b", **changes), device="cpu", affine_ras=AFFINE, cropped=True
    )
    assert result.warnings == ()
