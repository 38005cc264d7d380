"""Every network takes a collated batch of MetaTensors, as loaders of MONAI give it, and returns one tensor for it."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from monai.data import MetaTensor
from torch import Tensor

from medseg.networks import list_networks
from tests.layers.test_metatensor_batches import collated
from tests.networks._cases import image, small

PLUGS: dict[str, dict[str, Any]] = {
    "as it is": {},
    "sparse halvings": {"down": "sparse"},
    "quadtree convolutions": {"conv": ("quadtree", {"rounds": 1, "root": 1})},
    "a learned partition": {"conv": ("quadtree", {"rounds": 1, "root": 1, "evaluator": "learned"})},
}


def network(name: str, plug: str) -> Any:
    try:
        return small(name, **PLUGS[plug]).double().eval()
    except (TypeError, ValueError) as error:
        pytest.skip(f"{name} does not take {plug}: {error}")


@pytest.mark.parametrize("plug", PLUGS)
@pytest.mark.parametrize("name", list_networks())
def test_result_and_gradients_are_those_of_the_plain_tensor(name: str, plug: str) -> None:
    try:
        expected = network(name, plug)(image(name).double())
    except ValueError as error:
        pytest.skip(f"its small image does not suit {plug}: {error}")
    ours, theirs = network(name, plug), network(name, plug)
    found = ours(collated(image(name).double()))
    assert isinstance(found, Tensor)
    torch.testing.assert_close(found.as_tensor() if isinstance(found, MetaTensor) else found, expected)
    found.square().sum().backward()
    theirs(image(name).double()).square().sum().backward()
    for (key, ours_), theirs_ in zip(ours.named_parameters(), theirs.parameters(), strict=True):
        assert (ours_.grad is None) == (theirs_.grad is None), key
        if ours_.grad is not None and theirs_.grad is not None:
            torch.testing.assert_close(ours_.grad, theirs_.grad, msg=key)
