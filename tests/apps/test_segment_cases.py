"""``medseg segment --cases``: a folder of cases, each result in its own folder, resumable and in parts."""

from __future__ import annotations

import csv
import gc
import os
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from medseg.apps.cli import main
from medseg.inference import bundle_parts, keep_loaded, segment
from medseg.inference.outputs.folder import RESULT_FILES
from medseg.io.bounded.weights import load_weights
from medseg.io.volumes.image import write_image
from medseg.io.volumes.nifti import read_nifti
from tests.apps.test_segment import ball_in_air
from tests.inference._tiny_bundle import THRESHOLD_HU, make_tiny_bundle
from tests.io._dicom_files import positions, write_series

AFFINE = np.diag([0.8, 0.7, 2.5, 1.0])
LOADED: list[Path] = []


def counted_load(network: Any, weights: Any, device: Any) -> Any:
    """What the bundle calls to load its weights; the tests count the calls."""
    LOADED.append(Path(weights))
    return load_weights(network, weights, device)


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    LOADED.clear()
    imports = ["$import torch", "$from tests.apps.test_segment_cases import counted_load"]
    initialize = ["$counted_load(@network, @weights, @device)"]
    return make_tiny_bundle(tmp_path / "bundle", imports=imports, initialize=initialize)


@pytest.fixture
def cases(tmp_path: Path) -> Path:
    """Three cases of three formats, each a shifted ball."""
    for number, suffix in enumerate((".nii.gz", ".mha", ".nrrd")):
        write_image(tmp_path / "in" / f"case_{number}{suffix}", voxels(number), AFFINE)
    return tmp_path / "in"


def voxels(number: int) -> np.ndarray:
    return np.roll(ball_in_air(), number, axis=2)


def run(folder: Path, out: Path, bundle: Path, *more: str) -> int:
    words = ["segment", "-i", str(folder), "-o", str(out), "--bundle", str(bundle), "--device", "cpu", "--cases"]
    return main([*words, *more])


