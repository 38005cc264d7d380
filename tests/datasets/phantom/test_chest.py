"""The synthetic chest: lungs, nodules by kind and place, and four simulated readers."""

from __future__ import annotations

from functools import cache
from itertools import combinations

import numpy as np
import pytest
from scipy.ndimage import center_of_mass

from medseg.datasets.phantom import CHEST_ORGANS, Phantom, ReaderMask, chest_phantom
from medseg.datasets.phantom.chest_anatomy import draw_chest
from medseg.datasets.phantom.nodules import draw_nodules
from medseg.geometry import apply_affine

VALUE = {name: value for value, name in CHEST_ORGANS.items()}
RATINGS = {
    "subtlety": 5, "internalStructure": 4, "calcification": 6, "sphericity": 5, "margin": 5, "lobulation": 5,
    "spiculation": 5, "texture": 5, "malignancy": 5,
}  # fmt: skip


@cache
def case(seed: int) -> Phantom:
    """A usual case on a coarse grid."""
    return chest_phantom(seed, spacing_mm=(2, 2, 2), n_nodules=6, supersample=1)


SEEDS = range(5)


def every_lesion() -> list:
    return [lesion for seed in SEEDS for lesion in case(seed).lesions]


def whole(phantom: Phantom, reader: ReaderMask) -> np.ndarray:
    mask = np.zeros(phantom.image.shape, bool)
    mask[reader.box] = reader.mask
    return mask


@pytest.mark.parametrize("seed", SEEDS)
def test_heart_lies_left_of_the_middle_and_bones_are_where_they_belong(seed: int) -> None:
    phantom = case(seed)
    body = apply_affine(phantom.affine_ras, center_of_mass(phantom.organs > 0))
    heart = apply_affine(phantom.affine_ras, center_of_mass(phantom.organs == VALUE["heart"]))
    aorta = apply_affine(phantom.affine_ras, center_of_mass(phantom.organs == VALUE["aorta"]))
    assert heart[0] < body[0] - 5 and heart[1] > body[1]
    assert aorta[1] < heart[1]


@pytest.mark.parametrize("seed", SEEDS)
def test_lungs_hold_most_of_the_air_and_vessels_run_through_them(seed: int) -> None:
    phantom = case(seed)
    volumes = phantom.organ_volumes_ml()
    assert 1800 < volumes["lung"] < 5500
    assert 15 < volumes["lung_vessel"] < 200
    assert phantom.image[phantom.organs == VALUE["lung"]].mean() == pytest.approx(-855, abs=50)


@pytest.mark.parametrize("seed", SEEDS)
def test_number_of_nodules_can_be_chosen_and_label_is_their_truth(seed: int) -> None:
    phantom = case(seed)
    assert len(phantom.lesions) == 6
    inverse = np.linalg.inv(phantom.affine_ras)
    for lesion in phantom.lesions:
        assert phantom.label[tuple(np.rint(apply_affine(inverse, lesion.centre_ras_mm)).astype(int))] == 1
    sampled = phantom.label.sum() * 8 / 1000
    assert sampled == pytest.approx(sum(lesion.volume_ml for lesion in phantom.lesions), rel=0.05)


def test_random_numbers_of_nodules_vary() -> None:
    chest = draw_chest(np.random.default_rng(0))
    counts = {len(draw_nodules(np.random.default_rng(seed), chest, None)) for seed in range(12)}
    assert len(counts) >= 3 and max(counts) <= 8


def test_all_kinds_and_places_occur_with_diameters_in_range() -> None:
    lesions = every_lesion()
    assert {lesion.kind for lesion in lesions} == {"solid", "part-solid", "ground-glass"}
    assert {lesion.attachment for lesion in lesions} == {"none", "vessel", "wall"}
    assert all(2.4 < lesion.diameter_mm < 32 for lesion in lesions)


def test_ground_glass_is_darker_than_part_solid_and_part_solid_than_solid() -> None:
    means: dict[str, list[float]] = {"solid": [], "part-solid": [], "ground-glass": []}
    for seed in SEEDS:
        phantom = case(seed)
        inverse = np.linalg.inv(phantom.affine_ras)
        index = np.indices(phantom.image.shape).reshape(3, -1).T
        for lesion in phantom.lesions:
            if lesion.diameter_mm < 8:
                continue
            centre = apply_affine(inverse, lesion.centre_ras_mm)
            close = np.linalg.norm((index - centre) * 2.0, axis=1) < lesion.diameter_mm * 0.45
            inside = close & (phantom.label.ravel() == 1)
            means[lesion.kind].append(float(phantom.image.ravel()[inside].mean()))
    assert np.mean(means["ground-glass"]) < np.mean(means["part-solid"]) - 50
    assert np.mean(means["part-solid"]) < np.mean(means["solid"]) - 50
    assert max(means["ground-glass"]) < -350


