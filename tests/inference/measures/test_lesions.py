"""Lesions one by one, on hand-made cases with known answers and against slow references."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from medseg.geometry import apply_affine, make_affine
from medseg.geometry.diameters import planar_diameters
from medseg.inference.measures import lesions as module
from medseg.inference.measures.lesions import lesion_labels
from medseg.inference.statistics import class_statistics

LABELS = {0: "background", 1: "liver", 2: "tumour"}
NODULE = {0: "background", 1: "lung nodule"}


def measured(mask: np.ndarray, affine: np.ndarray, labels: dict[int, str] = LABELS, **more: Any) -> list[Any]:
    image = more.pop("image", np.full(mask.shape, 40, np.int16))
    found = class_statistics(mask, image, affine, labels, **more)
    json.dumps(found, allow_nan=False)
    return found["classes"][-1]["lesions"]


@pytest.mark.parametrize(
    ("name", "is_lesion"),
    [("nodule", True), ("Liver Tumors", True), ("hepatic metastases", True), ("cyst_1", True), ("mass", True),
     ("liver", False), ("massive rib", False), ("bright tissue", False), ("lung", False)],
)  # fmt: skip
def test_lesion_classes_are_found_by_their_names(name: str, is_lesion: bool) -> None:
    assert lesion_labels({0: "no lesion", 1: name}) == ((1,) if is_lesion else ())


def test_a_box_of_anisotropic_voxels_has_known_measures() -> None:
    affine = make_affine((0.5, 2.0, 3.0), (10.0, -20.0, 30.0), "LPS")
    mask = np.zeros((12, 10, 8), np.uint8)
    mask[4, 2:8, 1:4] = 1  # a row of six pixels on each of three slices
    image = np.zeros(mask.shape, np.int16)
    image[4, 2:5, 1:4] = 60
    (lesion,) = measured(mask, affine, NODULE, image=image)
    assert lesion["n_voxels"] == 18
    assert lesion["volume_ml"] == pytest.approx(18 * 3.0 / 1000)
    assert lesion["long_diameter_mm"] == pytest.approx(12.0)
    assert lesion["short_diameter_mm"] == pytest.approx(0.5)
    assert lesion["mean_diameter_mm"] == pytest.approx(6.25)
    assert lesion["slice_index"] == 2, "the middle one of equal slices"
    # The array axes run towards L, P and S: LPS coordinates are plain sums.
    assert lesion["centroid_lps_mm"] == pytest.approx([-10 + 4 * 0.5, 20 + 4.5 * 2.0, 30 + 2 * 3.0])
    ends = sorted(lesion["long_axis_lps_mm"])
    np.testing.assert_allclose(ends, [[-8, 20 + 1.5 * 2.0, 36], [-8, 20 + 7.5 * 2.0, 36]])
    assert lesion["hu_mean"] == 30.0
    assert lesion["touches_border"] is False


def test_a_single_voxel_and_one_at_the_border_are_lesions() -> None:
    mask = np.zeros((6, 6, 6), np.uint8)
    mask[2, 2, 2] = mask[5, 5, 5] = mask[4, 4, 4] = 1
    first, second = measured(mask, np.diag([0.5, 1.0, 2.0, 1.0]), NODULE)
    assert (first["n_voxels"], first["touches_border"]) == (2, True), "voxels that meet at a corner are one lesion"
    assert (second["n_voxels"], second["touches_border"]) == (1, False)
    assert (second["long_diameter_mm"], second["short_diameter_mm"]) == pytest.approx((1.0, 0.5))


def test_an_empty_lesion_class_has_an_empty_list_and_an_organ_has_none() -> None:
    mask = np.zeros((6, 6, 6), np.uint8)
    mask[1:5, 1:5, 1:5] = 1
    liver, tumour = class_statistics(mask, mask.astype(np.int16), np.eye(4), LABELS)["classes"]
    assert (tumour["lesions"], tumour["lesions_not_listed"]) == ([], 0)
    assert "lesions" not in liver


@pytest.mark.parametrize("codes", ["RAS", "LPS", "SAR", "PIR"])
def test_slices_are_cut_across_the_patients_long_axis_whatever_the_order_of_axes(codes: str) -> None:
    # Tall along the patient's axis, 4 x 2 mm across it.
    mask = np.zeros((20, 20, 20), np.uint8)
    axis = next(n for n, code in enumerate(codes) if code in "SI")
    box = [slice(8, 12), slice(8, 12), slice(8, 12)]
    box[axis] = slice(2, 18)
    other = (axis + 1) % 3
    box[other] = slice(9, 10)
    mask[tuple(box)] = 1
    affine = make_affine((1.0, 1.0, 1.0), (3.0, 4.0, 5.0), codes)
    found = class_statistics(mask, mask.astype(np.int16), affine, NODULE)
    (lesion,) = found["classes"][0]["lesions"]
    assert found["slice_axis"] == axis
    assert (lesion["long_diameter_mm"], lesion["short_diameter_mm"]) == pytest.approx((4.0, 1.0))
    heights = {round(end[2], 6) for end in lesion["long_axis_lps_mm"] + lesion["short_axis_lps_mm"]}
    assert len(heights) == 1, "both lines lie on one axial slice"


def test_an_oblique_grid_measures_in_millimetres_along_its_own_slices() -> None:
    tilt = np.deg2rad(20)
    turn = np.eye(4)
    turn[1:3, 1:3] = [[np.cos(tilt), -np.sin(tilt)], [np.sin(tilt), np.cos(tilt)]]
    mask = np.zeros((10, 30, 10), np.uint8)
    mask[4, 5:25, 4] = 1
    (lesion,) = measured(mask, turn @ np.diag([1.0, 0.8, 2.0, 1.0]), NODULE)
    assert (lesion["long_diameter_mm"], lesion["short_diameter_mm"]) == pytest.approx((16.0, 1.0))
    ends = np.array(lesion["long_axis_lps_mm"])
    assert np.linalg.norm(ends[1] - ends[0]) == pytest.approx(16.0)
    assert abs(ends[1] - ends[0])[2] == pytest.approx(16.0 * np.sin(tilt))


def test_the_longest_slice_wins_over_all_slices() -> None:
    rng = np.random.default_rng(3)
    mask = np.zeros((20, 20, 20), np.uint8)
    mask[3:17, 3:17, 3:17] = rng.random((14, 14, 14)) < 0.5
    (lesion,) = measured(mask, np.diag([0.7, 0.9, 2.0, 1.0]), NODULE)
    slow = [planar_diameters(mask[:, :, k], (0.7, 0.9)).long_mm for k in range(20) if mask[:, :, k].any()]
    assert lesion["n_voxels"] == mask.sum(), "the noise is one component"
    assert lesion["long_diameter_mm"] == pytest.approx(max(slow))


def gap_mm(inside: np.ndarray, outside: np.ndarray, spacing: np.ndarray) -> float:
    """Smallest gap of two sets of voxels, pair by pair: voxels that touch have none."""
    apart = np.abs(inside[:, None] - outside[None])
    return float(np.sqrt(((np.maximum(apart - 1, 0) * spacing) ** 2).sum(axis=-1)).min())


@pytest.mark.parametrize("seed", range(4))
def test_the_distance_to_the_organs_surface_equals_the_slow_way(seed: int) -> None:
    rng = np.random.default_rng(seed)
    spacing = np.array([0.7, 1.0, 2.5])
    grid = np.indices((22, 20, 16)).transpose(1, 2, 3, 0)
    mask = ((((grid - (11, 10, 8)) / (9, 8, 6)) ** 2).sum(axis=-1) <= 1).astype(np.uint8)
    centre = rng.integers((7, 7, 6), (15, 13, 10))
    lesion = (((grid - centre) / (2, 2, 1)) ** 2).sum(axis=-1) <= 1
    outside = np.argwhere(mask == 0)
    mask[11, 10, 8] = 0  # a hole in the organ is not its surface
    mask[lesion] = 2
    (found,) = measured(mask, np.diag([*spacing, 1.0]))
    expected = gap_mm(np.argwhere(lesion), outside[~lesion[tuple(outside.T)]], spacing)
    assert found["organ"] == "liver"
    assert found["surface_distance_mm"] == pytest.approx(expected)


def test_the_border_of_the_image_is_not_the_organs_surface() -> None:
    mask = np.zeros((20, 9, 9), np.uint8)
    mask[:12] = 1
    mask[1:3, 3:6, 3:6] = 2
    (found,) = measured(mask, np.eye(4))
    assert found["surface_distance_mm"] == 9.0
    mask[mask == 0] = 1
    (found,) = measured(mask, np.eye(4))
    assert found["surface_distance_mm"] is None
    assert found["surface_note"] == "liver has no surface within the image"


def test_lesions_beside_the_organ_or_without_one_have_no_distance_but_a_reason() -> None:
    mask = np.zeros((20, 20, 20), np.uint8)
    mask[2:10, 2:10, 2:10] = 1
    mask[15:17, 15:17, 15:17] = 2
    mask[9:11, 4:6, 4:6] = 2  # through the surface
    beside, through = sorted(measured(mask, np.eye(4)), key=lambda lesion: -lesion["centroid_lps_mm"][2])
    assert (beside["surface_distance_mm"], beside["surface_note"]) == (None, "the lesion does not touch liver")
    assert through["surface_distance_mm"] == 0.0
    (nodule,) = measured((mask == 1).astype(np.uint8), np.eye(4), NODULE)
    assert nodule["surface_note"] == "the bundle has no class of an organ"
    mask[mask == 1] = 0
    assert measured(mask, np.eye(4))[0]["surface_note"] == "no voxel was labelled liver"


def test_the_organ_is_the_one_that_the_lesion_touches() -> None:
    mask = np.zeros((30, 12, 12), np.uint8)
    mask[1:14, 1:11, 1:11], mask[16:29, 1:11, 1:11] = 1, 2
    mask[20:24, 4:8, 4:8] = 3
    labels = {0: "background", 1: "liver", 2: "spleen", 3: "lesion"}
    (found,) = measured(mask, np.eye(4), labels)
    assert (found["organ"], found["surface_distance_mm"]) == ("spleen", 3.0)


def test_many_lesions_are_cut_off_and_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_LESIONS", 3)
    mask = np.zeros((21, 5, 5), np.uint8)
    mask[1::4, 2, 2] = 1
    mask[13:15, 2, 2] = 1
    entry = class_statistics(mask, mask.astype(np.int16), np.eye(4), NODULE)["classes"][0]
    assert [lesion["number"] for lesion in entry["lesions"]] == [1, 2, 3]
    assert entry["lesions"][0]["n_voxels"] == 2
    assert (entry["n_components"], entry["lesions_not_listed"]) == (5, 2)


def test_classes_can_be_named_and_volumes_of_lesions_add_up() -> None:
    rng = np.random.default_rng(0)
    mask = (rng.random((16, 16, 16)) < 0.05).astype(np.uint8)
    affine = make_affine((0.7, 0.7, 1.25), (5.0, 6.0, 7.0), "LPS")
    entry = class_statistics(mask, mask.astype(np.int16), affine, {0: "-", 1: "thing"}, lesions=[1])["classes"][0]
    assert sum(lesion["volume_ml"] for lesion in entry["lesions"]) == pytest.approx(entry["volume_ml"])
    weighted = sum(lesion["n_voxels"] * np.array(lesion["centroid_lps_mm"]) for lesion in entry["lesions"])
    ras = apply_affine(affine, np.argwhere(mask)).mean(axis=0)
    np.testing.assert_allclose(weighted / entry["n_voxels"], ras * [-1, -1, 1])
