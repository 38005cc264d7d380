"""Whole cohorts from the command line: interrupted, divided, damaged or repeated runs give the same output."""

from __future__ import annotations

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydicom import dcmread

from data_prep._cohort.case_job import recipe_of
from data_prep._cohort.pool import ProcessPool
from data_prep._cohort.worker import Job
from data_prep.cohort import main
from tests.data_prep import _cohort_files
from tests.data_prep._cohort_files import SLICES, identities, make_cohort, tree_hash
from tests.datasets.lidc._messages import message, nodule, roi, square
from tests.io._dicom_files import positions, write_series
from tests.io._dicom_phantom import write_phantom

ROOT = Path(__file__).resolve().parents[2]
COUNT = 6
PATIENCE_S = 120.0


@pytest.fixture(scope="module")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("cohort") / "in"
    make_cohort(root, COUNT)
    return root


@pytest.fixture(scope="module")
def undisturbed(cohort: Path) -> Path:
    out = cohort.parent / "out"
    assert run("convert", cohort, out, workers=2) == 0
    return out


@pytest.fixture
def done(undisturbed: Path, tmp_path: Path) -> Path:
    """A finished cohort of its own."""
    return Path(shutil.copytree(undisturbed, tmp_path / "done"))


@pytest.fixture
def inputs(cohort: Path, tmp_path: Path) -> Path:
    """An input folder of its own, with the same times of change."""
    return Path(shutil.copytree(cohort, tmp_path / "in"))


def run(*words: object, workers: int = 1) -> int:
    return main([*map(str, words[:3]), "--workers", str(workers), *map(str, words[3:])])


def records(out: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for path in sorted(out.glob("manifest*")) for line in path.read_text().splitlines()]


