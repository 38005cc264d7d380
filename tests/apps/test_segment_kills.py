"""Kills, a full disk, a read-only target and a second writer: nothing lost, nothing half written, one line each."""

from __future__ import annotations

import errno
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from medseg.inference.outputs import folder as output_folder
from medseg.inference.outputs.folder import RESULT_FILES, staged_folder
from medseg.io.bounded import atomic
from medseg.io.cohort.locks import part_lock
from medseg.io.volumes.image import write_image
from tests.apps.test_segment import segment
from tests.apps.test_segment_cases import AFFINE, mask_of, run, stamps, table, voxels
from tests.inference._tiny_bundle import THRESHOLD_HU, make_tiny_bundle

NAMES = ["case_0", "case_1"]


class Killed(BaseException):
    """Stands for SIGKILL: no handler of the program sees it, and what the program tidies up is not tidied."""


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    return make_tiny_bundle(tmp_path / "bundle")


@pytest.fixture
def cases(tmp_path: Path) -> Path:
    for number, name in enumerate(NAMES):
        write_image(tmp_path / "in" / f"{name}.nii.gz", voxels(number), AFFINE)
    return tmp_path / "in"


def check_whole(out: Path) -> None:
    """Every result that has its name is complete; this holds after any kill."""
    for found in (out / "cases").glob("[!.]*"):
        assert sorted(p.name for p in found.iterdir()) == sorted(RESULT_FILES)
        np.testing.assert_array_equal(mask_of(out, found.name), voxels(NAMES.index(found.name)) > THRESHOLD_HU)


def check_finished(out: Path) -> None:
    check_whole(out)
    assert sorted(p.name for p in (out / "cases").iterdir()) == NAMES
    assert [row["case"] for row in table(out / "summary.csv")] == NAMES
    assert table(out / "failed.csv") == []
    assert not [p for p in out.rglob("*") if ".tmp-" in p.name or ".partial-" in p.name]


