"""A backbone of a few lines takes every halving and convolution, on one partition of the image."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from monai.networks.layers.factories import Conv
from torch import Tensor, nn

from medseg.layers import QuadtreeConv, SparseDownsample
from medseg.networks import PlannedSequential, PlugIn, check_image
from medseg.networks.parts.planned import run
from medseg.partition import Quadtree


class Backbone(nn.Module):
    """Three levels, as the documentation shows it."""

    def __init__(self, dims: int = 2, down: Any = "max", conv: Any = "plain") -> None:
        super().__init__()
        plug = self.plug = PlugIn("Backbone", dims, 2, down, conv)
        widths = (4, 6, 8)
        self.blocks = nn.ModuleList(
            PlannedSequential(plug.conv(i, before, width), nn.ReLU())
            for i, (before, width) in enumerate(zip((1, *widths), widths, strict=False))
        )
        self.downs = nn.ModuleList(plug.down(i, widths[i]) for i in range(2))
        self.ups = nn.ModuleList(
            plug.up(i, widths[i + 1], widths[i], Conv["convtrans", dims](widths[i + 1], widths[i], 2, 2))
            for i in range(2)
        )
        self.head = Conv["conv", dims](4, 2, 1)

    def forward(self, x: Tensor, plan: Any = None) -> Tensor:
        plan = self.plug.plan(x, plan)
        skips, places = [], []
        for block, down in zip(self.blocks, [*self.downs, None], strict=True):
            x = run(block, x, plan)
            if down is not None:
                skips.append(x)
                x, place = down(x)
                places.append(place)
        for up, skip, place in zip(reversed(self.ups), reversed(skips), reversed(places), strict=True):
            x = skip + up(x, place)
        return self.head(x)


def image(dims: int = 2, side: int = 32, batch: int = 2) -> Tensor:
    return torch.randn(batch, 1, *(side,) * dims, generator=torch.Generator().manual_seed(0))


QUADTREE = ("quadtree", {"rounds": 1, "root": 2})


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("down", ["max", "avg", "stride", "sparse", "max-sd", ("sparse", {"patch": 4})])
@pytest.mark.parametrize("conv", ["plain", QUADTREE])
def test_every_combination_learns(dims: int, down: Any, conv: Any) -> None:
    net, x = Backbone(dims, down, conv), image(dims)
    out = net(x)
    assert out.shape == (2, 2, *x.shape[2:])
    out.square().mean().backward()
    silent = [name for name, p in net.named_parameters() if p.grad is None]
    assert not silent


def test_sparse_halvings_are_undone_at_their_own_level() -> None:
    net, x = Backbone(down="sparse"), image()
    down, up = net.downs[0], net.ups[0]
    skip = net.blocks[0](x)
    kept, place = down(skip)
    with torch.no_grad():
        up.upsample.weight.zero_()
        up.upsample.weight[:4, :4] = torch.eye(4)[:, :, None, None]
        up.upsample.bias.zero_()
        wide = torch.cat([kept, kept.new_zeros(2, 2, *kept.shape[2:])], 1)
        back = up(wide, place)
    came_back = back != 0
    assert came_back.any() and not came_back.all()
    torch.testing.assert_close(back[came_back], skip[came_back])


def test_poolings_by_placement_and_their_arguments() -> None:
    net = Backbone(down=("max-sd", {"patch": 2, "evaluator": "norm"}))
    assert isinstance(net.downs[0].halve, nn.MaxPool2d) and net.downs[0].halve.kernel_size == 2
    assert isinstance(net.downs[1].halve, SparseDownsample) and net.downs[1].halve.patch == 2
    assert [d.halve.patch for d in Backbone(down=("2sd", {"patch": (4, 2)})).downs] == [4, 2]
    assert Backbone(down=("stride", {"kernel_size": 3})).downs[0].halve.padding == (1, 1)
    assert Backbone(down=("sparse", {"fill": "neighbours"})).ups[0].put_back.fill == "neighbours"


def test_a_change_of_channels_follows_the_halving() -> None:
    plug = PlugIn("Backbone", 2, 1, "max")
    assert plug.down(0, 4, 6)(torch.zeros(1, 4, 8, 8))[0].shape == (1, 6, 4, 4)
    assert PlugIn("Backbone", 2, 1, "stride").down(0, 4, 6, bias=False).halve.bias is None


def test_all_adaptive_levels_run_on_one_partition_of_the_image(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    original = QuadtreeConv.forward

    def watch(self: QuadtreeConv, x: Tensor, plan: Any = None, guide: Any = None) -> Tensor:
        seen.append(plan)
        return original(self, x, plan, guide)

    monkeypatch.setattr(QuadtreeConv, "forward", watch)
    net, x = Backbone(conv=("quadtree", {"rounds": 1, "root": 2, "levels": 3})).eval(), image()
    out = net(x)
    assert len(seen) == 3 and all(p is seen[0] for p in seen)
    tree = Quadtree.from_image(x, rounds=1, root=2)
    torch.testing.assert_close(net(x, tree), out, rtol=0, atol=0)


def test_levels_are_adaptive_from_the_finest_and_never_under_a_sparse_halving() -> None:
    def adaptive(net: Backbone) -> list[bool]:
        return [isinstance(block[0], QuadtreeConv) for block in net.blocks]

    assert adaptive(Backbone(conv="quadtree")) == [True, True, False]
    assert adaptive(Backbone(conv=("quadtree", {"levels": 1}))) == [True, False, False]
    assert adaptive(Backbone(conv="quadtree", down="max-sd")) == [True, True, False]
    assert adaptive(Backbone(conv="quadtree", down="2sd")) == [True, False, False]


def test_arguments_of_the_layer_reach_it_and_win_over_the_backbone() -> None:
    plug = PlugIn("Backbone", 2, 1, conv=("quadtree", {"kernel_size": 5, "mode": "replace", "levels": 2}))
    layer = plug.conv(1, 4, 4, kernel_size=3, bias=False)
    assert (layer.kernel_size, layer.mode, layer.bias) == (5, "replace", None)


def test_a_learned_evaluator_lets_every_layer_decide_for_itself() -> None:
    net = Backbone(conv=("quadtree", {"rounds": 1, "root": 2, "evaluator": "learned"}))
    assert net.plug.plan(image()) is None
    assert net(image()).shape == (2, 2, 32, 32)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"down": "median"}, "Backbone: down is 'median'; expected one of max, avg, stride, sparse, or a placement"),
        ({"down": 3}, "Backbone: down is 3; expected a name, or a pair"),
        ({"down": "3sd"}, "down '3sd' has 3 stages; expected 2"),
        ({"down": ("max-avg", {"ceil_mode": True})}, "has several kinds of pooling; expected no arguments"),
        ({"down": ("2sd", {"patch": (2,)})}, "2 sparse stages, patch has 1 sides"),
        ({"conv": "octree"}, "conv is 'octree'; expected one of .*plain, quadtree"),
        ({"conv": ("quadtree", {"levels": 4})}, "4 adaptive levels; expected 1 to 3"),
        (
            {"conv": ("quadtree", {"levels": 2}), "down": "sparse"},
            "1 to 1 .level 1 and the levels after it follow a sparse",
        ),
        ({"dims": 4}, "Backbone: spatial_dims is 4; expected 2 or 3"),
    ],
)
def test_settings_that_do_not_fit_are_named(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Backbone(**options)


def test_calls_that_do_not_fit_are_named() -> None:
    with pytest.raises(
        ValueError, match=r"\[4, 4\] tiles of an image of size \[36, 36\] do not have whole voxels at 1/2"
    ):
        Backbone(conv=QUADTREE)(image(side=36))
    with pytest.raises(ValueError, match="a plan is given, but no convolution is adaptive; set conv='quadtree'"):
        Backbone()(image(), Quadtree.from_image(image(), rounds=1, root=2))
    with pytest.raises(ValueError, match="place is missing, and the layer is sparse"):
        Backbone(down="sparse").ups[0](torch.zeros(1, 6, 8, 8))
    with pytest.raises(ValueError, match=r"input has shape \[1, 3, 8, 8\]; expected \[B, 1, H, W\]"):
        check_image("Net", torch.zeros(1, 3, 8, 8), 2, 1)
    with pytest.raises(ValueError, match=r"size \[8, 9\]; expected multiples of 4 along every axis: pad it .*k=4"):
        check_image("Net", torch.zeros(1, 1, 8, 9), 2, 1, 4)


@pytest.mark.parametrize("options", [{"down": "max-sd"}, {"conv": QUADTREE}, {"down": "max-sd", "conv": QUADTREE}])
def test_exports(options: dict[str, Any]) -> None:
    net = Backbone(**options).eval()
    program = torch.export.export(net, (image(batch=1),))
    x = image(batch=1) * 0.5
    torch.testing.assert_close(program.module()(x), net(x), rtol=1e-5, atol=1e-6)
