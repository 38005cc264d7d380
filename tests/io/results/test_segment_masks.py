from __future__ import annotations

import numpy as np
import pytest

from medseg.geometry import make_affine
from medseg.geometry.contours import PatchMask
from medseg.geometry.regrid import Reordering
from medseg.io.bounded.errors import DataError
from medseg.io.results.segment_info import SegmentInfo
from medseg.io.results.segment_masks import Segment, SegmentMasks, segment_from_planes

SHAPE = (6, 5, 4)
AFFINE = make_affine((1.0, 2.0, 5.0))


def segment(number: int, where: tuple[slice, ...], value: float | None = None) -> Segment:
    start = tuple(part.start for part in where)
    size = tuple(part.stop - part.start for part in where)
    box = np.ones(size, bool) if value is None else np.full(size, value, np.float32)
    return Segment(SegmentInfo(f"s{number}", number=number), start, box)  # type: ignore[arg-type]


def masks(*segments: Segment) -> SegmentMasks:
    return SegmentMasks(segments, SHAPE, AFFINE)


A = segment(1, (slice(0, 3), slice(0, 2), slice(0, 2)))
B = segment(2, (slice(2, 4), slice(1, 3), slice(1, 3)))
C = segment(7, (slice(4, 6), slice(3, 5), slice(3, 4)))


def test_a_mask_is_its_box_on_the_whole_grid() -> None:
    full = masks(A, B).mask(1)
    assert full.shape == SHAPE
    assert np.array_equal(np.argwhere(full).min(axis=0), (2, 1, 1))
    assert full.sum() == 8


def test_volumes_are_counted_in_millilitres() -> None:
    assert masks(A).volume_ml(0) == pytest.approx(12 * 10 / 1000)
    assert masks(segment(1, (slice(0, 2), slice(0, 2), slice(0, 1)), 0.25)).volume_ml(0) == pytest.approx(0.01)


def test_overlaps_are_counted_voxel_by_voxel() -> None:
    found = masks(A, B, C).overlaps()
    assert found == {(0, 1): int((masks(A).mask(0) & masks(B).mask(0)).sum())} == {(0, 1): 1}


def test_overlapping_segments_make_no_label_map() -> None:
    with pytest.raises(DataError, match=r"'s1' and 's2' share 1 voxels"):
        masks(A, B, C).label_map()


def test_a_label_map_holds_the_numbers_of_the_segments() -> None:
    labels = masks(A, C).label_map()
    assert labels.dtype == np.uint8
    assert np.array_equal(np.unique(labels), (0, 1, 7))
    assert (labels == 7).sum() == C.box.sum()
    assert masks(segment(300, (slice(0, 1),) * 3)).label_map().dtype == np.uint16


def test_layers_are_few_and_free_of_overlap() -> None:
    assert masks(A, B, C).layers() == [(0, 2), (1,)]


def test_fractions_become_masks_only_by_a_threshold() -> None:
    half = masks(segment(1, (slice(0, 2),) * 3, 0.5))
    with pytest.raises(DataError, match="threshold"):
        half.label_map()
    assert half.label_map(0.5).sum() == 8
    assert half.label_map(0.51).sum() == 0
    with pytest.raises(DataError, match="above 0 and at most 1"):
        half.binary(0.0)


def test_fractions_of_zero_and_one_need_no_threshold() -> None:
    assert masks(segment(1, (slice(0, 2),) * 3, 1.0)).label_map().sum() == 8


def test_reordering_the_boxes_reorders_the_whole_grid() -> None:
    order = Reordering((2, 0, 1), (True, False, True), 0.0)
    before = masks(A, B, C)
    after = before.reordered(order, order.affine(AFFINE, SHAPE))
    assert after.shape == (4, 6, 5)
    for index in range(3):
        assert np.array_equal(after.mask(index), order.apply(before.mask(index)))


def test_planes_are_stacked_where_they_lie() -> None:
    info = SegmentInfo("x")
    planes = {3: PatchMask((1, 2), np.array([[True], [False]])), 1: PatchMask((2, 1), np.array([[True, True]]))}
    stacked = segment_from_planes(info, planes)
    full = np.zeros(SHAPE, bool)
    full[stacked.where] = stacked.box
    assert sorted(map(tuple, np.argwhere(full).tolist())) == [(1, 2, 3), (2, 1, 1), (2, 2, 1)]
    assert segment_from_planes(info, {0: PatchMask((0, 0), np.zeros((0, 0), bool))}).box.size == 0
