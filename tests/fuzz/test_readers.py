"""Every reader returns a value or raises a one-line error, within limits of memory and time, for any bytes."""

from __future__ import annotations

import ast

import pytest

from tests.fuzz._dicom_elements import join, split
from tests.fuzz._seeds import all_seeds
from tests.fuzz._targets import CORPUS, TARGETS
from tests.io._address_limit import run_limited

_EXAMPLES = {"nifti": 200, "metaimage": 200, "nrrd": 200, "lidc_xml": 120, "series": 120, "enhanced": 80}


@pytest.mark.parametrize("target", sorted(TARGETS))
def test_saved_and_drawn_inputs_end_in_a_value_or_in_one_line(target: str) -> None:
    code = "print(run_saved(sys.argv[1]))\nprint(dict(run_drawn(sys.argv[1], int(sys.argv[2]))))"
    load = "from tests.fuzz._drawn import run_drawn, run_saved"
    done = run_limited(code, [target, str(_EXAMPLES[target])], extra_mib=384, load=load)
    assert done.returncode == 0, done.stderr[-3000:]
    saved, drawn = (ast.literal_eval(line) for line in done.stdout.splitlines())
    assert set(saved) == {path.name for path in (CORPUS / target).iterdir()}
    assert "read" in saved.values()
    assert sum(drawn.values()) == _EXAMPLES[target]
    assert drawn["read"] > 0
    assert drawn["refused"] > _EXAMPLES[target] // 4


def test_an_exception_that_is_no_refusal_or_no_single_line_is_not_hidden() -> None:
    code = """
def listless(data, folder):
    return [][1]

def wordy(data, folder):
    raise ValueError("one line\\nand another")

folder = pathlib.Path(tempfile.mkdtemp())
for wrong in (listless, wordy):
    TARGETS["nifti"] = wrong
    try:
        outcome("nifti", b"", folder)
    except (IndexError, AssertionError) as error:
        print(type(error).__name__)
"""
    load = "import pathlib, tempfile\nfrom tests.fuzz._targets import TARGETS, outcome"
    assert run_limited(code, load=load).stdout.split() == ["IndexError", "AssertionError"]


def test_a_hang_ends_the_process() -> None:
    code = """
import time
drawn._SECONDS = 1
drawn.TARGETS["nifti"] = lambda data, folder: time.sleep(60)
drawn.run_saved("nifti")
"""
    done = run_limited(code, load="from tests.fuzz import _drawn as drawn", timeout_s=120)
    assert done.returncode == -14, done.stderr


def test_elements_taken_apart_and_put_together_are_the_same_file() -> None:
    content = all_seeds()["series"]["explicit"]
    elements = split(content)
    assert join(elements) == content
    assert (elements[-1].group, elements[-1].number, len(elements[-1].value)) == (0x7FE0, 0x10, 60)
