"""`adapt` swaps layers of given networks, keeps their weights, and says what it did."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from monai.networks.nets import BasicUNet, UNet
from torch import Tensor, nn

from medseg.layers import QuadtreeConv, SparseDownsample
from medseg.networks import adapt


def classifier(dims: int = 2) -> nn.Sequential:
    """Three convolutions, two poolings and a strided convolution."""
    conv, pool = (nn.Conv2d, nn.MaxPool2d) if dims == 2 else (nn.Conv3d, nn.MaxPool3d)
    torch.manual_seed(0)
    return nn.Sequential(
        conv(1, 4, 3, padding=1),
        nn.ReLU(),
        pool(2),
        conv(4, 6, 3, padding=1),
        nn.ReLU(),
        pool(2),
        conv(6, 8, 3, stride=2, padding=1),
        nn.ReLU(),
        conv(8, 3, 1),
    )


def example(dims: int = 2, side: int = 64) -> Tensor:
    return torch.randn(2, 1, *(side,) * dims, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("dims", [2, 3])
def test_plain_convolutions_become_adaptive_without_a_change_of_function(dims: int) -> None:
    net, x = classifier(dims), example(dims, 32)
    adapted, report = adapt(net, spatial_dims=dims, conv=("quadtree", {"rounds": 1, "root": 2}))
    assert [type(layer) for layer in (adapted[0], adapted[3])] == [QuadtreeConv] * 2
    assert type(adapted[6]) is type(net[6]) and type(adapted[8]) is type(net[8])
    torch.testing.assert_close(adapted(x), net(x), rtol=0, atol=0)
    assert [(row.name, row.kept) for row in report.changed] == [("0", "yes"), ("3", "yes")]
    assert all("exact at the start" in row.note for row in report.changed)


@pytest.mark.parametrize("options", [{}, {"norm": "batch"}, {"norm": "instance"}, {"act": None}, {"mode": "parallel"}])
def test_new_rounds_start_at_nothing_and_learn(options: dict[str, Any]) -> None:
    net, x = classifier(), example()
    adapted, _ = adapt(net, spatial_dims=2, conv=("quadtree", {"rounds": 2, **options}), select="0")
    torch.testing.assert_close(adapted(x), net(x), rtol=0, atol=0)
    optimiser = torch.optim.SGD(adapted.parameters(), 0.1)
    adapted(x).square().mean().backward()
    optimiser.step()
    before = adapted[0].weight if adapted[0].norm.scale is None else adapted[0].norm.scale
    assert before.grad is not None and before.grad.abs().max() > 0
    assert before.abs().max() > 0


def test_poolings_and_strided_convolutions_become_sparse_by_the_placement() -> None:
    net, x = classifier(), example()
    adapted, report = adapt(net, spatial_dims=2, down="max-sd-sd", example=x)
    assert isinstance(adapted[2], nn.MaxPool2d)
    assert isinstance(adapted[5], SparseDownsample) and adapted[5].patch == 8 and adapted[5].channels == 6
    assert isinstance(adapted[6][0], SparseDownsample) and adapted[6][0].patch == 4
    assert adapted[6][1].stride == (1, 1) and adapted[6][1].padding == (1, 1)
    torch.testing.assert_close(adapted[6][1].weight, net[6].weight, rtol=0, atol=0)
    assert adapted(x).shape == net(x).shape
    assert [row.kept for row in report.changed] == ["-", "yes"]
    assert [row.name for row in report.skipped] == ["2"] and "does not change this stage" in report.skipped[0].note


def test_patches_may_be_given_for_each_sparse_stage() -> None:
    options = {"patch": (4, 2), "evaluator": "norm"}
    adapted, _ = adapt(classifier(), spatial_dims=2, down=("max-2sd", options), example=example())
    assert (adapted[5].patch, adapted[6][0].patch) == (4, 2)
    assert adapted[5].kind == "norm"


def test_the_network_given_stays_as_it_was() -> None:
    net, x = classifier(), example()
    before, state = net(x), copy.deepcopy(net.state_dict())
    adapted, _ = adapt(net, spatial_dims=2, down="sd", conv=("quadtree", {"rounds": 1}), example=x)
    for p in adapted.parameters():
        p.data.add_(1)
    torch.testing.assert_close(net(x), before, rtol=0, atol=0)
    torch.testing.assert_close(dict(net.state_dict()), dict(state), rtol=0, atol=0)


def test_in_place_keeps_the_parameters_that_an_optimiser_may_hold() -> None:
    net, x = classifier(), example()
    weights = (net[0].weight, net[6].weight)
    adapted, _ = adapt(net, spatial_dims=2, down="sd", conv="quadtree", select=["0", "6"], example=x, in_place=True)
    assert adapted is net
    assert net[0].root_conv.weight is weights[0] and net[6][1].weight is weights[1]


def test_a_dry_run_reports_the_same_and_changes_nothing() -> None:
    net, x = classifier(), example()
    request: dict[str, Any] = {"spatial_dims": 2, "down": "sd", "conv": ("quadtree", {"rounds": 1}), "example": x}
    same, dry = adapt(net, dry_run=True, **request)
    _, wet = adapt(net, **request)
    assert same is net and isinstance(net[2], nn.MaxPool2d) and net.training
    assert dry.rows == wet.rows and dry.dry_run and not wet.dry_run
    assert "would be swapped" in str(dry)


@pytest.mark.parametrize("dims", [2, 3])
def test_adapts_the_basic_unet_of_monai(dims: int) -> None:
    torch.manual_seed(0)
    net = BasicUNet(spatial_dims=dims, in_channels=1, out_channels=2, features=(4, 4, 6, 6, 8, 4)).eval()
    x = example(dims, 32)
    adapted, report = adapt(net, spatial_dims=dims, conv=("quadtree", {"rounds": 1, "root": 2}), example=x)
    torch.testing.assert_close(adapted(x), net(x), rtol=1e-5, atol=1e-6)
    assert any("too small for 1 rounds" in row.note for row in report.skipped)
    sparse, report = adapt(net, spatial_dims=dims, down="max-sd-sd-max", example=x)
    assert [row.name for row in report.changed] == ["down_2.max_pooling", "down_3.max_pooling"]
    assert sparse(x).shape == net(x).shape
    assert "has 4 upsampling layers" in report.warnings[0]


def test_branches_of_a_residual_unit_keep_the_same_patches() -> None:
    torch.manual_seed(0)
    net = UNet(2, 1, 2, channels=(4, 8, 8), strides=(2, 2), num_res_units=2)
    x = example()
    adapted, report = adapt(net, spatial_dims=2, down="sd", example=x)
    assert len(report.changed) == 4
    shared = [module for module in adapted.modules() if isinstance(module, SparseDownsample)]
    assert len(shared) == 2
    assert sum("same patches as the other branch" in row.note for row in report.changed) == 2
    assert adapted(x).shape == net(x).shape


def test_a_module_in_two_places_is_swapped_in_both() -> None:
    conv = nn.Conv2d(1, 1, 3, padding=1)
    net = nn.Sequential(conv, nn.ReLU(), conv)
    adapted, report = adapt(net, spatial_dims=2, conv=("quadtree", {"rounds": 1, "root": 2}))
    assert adapted[0] is adapted[2] and isinstance(adapted[0], QuadtreeConv)
    assert [row.name for row in report.rows] == ["0, 2"]


def test_layers_that_do_not_fit_are_left_alone_and_named() -> None:
    net = nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1),
        nn.Conv2d(4, 4, 3, padding=1, groups=2),
        nn.Conv2d(4, 4, 3, padding=2, dilation=2),
        nn.Conv2d(4, 4, (3, 1), padding=(1, 0)),
        nn.Conv2d(4, 4, 3),
        nn.Conv2d(4, 4, 3, padding=1, padding_mode="reflect"),
        nn.utils.parametrizations.weight_norm(nn.Conv2d(4, 4, 3, padding=1)),
        nn.MaxPool2d(3),
    )
    _, report = adapt(net, spatial_dims=2, down="sd", conv=("quadtree", {"rounds": 1}), example=example())
    notes = {row.name: row.note for row in report.skipped}
    assert [row.name for row in report.changed] == ["0"]
    assert "groups 2" in notes["1"] and "dilation 2" in notes["2"] and "kernel 3x1" in notes["3"]
    assert "padding 0" in notes["4"] and "reflect" in notes["5"] and "not a plain convolution" in notes["6"]
    assert "only exact halving" in notes["7"]


def test_the_report_is_a_table() -> None:
    _, report = adapt(classifier(), spatial_dims=2, down="max-2sd", conv=("quadtree", {"rounds": 1}), example=example())
    lines = str(report).splitlines()
    assert lines[0].split() == ["layer", "before", "after", "weights", "kept", "note"]
    assert "Conv2d(6, 8, 3, stride 2)" in str(report)
    assert "SparseDownsample(patch 4) + Conv2d(6, 8, 3)" in str(report)
    assert lines[-1] == "4 swapped, 1 left alone"


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        ({}, "nothing to do; give down"),
        ({"down": "sd"}, "down needs an example input"),
        ({"conv": "octree"}, "conv is 'octree'; expected 'quadtree'"),
        ({"conv": 3}, "conv is 3; expected a name, or a pair"),
        ({"conv": "quadtree", "select": "encoder.*"}, "no layer of Sequential matches select='encoder.*'"),
        ({"conv": "quadtree", "spatial_dims": 3}, "in 3-D it has 0 poolings, 0 strided convolutions, 0 plain"),
        ({"conv": "quadtree", "spatial_dims": 4}, "spatial_dims is 4; expected 2 or 3"),
        ({"down": "max-sd", "example": example()}, "'max-sd' has 2 stages; the network halves 3 times"),
        ({"down": "max-sd-min", "example": example()}, "'min' is unknown"),
        ({"down": ("sd", {"patch": (4, 4)}), "example": example()}, "patch has 2 sides .*one for each of 3 sd"),
        ({"down": "sd", "example": torch.zeros(1, 3, 64, 64)}, "does not accept the example of shape"),
        ({"conv": ("quadtree", {"act": "relu"})}, "with act 'relu', rounds that are initially zero never learn"),
        (
            {"conv": "quadtree", "example": example(side=16)},
            "none of the 2 layers that match can be swapped; 0: its map",
        ),
    ],
)
def test_says_what_is_wrong_with_a_request(request_: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        adapt(classifier(), **{"spatial_dims": 2, **request_})


def test_a_network_that_is_one_layer_is_refused() -> None:
    with pytest.raises(ValueError, match="the network is a single Conv2d; put it into"):
        adapt(nn.Conv2d(1, 1, 3, padding=1), spatial_dims=2, conv="quadtree")
