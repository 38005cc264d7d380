"""Grouping of annotations and consensus of readers."""

from __future__ import annotations

import numpy as np
import pytest

from medseg.datasets.lidc import build_nodules, cluster_annotations, consensus_mask, dice
from medseg.datasets.lidc.consensus import equivalent_diameter_mm
from medseg.datasets.lidc.records import Annotation, Contour, Reading
from medseg.geometry import make_affine
from tests.datasets.lidc._messages import square

AFFINE = make_affine((0.5, 0.5, 2.0), (0.0, 0.0, -10.0), "LPS")
SHAPE = (64, 64, 8)


def _annotation(reader: int, x: int, y: int = 20, z: float = -6.0, half: int = 4, name: str = "n") -> Annotation:
    return Annotation(reader, f"{name}{reader}", {"malignancy": reader}, (Contour(z, np.array(square(x, y, half))),))


def _reading(*annotations: Annotation) -> Reading:
    return Reading("1.2", "xml", 4, annotations)


def test_outlines_within_one_pixel_are_one_nodule() -> None:
    apart = [_annotation(1, 10), _annotation(2, 19), _annotation(3, 40)]  # edges at 14 and 15: one pixel
    assert cluster_annotations(apart, (0.5, 0.5)) == [[0, 1], [2]]
    assert cluster_annotations([_annotation(1, 10), _annotation(2, 20)], (0.5, 0.5)) == [[0], [1]]


def test_distance_is_measured_in_millimetres_in_all_directions() -> None:
    stacked = [_annotation(1, 20, z=-6.0), _annotation(2, 20, z=-4.0)]
    assert cluster_annotations(stacked, (0.5, 0.5)) == [[0], [1]], "2 mm apart along z"
    assert cluster_annotations(stacked, (0.5, 0.5), tolerance_mm=2.0) == [[0, 1]]


def test_two_annotations_of_one_reader_are_two_nodules() -> None:
    same = [_annotation(1, 10), _annotation(1, 19)]
    assert cluster_annotations(same, (0.5, 0.5)) == [[0], [1]]
    unknown = [_annotation(0, 10), _annotation(0, 19)]
    assert cluster_annotations(unknown, (0.5, 0.5)) == [[0, 1]]


def test_no_annotations_make_no_groups() -> None:
    assert cluster_annotations([], (0.5, 0.5)) == []
    assert build_nodules(_reading(), AFFINE, SHAPE) == []


def test_half_of_the_readers_who_marked_the_nodule() -> None:
    a, b, c = (np.array(bits, bool) for bits in ([1, 1, 0, 0], [1, 0, 1, 0], [1, 0, 0, 0]))
    assert consensus_mask([a, b]).tolist() == [True, True, True, False]
    assert consensus_mask([a, b, c]).tolist() == [True, False, False, False]
    assert consensus_mask([a, b, c], 1 / 3).tolist() == [True, True, True, False]
    with pytest.raises(ValueError, match="level is 0"):
        consensus_mask([a], 0)


def test_dice_of_known_overlaps() -> None:
    a, b = np.array([1, 1, 1, 0], bool), np.array([0, 1, 1, 1], bool)
    assert dice(a, b) == pytest.approx(2 * 2 / 6)
    assert dice(a, ~a) == 0.0
    assert dice(a & ~a, a & ~a) == 1.0


def test_readers_masks_share_one_box_and_keep_their_place() -> None:
    nodule = build_nodules(_reading(_annotation(1, 20), _annotation(3, 22)), AFFINE, SHAPE)[0]
    assert list(nodule.masks) == [1, 3]
    assert nodule.start == (16, 16, 2)
    full = np.zeros(SHAPE, bool)
    full[nodule.box()] = nodule.masks[3]
    expected = np.zeros(SHAPE, bool)
    expected[19:26, 17:24, 2] = True
    assert np.array_equal(full, expected)
    assert nodule.pairwise_dice() == {(1, 3): pytest.approx(2 * 35 / 98)}
    assert nodule.centroid_ras(3, AFFINE) == pytest.approx([-11.0, -10.0, -6.0])


def test_nodules_are_numbered_from_superior_to_inferior() -> None:
    low, high = _annotation(1, 20, z=-10.0, name="low"), _annotation(1, 20, z=2.0, name="high")
    nodules = build_nodules(_reading(low, high), AFFINE, SHAPE)
    assert [n.nodule_id for n in nodules] == [1, 2]
    assert nodules[0].annotations[1][0].nodule_id == "high1"


def test_unnamed_readers_are_numbered_within_their_nodule() -> None:
    nodules = build_nodules(_reading(_annotation(0, 20), _annotation(0, 21), _annotation(0, 45)), AFFINE, SHAPE)
    assert [list(n.masks) for n in nodules] == [[1, 2], [1]]


def test_an_outline_too_small_to_hold_a_pixel_still_has_a_centre() -> None:
    tiny = Annotation(1, "t", {}, (Contour(-6.0, np.array([(20, 20), (21, 20)])),))
    nodule = build_nodules(_reading(tiny), AFFINE, SHAPE)[0]
    assert not nodule.masks[1].any()
    assert nodule.centroid_ras(1, AFFINE) == pytest.approx([-10.25, -10.0, -6.0])


def test_slices_missing_from_the_ct_are_reported_with_the_nodule() -> None:
    two = Annotation(1, "t", {}, (Contour(4.0, np.array(square(20, 20, 4))), Contour(6.0, np.array(square(20, 20, 4)))))
    assert build_nodules(_reading(two), AFFINE, SHAPE)[0].absent_z_mm == (6.0,)
    assert build_nodules(_reading(_annotation(1, 20, z=50.0)), AFFINE, SHAPE) == []


def test_equivalent_diameter_of_a_known_volume() -> None:
    assert equivalent_diameter_mm(1000, np.diag([1.0, 1, 1, 1])) == pytest.approx((6000 / np.pi) ** (1 / 3))
