"""Every public layer takes a collated batch of MetaTensors, as loaders of MONAI give it, forward and backward."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from monai.data import MetaTensor, list_data_collate
from torch import Tensor

from tests.layers.test_unusual_inputs import IMAGE, LAYERS


def collated(image: Tensor) -> MetaTensor:
    """The batch that a loader makes of MetaTensors with different meta data."""
    cases = [
        {"image": MetaTensor(part.clone(), affine=(n + 1) * torch.eye(4), meta={"filename_or_obj": f"{n}.nii"})}
        for n, part in enumerate(image)
    ]
    batch: MetaTensor = list_data_collate(cases)["image"]
    return batch


def tensors(result: Any) -> list[Tensor]:
    if isinstance(result, Tensor):
        return [result.as_tensor() if isinstance(result, MetaTensor) else result]
    values = result.values() if isinstance(result, dict) else result
    if isinstance(values, list | tuple) or hasattr(values, "__iter__"):
        return [tensor for value in values for tensor in tensors(value)]
    return []


@pytest.mark.parametrize("name", LAYERS)
def test_the_result_and_its_gradient_are_those_of_the_plain_tensor(name: str) -> None:
    batch, plain = collated(IMAGE).requires_grad_(), IMAGE.clone().requires_grad_()
    found, expected = tensors(LAYERS[name](batch)), tensors(LAYERS[name](plain))
    assert len(found) == len(expected) > 0
    for ours, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(ours, theirs)
    gradients = []
    for results, image in ((found, batch), (expected, plain)):
        smooth = [result for result in results if result.requires_grad]
        if smooth:
            torch.stack([result.double().square().sum() for result in smooth]).sum().backward()
        gradients.append(None if image.grad is None else torch.as_tensor(image.grad))
    assert (gradients[0] is None) == (gradients[1] is None)
    if gradients[0] is not None and gradients[1] is not None:
        torch.testing.assert_close(gradients[0], gradients[1])
