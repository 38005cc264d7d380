"""The option ``--traps`` itself, run on small suites of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.traps._report import TRAPS, missing_traps

ROOT = Path(__file__).resolve().parents[2]


def run(folder: Path, code: str, *options: str) -> subprocess.CompletedProcess[str]:
    (folder / "test_suite.py").write_text(f"import pytest\n{code}", encoding="utf-8")
    (folder / "pytest.ini").write_text("[pytest]\naddopts = --strict-markers\n", encoding="utf-8")
    command = [sys.executable, "-m", "pytest", "-p", "tests.traps._report", "-p", "no:cacheprovider", *options]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


def marked(*traps: str, body: str = "pass") -> str:
    return "".join(f"@pytest.mark.trap({trap!r})\ndef test_{n}(): {body}\n" for n, trap in enumerate(traps))


def test_every_trap_is_listed_with_its_test_and_result(tmp_path: Path) -> None:
    done = run(tmp_path, marked(*TRAPS) + "def test_other(): assert False\n", "--traps")
    assert done.returncode == 0, done.stdout
    for number, trap in enumerate(TRAPS):
        assert f"{trap}  passed    test_suite.py::test_{number}\n" in done.stdout
    assert "1 deselected" in done.stdout


def test_a_trap_without_a_test_fails_the_run(tmp_path: Path) -> None:
    done = run(tmp_path, marked(*list(TRAPS)[1:]), "--traps")
    assert done.returncode == 1
    assert f"4.3-01  NO TEST   {TRAPS['4.3-01']}" in done.stdout
    assert done.stdout.count("NO TEST") == 1


def test_failures_and_skips_are_named(tmp_path: Path) -> None:
    code = marked(*list(TRAPS)[2:]) + (
        "@pytest.mark.trap('4.3-01')\ndef test_bad(): assert 0\n"
        "@pytest.mark.trap('4.3-02')\ndef test_gone(): pytest.skip('no data')\n"
    )
    done = run(tmp_path, code, "--traps")
    assert done.returncode == 1
    assert "4.3-01  failed    test_suite.py::test_bad" in done.stdout
    assert "4.3-02  skipped   test_suite.py::test_gone" in done.stdout


def test_an_id_that_is_not_on_the_list_is_an_error(tmp_path: Path) -> None:
    done = run(tmp_path, marked("4.3-99"), "--traps")
    assert done.returncode == 4
    assert "trap '4.3-99' is not in the list" in done.stdout + done.stderr


def test_without_the_option_all_tests_run(tmp_path: Path) -> None:
    done = run(tmp_path, marked("4.3-01") + "def test_other(): pass\n")
    assert done.returncode == 0
    assert "2 passed" in done.stdout


def test_missing_traps_keep_the_lists_order() -> None:
    assert missing_traps([("b", "a")], {"c": "", "a": "", "d": ""}) == ["c", "d"]