def table(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as stream:
        return list(csv.DictReader(stream))


def mask_of(out: Path, name: str) -> np.ndarray:
    return read_nifti(out / "cases" / name / "seg.nii.gz").array


def stamps(out: Path) -> dict[str, int]:
    return {str(p.relative_to(out)): p.stat().st_mtime_ns for p in sorted((out / "cases").rglob("*")) if p.is_file()}


def test_every_case_gets_its_folder_and_a_row(tmp_path: Path, cases: Path, bundle: Path) -> None:
    out = tmp_path / "out"
    assert run(cases, out, bundle) == 0
    rows = table(out / "summary.csv")
    assert [row["case"] for row in rows] == ["case_0", "case_1", "case_2"]
    for number, row in enumerate(rows):
        target = voxels(number) > THRESHOLD_HU
        np.testing.assert_array_equal(mask_of(out, row["case"]), target)
        assert sorted(p.name for p in (out / "cases" / row["case"]).iterdir()) == sorted(RESULT_FILES)
        assert int(row["bright tissue_voxels"]) == target.sum()
        assert float(row["bright tissue_ml"]) == pytest.approx(target.sum() * 0.8 * 0.7 * 2.5 / 1000, rel=1e-5)
        assert float(row["seconds"]) > 0 and float(row["peak_memory_mb"]) > 50
        assert int(row["warnings"]) >= 0
    assert table(out / "failed.csv") == []


def test_the_network_is_loaded_once_for_all_cases(tmp_path: Path, cases: Path, bundle: Path) -> None:
    assert run(cases, tmp_path / "out", bundle) == 0
    assert [bundle / "models" / "model.pt"] == LOADED


def test_weights_that_change_are_loaded_anew(cases: Path, bundle: Path) -> None:
    weights = bundle / "models" / "model.pt"
    with keep_loaded():
        for _ in range(2):
            segment(cases / "case_0.nii.gz", bundle, device="cpu")
        os.utime(weights, ns=(0, 0))
        segment(cases / "case_0.nii.gz", bundle, device="cpu")
    assert len(LOADED) == 2
    segment(cases / "case_0.nii.gz", bundle, device="cpu")
    assert len(LOADED) == 3


def test_one_bad_case_stops_no_other(
    tmp_path: Path, cases: Path, bundle: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (cases / "case_0.nii.gz").write_bytes(b"not an image")
    out = tmp_path / "out"
    assert run(cases, out, bundle) == 4
    err = capsys.readouterr().err
    assert "case_0: FAILED (3)" in err and "Traceback" not in err
    assert [row["case"] for row in table(out / "summary.csv")] == ["case_1", "case_2"]
    (failed,) = table(out / "failed.csv")
    assert (failed["case"], failed["code"]) == ("case_0", "3")
    assert "case_0.nii.gz" in failed["message"]
    assert not (out / "cases" / "case_0").exists()


def test_a_repeated_run_does_nothing_that_is_done(
    tmp_path: Path, cases: Path, bundle: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    content = (cases / "case_1.mha").read_bytes()
    (cases / "case_1.mha").write_bytes(b"ObjectType = Image\n")
    assert run(cases, out, bundle) == 4
    before = stamps(out)
    capsys.readouterr()
    assert run(cases, out, bundle) == 4
    err = capsys.readouterr().err
    assert "2 case(s) are done already" in err
    assert "1 case(s) failed before and are not tried again; add --retry-failed" in err
    assert stamps(out) == before
    (cases / "case_1.mha").write_bytes(content)  # another file: tried without being told
    assert run(cases, out, bundle) == 0
    assert {name: time for name, time in stamps(out).items() if name in before} == before
    assert len(table(out / "summary.csv")) == 3 and table(out / "failed.csv") == []


def test_other_settings_are_refused_unless_overwritten(
    tmp_path: Path, cases: Path, bundle: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert run(cases, out, bundle) == 0
    before = stamps(out)
    assert run(cases, out, bundle, "--cropped") == 2
    assert "made with other settings (options); add --overwrite" in capsys.readouterr().err
    write_image(cases / "case_1.mha", voxels(5), AFFINE)
    assert run(cases, out, bundle) == 2
    assert "of another input file" in capsys.readouterr().err
    assert stamps(out) == before
    assert run(cases, out, bundle, "--overwrite") == 0
    np.testing.assert_array_equal(mask_of(out, "case_1"), voxels(5) > THRESHOLD_HU)
    assert stamps(out)["cases/case_0/seg.nii.gz"] == before["cases/case_0/seg.nii.gz"]
    assert sorted(p.name for p in (out / "cases").iterdir()) == ["case_0", "case_1", "case_2"]


def test_parts_together_are_the_whole(tmp_path: Path, cases: Path, bundle: Path) -> None:
    out = tmp_path / "out"
    for part in range(2):
        assert run(cases, out, bundle, "--num-parts", "2", "--part-id", str(part)) == 0
    assert [row["case"] for row in table(out / "summary.csv")] == ["case_0", "case_1", "case_2"]
    assert len(LOADED) == 2


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--num-parts", "2", "--part-id", "2"), "expected 0 to 1"),
        (("--series", "1.2.3"), "--series chooses"),
    ],
)
def test_wrong_options_are_one_line(
    tmp_path: Path, cases: Path, bundle: Path, capsys: pytest.CaptureFixture[str], options: tuple[str, ...], words: str
) -> None:
    assert run(cases, tmp_path / "out", bundle, *options) == 2
    err = capsys.readouterr().err
    assert words in err and len(err.splitlines()) == 1
    assert not (tmp_path / "out").exists()


def test_a_folder_of_images_is_not_taken_for_one_case(
    tmp_path: Path, cases: Path, bundle: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["segment", "-i", str(cases), "-o", str(tmp_path / "out"), "--bundle", str(bundle), "--device", "cpu"]
    assert main(words) == 2
    assert "holds 3 image file(s)" in (err := capsys.readouterr().err)
    assert "add --cases" in err
    assert main([*words, "--num-parts", "2"]) == 2
    assert "--num-parts is for a folder of cases; add --cases" in capsys.readouterr().err


def test_a_foreign_folder_is_never_written_into(
    tmp_path: Path, cases: Path, bundle: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.txt").write_text("mine")
    assert run(cases, tmp_path / "out", bundle, "--overwrite") == 2
    assert "is not empty" in capsys.readouterr().err
    assert run(cases, cases / "out", bundle) == 2
    assert "lie within each other" in capsys.readouterr().err


def test_series_in_dicom_are_cases_wherever_they_lie(tmp_path: Path, bundle: Path) -> None:
    folder = tmp_path / "in"
    for number in range(2):
        write_series(folder / f"patient_{number}" / "scan", positions(6), SeriesInstanceUID=f"1.2.3.{number}")
    write_image(folder / "ct.nii.gz", voxels(0), AFFINE)
    out = tmp_path / "out"
    assert run(folder, out, bundle) == 0
    assert sorted(p.name for p in (out / "cases").iterdir()) == ["1.2.3.0", "1.2.3.1", "ct"]


def test_names_that_could_be_a_patients_become_numbers(
    tmp_path: Path, cases: Path, bundle: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (cases / "case_1.mha").rename(cases / "DOE_JANE.mha")
    (cases / "MEIER_UDO.nii").write_bytes(b"broken")
    out = tmp_path / "out"
    assert run(cases, out, bundle) == 4
    shown = capsys.readouterr()
    texts = [shown.out, shown.err, *(p.read_text() for p in out.rglob("*.[cj]s*") if p.is_file())]
    for word in ("DOE", "JANE", "MEIER", "UDO"):
        assert not any(word in text for text in texts), word
        assert not any(word in p.name for p in out.rglob("*"))
    assert sorted(p.name for p in (out / "cases").iterdir()) == ["case_0", "case_0001", "case_2"]
    assert run(cases, tmp_path / "named", bundle, "--show-names") == 4
    assert (tmp_path / "named" / "cases" / "DOE_JANE").is_dir()


def test_two_cases_of_one_name_are_refused(
    tmp_path: Path, cases: Path, bundle: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_image(cases / "case_0.mha", voxels(0), AFFINE)
    assert run(cases, tmp_path / "out", bundle) == 2
    assert "differ in their endings alone; rename one" in capsys.readouterr().err


def test_a_dry_run_lists_the_cases_and_writes_nothing(
    tmp_path: Path, cases: Path, bundle: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(cases, tmp_path / "out", bundle, "--dry-run", "--num-parts", "3") == 0
    assert "1 of 3 cases in part 0 of 3; nothing was written" in capsys.readouterr().out
    assert not (tmp_path / "out").exists()


def test_memory_does_not_grow_with_the_number_of_cases(
    tmp_path: Path, bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(6):
        write_image(tmp_path / "in" / f"case_{number}.nii.gz", np.tile(voxels(number), (2, 2, 2)), AFFINE)
    held: list[tuple[int, int]] = []
    whole = bundle_parts.run_parts

    def measured(*args: Any) -> Any:
        gc.collect()
        tensors = sum(isinstance(thing, torch.Tensor) for thing in gc.get_objects())
        held.append((tracemalloc.get_traced_memory()[0], tensors))
        return whole(*args)

    monkeypatch.setattr(bundle_parts, "run_parts", measured)
    tracemalloc.start()
    try:
        assert run(tmp_path / "in", tmp_path / "out", bundle, "--no-report") == 0
    finally:
        tracemalloc.stop()
    assert len(held) == 6
    (first, tensors), (last, tensors_later) = held[2], held[5]
    assert last - first < 8 * voxels(0).nbytes  # three more cases, not one more image in memory
    assert tensors_later == tensors
