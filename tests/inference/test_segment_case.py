"""``medseg.inference.segment``: one call for files, series and arrays, which saves what the command saves."""

from __future__ import annotations

import gzip
import json
import logging
import shutil
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from monai.data import MetaTensor

from medseg.apps.cli import main
from medseg.datasets.phantom.ct_writer import write_ct_series
from medseg.geometry import make_affine
from medseg.inference.case import read_case
from medseg.inference.errors import ConfigurationError, InferenceError, ResourceError
from medseg.inference.monitor import Monitor
from medseg.inference.outputs.folder import RESULT_FILES
from medseg.inference.segment_case import segment
from medseg.inference.stages import Stages
from medseg.io.ct.scan import list_series
from medseg.io.results.rtstruct_read import read_rtstruct
from medseg.io.results.seg_read import read_seg
from medseg.io.results.source import read_source
from medseg.io.volumes.nifti import write_nifti
from tests.inference._tiny_bundle import THRESHOLD_HU, make_tiny_bundle

SHAPE, SPACING = (20, 24, 18), (0.75, 0.75, 2.5)
AFFINE = make_affine(SPACING, (-31.0, 12.0, 55.0), "LPS")


def ball_in_air() -> np.ndarray:
    """Int16 HU: soft tissue, a bright ellipsoid off the centre, air around."""
    grid = np.indices(SHAPE).transpose(1, 2, 3, 0).astype(float)
    array = np.full(SHAPE, 40.0)
    array[:, :2] = -1000
    array[(((grid - (6, 15, 8)) / (3, 4, 5)) ** 2).sum(axis=-1) <= 1] = 200
    return array.astype(np.int16)


TRUTH = ball_in_air() > THRESHOLD_HU


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    return make_tiny_bundle(tmp_path / "bundle")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return write_nifti(tmp_path / "case.nii.gz", ball_in_air(), AFFINE)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_ct_series(tmp_path / "ct", ball_in_air(), AFFINE, patient_id="P-7", series_description="s")
    return tmp_path / "ct"


def meta_tensor() -> MetaTensor:
    return MetaTensor(torch.from_numpy(ball_in_air())[None], affine=torch.from_numpy(AFFINE))


CASES: dict[str, Callable[[Path, Path], tuple[Any, dict[str, Any]]]] = {
    "file": lambda file, folder: (file, {}),
    "file as text": lambda file, folder: (str(file), {}),
    "folder": lambda file, folder: (folder, {}),
    "listing": lambda file, folder: (list_series(folder), {}),
    "listing and UID": lambda file, folder: (
        (found := list_series(folder)),
        {"series_uid": found.series[0].uid},
    ),
    "entry of a listing": lambda file, folder: (list_series(folder).series[0], {}),
    "array": lambda file, folder: (ball_in_air(), {"affine_ras": AFFINE}),
    "tensor": lambda file, folder: (torch.from_numpy(ball_in_air())[None], {"affine_ras": AFFINE}),
    "MetaTensor": lambda file, folder: (meta_tensor(), {}),
}


@pytest.mark.parametrize("kind", CASES)
def test_every_kind_of_case_gives_the_same_mask_and_measurements(
    file: Path, folder: Path, bundle: Path, kind: str
) -> None:
    case, options = CASES[kind](file, folder)
    result = segment(case, bundle, device="cpu", **options)
    np.testing.assert_array_equal(result.mask, TRUTH)
    assert result.mask.dtype == np.uint8
    np.testing.assert_allclose(result.affine, AFFINE, atol=1e-5)
    assert result.labels == {0: "background", 1: "bright tissue"}
    assert result.statistics["schema_version"] == 2
    entry = result.statistics["classes"][0]
    assert entry["n_voxels"] == TRUTH.sum()
    assert entry["volume_ml"] == pytest.approx(TRUTH.sum() * np.prod(SPACING) / 1000, rel=1e-5)
    assert entry["hu"]["mean"] == 200.0
    assert result.warnings == ()


