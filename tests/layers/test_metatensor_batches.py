"""Every public layer takes a collated batch of MetaTensors: the result and the gradient of the plain tensor."""

from __future__ import annotations

import pytest
import torch
from monai.data import MetaTensor

from medseg.layers import QuadtreeConv
from medseg.layers.keep_metadata import keep_metadata
from medseg.partition import Quadtree
from tests._collated import SPACING_MM, assert_as_plain, collated
from tests.layers.test_unusual_inputs import IMAGE, LAYERS

# What they give is no map of their argument: a scale or bias for another map, or a plan.
NO_MAP = {"DensityModulator", "PatchModulator", "SpatialGuide", "LearnedEvaluator"}


@pytest.mark.parametrize("name", LAYERS)
def test_a_collated_batch_gives_the_result_and_the_gradient_of_the_plain_one(name: str) -> None:
    found = assert_as_plain(LAYERS[name], IMAGE)
    if name not in NO_MAP:
        assert isinstance(found[0], MetaTensor)
        assert found[0].meta["filename_or_obj"] == ["case_0.nii.gz", "case_1.nii.gz"]


def test_a_layer_makes_its_own_partition_from_a_guide_that_is_a_collated_batch() -> None:
    torch.manual_seed(0)
    layer = QuadtreeConv(2, 4, 4, rounds=2, root=2, budget=(0.5, 0.5))
    guide = IMAGE.flip(0)
    assert torch.equal(layer(IMAGE, guide=collated(guide)), layer(IMAGE, guide=guide))
    assert not torch.equal(layer(IMAGE, guide=guide), layer(IMAGE))


def test_a_partition_of_a_collated_batch_takes_its_spacing() -> None:
    image = IMAGE.expand(-1, -1, 16, 16)
    found = Quadtree.from_image(collated(image), rounds=2, root=2)
    expected = Quadtree.from_image(image, rounds=2, root=2, spacing=SPACING_MM[:2])
    assert torch.equal(found.plan.index, expected.plan.index)


class Named(torch.nn.Module):
    """A layer whose result is a map, a smaller tensor, a whole number, and a list."""

    @keep_metadata
    def forward(self, x: torch.Tensor, *others: torch.Tensor, more: torch.Tensor | None = None) -> object:
        assert not any(isinstance(value, MetaTensor) for value in (x, *others, more))
        return x + 1, x.sum(), x.argmax(1), [x[:, :1], others]


def test_metadata_go_to_the_floating_tensors_with_a_row_for_every_sample() -> None:
    batch = collated(IMAGE)
    whole, total, classes, (first, others) = Named()(batch, batch, more=batch)
    assert isinstance(whole, MetaTensor) and whole.is_batch and torch.equal(whole.affine, batch.affine)
    assert whole.applied_operations == batch.applied_operations and len(whole.applied_operations) == 2
    assert isinstance(first, MetaTensor) and first.meta["space"] == ["RAS", "RAS"]
    assert not any(isinstance(value, MetaTensor) for value in (total, classes))
    assert isinstance(others[0], MetaTensor)


def test_a_plain_map_stays_plain_beside_a_guide_with_metadata() -> None:
    assert not isinstance(Named()(IMAGE, more=collated(IMAGE))[0], MetaTensor)
