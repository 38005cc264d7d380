"""MaskOnSourceGrid against the volume of scores on the source grid, which it never makes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from monai.transforms import Compose, Invertd, Orientationd, Spacingd

from medseg.geometry import make_affine
from medseg.transforms import MaskOnSourceGrid, MaskOnSourceGridd, SeparableSpacingd
from tests.transforms._menu import assert_own_line

AFFINE = make_affine((0.8, 0.9, 2.5), (-20.0, 31.5, 7.0), "LPS")
SHAPE = (33, 29, 14)
STEPS: dict[str, Callable[[], list[Any]]] = {
    "ours": lambda: [Orientationd("image", axcodes="RAS", labels=None), SeparableSpacingd("image", 2.0)],
    "ours alone": lambda: [SeparableSpacingd("image", (0.5, 3.0, 2.5))],
    "MONAI's": lambda: [Orientationd("image", axcodes="RAS", labels=None), Spacingd("image", 2.0)],
    "none": list,
}


def prepared(steps: str, affine: np.ndarray = AFFINE) -> tuple[Compose, MetaTensor]:
    preprocessing = Compose(STEPS[steps]())
    case = {"image": MetaTensor(torch.zeros(1, *SHAPE), affine=torch.from_numpy(affine), meta={"filename_or_obj": "a"})}
    return preprocessing, preprocessing(case)["image"]


def smooth_scores(shape: torch.Size, channels: int, share: float = 0.5) -> torch.Tensor:
    noise = torch.rand(1, channels, *shape[1:], generator=torch.Generator().manual_seed(3))
    scores = torch.nn.functional.avg_pool3d(noise, 3, 1, 1)[0]
    return scores + 0.5 - scores.quantile(1 - share) - (0.0 if share else 1e-3)


def on_source_grid(scores: torch.Tensor, preprocessing: Compose, image: MetaTensor) -> torch.Tensor:
    if not image.applied_operations:
        return scores
    pred = MetaTensor(scores.clone()).copy_meta_from(image)
    undo = Invertd("pred", preprocessing, "image", nearest_interp=False, to_tensor=True)
    return undo({"image": image, "pred": pred})["pred"].as_tensor()


@pytest.mark.parametrize("share", [0.5, 0.02, 0.0])
@pytest.mark.parametrize("steps", STEPS)
def test_a_threshold_gives_the_mask_of_interpolating_first_bit_for_bit(steps: str, share: float) -> None:
    preprocessing, image = prepared(steps)
    scores = smooth_scores(image.shape, 2, share)
    mask = MaskOnSourceGrid(preprocessing, threshold=0.5)(scores, image)
    expected = (on_source_grid(scores, preprocessing, image) >= 0.5).to(torch.uint8)
    assert mask.dtype == torch.uint8
    assert torch.equal(mask.as_tensor(), expected)
    assert bool(mask.any()) == (share > 0)


@pytest.mark.parametrize("steps", STEPS)
def test_the_highest_score_gives_the_labels_of_interpolating_first_bit_for_bit(steps: str) -> None:
    preprocessing, image = prepared(steps)
    scores = smooth_scores(image.shape, 3)
    mask = MaskOnSourceGrid(preprocessing, threshold=None)(scores, image)
    assert torch.equal(mask.as_tensor()[0], on_source_grid(scores, preprocessing, image).argmax(0).to(torch.uint8))
    assert mask.unique().tolist() == [0, 1, 2]


@pytest.mark.parametrize("steps", STEPS)
def test_the_mask_lies_on_the_grid_of_the_source_and_knows_its_file(steps: str) -> None:
    preprocessing, image = prepared(steps)
    mask = MaskOnSourceGrid(preprocessing)(smooth_scores(image.shape, 1), image)
    assert mask.shape == (1, *SHAPE)
    np.testing.assert_allclose(mask.affine.numpy(), AFFINE, atol=1e-9)
    assert mask.meta["filename_or_obj"] == "a"
    assert not [key for key in mask.meta if "medseg" in str(key)]
    assert mask.applied_operations == []


def test_a_place_in_millimetres_stays_where_it_is() -> None:
    preprocessing, image = prepared("ours")
    scores = torch.zeros(1, *image.shape[1:])
    scores[0, 7, 6, 9] = 1.0
    mask = MaskOnSourceGrid(preprocessing, threshold=0.3)(scores, image).numpy()[0]
    centre = AFFINE @ [*np.argwhere(mask).mean(0), 1.0]
    expected = image.affine.numpy() @ [7, 6, 9, 1.0]
    assert np.abs(centre - expected)[:3].max() < 1.3  # half of the largest native voxel


def test_image_and_scores_are_left_as_they_are() -> None:
    preprocessing, image = prepared("ours")
    scores = smooth_scores(image.shape, 1)
    kept, operations = scores.clone(), len(image.applied_operations)
    first = MaskOnSourceGrid(preprocessing)(scores, image)
    assert torch.equal(scores, kept)
    assert len(image.applied_operations) == operations
    assert torch.equal(MaskOnSourceGrid(preprocessing)(scores, image), first)


def test_scores_that_are_not_numbers_are_no_mask() -> None:
    preprocessing, image = prepared("ours")
    scores = torch.full((1, *image.shape[1:]), torch.nan)
    assert not MaskOnSourceGrid(preprocessing)(scores, image).any()


def test_the_dictionary_form_takes_an_image_for_each_key() -> None:
    preprocessing, image = prepared("ours")
    scores = smooth_scores(image.shape, 1)
    expected = MaskOnSourceGrid(preprocessing)(scores, image)
    both = MaskOnSourceGridd(["a", "b"], preprocessing, ["image", "image"])({"a": scores, "b": scores, "image": image})
    assert torch.equal(both["a"], expected)
    assert torch.equal(both["b"], expected)
    assert torch.equal(MaskOnSourceGridd("a", preprocessing)({"a": scores, "image": image})["a"], expected)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda p, i: MaskOnSourceGrid(p, threshold=np.nan), "threshold is nan; expected a finite number, or None"),
        (lambda p, i: MaskOnSourceGrid(p)(i, torch.zeros(i.shape)), "image is a Tensor; expected the preprocessed"),
        (lambda p, i: MaskOnSourceGrid(p)(i[:, 1:], i), "expected one grid"),
        (lambda p, i: MaskOnSourceGridd(["a", "b"], p, ["x", "y", "z"]), "3 orig_keys for 2 keys"),
    ],
)
def test_what_cannot_be_brought_back_is_refused_in_one_line(call: Callable[..., Any], message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        call(*prepared("ours"))
    assert_own_line(caught.value)
