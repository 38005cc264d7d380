"""Batches as a MONAI data loader makes them: MetaTensors with the metadata of every sample."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from monai.data import MetaTensor, list_data_collate
from monai.transforms import Flip
from torch import Tensor

SPACING_MM = (2.0, 2.0, 3.0)


def collated(x: Tensor) -> MetaTensor:
    """The samples of ``x`` as images that were read and flipped twice, collated; its values are those of ``x``."""
    samples = []
    for number, voxels in enumerate(x):
        meta = {"filename_or_obj": f"case_{number}.nii.gz", "spatial_shape": np.array(x.shape[2:]), "space": "RAS"}
        image = MetaTensor(voxels.clone(), affine=torch.diag(torch.tensor([*SPACING_MM, 1.0])).double(), meta=meta)
        samples.append({"image": Flip(0)(Flip(0)(image))})
    batch = list_data_collate(samples)["image"]
    assert batch.is_batch and len(batch.meta["filename_or_obj"]) == len(x)
    return batch


def results(call: Callable[[Tensor], Any], x: Tensor) -> tuple[list[Tensor], Tensor | None]:
    """The floating tensors of a result, and the gradient of x where they have one."""
    x = x.detach().requires_grad_()
    torch.manual_seed(0)
    found = list(floating(call(x)))
    loss = sum(one.square().sum() for one in found)
    if isinstance(loss, Tensor) and loss.requires_grad:
        loss.backward()
    return found, x.grad


def floating(value: Any) -> Iterator[Tensor]:
    """Floating tensors in lists, tuples and dictionaries, depth first."""
    if isinstance(value, Tensor):
        if value.is_floating_point():
            yield value
    elif isinstance(value, dict):
        for one in value.values():
            yield from floating(one)
    elif isinstance(value, list | tuple):
        for one in value:
            yield from floating(one)


def assert_as_plain(call: Callable[[Tensor], Any], x: Tensor) -> list[Tensor]:
    """A collated batch gives the result and the gradient of the plain tensor, to the last bit; returns its result."""
    expected, gradient = results(call, x)
    found, other = results(call, collated(x))
    assert expected and len(found) == len(expected)
    for one, two in zip(found, expected, strict=True):
        torch.testing.assert_close(torch.as_tensor(one), two, rtol=0, atol=0)
    assert (gradient is None) == (other is None)
    if gradient is not None and other is not None:
        torch.testing.assert_close(torch.as_tensor(other), gradient, rtol=0, atol=0)
    return found
