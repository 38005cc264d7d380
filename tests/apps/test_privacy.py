"""``medseg segment`` keeps names, values and file names of its input out of results and log."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.apps.test_segment import segment
from tests.data_prep._canaries import MARK, leaks, write_marked
from tests.inference._tiny_bundle import make_tiny_bundle


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_results_of_a_marked_series_hold_no_mark(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    case = write_marked(tmp_path / f"{MARK}_in", 8)
    capfd.readouterr()
    assert segment(case, tmp_path / "out", make_tiny_bundle(tmp_path / "bundle")) == 0
    assert {"seg.nii.gz", "run.json", "statistics.json", "medseg.log"} <= {
        path.name for path in (tmp_path / "out").iterdir()
    }
    printed = capfd.readouterr()
    assert leaks(tmp_path / "out", printed.out + printed.err) == []
