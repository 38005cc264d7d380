"""``medseg segment --bundle A --bundle B``: each bundle's results lie in a folder of its name."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from medseg.apps.cli import main
from medseg.inference.outputs.folder import RESULT_FILES
from medseg.io.volumes.image import write_image
from medseg.io.volumes.nifti import read_nifti
from tests.apps.test_segment import ball_in_air
from tests.inference._tiny_bundle import THRESHOLD_HU, make_tiny_bundle


def named_bundle(folder: Path, name: str, weights: bool = True) -> Path:
    root = make_tiny_bundle(folder, class_name=f"tissue of {name}", weights=weights)
    path = root / "configs" / "metadata.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "name": name}))
    return root


@pytest.fixture
def words(tmp_path: Path) -> list[str]:
    """The command for two bundles, without the input."""
    bundles = [named_bundle(tmp_path / letter, f"bundle_{letter}") for letter in "ab"]
    options = [word for bundle in bundles for word in ("--bundle", str(bundle))]
    return ["segment", *options, "-o", str(tmp_path / "out"), "--device", "cpu", "--quiet"]


def test_each_bundle_writes_a_whole_result_under_its_name(tmp_path: Path, words: list[str]) -> None:
    case = write_image(tmp_path / "ct.nii.gz", ball_in_air(), np.eye(4))
    assert main([*words, "-i", str(case)]) == 0
    for name in ("bundle_a", "bundle_b"):
        result = tmp_path / "out" / name
        assert sorted(p.name for p in result.iterdir()) == sorted(RESULT_FILES)
        np.testing.assert_array_equal(read_nifti(result / "seg.nii.gz").array, ball_in_air() > THRESHOLD_HU)
        assert json.loads((result / "statistics.json").read_text())["classes"][0]["name"] == f"tissue of {name}"


def test_many_cases_are_done_with_each_bundle(tmp_path: Path, words: list[str]) -> None:
    write_image(tmp_path / "in" / "case_1.nii.gz", ball_in_air(), np.eye(4))
    (tmp_path / "in" / "case_2.nii.gz").write_bytes(b"broken")
    assert main([*words, "-i", str(tmp_path / "in"), "--cases"]) == 4
    for name in ("bundle_a", "bundle_b"):
        assert (tmp_path / "out" / name / "cases" / "case_1" / "seg.nii.gz").is_file()
        assert "case_2,3," in (tmp_path / "out" / name / "failed.csv").read_text()


def test_what_one_bundle_lacks_is_said_before_the_first_runs(
    tmp_path: Path, words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    case = write_image(tmp_path / "ct.nii.gz", ball_in_air(), np.eye(4))
    bare = named_bundle(tmp_path / "c", "bundle_c", weights=False)
    twin = named_bundle(tmp_path / "d", "bundle_a")
    for more, message in (
        (["--bundle", str(bare)], "no weights there"),
        (["--bundle", str(twin)], "is the name of two bundles"),
        (["--weights", "model.pt"], "--weights is given 1 time(s) for 2 bundle(s)"),
    ):
        assert main([*words, "-i", str(case), *more]) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert message in line
    assert not (tmp_path / "out").exists()


def test_weights_belong_to_the_bundles_in_their_order(tmp_path: Path, words: list[str]) -> None:
    case = write_image(tmp_path / "ct.nii.gz", ball_in_air(), np.eye(4))
    model = tmp_path / "a" / "models" / "model.pt"
    other = model.rename(tmp_path / "moved.pt")
    more = ["--weights", str(other), "--weights", str(tmp_path / "b" / "models" / "model.pt")]
    assert main([*words, "-i", str(case), *more]) == 0
    assert (tmp_path / "out" / "bundle_a" / "seg.nii.gz").is_file()
