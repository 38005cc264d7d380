"""Vectors of regions and lazy transforms: an operation pending for an image is never applied to numbers about it."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from monai.data import MetaTensor
from monai.transforms import Compose, Flip, Flipd

from medseg.transforms import RegionGLCM, RegionGLCMd, RegionHistogram, RegionHistogramd

TRANSFORMS = [RegionHistogram(5, (-100, 100)), RegionGLCM(8, (-100, 100))]
NAMES = ["histogram", "glcm"]


def image() -> MetaTensor:
    return MetaTensor(40 * torch.randn(1, 8, 9, generator=torch.Generator().manual_seed(0)))


def region() -> MetaTensor:
    mask = torch.zeros(1, 8, 9)
    mask[:, :5, 2:6] = 1
    return MetaTensor(mask)


@pytest.mark.parametrize("transform", TRANSFORMS, ids=NAMES)
def test_vectors_are_those_of_the_voxels_at_hand_and_nothing_is_pending_for_them(transform: Any) -> None:
    flip = Flip(0, lazy=True)
    found = transform(flip(image()), flip(region()))
    torch.testing.assert_close(found.as_tensor(), transform(image(), region()).as_tensor(), rtol=0, atol=0)
    assert found.pending_operations == [] and found.applied_operations == []


@pytest.mark.parametrize("transform", TRANSFORMS, ids=NAMES)
def test_what_was_done_to_the_image_cannot_be_undone_in_its_vectors(transform: Any) -> None:
    flipped = Flip(0)(image())
    assert flipped.applied_operations
    assert transform(flipped, Flip(0)(region())).applied_operations == []
    assert flipped.applied_operations


@pytest.mark.parametrize("transform", TRANSFORMS, ids=NAMES)
def test_an_image_that_waits_and_a_region_that_does_not_are_refused(transform: Any) -> None:
    with pytest.raises(ValueError, match=r"image has 1 lazy transform\(s\) pending, its regions 0; expected as many"):
        transform(Flip(0, lazy=True)(image()), region())


@pytest.mark.parametrize("dictionary", [RegionHistogramd, RegionGLCMd])
def test_a_lazy_pipeline_gives_the_vectors_of_an_eager_one(dictionary: Any) -> None:
    steps = [Flipd(["image", "region"], 1), dictionary("image", "region")]
    data = {"image": image(), "region": region()}
    lazy, eager = (Compose(steps, lazy=lazy)(data) for lazy in (True, False))
    name = next(key for key in eager if key.startswith("image_") and not key.endswith("_valid"))
    torch.testing.assert_close(lazy[name].as_tensor(), eager[name].as_tensor(), rtol=0, atol=0)
    assert lazy[name].pending_operations == []
