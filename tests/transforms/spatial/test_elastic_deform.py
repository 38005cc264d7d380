"""ElasticDeform and RandElasticDeform: images, labels and points move together, and back."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from monai.data import DataLoader, Dataset, MetaTensor
from monai.transforms import Compose, Flip
from scipy.ndimage import center_of_mass, map_coordinates

from medseg.transforms import (
    ElasticDeform,
    ElasticDeformd,
    ElasticField,
    ElasticSettings,
    RandElasticDeform,
    RandElasticDeformd,
)
from tests.transforms._menu import AFFINE, InvertibleMenu, MenuCase, RandomMenu

BLOCK = np.zeros((2, 6, 7, 8), dtype=np.float32)
BLOCK[:, 2:4, 2:5, 2:6] = np.arange(48).reshape(2, 2, 3, 4) + 1
RAS = AFFINE.numpy()
VOXEL_MM = (2.0, 3.0, 5.0)  # of the menu's affine


def shift(affine: np.ndarray) -> ElasticField:
    """One voxel of the menu's affine along the second axis."""
    control = np.zeros((3, 2, 2, 2))
    control[1] = VOXEL_MM[1]
    return ElasticField(control, (10, 10, 10), (0, 0, 0), affine)


FOLDING = ElasticField(np.indices((3, 3)) * -9.0, (5, 5), (0, 0))
FLAT = ElasticField(np.zeros((2, 2, 2)), (5, 5), (0, 0))


class TestElasticDeform(InvertibleMenu):
    case = MenuCase(
        array=lambda: ElasticDeform(shift(AFFINE.numpy()), padding_mode="constant"),
        dictionary=lambda: ElasticDeformd("image", shift(AFFINE.numpy()), padding_mode="constant"),
        data={"image": BLOCK},
        expected=np.roll(BLOCK, -1, axis=2),
        atol=1e-5,
        containers=("metatensor",),
        errors=(
            (lambda: ElasticDeform(FOLDING), r"field has a contraction bound of .* and may fold, expected less than 1"),
            (lambda: ElasticDeform(FLAT, mode="cubic"), "mode is 'cubic', expected one of bilinear, nearest"),
            (lambda: ElasticDeformd("image", FLAT, padding_mode="wrap"), "padding_mode is 'wrap', expected one of"),
            (
                lambda: ElasticDeform(FLAT)(np.zeros((1, 2, 2, 2))),
                r"image has shape \(1, 2, 2, 2\), expected .* \(C, 2",
            ),
            (
                lambda: ElasticDeform(FLAT)(np.zeros((1, 2, 2), int)),
                r"image is torch.int64 with mode 'bilinear', expected",
            ),
            (
                lambda: ElasticDeform(FLAT).points(np.zeros((2, 3)), BLOCK),
                r"points have shape \(2, 3\), expected \(N, 2\)",
            ),
            (
                lambda: ElasticDeform(FLAT).points(np.full((2, 2), np.nan), BLOCK),
                "points hold values that are not finite, expected voxel positions",
            ),
        ),
    )


class TestRandElasticDeform(InvertibleMenu, RandomMenu):
    # So weak that deforming there and back is exact to the menu's tolerance; draws still differ.
    case = MenuCase(
        array=lambda: RandElasticDeform(ElasticSettings(std=1e-5, points=3), prob=1.0),
        dictionary=lambda: RandElasticDeformd("image", ElasticSettings(std=1e-5, points=3), prob=1.0),
        data={"image": np.random.RandomState(0).rand(2, 6, 7, 8).astype(np.float32)},
        expected=None,
        containers=("numpy", "torch"),
        errors=(
            (
                lambda: RandElasticDeform("vnet2"),
                "settings is 'vnet2', expected ElasticSettings or one of unet, unet3d, vnet",
            ),
            (lambda: RandElasticDeform(fold_limit=1.0), "fold_limit is 1.0, expected a number above 0 and below 1"),
            (lambda: RandElasticDeform(mode="linear"), "mode is 'linear', expected one of bilinear, nearest"),
            (lambda: RandElasticDeformd("image")({"image": np.zeros((4, 4))}), r"image has shape \(4, 4\), expected"),
        ),
    )


