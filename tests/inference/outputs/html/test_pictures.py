"""Pictures of a report: their pixels, their places and which slices they show."""

from __future__ import annotations

import base64
import io

import numpy as np
import pytest
from PIL import Image

from medseg.geometry import apply_affine, flip_lps_ras, make_affine
from medseg.inference.outputs.html.pictures import (
    axial_pictures,
    chosen_slices,
    lesion_marks,
    projection_picture,
    windows_for,
)
from medseg.inference.outputs.planes import display_view
from medseg.inference.outputs.preview import Window


def opened(address: str, kind: str) -> Image.Image:
    head, data = address.split(",")
    assert head == f"data:image/{kind};base64"
    return Image.open(io.BytesIO(base64.b64decode(data)))


def test_a_slice_is_shown_in_every_window() -> None:
    image = np.full((40, 30, 3), -1000, np.int16)
    image[10:, :, 1] = 50
    mask = np.zeros(image.shape, np.uint8)
    windows = [Window("a", 50, 400), Window("b", -600, 1500)]
    (picture,) = axial_pictures(image, mask, make_affine((1.0, 2.0, 3.0), direction="LPS"), [1], windows)
    first, second = (np.asarray(opened(address, "jpeg")).astype(int) for address in picture.images)
    assert first.shape == (30, 40)
    assert picture.size_mm == (40.0, 60.0)
    assert picture.overlay is None
    assert abs(first[:, :8]).max() <= 3
    assert abs(first[:, 12:] - 127).max() <= 3
    assert abs(second[:, :8] - 255 * (-1000 + 1350) / 1500).max() <= 3


def test_an_overlay_has_a_clear_inside_a_solid_border_and_no_colour_elsewhere() -> None:
    mask = np.zeros((20, 20, 1), np.uint8)
    mask[4:12, 5:15] = 1
    mask[8:10, 8:10] = 2
    (picture,) = axial_pictures(mask.astype(np.int16), mask, make_affine((1, 1, 1), direction="LPI"), [0], [])
    assert picture.overlay is not None
    shown = np.asarray(opened(picture.overlay, "png").convert("RGBA")).transpose(1, 0, 2)
    np.testing.assert_array_equal(shown[..., 3] > 0, mask[..., 0] > 0)
    assert tuple(shown[4, 9]) == (0xE6, 0x9F, 0x00, 255)
    assert tuple(shown[6, 6, :3]) == (0xE6, 0x9F, 0x00)
    assert 0 < shown[6, 6, 3] < 100
    assert tuple(shown[8, 8]) == (0x56, 0xB4, 0xE9, 255)


def test_large_slices_are_made_smaller_but_keep_their_size_in_mm() -> None:
    image = np.zeros((1100, 700, 1), np.int16)
    (picture,) = axial_pictures(image, image.astype(np.uint8), np.eye(4), [0], [Window("a", 0, 100)])
    assert max(opened(picture.images[0], "jpeg").size) <= 512
    assert picture.size_mm == (1100.0, 700.0)


@pytest.mark.parametrize("codes", ["LPI", "RAS", "SAR"])
def test_the_marks_of_a_lesion_lie_on_its_voxels_in_the_picture(codes: str) -> None:
    affine = make_affine((0.8, 1.5, 2.5), (5.0, -6.0, 70.0), codes)
    image = np.zeros((9, 10, 11), np.int16)
    start, stop = (2, 3, 4), (6, 7, 8)
    view, view_affine, _ = display_view(image, affine)
    ends = [flip_lps_ras(apply_affine(affine, voxel)).tolist() for voxel in (start, stop)]
    lesion = {"long_axis_lps_mm": ends, "short_axis_lps_mm": ends}
    image[start] = image[stop] = 1
    spacing = tuple(float(np.linalg.norm(view_affine[:3, axis])) for axis in (1, 0))
    (x1, y1, x2, y2), _ = lesion_marks(lesion, view_affine, spacing)
    found = {(int(x / spacing[1]), int(y / spacing[0])) for x, y in ((x1, y1), (x2, y2))}
    assert found == {(int(i), int(j)) for i, j, _ in np.argwhere(view)}


def test_slices_of_lesions_come_first_and_the_others_lie_evenly_over_the_mask() -> None:
    mask = np.zeros((4, 4, 100), np.uint8)
    mask[1, 1, 20:80] = 1
    affine = make_affine((1, 1, 1), direction="LPI")
    found = chosen_slices(mask, affine, [37, 5, 37], 12)
    assert {5, 20, 37, 79} <= set(found)
    assert found == sorted(found)
    assert len(found) <= 12
    assert max(np.diff([n for n in found if n >= 20])) <= 7
    assert chosen_slices(mask, affine, range(100), 10)[-1] == 79, "half of them stay for the rest"
    assert chosen_slices(mask * 0, affine, [], 5) == [0, 25, 50, 74, 99]
    assert chosen_slices(mask[:, :, 18:30], affine, [], 36) == list(range(12)), "a small image is shown whole"


def test_a_projection_and_the_windows_of_each_kind_of_class() -> None:
    image = np.zeros((5, 6, 7), np.int16)
    image[2, 3, 4] = 1300
    picture = projection_picture(image, (image > 0).astype(np.uint8), np.eye(4), Window("bone", 400, 1800))
    shown = np.asarray(opened(picture.images[0], "jpeg"))
    assert shown.shape == (7, 5)
    assert np.unravel_index(shown.argmax(), shown.shape) == (7 - 1 - 4, 5 - 1 - 2)
    assert [window.name for window in windows_for({0: "b", 1: "liver"})] == ["abdomen", "liver", "bone"]
