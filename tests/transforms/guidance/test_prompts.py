"""Tables of prompts: as JSON gives them, and with prompts outside of the image."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from monai.data import MetaTensor

from medseg.transforms import (
    ClickPatches,
    ClickPatchesd,
    GuideMap,
    GuideMapd,
    Prompts,
    SimulatePrompts,
    VoxelToWorld,
    WorldToVoxel,
    WorldToVoxeld,
    read_prompts,
)

IMAGE = np.random.default_rng(0).random((1, 20, 30)).astype(np.float32)
ROWS = [[1, 5.0, 6.5, 2, 3], [0, 12, 29, 0, 0]]

# Every reader of prompts, for an image and a table.
READERS: dict[str, Callable[[Any, Any, str], Any]] = {
    "gauss": lambda image, table, rule: GuideMap("gauss", 2.0, outside=rule)(image, table),
    "ellipse": lambda image, table, rule: GuideMap("ellipse", outside=rule)(image, table),
    "disc": lambda image, table, rule: GuideMap("disc", 2.0, outside=rule)(image, table),
    "box": lambda image, table, rule: GuideMap("box", outside=rule)(image, table),
    "edt": lambda image, table, rule: GuideMap("edt", max_distance=9.0, outside=rule)(image, table),
    "geodesic": lambda image, table, rule: GuideMap("geodesic", max_distance=9.0, outside=rule)(image, table),
    "exp_geodesic": lambda image, table, rule: GuideMap("exp_geodesic", 2.0, outside=rule)(image, table),
    "dictionary": lambda image, table, rule: GuideMapd("i", "p", "edt", max_distance=9.0, outside=rule)(
        {"i": image, "p": table}
    )["i_guide"],
    "patches": lambda image, table, rule: ClickPatches((4, 8), 4, outside=rule)(image, table),
    "patches-dictionary": lambda image, table, rule: ClickPatchesd("i", "p", (4, 8), 4, outside=rule)(
        {"i": image, "p": table}
    )["i_patches"],
}


@pytest.mark.parametrize(
    "table",
    [
        ROWS,
        [tuple(row) for row in ROWS],
        json.loads(json.dumps(ROWS)),
        np.array(ROWS, ">f8"),
        np.array(ROWS)[::-1][::-1],
        torch.tensor(ROWS, dtype=torch.bfloat16),
        MetaTensor(torch.tensor(ROWS)),
    ],
    ids=["list", "tuples", "json", "big-endian", "negative strides", "bfloat16", "metatensor"],
)
@pytest.mark.parametrize("name", READERS)
def test_tables_come_as_lists_and_as_arrays_of_every_layout(name: str, table: Any) -> None:
    expected = READERS[name](IMAGE, np.array(ROWS), "refuse")
    np.testing.assert_array_equal(READERS[name](IMAGE, table, "refuse"), expected)


def test_an_empty_list_has_no_prompts() -> None:
    assert read_prompts([], 3).centre.shape == (0, 3)
    np.testing.assert_array_equal(GuideMap("gauss", 1.0)(IMAGE, []), np.zeros((2, 20, 30)))


def test_a_table_goes_through_json_and_back() -> None:
    label = np.zeros((1, 20, 30), np.uint8)
    label[0, 3:12, 5:20] = 1
    table = SimulatePrompts("clicks_dins").set_random_state(0)(label)
    again = json.loads(json.dumps(table.tolist()))
    for first, second in zip(read_prompts(again, 2), read_prompts(table, 2), strict=True):
        np.testing.assert_array_equal(first, second)
    prompts = Prompts(*read_prompts(again, 2))
    np.testing.assert_array_equal(prompts.table(), table)


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ([[1, 2, 3, 0, 0], [1, 2, 3]], "prompts is a list of rows of different lengths, expected an array of numbers"),
        ([["fg", 2, 3, 0, 0]], "prompts is a list, expected an array or tensor of real numbers"),
        (None, "prompts is a NoneType, expected an array or tensor of real numbers"),
        ({"clicks": ROWS}, "prompts is a dict, expected an array or tensor of real numbers"),
        ([1, 2, 3, 0, 0], r"prompts have shape \(5,\), expected \(N, 5\): class, 2 centre coordinates"),
        ([[1, None, 3, 0, 0]], "prompts is a list, expected an array or tensor of real numbers"),
        ([[0.5, 2, 3, 0, 0]], "prompts hold class 0.5, expected 1"),
        ([[1, float("nan"), 3, 0, 0]], "prompts hold values that are not finite"),
        (np.array(ROWS, complex), "prompts is an array of complex128, expected an array or tensor of real numbers"),
    ],
)
def test_tables_that_are_none_are_one_line(table: Any, message: str) -> None:
    for name in ("gauss", "dictionary", "patches"):
        with pytest.raises(ValueError, match=message) as caught:
            READERS[name](IMAGE, table, "refuse")
        assert "\n" not in str(caught.value)


def click(*centre: float) -> list[list[float]]:
    return [[1, *centre, *[1] * len(centre)]]


@pytest.mark.parametrize("name", READERS)
@pytest.mark.parametrize("centre", [(25.0, 6.0), (-3.0, 6.0), (5.0, 30.6), (29.0, 19.0)])
def test_a_click_outside_is_refused_with_its_place_the_image_and_the_ways_out(
    name: str, centre: tuple[float, float]
) -> None:
    place = rf"\[{centre[0]}, {centre[1]}\]"
    with pytest.raises(ValueError, match=rf"a prompt is at voxel {place}, outside of the image of 20 x 30") as caught:
        READERS[name](IMAGE, click(*centre), "refuse")
    assert "order of its coordinates" in str(caught.value)
    for rule in ("clip", "keep"):
        assert f"'{rule}'" in str(caught.value)
        READERS[name](IMAGE, click(*centre), rule)


def test_refusing_is_the_default() -> None:
    for transform in (GuideMap("gauss", 1.0), ClickPatches((4,), 4)):
        with pytest.raises(ValueError, match="outside of the image of 20 x 30 voxels"):
            transform(IMAGE, click(25, 6))


@pytest.mark.parametrize("name", READERS)
@pytest.mark.parametrize(
    ("centre", "nearest"), [((25.0, 6.0), (19, 6.0)), ((-3.0, 6.0), (0, 6.0)), ((100.0, -100.0), (19, 0))]
)
def test_clipping_moves_a_click_to_the_nearest_voxel(
    name: str, centre: tuple[float, float], nearest: tuple[float, float]
) -> None:
    expected = READERS[name](IMAGE, click(*nearest), "refuse")
    np.testing.assert_array_equal(READERS[name](IMAGE, click(*centre), "clip"), expected)


@pytest.mark.parametrize("name", ["edt", "geodesic", "exp_geodesic"])
def test_kept_clicks_outside_are_no_seeds(name: str) -> None:
    nothing = READERS[name](IMAGE, [], "refuse")
    np.testing.assert_array_equal(READERS[name](IMAGE, click(25, 6), "keep"), nothing)


@pytest.mark.parametrize("name", ["edt", "geodesic", "exp_geodesic", "patches"])
@pytest.mark.parametrize("centre", [(-1.2, 6.0), (20.3, 6.0), (19.5, 6.0)])
def test_a_click_within_a_voxel_of_the_border_is_of_the_border_voxel(name: str, centre: tuple[float, float]) -> None:
    # Resampling moves the border of an image by fractions of a voxel.
    nearest = READERS[name](IMAGE, click(0 if centre[0] < 0 else 19, 6), "refuse")
    found = READERS[name](IMAGE, click(*centre), "refuse")
    if name == "patches":
        assert found.shape == nearest.shape  # beyond the border its voxels are repeated
    else:
        np.testing.assert_array_equal(found, nearest)


def test_prompts_of_classes_that_are_not_drawn_may_be_anywhere() -> None:
    rows = [*click(5, 6), [0, 500, 6, 0, 0]]
    expected = GuideMap("gauss", 2.0, channels=["fg"])(IMAGE, click(5, 6))
    np.testing.assert_array_equal(GuideMap("gauss", 2.0, channels=["fg"])(IMAGE, rows), expected)
    ClickPatches((4,), 4)(IMAGE, rows)
    with pytest.raises(ValueError, match=r"at voxel \[500.0, 6.0\]"):
        GuideMap("gauss", 2.0)(IMAGE, rows)


def test_a_world_prompt_in_the_wrong_frame_is_found_by_its_place() -> None:
    affine = torch.diag(torch.tensor([-1.0, -1.0, 2.0, 1.0]))
    affine[:2, 3] = 100.0
    image = MetaTensor(torch.zeros(1, 20, 20, 20), affine=affine)
    right = [[1, 90.0, 90.0, 10.0, 0, 0, 0]]
    assert GuideMap("gauss", 2.0, frame="RAS")(image, right)[0].argmax() == (10 * 20 + 10) * 20 + 5
    with pytest.raises(ValueError, match=r"a prompt is at voxel \[190.0, 190.0, 5.0\], .* check its frame"):
        GuideMap("gauss", 2.0, frame="LPS")(image, right)


@pytest.mark.parametrize("make", [GuideMap, GuideMapd, ClickPatches, ClickPatchesd])
def test_an_unknown_rule_is_one_line(make: Callable[..., Any]) -> None:
    further = {GuideMap: ("box",), GuideMapd: ("i", "p", "box"), ClickPatches: (), ClickPatchesd: ("i", "p")}[make]
    with pytest.raises(ValueError, match="outside is 'drop', expected one of refuse, clip, keep"):
        make(*further, outside="drop")


def test_points_come_as_lists_too() -> None:
    affine, points = np.diag([2.0, 2.0, 5.0, 1.0]), [[4.0, 2.0, 10.0]]
    for transform in (WorldToVoxel("RAS"), VoxelToWorld("LPS")):
        np.testing.assert_array_equal(transform(points, affine), transform(np.array(points), affine))
        np.testing.assert_array_equal(transform(points, affine.tolist()), transform(np.array(points), affine))
    found = WorldToVoxeld("points", "image", "RAS")({"points": points, "image": affine})["points"]
    np.testing.assert_array_equal(found, [[2, 1, 2]])
    with pytest.raises(ValueError, match="points is a list of rows of different lengths"):
        WorldToVoxel("RAS")([[1, 2, 3], [4, 5]], affine)