def smooth_volume(affine: np.ndarray = RAS, size: tuple[int, ...] = (40, 44, 36)) -> MetaTensor:
    index = np.indices(size)
    values = sum(np.sin(index[a] / (4.0 + a)) for a in range(len(size)))
    return MetaTensor(torch.from_numpy(values[None].astype(np.float32)), affine=torch.from_numpy(affine))


def strong_field(affine: np.ndarray = RAS, size: tuple[int, ...] = (40, 44, 36)) -> ElasticField:
    return ElasticSettings(std=12.0, spacing=40.0).draw(np.random.RandomState(5), size, affine).limited(0.7)


def test_a_deformed_image_shows_the_original_at_the_displaced_positions() -> None:
    image, field = smooth_volume(), strong_field()
    found = ElasticDeform(field)(image)
    voxels = np.indices(image.shape[1:]).reshape(3, -1).T
    at = (field.displacement(voxels * VOXEL_MM) + voxels * VOXEL_MM) / VOXEL_MM
    expected = map_coordinates(np.asarray(image[0], dtype=float), at.T, order=1, mode="nearest")
    np.testing.assert_allclose(np.asarray(found[0]).ravel(), expected, atol=2e-4)
    assert np.abs(np.asarray(found - image)).max() > 0.5


def test_labels_keep_their_values_and_type() -> None:
    label = (smooth_volume() * 40).to(torch.int16)
    found = ElasticDeform(strong_field(), mode="nearest")(label)
    assert found.dtype == torch.int16
    assert set(found.unique().tolist()) <= set(label.unique().tolist())


@pytest.mark.parametrize("seed", range(3))
def test_points_move_with_what_they_mark(seed: int) -> None:
    size, centre = (40, 44, 36), np.array([20.0, 22.0, 17.0]) + seed
    distance = ((np.indices(size) - centre.reshape(3, 1, 1, 1)) ** 2).sum(0)
    image = MetaTensor(torch.from_numpy(np.exp(-distance / 6)[None].astype(np.float32)), affine=AFFINE)
    settings = ElasticSettings(std=10.0, spacing=60.0)
    deform = RandElasticDeformd("image", settings, 1.0, point_keys="click").set_random_state(seed)
    result = deform({"image": image, "click": centre[None]})
    shown = np.array(center_of_mass(np.asarray(result["image"][0]) ** 4))
    assert np.linalg.norm(result["click"].numpy()[0] - shown) < 0.35
    assert np.linalg.norm(shown - centre) > 0.5
    back = deform.inverse(result)
    np.testing.assert_allclose(back["click"].numpy(), centre[None], atol=1e-5)


def test_the_error_of_moved_points_is_reported() -> None:
    points = np.random.RandomState(0).uniform(0, 36, (200, 3))
    field = strong_field()
    moved, error = ElasticDeform(field).points(points, smooth_volume())
    where = field.to_mm(moved, AFFINE.numpy())
    missed = np.linalg.norm(where + field.displacement(where) - points * VOXEL_MM, axis=1).max()
    assert missed == pytest.approx(error, abs=1e-9)
    assert error <= 1e-6
    wild = ElasticField(30 * np.random.RandomState(0).randn(2, 9, 9), (5, 5), (0, 0))
    folding = ElasticDeform(wild, allow_folding=True)
    with pytest.warns(UserWarning, match=r"moved points with an error of .* mm: the field folds"):
        folding.points(np.random.RandomState(0).uniform(0, 30, (50, 2)), np.zeros((1, 40, 40)))


def test_the_inverse_returns_a_smooth_image_and_states_its_error() -> None:
    image = smooth_volume()
    deform = ElasticDeform(strong_field())
    deformed = deform(image)
    back = deform.inverse(deformed)
    inside = (slice(None), *[slice(8, -8)] * 3)
    moved, left = (np.abs(np.asarray(x - image)[inside]).mean() for x in (deformed, back))
    assert left < 0.05 * moved
    assert 0 < back.meta["elastic_inverse_error_mm"] < 1.0
    assert not back.applied_operations
    with pytest.raises(ValueError, match="the last transform of the data is Flip, expected an elastic deformation"):
        deform.inverse(Flip(0)(deformed))


