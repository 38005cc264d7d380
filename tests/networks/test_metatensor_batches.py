"""Every public network takes a collated batch of MetaTensors, and gives one tensor for an image alone."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from monai.data import MetaTensor
from torch import Tensor

from medseg.layers.guidance import Guidance
from medseg.networks import list_networks
from tests._collated import assert_as_plain, collated
from tests.networks import _cases
from tests.networks.test_hostile_images import NAMES, every_network, image, small

PLUGS: dict[str, dict[str, Any]] = {
    "sparse halvings": {"down": "sparse"},
    "quadtree convolutions": {"conv": ("quadtree", {"rounds": 1, "root": 1})},
    "a learned partition": {"conv": ("quadtree", {"rounds": 1, "root": 1, "evaluator": "learned"})},
}


@every_network
@pytest.mark.parametrize("training", [True, False])
def test_an_image_alone_gives_one_tensor(name: str, training: bool) -> None:
    assert type(small(name).train(training)(image(name))) is Tensor


@every_network
def test_a_collated_batch_gives_the_result_and_the_gradient_of_the_plain_one(name: str) -> None:
    (found,) = assert_as_plain(lambda x: small(name).train()(x), image(name))
    assert isinstance(found, MetaTensor) and found.meta["filename_or_obj"] == ["case_0.nii.gz", "case_1.nii.gz"]


@pytest.mark.parametrize("plug", PLUGS)
@pytest.mark.parametrize("name", list_networks())
def test_networks_with_adaptive_layers_do_so_too(name: str, plug: str) -> None:
    try:
        net = _cases.small(name, **PLUGS[plug]).eval()
        net(image(name))
    except (TypeError, ValueError) as error:
        pytest.skip(f"{name} does not take {plug}, or not for its small image: {error}")
    assert_as_plain(net, image(name))


@pytest.mark.parametrize("name", [name for name in NAMES if hasattr(small(name), "encode")])
def test_the_maps_of_an_encoder_keep_the_metadata(name: str) -> None:
    net = small(name).eval()
    found, expected = net.encode(collated(image(name))), net.encode(image(name))
    assert all(
        isinstance(one, MetaTensor) and torch.equal(one.as_tensor(), two)
        for one, two in zip(found, expected, strict=True)
    )


@pytest.mark.parametrize("name", ["GuidedNet", "ConcatGuidedNet"])
def test_guides_are_taken_from_a_collated_batch(name: str) -> None:
    net, x = small(name).eval(), image(name)
    guide = torch.rand(x.shape, generator=torch.Generator().manual_seed(2))
    expected = net(x, guidance=Guidance(spatial=guide))
    assert torch.equal(net(collated(x), guidance=Guidance(spatial=collated(guide))).as_tensor(), expected)
