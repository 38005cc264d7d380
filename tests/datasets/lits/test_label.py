"""Where the headers of image and label disagree, the tissue under the label decides; if it does not, it is refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from medseg.datasets.lits import known_issues, measure_alignment, place_label
from medseg.geometry import make_affine
from medseg.io.bounded.errors import DataError
from medseg.io.volumes.nifti import read_nifti
from tests.datasets.lits._synthetic import phantom

KNOWN = known_issues("volume-49")["label_header"]


def reversed_header(affine: np.ndarray, axis: int, shape: tuple[int, ...] | None = None) -> np.ndarray:
    """The header with one axis reversed, in place or (with a shape) about the volume's middle."""
    header = affine.copy()
    header[:3, axis] *= -1
    if shape:
        header[:3, 3] += affine[:3, axis] * (shape[axis] - 1)
    return header


def test_the_shares_are_those_of_a_count_voxel_by_voxel() -> None:
    rng = np.random.default_rng(0)
    image = rng.integers(0, 250, (6, 7, 8)).astype(np.int16)
    label = (rng.random((6, 7, 8)) < 0.2).astype(np.uint8)
    affine = make_affine((2.0, 3.0, 4.0))
    header = make_affine((2.0, 3.0, 4.0), (4.0, -3.0, 8.0))
    evidence = measure_alignment(image, affine, label, header)
    plausible, inside = (image >= 40) & (image <= 180), 0
    for i, j, k in np.argwhere(label):
        a, b, c = i + 2, j - 1, k + 2
        if 0 <= a < 6 and 0 <= b < 7 and 0 <= c < 8:
            inside += int(plausible[a, b, c])
    assert evidence.world_fraction == inside / label.sum()
    assert evidence.index_fraction == (plausible & (label > 0)).sum() / label.sum()
    assert evidence.index_dice == 2 * (plausible & (label > 0)).sum() / (label.sum() + plausible.sum())


@pytest.mark.trap("4.4-03")
def test_a_label_of_the_table_with_a_wrong_sign_is_laid_on_by_index_and_said() -> None:
    case = phantom()
    header = reversed_header(case.affine_ras, 0)
    placed = place_label("volume-49", case.image, case.affine_ras, case.label, header, KNOWN)
    np.testing.assert_array_equal(placed.array, case.label)
    assert placed.record["placed_by"] == "index"
    assert placed.record["index_fraction"] > 0.9 > 0.5 > placed.record["world_fraction"]
    assert placed.changes[0]["rule"] == "index_aligned"
    assert "label header replaced by the image's (array axes (0,) run the other way" in placed.warnings[0]


@pytest.mark.trap("4.4-03")
def test_the_same_fault_without_a_row_in_the_table_is_refused_with_the_measurement() -> None:
    case = phantom()
    header = reversed_header(case.affine_ras, 0)
    with pytest.raises(DataError) as caught:
        place_label("volume-3", case.image, case.affine_ras, case.label, header, None)
    assert "index by index and 0% by the headers (verdict: index)" in str(caught.value)
    assert "no row for this label" in str(caught.value)


@pytest.mark.trap("4.4-03")
def test_a_header_reversed_about_the_middle_looks_like_another_order_but_the_tissue_contradicts() -> None:
    case = phantom()
    header = reversed_header(case.affine_ras, 0, case.label.shape)
    placed = place_label("volume-49", case.image, case.affine_ras, case.label, header, KNOWN)
    assert placed.record["grids"] == "reordered"
    np.testing.assert_array_equal(placed.array, case.label)
    with pytest.raises(DataError, match="verdict: index"):
        place_label("volume-3", case.image, case.affine_ras, case.label, header, None)


@pytest.mark.parametrize("issue", [None, KNOWN])
def test_a_label_truly_stored_in_another_order_is_re_ordered_even_if_the_table_expects_a_fault(issue: object) -> None:
    case = phantom()
    header = reversed_header(case.affine_ras, 0, case.label.shape)
    stored = case.label[::-1]
    placed = place_label("volume-49", case.image, case.affine_ras, stored, header, issue)  # type: ignore[arg-type]
    np.testing.assert_array_equal(placed.array, case.label)
    assert placed.record["placed_by"] == "world"
    assert placed.changes == ()
    assert "label re-ordered by the headers" in placed.warnings[0]


def test_a_table_row_does_not_decide_where_the_tissue_does_not() -> None:
    case = phantom()
    everywhere = np.full_like(case.image, 100)
    header = reversed_header(case.affine_ras, 0, case.label.shape)
    with pytest.raises(DataError, match="verdict: undecided"):
        place_label("volume-49", everywhere, case.affine_ras, case.label, header, KNOWN)


def test_a_label_of_another_shape_is_never_laid_on_by_index() -> None:
    case = phantom()
    with pytest.raises(DataError, match=r"grids of different shapes.*impossible"):
        place_label("volume-49", case.image, case.affine_ras, case.label[:-1], np.eye(4), KNOWN)


def test_equal_grids_are_taken_as_they_are() -> None:
    case = phantom()
    placed = place_label("volume-49", case.image, case.affine_ras, case.label, case.affine_ras + 1e-7, KNOWN)
    assert placed.array is case.label
    assert placed.changes == () == placed.warnings


def test_an_empty_label_follows_the_headers_or_is_refused() -> None:
    case = phantom()
    empty = np.zeros_like(case.label)
    about_middle = reversed_header(case.affine_ras, 0, empty.shape)
    placed = place_label("volume-3", case.image, case.affine_ras, empty, about_middle, None)
    assert "empty label re-ordered" in placed.warnings[0]
    with pytest.raises(DataError, match="and the label is empty"):
        place_label("volume-3", case.image, case.affine_ras, empty, reversed_header(case.affine_ras, 0), None)


def test_on_a_real_abdomen_the_tissue_tells_every_reversed_axis(real_data: Callable[[str], Path]) -> None:
    folder = real_data("abdomen_totalseg")
    image = read_nifti(folder / "example_ct.nii.gz")
    liver = (read_nifti(folder / "example_seg_fast_force_split.nii.gz").array == 5).astype(np.uint8)
    for axis in range(3):
        for shape in (None, liver.shape):
            header = reversed_header(image.affine_ras, axis, shape)
            evidence = measure_alignment(image.array, image.affine_ras, liver, header)
            assert evidence.verdict == "index", (axis, shape)