def test_wall_nodules_touch_what_is_not_lung_and_free_ones_do_not() -> None:
    from scipy.ndimage import binary_dilation, label

    for seed in SEEDS:
        phantom = case(seed)
        regions, _ = label(phantom.label, np.ones((3, 3, 3)))
        inverse = np.linalg.inv(phantom.affine_ras)
        for lesion in phantom.lesions:
            mark = regions == regions[tuple(np.rint(apply_affine(inverse, lesion.centre_ras_mm)).astype(int))]
            rim = phantom.organs[binary_dilation(mark, iterations=2) & ~mark]
            outside = ~np.isin(rim, [VALUE["lung"], VALUE["lung_vessel"], VALUE["airway"], VALUE["airway_wall"]])
            if lesion.attachment == "wall":
                assert outside.any()
            elif lesion.attachment == "none":
                assert not outside.any()


def test_readers_agree_as_real_ones_do() -> None:
    found = []
    for seed in SEEDS:
        phantom = case(seed)
        for lesion in (lesion for lesion in phantom.lesions if lesion.diameter_mm > 5):
            masks = [whole(phantom, reader) for reader in lesion.readers]
            found += [2 * (a & b).sum() / (a.sum() + b.sum()) for a, b in combinations(masks, 2)]
    assert len(found) > 40
    assert 0.72 < np.mean(found) < 0.88
    assert np.min(found) > 0.3 and np.max(found) < 0.999


def test_readers_draw_around_the_truth_without_a_common_bias() -> None:
    ratios = []
    for seed in SEEDS:
        phantom = case(seed)
        for lesion in (lesion for lesion in phantom.lesions if lesion.diameter_mm > 6):
            ratios += [reader.mask.sum() * 8 / 1000 / lesion.volume_ml for reader in lesion.readers]
    assert np.median(ratios) == pytest.approx(1.0, abs=0.12)
    assert np.std(ratios) > 0.08


def test_some_readers_miss_some_nodules_but_nobody_draws_twice() -> None:
    for lesion in every_lesion():
        assert [reader.reader for reader in lesion.readers] == sorted({reader.reader for reader in lesion.readers})
        assert len(lesion.readers) >= (1 if lesion.diameter_mm > 4 else 0)
    counts = {len(lesion.readers) for lesion in every_lesion()}
    assert 4 in counts and counts & {1, 2, 3}


def test_ratings_stay_on_their_scales_and_follow_the_kind() -> None:
    for lesion in every_lesion():
        for ratings in (lesion.ratings, *(reader.ratings for reader in lesion.readers)):
            assert list(ratings) == list(RATINGS)
            assert all(1 <= ratings[name] <= top for name, top in RATINGS.items())
        assert lesion.ratings["texture"] == {"solid": 5, "part-solid": 3, "ground-glass": 1}[lesion.kind]


def test_large_nodules_are_rated_more_malignant() -> None:
    large = [lesion.ratings["malignancy"] for lesion in every_lesion() if lesion.diameter_mm > 12]
    small = [lesion.ratings["malignancy"] for lesion in every_lesion() if lesion.diameter_mm < 7]
    assert np.mean(large) > np.mean(small) + 1


def test_points_are_small_nodules_and_non_nodules_away_from_nodules() -> None:
    points = [point for seed in SEEDS for point in case(seed).points]
    assert {point.kind for point in points} == {"small-nodule", "non-nodule"}
    for seed in SEEDS:
        for point in case(seed).points:
            assert point.readers and set(point.readers) <= {0, 1, 2, 3}
            for lesion in case(seed).lesions:
                apart = np.linalg.norm(np.subtract(point.centre_ras_mm, lesion.centre_ras_mm))
                assert apart > lesion.diameter_mm / 2


def test_same_seed_is_the_same_patient_and_the_same_readers_on_another_grid() -> None:
    one = case(1)
    other = chest_phantom(1, spacing_mm=(1.6, 2.2, 2.5), orientation="PIR", n_nodules=6, supersample=1)
    for first, second in zip(one.lesions, other.lesions, strict=True):
        assert first.centre_ras_mm == second.centre_ras_mm and first.volume_ml == second.volume_ml
        if first.diameter_mm > 8:
            pairs = zip(first.readers, second.readers, strict=True)
            for left, right in pairs:
                assert left.ratings == right.ratings
                assert left.mask.sum() * 8.0 == pytest.approx(right.mask.sum() * 1.6 * 2.2 * 2.5, rel=0.12)


def test_same_seed_gives_the_same_bits() -> None:
    one, two = (chest_phantom(7, spacing_mm=(6, 6, 6)) for _ in range(2))
    assert np.array_equal(one.image, two.image) and np.array_equal(one.organs, two.organs)
    assert one.points == two.points
