"""Surface distances and surface Dice: known answers, a slow reference, and the packages that others use."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from monai.metrics import compute_average_surface_distance, compute_hausdorff_distance, compute_surface_dice
from numpy.typing import NDArray
from scipy import ndimage

from medseg.metrics import surface_dice, surface_distances
from medseg.metrics.surfaces import surface_voxels

Mask = NDArray[np.bool_]
SPACINGS = [(1.0, 1.0, 1.0), (2.5, 0.7, 0.8)]


def box(*where: slice, shape: Sequence[int] = (12, 12, 12)) -> Mask:
    mask = np.zeros(shape, bool)
    mask[where] = True
    return mask


def blobs(seed: int) -> tuple[Mask, Mask]:
    noise = np.random.default_rng(seed).random((2, 20, 21, 22))
    first, second = ndimage.gaussian_filter(noise, (0, 2, 2, 2)) > 0.5
    return first, second


def slow(first: Mask, second: Mask, spacing: Sequence[float], connectivity: int) -> tuple[Any, Any]:
    """Distances by the definition: all pairs of surface voxels, found by SciPy's erosion."""
    footprint = ndimage.generate_binary_structure(3, connectivity)
    points = [np.argwhere(m & ~ndimage.binary_erosion(m, footprint)) * np.array(spacing) for m in (first, second)]
    pairs = np.sqrt(((points[0][:, None] - points[1][None]) ** 2).sum(axis=-1))
    return pairs.min(axis=1), pairs.min(axis=0)


@pytest.mark.parametrize("connectivity", [1, 2, 3])
@pytest.mark.parametrize("spacing", SPACINGS)
def test_distances_are_those_of_all_pairs(spacing: Sequence[float], connectivity: int) -> None:
    first, second = blobs(connectivity)
    found = surface_distances(first, second, spacing, connectivity)
    forth, back = slow(first, second, spacing, connectivity)
    np.testing.assert_allclose(found.to_reference_mm, forth, atol=1e-12)
    np.testing.assert_allclose(found.to_prediction_mm, back, atol=1e-12)
    both = np.concatenate([forth, back])
    assert found.assd_mm == pytest.approx(both.mean())
    assert found.rmsd_mm == pytest.approx(np.sqrt((both**2).mean()))
    assert found.msd_mm == pytest.approx(both.max())


@pytest.mark.parametrize("connectivity", [1, 2, 3])
@pytest.mark.parametrize("shape", [(9, 8, 7), (1, 5, 6), (2, 2, 2), (30, 20)])
def test_surface_voxels_are_those_that_erosion_removes(shape: tuple[int, ...], connectivity: int) -> None:
    mask = np.random.default_rng(0).random(shape) > 0.1
    footprint = ndimage.generate_binary_structure(len(shape), min(connectivity, len(shape)))
    expected = mask & ~ndimage.binary_erosion(mask, footprint)
    np.testing.assert_array_equal(surface_voxels(mask, min(connectivity, len(shape))), expected)


def test_one_voxel_beside_another_is_as_far_as_the_spacing_says() -> None:
    first, second = box(slice(5, 6), slice(5, 6), slice(5, 6)), box(slice(6, 7), slice(5, 6), slice(5, 6))
    found = surface_distances(first, second, (2.5, 0.7, 0.8))
    assert (found.assd_mm, found.rmsd_mm, found.msd_mm, found.hd95_mm) == pytest.approx((2.5,) * 4)
    assert surface_dice(first, second, (2.5, 0.7, 0.8), 2.5) == pytest.approx(1.0)


def test_masks_at_the_border_of_the_array_have_a_surface_there() -> None:
    whole = np.ones((4, 4, 4), bool)
    assert len(surface_distances(whole, whole, (1, 1, 1)).to_reference_mm) == 4**3 - 2**3
    assert surface_distances(whole, box(slice(0, 3), shape=(4, 4, 4)), (2.0, 1, 1)).msd_mm == 2.0
    assert surface_dice(whole, whole, (1, 1, 1), 0.0) == 1.0


def test_empty_masks_have_stated_results() -> None:
    none, some = np.zeros((5, 5, 5), bool), box(slice(1, 3), shape=(5, 5, 5))
    both = surface_distances(none, none, (1, 1, 1))
    assert (both.assd_mm, both.rmsd_mm, both.msd_mm, both.hd95_mm, both.empty) == (0.0, 0.0, 0.0, 0.0, "both")
    for first, second, empty in ((none, some, "prediction"), (some, none, "reference")):
        found = surface_distances(first, second, (1, 1, 1))
        assert found.empty == empty
        assert np.isnan([found.assd_mm, found.rmsd_mm, found.msd_mm, found.hd95_mm]).all()
        assert surface_dice(first, second, (1, 1, 1), 1.0) == 0.0
    assert surface_dice(none, none, (1, 1, 1), 1.0) == 1.0


def test_a_distance_that_equals_the_tolerance_is_within_it() -> None:
    for step in (0.7, 0.1, 1 / 3):
        first, second = box(slice(3, 8), slice(3, 8), slice(3, 8)), box(slice(3, 8), slice(3, 8), slice(6, 11))
        assert surface_dice(first, second, (step,) * 3, 3 * step) == 1.0
        assert surface_dice(first, second, (step,) * 3, 2.9 * step) < 1.0


