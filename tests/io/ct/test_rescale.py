"""Slices without RescaleSlope or RescaleIntercept are refused, or read as the user states."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from medseg.io.bounded.errors import DataError
from medseg.io.ct.rescale import Rescale
from medseg.io.ct.scan import list_series
from medseg.io.ct.series import read_series
from medseg.io.ct.sidecar import series_sidecar
from medseg.io.ct.verdict import judge_series
from tests.io._dicom_files import positions, stored_pixels, write_series

AIR = Rescale(1, -1024)


def series(folder: Path, **absent: tuple[int, ...]) -> Path:
    """Four slices; each keyword is absent in the slices named."""

    def change(k: int, data: Any) -> None:
        for keyword, slices in absent.items():
            if k in slices:
                delattr(data, keyword)

    write_series(folder, positions(4), change=change)
    return folder


@pytest.mark.parametrize(
    ("absent", "count"),
    [
        ({"RescaleSlope": (1,)}, 1),
        ({"RescaleIntercept": (0, 2)}, 2),
        ({"RescaleSlope": (0, 1, 2, 3), "RescaleIntercept": (0, 1, 2, 3)}, 4),
    ],
    ids=["slope of one", "intercept of two", "both of all"],
)
def test_absent_values_are_those_that_are_stated(
    tmp_path: Path, absent: dict[str, tuple[int, ...]], count: int
) -> None:
    folder = series(tmp_path, **absent)
    with pytest.raises(DataError, match=r"is absent.*--assume-rescale SLOPE INTERCEPT"):
        read_series(folder)
    found = read_series(folder, assume_rescale=AIR)
    for k in range(4):
        assert np.array_equal(found.array[:, :, k], (stored_pixels(k) - 1024).T)
    assert found.facts["assumed_rescale"] == {"slope": 1, "intercept": -1024, "slices": count}
    assert found.warnings[0].startswith(
        f"RescaleSlope or RescaleIntercept is absent in {count} of 4 slices: slope 1 and intercept -1024 as stated"
    )
    assert series_sidecar(found)["assumed_rescale"]["slices"] == count


def test_values_that_are_there_stay_and_are_named_beside_the_statement(tmp_path: Path) -> None:
    found = read_series(series(tmp_path, RescaleIntercept=(1,)), assume_rescale=Rescale(2, -1000))
    assert np.array_equal(found.array[:, :, 1], (stored_pixels(1) - 1000).T), "the slope of the header is kept"
    assert np.array_equal(found.array[:, :, 0], (stored_pixels(0) - 1024).T)
    assert "the other slices have slope 1 and intercept -1024" in found.warnings[0]
    assert found.facts["rescale"] == [{"slope": 1.0, "intercept": -1024.0}, {"slope": 1.0, "intercept": -1000.0}]


def test_a_statement_that_nobody_needs_changes_nothing(tmp_path: Path) -> None:
    folder = series(tmp_path)
    plain, stated = read_series(folder), read_series(folder, assume_rescale=Rescale(5, 5))
    assert np.array_equal(plain.array, stated.array)
    assert stated.facts["assumed_rescale"] is None
    assert stated.warnings == plain.warnings


@pytest.mark.parametrize("stated", [Rescale(0, -1024), Rescale(float("nan"), 0), Rescale(1, float("inf"))])
def test_numbers_that_cannot_rescale_are_refused(tmp_path: Path, stated: Rescale) -> None:
    with pytest.raises(DataError, match="expected two finite numbers and a slope other than 0"):
        read_series(series(tmp_path, RescaleSlope=(1,)), assume_rescale=stated)


def test_a_damaged_value_is_not_an_absent_one(tmp_path: Path) -> None:
    from pydicom.dataelem import RawDataElement
    from pydicom.tag import Tag

    tag = Tag(0x00281053)
    write_series(
        tmp_path,
        positions(3),
        change=lambda k, data: data._dict.update({tag: RawDataElement(tag, "DS", 2, b"x ", 0, False, True)}),
    )
    with pytest.raises(DataError, match="RescaleSlope"):
        read_series(tmp_path, assume_rescale=AIR)


def test_a_listing_says_how_many_slices_lack_it_and_what_settles_it(tmp_path: Path) -> None:
    (entry,) = list_series(series(tmp_path, RescaleSlope=(1, 2))).series
    verdict = judge_series(entry)
    assert verdict.status == "refused"
    assert verdict.findings[0].startswith("2 of 4 slices: RescaleSlope is absent, so the values are not known to be")
    assert "--assume-rescale SLOPE INTERCEPT" in verdict.findings[0]