def test_a_bundle_in_an_archive_is_unpacked_for_the_call_alone(
    tmp_path: Path, file: Path, bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = shutil.make_archive(str(tmp_path / "packed"), "zip", tmp_path, "bundle")
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    result = segment(file, archive, device="cpu")
    np.testing.assert_array_equal(result.mask, TRUTH)
    assert not list((tmp_path / "temporary").iterdir())
    out = result.save(tmp_path / "out")
    assert "BUNDLE/models/model.pt" in json.loads((out / "run.json").read_text())["equivalent_command"]


def test_nothing_is_printed_written_or_left_changed(
    tmp_path: Path, file: Path, bundle: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.chdir(scratch)
    monkeypatch.setattr("tempfile.tempdir", str(scratch))
    before = sorted(tmp_path.rglob("*"))
    random_state, root = torch.get_rng_state(), logging.getLogger()
    logging_state = (root.level, root.handlers[:], [handler.filters[:] for handler in root.handlers])
    show = warnings.showwarning
    segment(file, bundle, device="cpu")
    assert capfd.readouterr() == ("", "")
    assert sorted(tmp_path.rglob("*")) == before
    assert torch.equal(torch.get_rng_state(), random_state)
    assert (root.level, root.handlers, [handler.filters for handler in root.handlers]) == logging_state
    assert warnings.showwarning is show


def test_the_result_cannot_drift_from_its_statistics_and_tells_its_volumes(file: Path, bundle: Path) -> None:
    result = segment(file, bundle, device="cpu")
    for array in (result.mask, result.affine):
        with pytest.raises(ValueError, match="read-only"):
            array[:] = 0
    assert repr(result) == f"Result(20 x 24 x 18 voxels of 0.75 x 0.75 x 2.5 mm; {result.summary()[0]})"
    assert result.summary() == [f"bright tissue: {TRUTH.sum() * np.prod(SPACING) / 1000:.2f} ml, 1 component(s)"]


def run_command(case: Path, out: Path, bundle: Path, *more: str) -> int:
    words = ["segment", "-i", case, "-o", out, "--bundle", bundle, "--device", "cpu", "--quiet", *more]
    return main([str(word) for word in words])


def results_of(folder: Path) -> dict[str, Any]:
    """Contents of a result folder, without what differs from run to run (times, memory, gzip's clock, other logs)."""
    report = json.loads((folder / "run.json").read_text())
    for key in ("started_at", "peak_rss_bytes", "outputs"):
        del report[key]
    report["stage_seconds"] = list(report["stage_seconds"])
    log = (folder / "medseg.log").read_text().splitlines()
    return {
        "files": sorted(entry.name for entry in folder.iterdir()),
        "mask": gzip.decompress((folder / "seg.nii.gz").read_bytes()),
        "statistics": (folder / "statistics.json").read_bytes(),
        "preview": (folder / "preview.png").read_bytes(),
        "report": report,
        "log": [line.split(" took")[0][24:] for line in log if " medseg." in line],
    }


@pytest.mark.parametrize(("kind", "types"), [("file", ()), ("folder", ()), ("folder", ("dicom_seg", "rtstruct"))])
def test_a_saved_result_is_what_the_command_writes(
    tmp_path: Path, file: Path, folder: Path, bundle: Path, kind: str, types: tuple[str, ...]
) -> None:
    case = CASES[kind](file, folder)[0]
    assert run_command(case, tmp_path / "command", bundle, *(["--output-type", *types] if types else [])) == 0
    returned = segment(case, bundle, device="cpu", output_types=types).save(tmp_path / "call")
    assert returned == tmp_path / "call"
    by_command, by_call = results_of(tmp_path / "command"), results_of(tmp_path / "call")
    assert {*by_call["files"]} == {*RESULT_FILES} | ({"seg.dcm", "rtstruct.dcm"} if types else set())
    assert by_call == by_command


def test_saving_needs_the_source_no_more(tmp_path: Path, file: Path, bundle: Path) -> None:
    result = segment(file, bundle, device="cpu")
    source = gzip.decompress(file.read_bytes())
    file.unlink()
    saved = gzip.decompress((result.save(tmp_path / "out") / "seg.nii.gz").read_bytes())
    pixdim_to_the_end_of_sform = slice(252, 328)
    assert saved[pixdim_to_the_end_of_sform] == source[pixdim_to_the_end_of_sform]


def test_an_array_is_saved_on_its_grid(tmp_path: Path, bundle: Path) -> None:
    segment(ball_in_air(), bundle, device="cpu", affine_ras=AFFINE).save(tmp_path / "out")
    saved = read_case(tmp_path / "out" / "seg.nii.gz")
    np.testing.assert_array_equal(saved.array, TRUTH)
    np.testing.assert_allclose(saved.affine_ras, AFFINE, atol=1e-5)
    assert json.loads((tmp_path / "out" / "run.json").read_text())["input"]["kind"] == "array"


def test_an_earlier_result_needs_overwrite_and_each_log_holds_its_own_saving(
    tmp_path: Path, file: Path, bundle: Path
) -> None:
    result = segment(file, bundle, device="cpu")
    result.save(tmp_path / "out")
    before = (tmp_path / "out" / "run.json").read_bytes()
    with pytest.raises(ConfigurationError, match="holds an earlier result; give overwrite"):
        result.save(tmp_path / "out")
    assert (tmp_path / "out" / "run.json").read_bytes() == before
    result.save(tmp_path / "out", overwrite=True)
    log = (tmp_path / "out" / "medseg.log").read_text()
    assert log.count("stage: run bundle took") == log.count("stage: draw preview took") == 1
    assert not (tmp_path / "out.previous").exists()


def test_a_save_that_fails_leaves_no_folder(
    tmp_path: Path, file: Path, bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def disk_full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    result = segment(file, bundle, device="cpu")
    monkeypatch.setattr("medseg.inference.outputs.write.write_json", disk_full)
    before = sorted(tmp_path.iterdir())
    with pytest.raises(OSError, match="No space left"):
        result.save(tmp_path / "out")
    assert sorted(tmp_path.iterdir()) == before


def test_dicom_results_can_be_asked_for_when_saving(tmp_path: Path, folder: Path, bundle: Path) -> None:
    out = segment(folder, bundle, device="cpu").save(tmp_path / "out", output_types=["dicom_seg", "rtstruct"])
    source = read_source(folder)
    for masks in (read_seg(out / "seg.dcm", source), read_rtstruct(out / "rtstruct.dcm", source)):
        np.testing.assert_array_equal(masks.label_map() > 0, TRUTH)


@pytest.mark.parametrize("kind", ["array", "file"])
def test_dicom_results_of_other_cases_are_refused_in_one_line(
    tmp_path: Path, file: Path, folder: Path, bundle: Path, kind: str
) -> None:
    case, options = CASES[kind](file, folder)
    line = rf"^output type rtstruct needs a folder with a DICOM series as the case, not an? {kind}; [^\n]*$"
    stages = Stages()
    with pytest.raises(ConfigurationError, match=line):
        segment(case, bundle, device="cpu", output_types="rtstruct", monitor=Monitor(stages), **options)
    assert list(stages.seconds) == ["read case"]
    result = segment(case, bundle, device="cpu", **options)
    with pytest.raises(ConfigurationError, match=line):
        result.save(tmp_path / "out", output_types="rtstruct")
    assert not (tmp_path / "out").exists()


def test_unknown_output_types_are_refused_before_anything_is_read(bundle: Path) -> None:
    with pytest.raises(ConfigurationError, match="'seg' is unknown, expected dicom_seg or rtstruct"):
        segment("no_such_file.nii", bundle, output_types=["seg"])


class Calls:
    """Counts the calls of functions, which go on working."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._monkeypatch = monkeypatch
        self.counts: dict[str, int] = {}

    def of(self, module: Any, name: str) -> None:
        real = getattr(module, name)

        def counted(*args: Any, **kwargs: Any) -> Any:
            self.counts[name] = self.counts.get(name, 0) + 1
            return real(*args, **kwargs)

        self._monkeypatch.setattr(module, name, counted)


def test_a_series_is_scanned_once_and_its_grid_checked_once(
    tmp_path: Path, folder: Path, bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from medseg.inference import bundle_runner
    from medseg.io.ct import scan, series
    from medseg.io.results import source

    calls = Calls(monkeypatch)
    for module, name in (
        (scan, "read_header"),
        (series, "sort_stack"),
        (source, "sort_stack"),
        (source, "_regular_affine"),
        (bundle_runner, "corner_displacement_mm"),
    ):
        calls.of(module, name)
    assert run_command(folder, tmp_path / "out", bundle, "--output-type", "dicom_seg", "rtstruct") == 0
    # One header a slice is read, the slices are sorted once, and one mask is compared with one image.
    once = {"read_header": SHAPE[2], "sort_stack": 1, "_regular_affine": 1, "corner_displacement_mm": 1}
    assert calls.counts == once


def test_a_listing_is_not_scanned_again(folder: Path, bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from medseg.io.ct import scan

    listing, calls = list_series(folder), Calls(monkeypatch)
    calls.of(scan, "read_header")
    segment(listing, bundle, device="cpu", output_types="rtstruct")
    assert calls.counts == {}


def test_a_monitor_hears_the_stages_and_says_where_scratch_files_go(tmp_path: Path, folder: Path, bundle: Path) -> None:
    heard, inside = [], []

    def listen(name: str, detail: str) -> None:
        heard.append(f"{name} {detail}".strip())
        inside.append(len(list(tmp_path.glob("scratch-*"))))

    result = segment(folder, bundle, device="cpu", monitor=Monitor(Stages(listen), scratch_dir=tmp_path))
    assert heard == ["read case", "run bundle tiny_threshold on cpu", "measure"]
    assert inside == [0, 1, 0]
    result.save(tmp_path / "out")
    assert heard[3:] == ["draw preview", "write report"]


def test_weights_of_another_network_are_one_line_without_wrappers(tmp_path: Path, file: Path, bundle: Path) -> None:
    torch.save({"other": torch.zeros(1)}, tmp_path / "other.pt")
    with pytest.raises(InferenceError, match="weights of another network") as caught:
        segment(file, bundle, tmp_path / "other.pt", device="cpu")
    assert "\n" not in str(caught.value)


def test_missing_weights_bundle_and_memory_are_told_apart(
    tmp_path: Path, file: Path, bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ConfigurationError, match="no such weights file"):
        segment(file, bundle, tmp_path / "none.pt")
    with pytest.raises(ConfigurationError, match="no such bundle folder"):
        segment(file, tmp_path / "none")
    monkeypatch.setattr("medseg.inference.segment_case.available_memory", lambda: 1000)
    with pytest.raises(ResourceError, match="GiB are free"):
        segment(file, bundle, device="cpu")


def test_what_is_odd_about_a_result_is_listed(bundle: Path) -> None:
    empty = segment(np.minimum(ball_in_air(), 60), bundle, device="cpu", affine_ras=AFFINE)
    assert empty.warnings == ("no voxel was labelled bright tissue",)
    cut = ball_in_air()
    cut[0, 10:14, 8] = 200
    assert segment(cut, bundle, device="cpu", affine_ras=AFFINE).warnings == (
        "bright tissue reaches the image border (R): its volume may be cut off",
    )