@pytest.mark.parametrize("spacing", SPACINGS)
def test_equals_monai(spacing: tuple[float, ...]) -> None:
    first, second = blobs(7)
    a, b = torch.as_tensor(first)[None, None], torch.as_tensor(second)[None, None]
    common = {"include_background": True, "spacing": spacing}
    found = surface_distances(first, second, spacing)
    assert found.assd_mm == pytest.approx(compute_average_surface_distance(a, b, symmetric=True, **common).item())
    assert found.msd_mm == pytest.approx(compute_hausdorff_distance(a, b, **common).item())
    assert found.hd95_mm == pytest.approx(compute_hausdorff_distance(a, b, percentile=95, **common).item())
    for tolerance in (0.5, 1.0, 2.0):
        peer = compute_surface_dice(a, b, [tolerance], use_subvoxels=True, **common).item()
        assert surface_dice(first, second, spacing, tolerance) == pytest.approx(peer, abs=1e-6)


@pytest.mark.parametrize("spacing", SPACINGS)
def test_equals_surface_distance(spacing: tuple[float, ...]) -> None:
    package = pytest.importorskip("surface_distance", reason="surface-distance is not installed")
    first, second = blobs(3)
    measured = package.compute_surface_distances(first, second, spacing)
    for tolerance in (0.0, 0.7, 1.0, 2.0):
        peer = package.compute_surface_dice_at_tolerance(measured, tolerance)
        assert surface_dice(first, second, spacing, tolerance) == pytest.approx(peer, abs=1e-7)


@pytest.mark.parametrize("spacing", SPACINGS)
def test_equals_medpy(spacing: tuple[float, ...]) -> None:
    package = pytest.importorskip("medpy.metric.binary", reason="medpy is not installed")
    first, second = blobs(4)
    found = surface_distances(first, second, spacing)
    assert found.assd_mm == pytest.approx(package.assd(first, second, spacing))
    assert found.msd_mm == pytest.approx(package.hd(first, second, spacing))


def test_the_hausdorff_distance_of_simpleitk_is_between_all_voxels() -> None:
    """SimpleITK measures from every voxel of a mask; for masks without overlap in depth both agree."""
    sitk = pytest.importorskip("SimpleITK", reason="SimpleITK is not installed")
    first, second = box(slice(2, 4), slice(2, 5), slice(2, 4)), box(slice(7, 9), slice(2, 5), slice(3, 5))
    images = [sitk.GetImageFromArray(mask.astype(np.uint8)) for mask in (first, second)]
    for image in images:
        image.SetSpacing((0.8, 0.7, 2.5))
    peer = sitk.HausdorffDistanceImageFilter()
    peer.Execute(*images)
    assert surface_distances(first, second, (2.5, 0.7, 0.8)).msd_mm == pytest.approx(peer.GetHausdorffDistance())


def test_two_axes_and_label_maps_are_taken() -> None:
    first, second = np.zeros((2, 9, 9), np.uint8)
    first[2:5, 2:5], second[2:5, 3:6] = 2, 1
    assert surface_distances(first, second, (1.0, 0.5)).msd_mm == 0.5


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"spacing_mm": (1, 1)}, "spacing_mm is .1, 1., expected 3 positive numbers"),
        ({"spacing_mm": (1, 0, 1)}, "expected 3 positive numbers"),
        ({"reference": np.zeros((3, 3, 4))}, "both must be on one grid"),
        ({"prediction": np.zeros(3), "reference": np.zeros(3)}, "1 axes, expected 2 or 3"),
    ],
)
def test_wrong_arguments_are_refused(change: dict[str, Any], words: str) -> None:
    given: dict[str, Any] = {
        "prediction": np.zeros((3, 3, 3)),
        "reference": np.zeros((3, 3, 3)),
        "spacing_mm": (1,) * 3,
    }
    with pytest.raises(ValueError, match=words):
        surface_distances(**given | change)
    with pytest.raises(ValueError, match=words):
        surface_dice(**given | change, tolerance_mm=1.0)
    with pytest.raises(ValueError, match="connectivity is 4, expected 1 to 3"):
        surface_distances(**given, connectivity=4)
    with pytest.raises(ValueError, match="tolerance_mm is -1"):
        surface_dice(**given, tolerance_mm=-1)


_FLUSHED = """
import numpy as np, torch
from medseg.datasets.lidc.clusters import nearest_distances
from medseg.metrics import surface_distances
torch.set_flush_denormal(True)
mask = np.zeros((12, 10, 8), np.uint8)
mask[0:11, 0:9, 0:7] = 1
print(surface_distances(mask, mask, (0.8, 0.7, 2.5)).msd_mm)
cloud = np.argwhere(mask) * [0.8, 0.7, 2.5]
print(nearest_distances([cloud, cloud], 1.0).max())
"""


def test_distances_are_found_where_torch_flushes_tiny_numbers_to_zero() -> None:
    done = subprocess.run([sys.executable, "-c", _FLUSHED], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["0.0", "0.0"]
