"""Which DICOM results can be asked for; that they hold the mask is tested with the command and with ``segment``."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest

from medseg.inference.case import read_case
from medseg.inference.errors import ConfigurationError, IntegrityError
from medseg.inference.outputs.dicom_results import check_output_types, dicom_source
from tests.io._dicom_files import positions, write_series


def test_one_name_or_several_are_taken_and_each_is_kept_once() -> None:
    assert check_output_types("rtstruct") == ("rtstruct",)
    assert check_output_types(["rtstruct", "dicom_seg", "rtstruct"]) == ("rtstruct", "dicom_seg")
    assert check_output_types(()) == ()


def test_a_missing_highdicom_is_named_with_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "highdicom" else find(name))
    with pytest.raises(ConfigurationError, match=r"needs highdicom: pip install 'medseg\[seg\]'"):
        check_output_types(["rtstruct", "dicom_seg"])
    assert check_output_types("rtstruct") == ("rtstruct",)


def test_the_source_is_the_series_of_the_case(tmp_path: Path) -> None:
    write_series(tmp_path, positions(4), FrameOfReferenceUID="1.2.9")
    case = read_case(tmp_path)
    source = dicom_source(case, ["rtstruct"])
    assert source is not None
    assert source.shape == case.array.shape
    np.testing.assert_array_equal(source.affine_ras, case.affine_ras)
    assert dicom_source(case, []) is None


def test_a_series_that_results_cannot_refer_to_is_an_integrity_error(tmp_path: Path) -> None:
    write_series(tmp_path, positions(4), FrameOfReferenceUID="")
    with pytest.raises(IntegrityError, match="no FrameOfReferenceUID"):
        dicom_source(read_case(tmp_path), ["rtstruct"])
