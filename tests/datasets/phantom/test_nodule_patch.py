"""Synthetic patches with one small nodule."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import distance_transform_edt, label

from medseg.datasets.phantom.nodule_patch import nodule_patches


def _main_part(mask: np.ndarray) -> float:
    parts, _ = label(mask, np.ones((3, 3)))
    return float(np.bincount(parts[mask])[1:].max() / mask.sum())


def test_both_classes_in_equal_numbers_and_one_nodule_each() -> None:
    found = nodule_patches(21, seed=5)
    assert found.images.shape == found.masks.shape == (21, 128, 128)
    assert found.images.dtype == np.float32
    assert np.bincount(found.labels).tolist() == [11, 10]
    assert all(_main_part(mask) > 0.9 for mask in found.masks), "tips thinner than a pixel may break off"


def test_the_seed_decides_everything() -> None:
    first, again, other = (nodule_patches(4, seed) for seed in (1, 1, 2))
    assert np.array_equal(first.images, again.images)
    assert not np.array_equal(first.images, other.images)


def test_the_target_is_small_and_away_from_the_border() -> None:
    masks = nodule_patches(40, seed=0, size=96).masks
    share = masks.mean(axis=(1, 2))
    assert share.max() < 0.015
    edge = np.ones((96, 96), bool)
    edge[4:-4, 4:-4] = False
    assert not (masks & edge).any()


def test_classes_differ_in_their_outline_not_in_their_core() -> None:
    found = nodule_patches(60, seed=3)
    core = np.array([distance_transform_edt(mask).max() for mask in found.masks])
    reach = np.array([np.ptp(np.argwhere(mask), axis=0).max() for mask in found.masks])
    assert abs(core[found.labels == 0].mean() - core[found.labels == 1].mean()) < 0.5
    assert reach[found.labels == 1].mean() > reach[found.labels == 0].mean() + 3
    brightness = np.array([image[mask].mean() for image, mask in zip(found.images, found.masks, strict=True)])
    assert abs(brightness[found.labels == 0].mean() - brightness[found.labels == 1].mean()) < 0.15


def test_the_whole_image_does_not_give_the_class_away() -> None:
    found = nodule_patches(120, seed=9, size=96)
    sums = found.images.mean(axis=(1, 2))
    spread = sums.std()
    assert abs(sums[found.labels == 0].mean() - sums[found.labels == 1].mean()) < 0.5 * spread


def test_impossible_requests() -> None:
    with pytest.raises(ValueError, match="count is 0"):
        nodule_patches(0, seed=1)
    with pytest.raises(ValueError, match="size 32"):
        nodule_patches(1, seed=1, size=32)
