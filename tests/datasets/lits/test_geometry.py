"""Placeholder headers are refused, or replaced by the table's rows if the user accepts unverified ones."""

from __future__ import annotations

import numpy as np
import pytest

from medseg.datasets.lits import repair_grid
from medseg.datasets.lits.geometry import check_repaired_liver
from medseg.geometry import make_affine, orientation_codes, spacing_of
from medseg.io.bounded.errors import DataError

IDENTITY = np.eye(4)


@pytest.mark.trap("4.4-01")
def test_a_placeholder_is_refused_with_the_reason() -> None:
    with pytest.raises(DataError) as caught:
        repair_grid("volume-28", IDENTITY, 129)
    text = str(caught.value)
    assert "placeholder (1 x 1 x 1 mm), expected 0.57 x 0.57 x 1.6 mm by table version 1" in text
    assert "not verified" in text
    assert "--accept-unverified" in text
    assert "\n" not in text


@pytest.mark.trap("4.4-01")
@pytest.mark.trap("4.4-02")
def test_accepted_rows_give_spacing_and_first_axis_and_are_recorded() -> None:
    repair = repair_grid("volume-46", IDENTITY, 124, accept_unverified=True)
    np.testing.assert_allclose(spacing_of(repair.affine_ras), (0.70, 0.70, 4.0))
    assert orientation_codes(repair.affine_ras) == ("L", "A", "S")
    assert [change["rule"] for change in repair.changes] == ["set_spacing", "reverse_first_axis_of_header"]
    assert not any(change["verified"] for change in repair.changes)
    assert all(change["table_version"] == "1" and change["source"] for change in repair.changes)
    assert repair.warnings == (
        "volume-46: 0.7 x 0.7 x 4 mm and a first axis running to L come from rows of the table that are not verified",
    )


def test_the_origin_of_a_placeholder_is_kept() -> None:
    affine = make_affine((1.0, 1.0, 1.0), (-12.0, 5.0, 80.0))
    repair = repair_grid("volume-46", affine, 124, accept_unverified=True)
    np.testing.assert_array_equal(repair.affine_ras[:3, 3], (-12.0, 5.0, 80.0))


def test_a_placeholder_with_another_number_of_slices_is_not_the_file_of_the_table() -> None:
    with pytest.raises(DataError, match="has 130 slices, expected 129 by table version 1"):
        repair_grid("volume-28", IDENTITY, 130, accept_unverified=True)


def test_an_identity_that_the_table_does_not_know_cannot_be_accepted() -> None:
    with pytest.raises(DataError, match="is a placeholder, and table version 1 has no spacing for this case"):
        repair_grid("volume-3", IDENTITY, 100, accept_unverified=True)


def test_one_millimetre_with_an_origin_is_a_grid_like_any_other() -> None:
    affine = make_affine((1.0, 1.0, 1.0), (-100.0, -80.0, 20.0))
    repair = repair_grid("volume-3", affine, 100)
    assert repair.changes == () == repair.warnings
    np.testing.assert_array_equal(repair.affine_ras, affine)


@pytest.mark.parametrize(("spacing", "doubts"), [((0.571, 0.569, 1.6), 0), ((0.8, 0.8, 1.6), 1)])
def test_a_header_that_is_no_placeholder_is_kept(spacing: tuple[float, float, float], doubts: int) -> None:
    affine = make_affine(spacing, (1.0, 2.0, 3.0), "LPS")
    repair = repair_grid("volume-28", affine, 129)
    np.testing.assert_array_equal(repair.affine_ras, affine)
    assert repair.changes == ()
    assert len(repair.warnings) == doubts
    assert all("0.57 x 0.57 x 1.6 mm; the header is kept" in line for line in repair.warnings)


@pytest.mark.parametrize(("litres", "believed"), [(0.69, False), (0.7, True), (3.5, True), (3.51, False)])
def test_a_repaired_liver_must_have_the_size_of_a_liver(litres: float, believed: bool) -> None:
    if believed:
        check_repaired_liver("volume-28", litres)
        return
    with pytest.raises(DataError, match=f"the liver measures {litres:.2f} litres, expected 0.7 to 3.5"):
        check_repaired_liver("volume-28", litres)
