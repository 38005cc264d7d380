"""Displayed planes, checked with a volume in which every voxel holds its position in the patient."""

from __future__ import annotations

from itertools import permutations, product

import numpy as np
import pytest

from medseg.geometry import apply_affine, make_affine
from medseg.inference.outputs.planes import (
    EdgeLetters,
    anatomical_planes,
    axial_planes,
    coronal_projection,
    display_view,
    largest_sections,
    obliquity_degrees,
    slices_with_most,
)

SHAPE = (7, 8, 9)
ALL_CODES = [
    "".join(pair[side] for pair, side in zip(pairs, sides, strict=True))
    for pairs in permutations(("LR", "PA", "IS"))
    for sides in product((0, 1), repeat=3)
]
# Image edge -> world axis (RAS) and sign in which positions must grow towards that edge.
TOWARDS = {"R": (0, 1), "L": (0, -1), "A": (1, 1), "P": (1, -1), "S": (2, 1), "I": (2, -1)}


def world_positions(affine: np.ndarray, shape: tuple[int, int, int] = SHAPE) -> np.ndarray:
    return apply_affine(affine, np.indices(shape).transpose(1, 2, 3, 0))


@pytest.mark.parametrize("codes", ALL_CODES)
def test_letters_and_pixels_are_right_for_every_orientation(codes: str) -> None:
    affine = make_affine((1.0, 2.0, 3.0), (-40.0, 10.0, 99.0), codes)
    positions = world_positions(affine)
    mask = np.zeros(SHAPE, dtype=np.uint8)
    expected = {
        "axial": EdgeLetters("R", "L", "A", "P"),
        "coronal": EdgeLetters("R", "L", "S", "I"),
        "sagittal": EdgeLetters("A", "P", "S", "I"),
    }
    per_world_axis = [anatomical_planes(positions[..., axis], mask, affine) for axis in range(3)]
    for number, (name, letters) in enumerate(expected.items()):
        planes = [volume[number] for volume in per_world_axis]
        assert planes[0].name == name
        assert planes[0].letters == letters
        # The pixels hold world coordinates, so they must grow towards the edge that carries the letter.
        for edge, axis, step in (("left", 1, -1), ("right", 1, 1), ("top", 0, -1), ("bottom", 0, 1)):
            world, sign = TOWARDS[getattr(letters, edge)]
            assert (np.diff(planes[world].image, axis=axis) * step * sign > 0).all(), (codes, name, edge)
        spacing = [np.ptp(np.stack([p.image for p in planes]), axis=axis + 1).max() for axis in (0, 1)]
        assert planes[0].spacing_mm == tuple(s / (n - 1) for s, n in zip(spacing, planes[0].image.shape, strict=True))


@pytest.mark.parametrize("codes", ["RAS", "LPS", "PSR", "IAL"])
def test_planes_pass_through_the_largest_sections_and_name_the_stored_index(codes: str) -> None:
    affine = make_affine((1.0, 1.0, 1.0), direction=codes)
    mask = np.zeros(SHAPE, dtype=np.uint8)
    mask[1, 2:5, 3:6] = 1
    mask[1:4, 6, 3] = 1
    mask[6, 7, 8] = 2
    image = np.arange(mask.size).reshape(SHAPE)
    for plane in anatomical_planes(image, mask, affine, label=1):
        sums = np.count_nonzero(mask == 1, axis=tuple({0, 1, 2} - {plane.axis}))
        assert sums[plane.index] == sums.max()
        assert plane.count == SHAPE[plane.axis]
        assert set(plane.image.ravel()) == set(image.take(plane.index, axis=plane.axis).ravel())
        assert np.count_nonzero(plane.mask == 1) == sums.max()
    assert all(2 in plane.mask for plane in anatomical_planes(image, mask, affine, label=2))


def test_of_equal_sections_the_middle_one_is_shown() -> None:
    inside = np.zeros(SHAPE, dtype=bool)
    inside[1:6, 2:5, 4] = True
    assert largest_sections(inside) == (3, 3, 4)


def test_an_empty_mask_shows_the_middle() -> None:
    assert largest_sections(np.zeros(SHAPE, dtype=bool)) == (3, 4, 4)


def test_the_views_affine_places_its_voxels_where_they_were() -> None:
    affine = make_affine((1.0, 2.0, 3.0), (4.0, 5.0, 6.0), "SRA")
    view, view_affine, order = display_view(world_positions(affine)[..., 2], affine)
    np.testing.assert_allclose(apply_affine(view_affine, np.indices(view.shape).transpose(1, 2, 3, 0))[..., 2], view)
    assert order == (1, 2, 0)


def test_planes_are_views_of_the_volume() -> None:
    image = np.zeros(SHAPE, dtype=np.int16)
    for plane in anatomical_planes(image, image.astype(np.uint8), make_affine((1.0, 1.0, 1.0), direction="PIR")):
        assert np.shares_memory(plane.image, image)


def test_obliquity_is_the_angle_to_the_closest_patient_axis() -> None:
    angle = np.deg2rad(12)
    turn = np.eye(3)
    turn[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    assert obliquity_degrees(make_affine((1.0, 2.0, 3.0), direction=turn)) == pytest.approx(12)
    assert obliquity_degrees(make_affine((1.0, 2.0, 3.0), direction="LIP")) == 0.0


def test_an_oblique_grid_gets_the_closest_letters() -> None:
    angle = np.deg2rad(30)
    turn = np.eye(3)
    turn[1:, 1:] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    image = np.zeros(SHAPE, dtype=np.int16)
    axial, *_ = anatomical_planes(image, image.astype(np.uint8), make_affine((1.0, 1.0, 1.0), direction=turn))
    assert axial.letters == EdgeLetters("R", "L", "A", "P")


@pytest.mark.parametrize("codes", ["RAS", "LPI", "SAR", "PIR"])
def test_a_coronal_projection_holds_the_highest_value_of_each_line(codes: str) -> None:
    rng = np.random.default_rng(0)
    affine = make_affine((1.0, 2.0, 3.0), (0, 0, 0), codes)
    image, mask = rng.integers(-1000, 1000, (4, 5, 6)), rng.integers(0, 3, (4, 5, 6))
    plane = coronal_projection(image, mask, affine)
    coronal = anatomical_planes(image, mask, affine)[1]
    axis = next(n for n, code in enumerate(codes) if code in "AP")
    assert sorted(plane.image.ravel()) == sorted(image.max(axis=axis).ravel())
    assert (plane.letters, plane.spacing_mm, plane.image.shape) == (
        coronal.letters,
        coronal.spacing_mm,
        coronal.image.shape,
    )
    assert (plane.image >= coronal.image).all()
    assert (plane.mask >= coronal.mask).all()
    assert plane.projected


def test_axial_planes_count_from_the_head() -> None:
    image = np.arange(24).reshape(2, 3, 4)
    first, last = axial_planes(image, image * 0, np.eye(4), [0, 3])
    assert (first.index, last.index) == (3, 0), "the last stored slice is the highest"
    assert set(first.image.ravel()) == set(image[..., 3].ravel())


def test_slices_with_most_keep_a_distance_and_stop_where_nothing_is() -> None:
    inside = np.zeros((4, 4, 20), bool)
    inside[0, 0, 3:9] = inside[0, 1, 5] = inside[:2, :2, 12] = True
    assert slices_with_most(inside, 2, apart=2) == [5, 12]
    assert slices_with_most(inside, 9, apart=4) == [5, 12]
    assert slices_with_most(inside, 2, apart=2, taken=[12]) == [3, 5]
