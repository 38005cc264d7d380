"""The table of known faults holds what is known about LiTS, and says what is not verified."""

from __future__ import annotations

import pytest

from medseg.datasets.lits import known_issues, table_version

TUMOUR_FREE = {32, 34, 38, 41, 47, 87, 89, 91, 105, 106, 114, 115, 119}


def cases_with(kind: str) -> list[str]:
    every = [f"volume-{n}" for n in range(131)] + [f"test-volume-{n}" for n in range(70)]
    return [case for case in every if kind in known_issues(case)]


def test_the_placeholders_are_volumes_28_to_47_with_their_slice_numbers() -> None:
    assert cases_with("identity_geometry") == [f"volume-{n}" for n in range(28, 48)]
    rows = [known_issues(f"volume-{n}")["identity_geometry"] for n in range(28, 48)]
    assert [row.found["slices"] for row in rows[:4]] == [129, 172, 200, 91]
    assert sum(row.found["slices"] for row in rows) == 2823
    assert rows[17].found["slices"] == 74
    assert rows[18].expected["spacing_mm"] == [0.70, 0.70, 4.0]
    for row in rows:
        x, y, z = row.expected["spacing_mm"]
        assert 0.5 < x == y < 1.0 <= z <= 4.0


def test_no_spacing_is_called_verified() -> None:
    assert not any(known_issues(case)["identity_geometry"].verified for case in cases_with("identity_geometry"))
    assert not any(known_issues(case)["mirrored"].verified for case in cases_with("mirrored"))


def test_the_other_rows_name_their_cases() -> None:
    assert cases_with("mirrored") == [f"volume-{n}" for n in range(28, 48)]
    assert cases_with("label_header") == [f"volume-{n}" for n in range(28, 52)]
    assert cases_with("permuted_axes") == ["test-volume-59"]
    assert cases_with("no_tumour") == [f"volume-{n}" for n in sorted(TUMOUR_FREE)]
    assert cases_with("outlier") == ["volume-15"]


@pytest.mark.parametrize("case", ["volume-45", "volume-50", "test-volume-59", "volume-15", "volume-119"])
def test_every_row_says_who_says_so(case: str) -> None:
    for issue in known_issues(case).values():
        assert issue.case == case
        assert len(issue.source) > 20
        assert issue.rule


def test_the_table_has_a_version_and_cases_without_faults_have_no_row() -> None:
    assert table_version() == "1"
    assert known_issues("volume-3") == {}
    assert known_issues("liver_28") == {}
