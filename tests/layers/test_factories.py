"""The adaptive layers by the names that MONAI's layer factories know."""

from __future__ import annotations

import pytest
import torch
from monai.networks.layers.factories import Pool
from monai.networks.layers.utils import get_act_layer, get_pool_layer

from medseg.layers import SparseDownsample


@pytest.mark.parametrize("name", ["sparse", "SPARSE"])
@pytest.mark.parametrize("d", [2, 3])
def test_the_pool_factory_builds_sparse_downsampling(name: str, d: int) -> None:
    layer = Pool[name, d](channels=3, patch=2, evaluator="norm")
    assert isinstance(layer, SparseDownsample)
    assert layer(torch.randn(1, 3, *(8,) * d)).shape == (1, 3, *(4,) * d)


def test_a_name_with_arguments_builds_it_too() -> None:
    layer = get_pool_layer(("sparse", {"channels": 3, "patch": 4}), spatial_dims=2)
    assert (layer.channels, layer.patch) == (3, 4)


def test_the_activation_factory_knows_hard_swish() -> None:
    x = torch.linspace(-5, 5, 101)
    torch.testing.assert_close(get_act_layer("hardswish")(x), x * torch.clamp(x + 3, 0, 6) / 6)
