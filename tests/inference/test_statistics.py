"""Measurements against closed forms on hand-made masks."""

from __future__ import annotations

import json

import numpy as np
import pytest

from medseg.geometry import apply_affine, make_affine
from medseg.inference.measures import components
from medseg.inference.statistics import class_statistics

LABELS = {0: "background", 1: "liver", 2: "tumour"}
AFFINE = make_affine((0.5, 2.0, 3.0), (10.0, -20.0, 30.0), "LPS")


def case() -> tuple[np.ndarray, np.ndarray]:
    mask = np.zeros((12, 10, 8), dtype=np.uint8)
    mask[2:6, 3:5, 1:4] = 1
    mask[9, 7, 5] = 2
    image = np.arange(mask.size, dtype=np.int16).reshape(mask.shape)
    return mask, image


def test_volume_and_hounsfield_values_follow_from_the_voxels() -> None:
    mask, image = case()
    liver, tumour = class_statistics(mask, image, AFFINE, LABELS)["classes"]
    values = image[mask == 1].astype(np.float64)
    assert liver["n_voxels"] == 4 * 2 * 3
    assert liver["volume_ml"] == pytest.approx(24 * 0.5 * 2.0 * 3.0 / 1000)
    assert liver["hu"]["mean"] == pytest.approx(values.sum() / 24)
    assert liver["hu"]["std"] == pytest.approx(np.sqrt(((values - values.mean()) ** 2).sum() / 24))
    ordered = np.sort(values)
    assert liver["hu"]["p50"] == pytest.approx((ordered[11] + ordered[12]) / 2)
    position = 0.05 * 23  # linear interpolation between order statistics
    assert liver["hu"]["p5"] == pytest.approx(ordered[1] + (position - 1) * (ordered[2] - ordered[1]))
    assert liver["hu"]["p95"] == pytest.approx(ordered[21] + (0.95 * 23 - 21) * (ordered[22] - ordered[21]))
    assert tumour["hu"] == {key: float(image[9, 7, 5]) if key != "std" else 0.0 for key in tumour["hu"]}


def test_centroid_is_given_in_both_world_frames() -> None:
    mask, image = case()
    liver = class_statistics(mask, image, AFFINE, LABELS)["classes"][0]
    ras = apply_affine(AFFINE, np.argwhere(mask == 1)).mean(axis=0)
    np.testing.assert_allclose(liver["centroid_ras_mm"], ras)
    np.testing.assert_allclose(liver["centroid_lps_mm"], ras * [-1, -1, 1])


def test_bounding_box_holds_first_and_last_voxel_and_extent_in_mm() -> None:
    mask, image = case()
    box = class_statistics(mask, image, AFFINE, LABELS)["classes"][0]["bounding_box"]
    assert (box["first_voxel"], box["last_voxel"]) == ([2, 3, 1], [5, 4, 3])
    np.testing.assert_allclose(box["extent_mm"], [4 * 0.5, 2 * 2.0, 3 * 3.0])


def test_voxels_that_meet_at_a_corner_are_one_component() -> None:
    mask, image = np.zeros((6, 6, 6), dtype=np.uint8), np.zeros((6, 6, 6), dtype=np.int16)
    mask[1, 1, 1] = mask[2, 2, 2] = 1
    assert class_statistics(mask, image, AFFINE, LABELS)["classes"][0]["n_components"] == 1
    mask[4, 4, 4] = 1
    liver = class_statistics(mask, image, AFFINE, LABELS)["classes"][0]
    assert liver["n_components"] == 2
    assert liver["largest_component_ml"] == pytest.approx(2 * 0.003)


@pytest.mark.parametrize(
    ("voxel", "faces"),
    [((0, 5, 4), ["R"]), ((11, 5, 4), ["L"]), ((5, 0, 4), ["A"]), ((5, 9, 4), ["P"]), ((5, 5, 0), ["I"]),
     ((5, 5, 7), ["S"]), ((0, 0, 0), ["A", "I", "R"]), ((1, 1, 1), [])],
)  # fmt: skip
def test_touched_faces_carry_patient_letters(voxel: tuple[int, int, int], faces: list[str]) -> None:
    # Axes run towards L, P and S, so index 0 is the right, anterior, inferior face.
    mask = np.zeros((12, 10, 8), dtype=np.uint8)
    mask[voxel] = 1
    liver = class_statistics(mask, mask.astype(np.int16), AFFINE, LABELS)["classes"][0]
    assert liver["border_faces"] == faces
    assert liver["touches_border"] is bool(faces)


def test_an_empty_class_has_zeros_and_nulls_and_survives_strict_json() -> None:
    empty = np.zeros((4, 4, 4), dtype=np.uint8)
    result = class_statistics(empty, empty.astype(np.int16), AFFINE, LABELS)
    assert [entry["volume_ml"] for entry in result["classes"]] == [0.0, 0.0]
    assert result["classes"][0]["hu"] is None
    assert result["classes"][0]["centroid_ras_mm"] is None
    json.dumps(result, allow_nan=False)


def test_values_that_are_not_finite_are_left_out_of_hounsfield_statistics() -> None:
    mask = np.ones((2, 2, 2), dtype=np.uint8)
    image = np.full((2, 2, 2), 50.0, dtype=np.float32)
    image[0, 0, 0] = np.nan
    assert class_statistics(mask, image, AFFINE, LABELS)["classes"][0]["hu"]["mean"] == 50.0


def test_values_without_a_name_and_other_grids_are_refused() -> None:
    mask, image = case()
    with pytest.raises(ValueError, match=r"values \[2\]"):
        class_statistics(mask, image, AFFINE, {0: "background", 1: "liver"})
    with pytest.raises(ValueError, match="expected one grid"):
        class_statistics(mask, image[1:], AFFINE, LABELS)


def test_the_real_liver_has_its_published_voxel_count(real_data) -> None:
    from medseg.io.volumes.nifti import read_nifti

    image = read_nifti(real_data("abdomen_totalseg/example_ct.nii.gz"))
    labels = read_nifti(real_data("abdomen_totalseg/example_seg_fast_force_split.nii.gz")).array
    mask = (labels == 5).astype(np.uint8)
    liver = class_statistics(mask, image.array, image.affine_ras, {0: "background", 1: "liver"})["classes"][0]
    assert liver["n_voxels"] == 41_692
    assert liver["volume_ml"] == pytest.approx(41_692 * 27 / 1000, rel=1e-4)
    assert liver["border_faces"] == ["S"]
    assert 40 < liver["hu"]["p50"] < 160


@pytest.mark.parametrize("share", [0.0005, 0.005])
def test_a_few_voxels_are_measured_as_many_are(share: float, monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(0)
    mask = (random.random((40, 50, 60)) < share).astype(np.uint8)
    image = random.normal(0, 100, mask.shape).astype(np.float32)
    few = class_statistics(mask, image, AFFINE, LABELS, lesions=[1])["classes"][0]
    monkeypatch.setattr(components, "_SPARSE", np.inf)
    many = class_statistics(mask, image, AFFINE, LABELS, lesions=[1])["classes"][0]
    np.testing.assert_allclose(few.pop("centroid_lps_mm"), many.pop("centroid_lps_mm"), atol=1e-9)
    np.testing.assert_allclose(few.pop("centroid_ras_mm"), many.pop("centroid_ras_mm"), atol=1e-9)
    assert few == many
    assert few["n_components"] > 20
