"""Cubes around nodules: place, scale, values and what lies outside."""

from __future__ import annotations

import numpy as np
import pytest

from medseg.datasets.lidc import build_nodules
from medseg.datasets.lidc.records import Annotation, Contour, Reading
from medseg.datasets.lidc.volume_crops import crop_nodule_mask, crop_volume, nodule_centre_ras
from medseg.geometry import apply_affine, make_affine
from tests.datasets.lidc._messages import square

SPACING = (0.5, 0.75, 2.0)


def _ramp(affine: np.ndarray, shape: tuple[int, int, int]) -> np.ndarray:
    """A volume whose value is a linear function of the position in mm."""
    points = apply_affine(affine, np.stack(np.indices(shape), axis=-1))
    return (points @ [3.0, -2.0, 5.0]).astype(np.float64)


@pytest.mark.parametrize("axes", ["LPS", "RAS", "SLP"])
def test_a_linear_field_is_sampled_exactly_at_the_cubes_own_positions(axes: str) -> None:
    shape = (40, 30, 15) if axes != "SLP" else (15, 40, 30)
    spacing = SPACING if axes != "SLP" else (2.0, 0.5, 0.75)
    affine = make_affine(spacing, (1.0, -7.0, 20.0), axes)
    centre = apply_affine(affine, (np.array(shape) - 1) / 2) + np.array([0.13, -0.21, 0.37])
    crop = crop_volume(_ramp(affine, shape), affine, centre, side_mm=9.0, spacing_mm=0.6)
    assert crop.array.shape == (15, 15, 15)
    assert crop.outside_fraction == 0
    places = apply_affine(crop.affine_ras, np.stack(np.indices(crop.array.shape), axis=-1))
    assert crop.array == pytest.approx(places @ [3.0, -2.0, 5.0], abs=1e-4)
    assert places.reshape(-1, 3).mean(axis=0) == pytest.approx(centre)


def test_what_lies_outside_gets_its_value_and_is_counted() -> None:
    affine = make_affine((1.0, 1.0, 1.0), (0.0, 0.0, 0.0), "RAS")
    crop = crop_volume(np.full((10, 10, 10), 40, np.int16), affine, (0.5, 4.5, 4.5), side_mm=8.0)
    assert crop.array.dtype == np.int16
    assert (crop.array[:3] == -1024).all(), "x from -3 to -1"
    assert (crop.array[3:] == 40).all()
    assert crop.outside_fraction == pytest.approx(3 / 8)


def test_the_mask_keeps_its_volume_and_fits_the_ct() -> None:
    affine = make_affine((0.5, 0.5, 2.0), (0.0, 0.0, -10.0), "LPS")
    outlines = tuple(Contour(z, np.array(square(20, 22, 6))) for z in (-6.0, -4.0, -2.0))
    (nodule,) = build_nodules(Reading("1", "xml", 4, (Annotation(1, "n", {}, outlines),)), affine, (64, 64, 8))
    centre = nodule_centre_ras(nodule, affine)
    assert centre == pytest.approx([-10.0, -11.0, -4.0])
    for spacing in (0.25, 0.5):
        crop = crop_nodule_mask(nodule, affine, centre, 16.0, spacing)
        assert crop.array.sum() * spacing**3 == pytest.approx(11**2 * 3 * 0.5, rel=0.1)
        assert np.argwhere(crop.array).mean(axis=0) == pytest.approx([(16 / spacing - 1) / 2] * 3, abs=0.6)
        ct = crop_volume(np.zeros((64, 64, 8), np.int16), affine, centre, 16.0, spacing)
        assert np.array_equal(ct.affine_ras, crop.affine_ras)


@pytest.mark.parametrize(("side", "spacing"), [(0.0, 1.0), (4.0, 0.0), (0.5, 1.0), (float("nan"), 1.0)])
def test_impossible_sizes_are_refused(side: float, spacing: float) -> None:
    with pytest.raises(ValueError, match="expected 0 < spacing_mm <= side_mm"):
        crop_volume(np.zeros((3, 3, 3)), np.eye(4), (0, 0, 0), side, spacing)