def summary(out: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((out / "summary.json").read_text())
    return found


def failures(out: Path) -> dict[str, str]:
    with (out / "failed.csv").open(newline="") as stream:
        return {row["case"]: row["error"] for row in csv.DictReader(stream)}


def leftovers(out: Path) -> list[str]:
    return sorted(str(path) for path in out.rglob("*") if path.name.startswith(("work-", ".tmp-", ".old-", "case-")))


def start(function: str, root: Path, out: Path) -> subprocess.Popen[str]:
    """The command in a process of its own, with ``function`` of `_cohort_files` as the job of every case."""
    code = (
        "import sys, data_prep._cohort.plan as plan, data_prep.cohort as cohort\n"
        "from tests.data_prep import _cohort_files\n"
        f"plan.run_case = _cohort_files.{function}\n"
        "sys.exit(cohort.main(sys.argv[1:]))\n"
    )
    words = [sys.executable, "-c", code, "convert", str(root), str(out), "--workers", "2"]
    return subprocess.Popen(
        words, env={**os.environ, "PYTHONPATH": str(ROOT)}, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )


def wait_for_records(out: Path, count: int) -> None:
    end = time.monotonic() + PATIENCE_S
    while time.monotonic() < end:
        if out.is_dir() and sum(path.read_bytes().count(b"\n") for path in out.glob("manifest*")) >= count:
            return
        time.sleep(0.01)
    pytest.fail("the cohort did not get on")


def test_every_case_gets_its_folder_and_its_record(undisturbed: Path) -> None:
    names = sorted(path.name for path in (undisturbed / "cases").iterdir())
    assert len(names) == COUNT
    for name in names:
        assert sorted(p.name for p in (undisturbed / "cases" / name).iterdir()) == ["case.json", "ct.json", "ct.nii.gz"]
    found = records(undisturbed)
    assert sorted(record["case"] for record in found) == names
    assert {record["status"] for record in found} == {"done"}
    assert all(record["seconds"] > 0 and record["peak_rss_mb"] > 10 for record in found)
    assert all(record["input_bytes"] > 0 and len(record["input_sha256"]) == 64 for record in found)
    assert (summary(undisturbed)["done"], summary(undisturbed)["failed"]) == (COUNT, 0)
    assert failures(undisturbed) == {} and leftovers(undisturbed) == []


def test_a_second_run_has_nothing_to_do(done: Path, cohort: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before, lines = identities(done / "cases"), records(done)
    assert run("convert", cohort, done) == 0
    assert identities(done / "cases") == before
    assert records(done) == lines
    assert f"{COUNT} done ({COUNT} by earlier runs), 0 failed" in capsys.readouterr().out


def test_two_parts_equal_one_run(undisturbed: Path, cohort: Path, tmp_path: Path) -> None:
    out, index = tmp_path / "parts", tmp_path / "index.json"
    for part in (1, 0):
        assert run("convert", cohort, out, "--num-parts", 2, "--part-id", part, "--index", index) == 0
        assert summary(out)["not_run"] == (COUNT // 2 if part == 1 else 0)
    assert tree_hash(out / "cases") == tree_hash(undisturbed / "cases")
    assert summary(out)["tree_sha256"] == summary(undisturbed)["tree_sha256"]
    assert sorted(path.name for path in out.glob("manifest*")) == ["manifest-0-of-2.jsonl", "manifest-1-of-2.jsonl"]
    assert len(records(out)) == COUNT
    assert run("convert", cohort, out) == 0
    assert len(records(out)) == COUNT, "a run of the whole takes over what the parts did"


def test_after_kill_9_a_rerun_gives_the_undisturbed_output_and_does_nothing_twice(
    undisturbed: Path, cohort: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    process = start("slow_case", cohort, out)
    wait_for_records(out, 2)
    process.kill()
    process.communicate()
    finished = records(out)
    assert 2 <= len(finished) < COUNT
    before = identities(out / "cases")
    assert leftovers(out)
    assert run("convert", cohort, out) == 0
    after = identities(out / "cases")
    assert {name: after[name] for name in before} == before, "a finished case was written again"
    converted = [record["case"] for record in records(out) if not record["kept"]]
    assert len(converted) == len(set(converted))
    assert {record["case"] for record in records(out)} == {path.name for path in (out / "cases").iterdir()}
    assert tree_hash(out / "cases") == tree_hash(undisturbed / "cases")
    assert summary(out)["tree_sha256"] == summary(undisturbed)["tree_sha256"]
    assert leftovers(out) == []


def test_a_case_that_was_published_but_not_recorded_is_recognised(done: Path, cohort: Path) -> None:
    lines = (done / "manifest.jsonl").read_text().splitlines(keepends=True)
    (done / "manifest.jsonl").write_text("".join(lines[:-1]) + lines[-1][:30])
    before = identities(done / "cases")
    assert run("convert", cohort, done) == 0
    assert identities(done / "cases") == before
    last = json.loads((done / "manifest.jsonl").read_text().splitlines()[-1])
    assert last["kept"] is True
    assert summary(done)["torn_manifest_lines"] == 1


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_the_run_cleanly_and_it_can_go_on(cohort: Path, tmp_path: Path, number: signal.Signals) -> None:
    out = tmp_path / "out"
    process = start("slow_case", cohort, out)
    wait_for_records(out, 1)
    process.send_signal(number)
    _, errors = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 75
    assert f"interrupted by {number.name}; run the same command again to go on" in errors
    assert "Traceback" not in errors
    assert leftovers(out) == []
    assert 0 < summary(out)["not_run"] < COUNT
    assert summary(out)["done"] + summary(out)["not_run"] == COUNT


def test_a_dead_worker_is_named_retried_once_and_the_others_go_on(cohort: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    process = start("deadly_case", cohort, out)
    _, errors = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 4, errors
    (name,) = failures(out)
    assert name.endswith(".2")
    assert failures(out)[name].count("was killed by SIGKILL (exit code -9), likely out of memory") == 2
    states = {record["case"][-2:]: record for record in records(out)}
    assert (states[".2"]["status"], states[".2"]["attempts"]) == ("died", 2)
    assert (states[".3"]["status"], states[".3"]["attempts"]) == ("done", 2)
    assert "SIGKILL" in states[".3"]["first_attempt"]
    assert len(list((out / "cases").iterdir())) == COUNT - 1
    assert leftovers(out) == []


def test_a_case_that_is_refused_does_not_stop_the_others(inputs: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    gone = sorted((inputs / "patient-1" / "scan-2").iterdir(), key=lambda p: dcmread(p).ImagePositionPatient[2])[2]
    kept = gone.read_bytes()
    gone.unlink()
    (inputs / "patient-2" / "scan-4" / "x.dcm").write_bytes(b"cut")
    assert run("convert", inputs, out) == 4
    errors = failures(out)
    assert errors.keys() == {"1.2.826.0.1.3", "1.2.826.0.1.5"}
    assert errors["1.2.826.0.1.3"].startswith("<IN>/patient-1/scan-2: ")
    assert "1 slice(s) missing" in errors["1.2.826.0.1.3"]
    assert "<IN>/patient-2/scan-4/x.dcm" in errors["1.2.826.0.1.5"], "the user's path, not the link's"
    assert ".cohort" not in "".join(errors.values())
    assert len(list((out / "cases").iterdir())) == COUNT - 2

    lines = len(records(out))
    assert run("convert", inputs, out) == 4
    assert len(records(out)) == lines, "what failed is not tried again unasked"
    assert run("convert", inputs, out, "--retry-failed") == 4
    assert len(records(out)) == lines + 2
    gone.write_bytes(kept)
    assert run("convert", inputs, out) == 4
    assert failures(out).keys() == {"1.2.826.0.1.5"}, "with other input it is another attempt"


def test_other_input_is_never_mixed_with_an_old_output(
    done: Path, inputs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    name = "1.2.826.0.1.1"
    for path in (inputs / "patient-0" / "scan-0").iterdir():
        data = dcmread(path)
        data.RescaleIntercept = -1000
        data.save_as(path)
    before = identities(done / "cases")
    assert run("convert", inputs, done) == 4
    assert "made of other input, with other options or by another version" in failures(done)[name]
    assert run("convert", inputs, done, "--skip-existing") == 0
    assert identities(done / "cases") == before
    assert (summary(done)["skipped"], summary(done)["done"]) == (1, COUNT - 1)
    assert run("convert", inputs, done, "--overwrite") == 0
    after = identities(done / "cases")
    assert {key for key in before if before[key] != after[key]} == {
        f"{name}/{file}" for file in ("case.json", "ct.json", "ct.nii.gz")
    }
    capsys.readouterr()


def test_touched_input_is_known_by_its_contents(done: Path, inputs: Path) -> None:
    for path in (inputs / "patient-0").rglob("*"):
        os.utime(path, ns=(5, 5))
    before, lines = identities(done / "cases"), len(records(done))
    assert run("convert", inputs, done) == 0
    assert identities(done / "cases") == before
    assert [record["kept"] for record in records(done)[lines:]] == [True, True]


def test_a_lost_or_damaged_output_is_noticed(done: Path, cohort: Path, undisturbed: Path) -> None:
    lost, cut, altered = (done / "cases" / f"1.2.826.0.1.{n}" for n in (1, 2, 3))
    shutil.rmtree(lost)
    (cut / "ct.nii.gz").write_bytes(b"")
    bytes_of = bytearray((altered / "ct.nii.gz").read_bytes())
    bytes_of[-9] ^= 1
    (altered / "ct.nii.gz").write_bytes(bytes_of)
    assert run("convert", cohort, done) == 4
    assert tree_hash(lost) == tree_hash(undisturbed / "cases" / lost.name)
    assert failures(done).keys() == {cut.name}
    assert "its files were changed since: ct.nii.gz" in failures(done)[cut.name]
    assert run("convert", cohort, done, "--verify") == 4
    assert failures(done).keys() == {cut.name, altered.name}
    assert run("convert", cohort, done, "--overwrite", "--retry-failed") == 0
    assert tree_hash(done / "cases") == tree_hash(undisturbed / "cases")


def test_a_folder_of_somebody_else_is_left_alone(cohort: Path, tmp_path: Path) -> None:
    foreign = tmp_path / "out" / "cases" / "1.2.826.0.1.1" / "precious.txt"
    foreign.parent.mkdir(parents=True)
    foreign.write_text("precious")
    assert run("convert", cohort, tmp_path / "out") == 4
    assert "holds no case.json" in failures(tmp_path / "out")["1.2.826.0.1.1"]
    assert foreign.read_text() == "precious"


def test_the_annotated_cohort_has_masks_and_names_cases_without_annotations(inputs: Path, tmp_path: Path) -> None:
    text = message("1.2.826.0.1.1", nodule("A", roi(42.5, square(2, 2, 1)), roi(45.0, square(2, 2, 1))))
    (tmp_path / "xml").mkdir()
    (tmp_path / "xml" / "1.xml").write_text(text, encoding="utf-8")
    shutil.rmtree(inputs / "patient-1")
    shutil.rmtree(inputs / "patient-2")
    out = tmp_path / "out"
    assert run("lidc", inputs, out, "--xml", tmp_path / "xml") == 4
    assert {path.name for path in (out / "cases" / "1.2.826.0.1.1").iterdir()} >= {"ct.nii.gz", "nodules.json"}
    assert "no LIDC XML file reads series 1.2.826.0.1.2" in failures(out)["1.2.826.0.1.2"]
    dataset = json.loads((out / "cases" / "1.2.826.0.1.1" / "dataset.json").read_text())
    assert dataset["name"] == "1.2.826.0.1.1"
    assert summary(out)["command"] == "lidc"


def test_real_series_pass_or_are_refused_with_their_reason(real_data: Callable[[str], Path], tmp_path: Path) -> None:
    root = real_data("dicom_tilt_ge").parent
    (tmp_path / "in").mkdir()
    for name in ("dicom_tilt_ge", "abdomen_totalseg/example_ct_dicom", "lidc/LIDC-IDRI-0001"):
        shutil.copytree(root / name, tmp_path / "in" / name)
    assert run("convert", tmp_path / "in", tmp_path / "out") == 4
    errors = sorted(failures(tmp_path / "out").values())
    assert len(errors) == 2
    assert errors[0].startswith("<IN>/dicom_tilt_ge: ") and "18.5 degrees" in errors[0]
    assert "file 134 of 135: 51078 bytes of pixel data, expected 524288" in errors[1], "its folder is in no list"
    (passed,) = (tmp_path / "out" / "cases").iterdir()
    assert passed.name.startswith("series-"), "the abdomen's SeriesInstanceUID is empty"
    assert json.loads((passed / "ct.json").read_text())["spacing_mm"][2] == 2.0


def test_workers_never_load_torch(cohort: Path, tmp_path: Path) -> None:
    folder = cohort / "patient-0" / "scan-0"
    case = {
        "recipe": recipe_of("convert", []),
        "sources": {"dicom": str(folder), "xml": str(folder)},
        "dicom": [path.name for path in folder.iterdir()],
        "xml": [],
        "series": None,
        "staging": str(tmp_path),
        "target": str(tmp_path / "out"),
        "overwrite": False,
    }
    assert len(case["dicom"]) == SLICES
    pool = ProcessPool(1, PATIENCE_S)
    pool.submit(Job("loaded", _cohort_files.loaded_after, {"case": case}))
    outcomes: list[Any] = []
    while not outcomes:
        outcomes = pool.poll(PATIENCE_S)
    pool.cancel()
    assert outcomes[0].value == {"status": "done", "loaded": []}


def test_the_cases_can_be_listed_first(cohort: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("convert", cohort, tmp_path / "out", "--dry-run", "--json", "--num-parts", 4, "--part-id", 0) == 0
    rows = json.loads(capsys.readouterr().out)
    assert 1 <= len(rows) <= 2
    assert rows[0]["files"] == SLICES and rows[0]["bytes"] > 1000
    assert not (tmp_path / "out").exists()


def test_json_prints_the_summary(done: Path, cohort: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("convert", cohort, done, "--json") == 0
    assert json.loads(capsys.readouterr().out) == summary(done)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["convert", "{none}", "{out}"], "no such folder"),
        (["convert", "{in}", "{in}/out"], "lie within each other"),
        (["convert", "{in}", "{out}", "--part-id", "2", "--num-parts", "2"], "expected 0 to 1"),
        (["convert", "{in}", "{out}", "--timeout", "0"], "--timeout is 0, expected a number above 0"),
        (["convert", "{in}", "{out}", "--workers", "-1"], "--workers is -1"),
        (["convert", "{in}", "{out}", "--xml", "{in}"], "--xml is for lidc only"),
        (["convert", "{in}", "{out}", "--scheduler", "local"], "--scheduler is for --executor dask only"),
        (["convert", "{in}", "{out}", "--", "--series", "1.2"], "cannot be given after --"),
        (["convert", "{in}", "{out}", "--", "--mistyped"], "unrecognized arguments: --mistyped"),
    ],
)
def test_wrong_usage_is_one_line_before_any_work(
    cohort: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str], message: str
) -> None:
    places = {"in": cohort, "out": tmp_path / "out", "none": tmp_path / "none"}
    try:
        code = main([word.format(**places) for word in words])
    except SystemExit as left:
        code = int(str(left.code))
    assert code == 2
    text = capsys.readouterr().err
    assert text.startswith("error: ") and text.count("\n") == 1 and message in text
    assert not (tmp_path / "out").exists()


def test_a_folder_without_ct_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.txt").write_text("a")
    assert main(["convert", str(tmp_path / "in"), str(tmp_path / "out")]) == 3
    assert "no CT series in this folder (found 1 other files)" in capsys.readouterr().err


def test_help_is_light() -> None:
    code = "import sys, data_prep.cohort as m\ntry: m.main(['--help'])\nexcept SystemExit as e: assert e.code == 0\n"
    code += "sys.exit(any(name in sys.modules for name in ('torch', 'pydicom', 'nibabel', 'numpy', 'distributed')))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "75 interrupted" in done.stdout


def test_a_dask_cluster_gives_the_same_output(undisturbed: Path, cohort: Path, tmp_path: Path) -> None:
    pytest.importorskip("distributed")
    out = tmp_path / "out"
    (tmp_path / "in").mkdir()
    shutil.copytree(cohort / "patient-0", tmp_path / "in" / "patient-0")
    assert run("convert", tmp_path / "in", out, "--executor", "dask", "--scheduler", "local") == 0
    for name in ("1.2.826.0.1.1", "1.2.826.0.1.2"):
        assert tree_hash(out / "cases" / name) == tree_hash(undisturbed / "cases" / name)
    assert len(records(out)) == 2


def test_irregular_series_are_repaired_by_the_options_of_every_case(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_phantom(tmp_path / "in" / "a", [2.0 * k for k in range(5)], 15.0, SeriesInstanceUID="1.2.3.1")
    assert run("convert", tmp_path / "in", tmp_path / "out") == 4
    (cause,) = failures(tmp_path / "out").values()
    assert "--on-tilt shear" in cause
    assert run("convert", tmp_path / "in", tmp_path / "second", "--on-tilt", "shear") == 0
    sidecar = json.loads((tmp_path / "second" / "cases" / "1.2.3.1" / "ct.json").read_text())
    assert sidecar["repairs"][0]["rule"] == "shear"
    assert summary(tmp_path / "second")["options"] == ["--on-tilt", "shear"]
    with pytest.raises(SystemExit, match="2"):
        run("convert", tmp_path / "in", tmp_path / "third", "--on-tilt", "bend")


def test_phases_of_one_series_are_cases_of_their_own(tmp_path: Path) -> None:
    def change(k: int, data: Any) -> None:
        data.TriggerTime = str(400 * (k // 4))

    write_series(tmp_path / "in", positions(4) * 2, change=change)
    assert run("convert", tmp_path / "in", tmp_path / "out") == 0
    assert len(list((tmp_path / "out" / "cases").iterdir())) == 2
