"""The synthetic abdomen: anatomy, truth in millimetres, overlap in HU."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from scipy.ndimage import binary_dilation, center_of_mass
from scipy.spatial.transform import Rotation

from medseg.datasets.phantom import ABDOMEN_ORGANS, Phantom, abdomen_phantom
from medseg.geometry import apply_affine, orientation_codes, spacing_of

VALUE = {name: value for value, name in ABDOMEN_ORGANS.items()}
OBLIQUE = Rotation.from_euler("xyz", [10, -8, 20], degrees=True).as_matrix()


@cache
def coarse(seed: int) -> Phantom:
    """Anatomy only: 5 mm voxels, no noise, no blur."""
    return abdomen_phantom(seed, spacing_mm=(5, 5, 5), noise_hu=0, blur_mm=0, supersample=1)


@cache
def usual(seed: int) -> Phantom:
    return abdomen_phantom(seed)


def centroid(phantom: Phantom, *names: str) -> np.ndarray:
    """Centroid of organs in RAS mm."""
    mask = np.isin(phantom.organs, [VALUE[name] for name in names])
    return apply_affine(phantom.affine_ras, center_of_mass(mask))


@pytest.mark.parametrize("seed", range(12))
def test_liver_lies_right_spleen_left_and_spine_behind(seed: int) -> None:
    phantom = coarse(seed)
    body = apply_affine(phantom.affine_ras, center_of_mass(phantom.organs > 0))
    assert centroid(phantom, "liver", "tumour")[0] > body[0] + 20
    assert centroid(phantom, "spleen")[0] < body[0] - 40
    assert centroid(phantom, "right_kidney")[0] > body[0] > centroid(phantom, "left_kidney")[0]
    assert centroid(phantom, "liver", "tumour")[1] > centroid(phantom, "right_kidney")[1]
    spine = (phantom.organs == VALUE["bone"]) & (phantom.image < 290)
    assert apply_affine(phantom.affine_ras, center_of_mass(spine))[1] < body[1] - 25


@pytest.mark.parametrize("seed", range(12))
def test_organ_volumes_are_those_of_adults(seed: int) -> None:
    volumes = coarse(seed).organ_volumes_ml()
    assert 900 < volumes["liver"] + volumes["tumour"] < 2600
    assert 90 < volumes["spleen"] < 450
    assert 70 < volumes["left_kidney"] < 260


@pytest.mark.parametrize("seed", range(12))
def test_liver_touches_wall_muscle_kidney_and_other_soft_tissue(seed: int) -> None:
    phantom = usual(seed) if seed < 4 else coarse(seed)
    liver = phantom.label > 0
    rim = binary_dilation(liver) & ~liver
    touching = {name for name, value in VALUE.items() if (rim & (phantom.organs == value)).sum() >= 5}
    assert "muscle" in touching
    assert len(touching & {"right_kidney", "stomach", "heart", "gallbladder", "bowel", "vessel"}) >= 2


@pytest.mark.parametrize("seed", range(4))
def test_label_is_liver_and_tumour_of_the_organ_map(seed: int) -> None:
    phantom = usual(seed)
    assert np.array_equal(phantom.label == 1, phantom.organs == VALUE["liver"])
    assert np.array_equal(phantom.label == 2, phantom.organs == VALUE["tumour"])
    assert phantom.label.dtype == np.uint8 and phantom.image.dtype == np.int16


@pytest.mark.parametrize("seed", range(8))
def test_tumours_lie_inside_the_liver(seed: int) -> None:
    phantom = coarse(seed)
    tumour = phantom.label == 2
    around = binary_dilation(tumour) & ~tumour
    # Vessels and the coarse grid aside, what surrounds a tumour is liver.
    assert np.isin(phantom.organs[around], [VALUE["liver"]]).mean() > 0.97 if tumour.any() else not around.any()


def test_number_size_and_kind_of_tumours_vary_within_their_ranges() -> None:
    lesions = [coarse(seed).lesions for seed in range(12)]
    counts = {len(found) for found in lesions}
    every = [lesion for found in lesions for lesion in found]
    assert len(counts) >= 4 and max(counts) <= 12
    assert all(2.9 <= lesion.diameter_mm <= 52 for lesion in every)
    assert min(lesion.diameter_mm for lesion in every) < 8 < 20 < max(lesion.diameter_mm for lesion in every)
    assert {"hypodense", "hyperdense"} <= {lesion.kind for lesion in every}
    for lesion in every:
        low, high = {"hypodense": (-60, -22), "isodense": (-12, 12), "hyperdense": (25, 60)}[lesion.kind]
        assert low <= lesion.contrast_hu <= high


def test_number_of_tumours_can_be_chosen() -> None:
    assert len(abdomen_phantom(3, spacing_mm=(8, 8, 8), n_tumours=5).lesions) == 5
    none = abdomen_phantom(3, spacing_mm=(8, 8, 8), n_tumours=0)
    assert none.lesions == [] and none.label.max() == 1


@pytest.mark.parametrize("seed", [1, 2])
def test_tumour_truth_agrees_with_the_sampled_label(seed: int) -> None:
    phantom = abdomen_phantom(seed, spacing_mm=(2, 2, 2), noise_hu=0, supersample=1)
    inverse = np.linalg.inv(phantom.affine_ras)
    sampled = (phantom.label == 2).sum() * 8.0 / 1000.0
    assert sampled == pytest.approx(sum(lesion.volume_ml for lesion in phantom.lesions), rel=0.02)
    for lesion in phantom.lesions:
        assert phantom.label[tuple(np.rint(apply_affine(inverse, lesion.centre_ras_mm)).astype(int))] == 2
        assert lesion.volume_ml * 1000 == pytest.approx(np.pi / 6 * lesion.diameter_mm**3, rel=1e-6)
        assert np.allclose(lesion.centre_lps_mm, np.array(lesion.centre_ras_mm) * [-1, -1, 1])


@pytest.mark.parametrize("orientation", ["LPS", "PIR", "SAL", OBLIQUE])
def test_same_seed_is_the_same_patient_on_every_grid(orientation: object) -> None:
    one = coarse(1)
    other = abdomen_phantom(
        1, spacing_mm=(4, 5, 6), orientation=orientation, noise_hu=0, blur_mm=0, supersample=1, shape=(100, 95, 90)
    )
    if isinstance(orientation, str):
        assert "".join(orientation_codes(other.affine_ras)) == orientation
    assert np.allclose(spacing_of(other.affine_ras), (4, 5, 6))
    assert [lesion.centre_ras_mm for lesion in other.lesions] == [lesion.centre_ras_mm for lesion in one.lesions]
    for organ in ("spleen", "left_kidney"):
        assert np.abs(centroid(one, organ) - centroid(other, organ)).max() < 2.5  # half a voxel
        assert one.organ_volumes_ml()[organ] == pytest.approx(other.organ_volumes_ml()[organ], rel=0.05)


def test_same_seed_gives_the_same_bits_and_another_seed_does_not() -> None:
    one, two, other = (abdomen_phantom(seed, spacing_mm=(6, 6, 6)) for seed in (5, 5, 6))
    assert np.array_equal(one.image, two.image) and np.array_equal(one.organs, two.organs)
    assert one.lesions == two.lesions and np.array_equal(one.affine_ras, two.affine_ras)
    assert not np.array_equal(one.image, other.image)


def histogram_overlap(first: np.ndarray, second: np.ndarray) -> float:
    """Common area of two normalised HU histograms, 0 to 1."""
    edges = np.arange(-100, 400, 4)
    a, b = (np.histogram(values, edges, density=True)[0] for values in (first, second))
    return float(np.minimum(a, b).sum() * 4)


def test_hu_of_liver_overlap_those_of_its_neighbours() -> None:
    phantoms = [usual(seed) for seed in range(6)]
    pooled = {
        name: np.concatenate([p.image[p.organs == VALUE[name]] for p in phantoms])
        for name in ("liver", "spleen", "muscle", "stomach")
    }
    assert histogram_overlap(pooled["liver"], pooled["spleen"]) > 0.5
    assert histogram_overlap(pooled["liver"], pooled["muscle"]) > 0.45
    assert histogram_overlap(pooled["liver"], pooled["stomach"]) > 0.45


def test_noise_inside_the_liver_has_the_stated_sigma() -> None:
    quiet, noisy = (
        abdomen_phantom(2, spacing_mm=(4, 4, 4), noise_hu=sigma, n_tumours=0, supersample=1) for sigma in (0.0, 14.0)
    )
    difference = (noisy.image.astype(float) - quiet.image)[quiet.label == 1]
    assert difference.std() == pytest.approx(14.0, rel=0.05)
    assert np.array_equal(quiet.organs, noisy.organs)


def test_scan_circle_is_padded_on_request() -> None:
    phantom = abdomen_phantom(0, spacing_mm=(6, 6, 6), padding_hu=-2048)
    assert phantom.image[0, 0].max() == -2048
    assert phantom.image[phantom.image.shape[0] // 2, phantom.image.shape[1] // 2].min() > -1025


@pytest.mark.parametrize(
    ("options", "message"),
    [({"seed": -1}, "seed is -1"), ({"n_tumours": -2}, "n_tumours is -2"), ({"orientation": "RAR"}, "RAR")],
)
def test_impossible_wishes_are_refused(options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        abdomen_phantom(**{"seed": 0, **options})
