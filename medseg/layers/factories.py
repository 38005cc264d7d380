"""Registers the adaptive layers with MONAI's layer factories; importing `medseg.layers` is enough.

``Pool["sparse", d]`` is `SparseDownsample` with its ``spatial_dims`` set, so that
``get_pool_layer(("sparse", {"channels": 16, "patch": 4}), spatial_dims=2)`` builds one. It fits where a network takes a
pooling by name together with its arguments, or a module; blocks that call a named pooling with ``kernel_size`` alone
cannot give it its channels.
"""

from __future__ import annotations

from functools import partial

from monai.networks.layers.factories import Pool

from medseg.layers.sparse_downsample import SparseDownsample

__all__: list[str] = []


@Pool.factory_function("sparse")
def _sparse_pool(dim: int) -> partial[SparseDownsample]:
    return partial(SparseDownsample, dim)