def test_one_field_moves_an_image_and_its_finer_label_alike() -> None:
    size = (40, 44, 36)
    image, field = smooth_volume(), strong_field()
    finer = AFFINE.numpy() @ np.diag([0.5, 0.5, 0.5, 1])
    voxels = np.indices([2 * n - 1 for n in size]) / 2
    fine = np.stack([map_coordinates(np.asarray(image[0], dtype=float), voxels, order=1)]).astype(np.float32)
    detailed = ElasticDeform(field)(MetaTensor(torch.from_numpy(fine), affine=torch.from_numpy(finer)))
    coarse = ElasticDeform(field)(image)
    np.testing.assert_allclose(np.asarray(detailed)[:, ::2, ::2, ::2], np.asarray(coarse), atol=1e-3)


def test_all_keys_of_a_sample_move_together_each_in_its_mode() -> None:
    image = smooth_volume()
    label = (image > 0.3).to(torch.uint8)
    deform = RandElasticDeformd(("image", "label"), "unet3d", 1.0, mode=("bilinear", "nearest")).set_random_state(0)
    result = deform({"image": image, "label": label})
    wrong = (result["image"] > 0.3).to(torch.uint8) != result["label"]
    assert result["label"].dtype == torch.uint8
    assert wrong.float().mean() < 0.02
    assert ((image > 0.3).to(torch.uint8) != result["label"]).float().mean() > 0.05


def test_samples_that_are_not_drawn_pass_unchanged_and_return_unchanged() -> None:
    image = smooth_volume()
    deform = RandElasticDeformd("image", prob=0.0, point_keys="points")
    result = deform({"image": image, "points": [[1.0, 2.0, 3.0]]})
    assert torch.equal(result["image"], image)
    assert result["image"] is not image
    back = deform.inverse(result)
    assert torch.equal(back["image"], image)
    assert not back["image"].applied_operations
    assert deform.transform.field is None


def test_drawn_fields_are_kept_from_folding_and_say_so() -> None:
    settings = ElasticSettings(std=40.0, spacing=20.0)
    transform = RandElasticDeform(settings, prob=1.0).set_random_state(0)
    transform(np.zeros((1, 40, 40, 40), dtype=np.float32))
    assert transform.field is not None
    assert transform.field.contraction == pytest.approx(0.9)
    assert transform.field.scale < 1
    free = RandElasticDeform(settings, prob=1.0, fold_limit=None).set_random_state(0)
    free(np.zeros((1, 40, 40, 40), dtype=np.float32))
    assert free.field is not None
    assert free.field.contraction > 1
    again = ElasticDeform(transform.field)
    assert torch.equal(again(smooth_volume(np.eye(4))), transform(smooth_volume(np.eye(4)), randomize=False))


def test_two_dimensional_images_and_slices() -> None:
    image = np.random.RandomState(0).rand(3, 50, 60).astype(np.float32)
    found = RandElasticDeform("unet", prob=1.0).set_random_state(1)(image)
    assert found.shape == (3, 50, 60)
    assert not np.array_equal(np.asarray(found), image)


def test_missing_points_are_named_and_lazy_images_refused() -> None:
    with pytest.raises(KeyError, match=r"no points 'clicks' in the sample; found \['image'\]"):
        ElasticDeformd("image", strong_field(), point_keys="clicks")({"image": smooth_volume()})
    lazy = smooth_volume()
    lazy.push_pending_operation({"affine": torch.eye(4)})
    with pytest.raises(ValueError, match=r"image has 1 lazy transform\(s\) pending, expected none"):
        ElasticDeform(strong_field())(lazy)


def test_traces_pass_through_a_data_loader() -> None:
    deform = RandElasticDeformd("image", "unet3d", prob=1.0).set_random_state(0)
    data = Dataset([{"image": smooth_volume()}] * 2, Compose([deform]))
    batch = next(iter(DataLoader(data, batch_size=2)))
    back = deform.inverse({"image": batch["image"][1]})
    inside = (slice(None), *[slice(8, -8)] * 3)
    image = smooth_volume()
    moved, left = (np.abs(np.asarray(x - image)[inside]).mean() for x in (batch["image"][1], back["image"]))
    assert left < 0.1 * moved
