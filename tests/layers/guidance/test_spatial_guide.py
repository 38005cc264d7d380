"""The spatial guide branch: its pyramid, identity at the start, and the null form."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from medseg.layers.guidance import Guidance, SpatialGuide, guide_pyramid, inner


def make(dims: int = 2, trained: bool = True, **options: Any) -> SpatialGuide:
    level = (1,) * dims
    with torch.random.fork_rng():
        torch.manual_seed(0)
        layer = SpatialGuide(dims, [3, 5, 4], [level, (2,) * dims, level], **options)
        for parameter in layer.parameters() if trained else ():
            torch.nn.init.normal_(parameter)
    return layer


def test_the_pyramid_averages_over_halvings_of_each_axis() -> None:
    guide = torch.randn(1, 2, 8, 8, 6)
    even, plane = guide_pyramid(guide, [(2, 2, 1), (2, 2, 0)])
    torch.testing.assert_close(even, torch.nn.functional.avg_pool3d(guide, (4, 4, 2)))
    torch.testing.assert_close(plane, torch.nn.functional.avg_pool3d(guide, (4, 4, 1)))


def test_odd_sizes_are_rounded_up_and_averaged_over_what_is_there() -> None:
    (small,) = guide_pyramid(torch.ones(1, 1, 7, 5), [(1, 1)])
    assert torch.equal(small, torch.ones(1, 1, 4, 3))


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("kind", ["linear", "normed"])
def test_starts_with_biases_of_zero_and_learns_from_the_first_step(dims: int, kind: str) -> None:
    layer, image = make(dims, trained=False, kind=kind), torch.zeros(2, 1, *(16,) * dims)
    biases = layer(Guidance(spatial=torch.randn(2, 1, *(16,) * dims)), image)
    assert [tuple(b.shape) for b in biases] == [(2, c, *(s,) * dims) for c, s in ((3, 8), (5, 4), (4, 8))]
    assert not any(b.any() for b in biases)
    sum((b * torch.randn_like(b)).sum() for b in biases).backward()
    assert any(p.grad is not None and p.grad.any() for p in layer.parameters())


def test_every_map_of_a_level_has_weights_of_its_own() -> None:
    layer, guide = make(), torch.randn(1, 1, 8, 8)
    first, _, third = layer(Guidance(spatial=guide), guide)
    pooled = torch.nn.functional.avg_pool2d(guide, 2)
    conv = layer.convs[0]
    torch.testing.assert_close(first, torch.nn.functional.conv2d(pooled, conv.weight[:3], conv.bias[:3]))
    torch.testing.assert_close(third, torch.nn.functional.conv2d(pooled, conv.weight[3:], conv.bias[3:]))


@pytest.mark.parametrize("null", [0.0, 0.5])
def test_samples_without_guidance_get_what_a_null_map_gives(null: float) -> None:
    layer, guide = make(null=null), torch.rand(2, 1, 8, 8)
    known = Guidance(spatial=guide)
    mixed = layer(known._replace(guided=torch.tensor([True, False])), guide)
    filled = Guidance(spatial=torch.full_like(guide, null))
    for m, g, n, c in zip(mixed, layer(known, guide), layer(None, guide), layer(filled, guide), strict=True):
        assert torch.equal(m[0], g[0])
        assert torch.equal(m[1], n[1])
        assert torch.equal(n, c)


def test_the_middle_of_a_bias_serves_a_map_that_lost_its_border() -> None:
    bias = torch.arange(36.0).reshape(1, 1, 6, 6)
    assert torch.equal(inner(bias, (2, 6)), bias[:, :, 2:4])
    with pytest.raises(ValueError, match=r"the map has size \[7, 6\]; expected at most the guide's, \[6, 6\]"):
        inner(bias, (7, 6))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"kind": "affine"}, "kind is 'affine'; expected one of linear, normed"),
        ({"guide_channels": 0}, "guide_channels is 0; expected at least 1"),
    ],
)
def test_says_what_settings_there_are(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make(**options)


def test_says_what_it_reads() -> None:
    image = torch.zeros(2, 3, 8, 8)
    with pytest.raises(ValueError, match=r"spatial has shape \[2, 2, 8, 8\]; expected \[2, 1, 8, 8\]"):
        make()(Guidance(spatial=torch.zeros(2, 2, 8, 8)), image)
    with pytest.raises(ValueError, match=r"guided is torch.int64 of shape \[2\]; expected bool of \[2\]"):
        make()(Guidance(spatial=torch.zeros(2, 1, 8, 8), guided=torch.tensor([1, 0])), image)