def killed_at(step: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the process die at the given write to the disk, and do none of the tidying that it would do."""
    left = [step]

    def dying(call: Callable[..., Any]) -> Callable[..., Any]:
        def dies(*args: Any, **options: Any) -> Any:
            left[0] -= 1
            if left[0] < 0:
                raise Killed
            return call(*args, **options)

        return dies

    for name in ("replace", "rename", "fsync", "write"):
        monkeypatch.setattr(os, name, dying(getattr(os, name)))
    rmtree, unlink = output_folder.shutil.rmtree, Path.unlink
    alive: Callable[[], bool] = lambda: left[0] >= 0  # noqa: E731
    monkeypatch.setattr(output_folder.shutil, "rmtree", lambda *a, **k: rmtree(*a, **k) if alive() else None)
    monkeypatch.setattr(Path, "unlink", lambda *a, **k: unlink(*a, **k) if alive() else None)


@pytest.mark.parametrize("step", sorted(random.Random(7).sample(range(26), 10)))
def test_a_run_that_is_killed_anywhere_is_finished_by_the_next(
    tmp_path: Path, cases: Path, bundle: Path, step: int
) -> None:
    out = tmp_path / "out"
    with pytest.MonkeyPatch.context() as patch:
        killed_at(step, patch)
        with pytest.raises(Killed):
            run(cases, out, bundle, "--quiet")
    if (out / "cases").is_dir():
        check_whole(out)
    before = {} if not (out / "cases").is_dir() else {k: v for k, v in stamps(out).items() if "partial" not in k}
    assert run(cases, out, bundle, "--quiet") == 0
    check_finished(out)
    assert {name: stamps(out)[name] for name in before} == before  # what had its name was not made again


@pytest.mark.parametrize("delay_s", [0.0, 0.4])
def test_a_process_that_gets_sigkill_leaves_nothing_that_stays(
    tmp_path: Path, cases: Path, bundle: Path, delay_s: float
) -> None:
    out = tmp_path / "out"
    words = ["segment", "-i", str(cases), "-o", str(out), "--bundle", str(bundle), "--device", "cpu", "--cases"]
    process = subprocess.Popen([sys.executable, "-m", "medseg.apps.cli", *words], stderr=subprocess.DEVNULL)
    for _ in range(600):
        if process.poll() is not None or (out / "cases").is_dir():
            break
        time.sleep(0.05)
    time.sleep(delay_s)
    process.send_signal(signal.SIGKILL)
    process.wait()
    check_whole(out)
    assert run(cases, out, bundle, "--quiet") == 0
    check_finished(out)


def test_a_killed_run_of_one_case_is_tidied_up_by_the_next(tmp_path: Path, cases: Path, bundle: Path) -> None:
    left = tmp_path / ".out.partial-abcdef"
    left.mkdir()
    (left / "seg.nii.gz").write_bytes(b"half")
    other = tmp_path / ".other.partial-abcdef"  # of another result: not ours to remove
    other.mkdir()
    assert segment(cases / "case_0.nii.gz", tmp_path / "out", bundle) == 0
    assert not left.exists() and other.is_dir()


def test_two_runs_with_one_target_are_told_apart(
    tmp_path: Path, cases: Path, bundle: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    with staged_folder(out) as first:
        (first / "run.json").write_text("{}")
        assert segment(cases / "case_0.nii.gz", out, bundle, "--quiet") == 2
        assert capsys.readouterr().err.splitlines() == [
            f"error: {out}: another run writes there at this moment; wait for its end, or choose another folder"
        ]
        assert first.is_dir()
    assert [p.name for p in out.iterdir()] == ["run.json"]


def test_a_target_that_another_program_fills_meanwhile_keeps_its_files(tmp_path: Path) -> None:
    out = tmp_path / "out"
    with pytest.raises(OSError, match=str(out)), staged_folder(out) as folder:
        (folder / "run.json").write_text("{}")
        out.mkdir()
        (out / "thesis.txt").write_text("mine")
    assert [p.name for p in tmp_path.iterdir()] == ["out"]
    assert (out / "thesis.txt").read_text() == "mine"


def test_two_runs_of_one_part_are_refused_and_two_parts_run_beside_each_other(
    tmp_path: Path, cases: Path, bundle: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    (out / ".segment").mkdir(parents=True)
    with part_lock(out / ".segment", 0, 2):
        assert run(cases, out, bundle, "--num-parts", "2") == 2
        assert "another run works on part 0 of 2" in capsys.readouterr().err
        assert run(cases, out, bundle) == 2
        assert "another run divides this cohort into 2 part(s)" in capsys.readouterr().err
        assert run(cases, out, bundle, "--num-parts", "2", "--part-id", "1", "--quiet") == 0
    assert run(cases, out, bundle, "--num-parts", "2", "--quiet") == 0
    check_finished(out)


def test_a_full_disk_is_one_line_for_a_case_and_the_next_run_goes_on(
    tmp_path: Path, cases: Path, bundle: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"

    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(atomic.os, "fsync", full)
        assert segment(cases / "case_0.nii.gz", tmp_path / "one", bundle, "--quiet") == 5
        assert run(cases, out, bundle, "--quiet") == 5
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 2
    assert all("the disk is full" in line and line.startswith("error: ") for line in lines)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["bundle", "in", "out"]
    assert not list((out / "cases").iterdir())
    assert run(cases, out, bundle, "--quiet") == 0  # without --retry-failed: the disk was at fault, not the case
    check_finished(out)


def test_a_target_without_permission_is_one_line(
    tmp_path: Path, cases: Path, bundle: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: Any, **__: Any) -> None:
        raise PermissionError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr(output_folder.tempfile, "mkdtemp", refused)
    assert segment(cases / "case_0.nii.gz", tmp_path / "one", bundle, "--quiet") == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert str(tmp_path / "one") in line and "read-only" in line
    monkeypatch.setattr(Path, "mkdir", refused)
    assert run(cases, tmp_path / "out", bundle, "--quiet") == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert "read-only" in line
