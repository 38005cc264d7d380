from __future__ import annotations

import numpy as np
import pytest

from medseg.datasets.lidc.masks import annotation_mask, match_slices
from medseg.datasets.lidc.records import Annotation, Contour
from medseg.io.bounded.errors import DataError
from tests.datasets.lidc._messages import square

SLICES = [-10.0, -7.5, -5.0, -2.5, 0.0]


def _annotation(*contours: Contour) -> Annotation:
    return Annotation(1, "A", {}, contours)


def _contour(z: float, points: list[tuple[int, int]], inclusion: bool = True) -> Contour:
    return Contour(z, np.array(points), inclusion)


@pytest.mark.trap("4.5-04")
def test_an_outer_and_a_false_inner_outline_leave_the_exact_annulus() -> None:
    contours = _contour(-5.0, square(20, 30, 8)), _contour(-5.0, square(20, 30, 3), False)
    for order in (contours, contours[::-1]):
        patch, absent = annotation_mask(_annotation(*order), SLICES, (64, 64))
        assert absent == ()
        expected = np.zeros((64, 64), bool)
        expected[13:28, 23:38] = True  # 15 x 15 pixels inside the outer outline
        expected[17:24, 27:34] = False  # 7 x 7 pixels: the inner outline and what it encloses
        full = np.zeros((64, 64), bool)
        full[12:29, 22:39] = patch.mask[:, :, 0]
        assert patch.start == (12, 22, 2)
        assert np.array_equal(full, expected)


@pytest.mark.trap("4.5-05")
def test_the_outline_itself_is_in_only_with_include() -> None:
    annotation = _annotation(_contour(0.0, square(20, 30, 8)), _contour(0.0, square(20, 30, 3), False))
    assert int(annotation_mask(annotation, SLICES, (64, 64), "exclude").patch.mask.sum()) == 15**2 - 7**2
    assert int(annotation_mask(annotation, SLICES, (64, 64), "include").patch.mask.sum()) == 17**2 - 7**2


@pytest.mark.trap("4.5-04")
def test_an_unclosed_outline_is_closed() -> None:
    closed, open_ = square(20, 30, 5), square(20, 30, 5)[:-4]
    masks = [annotation_mask(_annotation(_contour(0.0, p)), SLICES, (64, 64)).patch.mask for p in (closed, open_)]
    assert np.array_equal(*masks)


@pytest.mark.trap("4.5-04")
def test_a_skipped_slice_stays_empty() -> None:
    annotation = _annotation(_contour(-7.5, square(20, 30, 5)), _contour(-2.5, square(20, 30, 5)))
    patch = annotation_mask(annotation, SLICES, (64, 64)).patch
    assert patch.mask.any(axis=(0, 1)).tolist() == [True, False, True]
    assert patch.start[2] == 1


@pytest.mark.trap("4.5-05")
def test_x_is_the_column_and_the_first_array_axis() -> None:
    patch = annotation_mask(_annotation(_contour(0.0, [(40, 5), (50, 5), (50, 9), (40, 9)])), SLICES, (64, 16)).patch
    assert patch.start == (40, 5, 4)
    assert patch.mask.shape == (11, 5, 1)


@pytest.mark.trap("4.5-04")
def test_several_outlines_on_one_slice_are_united() -> None:
    annotation = _annotation(_contour(0.0, square(10, 10, 3)), _contour(0.0, square(30, 10, 3)))
    assert int(annotation_mask(annotation, SLICES, (64, 64)).patch.mask.sum()) == 2 * 25


def test_slices_match_in_millimetres_whatever_their_order() -> None:
    assert match_slices([-2.5, -10.04, -3.7], SLICES).tolist() == [3, 0, -1]
    assert match_slices([-2.5], SLICES[::-1]).tolist() == [1]


def test_outlines_without_a_slice_are_reported() -> None:
    annotation = _annotation(_contour(0.0, square(10, 10, 3)), _contour(2.5, square(10, 10, 3)))
    patch, absent = annotation_mask(annotation, SLICES, (64, 64))
    assert absent == (2.5,)
    assert int(patch.mask.sum()) == 25
    nowhere = annotation_mask(_annotation(_contour(99.0, square(10, 10, 3))), SLICES, (64, 64))
    assert nowhere.patch.mask.size == 0


def test_an_outline_outside_the_image_is_refused() -> None:
    with pytest.raises(DataError, match="outside the image of 22 x 64"):
        annotation_mask(_annotation(_contour(0.0, square(20, 30, 5))), SLICES, (22, 64))


@pytest.mark.trap("4.5-04")
@pytest.mark.parametrize("points", [[(20, 30)], [(20, 30), (21, 30)]])
def test_an_outline_of_one_or_two_points_encloses_nothing_but_is_kept_with_include(
    points: list[tuple[int, int]],
) -> None:
    annotation = _annotation(_contour(0.0, points), _contour(-2.5, square(20, 30, 3)))
    inside, whole = (annotation_mask(annotation, SLICES, (64, 64), rule).patch.mask for rule in ("exclude", "include"))
    assert inside.sum(axis=(0, 1)).tolist() == [25, 0]
    assert whole.sum(axis=(0, 1)).tolist() == [49, len(points)]
