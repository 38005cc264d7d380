from __future__ import annotations

import json
from pathlib import Path

import pytest

from data_prep.convert import main
from medseg.io.bounded.errors import DataError
from medseg.io.ct.series import read_series
from tests.io._dicom_files import SERIES_UID, positions, write_series

SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"


def test_drawn_text_is_refused_with_the_way_to_allow_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_series(tmp_path / "in", positions(3), BurnedInAnnotation="YES")
    assert main([str(tmp_path / "in"), str(tmp_path / "out")]) == 3
    assert "--allow-burned-in" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_drawn_text_is_converted_with_leave_and_a_warning(tmp_path: Path) -> None:
    write_series(tmp_path / "in", positions(3), BurnedInAnnotation="YES")
    assert main([str(tmp_path / "in"), str(tmp_path / "out"), "--allow-burned-in"]) == 0
    warnings = json.loads((tmp_path / "out" / "ct.json").read_text())["warnings"]
    assert any("3 of 3 slices say that text is drawn in the pixels" in line for line in warnings)


def test_a_secondary_capture_needs_leave(tmp_path: Path) -> None:
    write_series(tmp_path, positions(3), SOPClassUID=SECONDARY_CAPTURE)
    with pytest.raises(DataError, match="secondary capture"):
        read_series(tmp_path, SERIES_UID)
    series = read_series(tmp_path, SERIES_UID, allow_burned_in=True)
    assert series.array.shape == (5, 6, 3)
    assert any("a secondary capture does not say" in line for line in series.warnings)
