"""What holds for every network of the registry, one test per name; a new name needs a row in `cases.CASES`."""

from __future__ import annotations

import inspect
import io
import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from monai.bundle import ckpt_export
from monai.data import MetaTensor, load_net_with_metadata
from torch import Tensor, nn

from medseg.layers import QuadtreeConv, SparseDownsample
from medseg.networks import create, list_networks
from medseg.networks.parts.shared_plan import SharedPlan
from tests.networks._cases import CASES, arguments_of, image, missing_cases, result_shape, small

NAMES = list_networks()
PLUGS = [(name, plug) for name in NAMES if name in CASES for plug in ("down", "conv")]
PLUGGED = [(name, plug) for name, plug in PLUGS if plug in arguments_of(name)]
QUADTREE = ("quadtree", {"rounds": 1, "root": 2, "levels": 3})
HALVINGS = {"max": nn.MaxPool2d, "stride": nn.Conv2d, "sparse": SparseDownsample}


def test_every_name_has_a_case() -> None:
    assert not missing_cases()
    assert set(NAMES) == set(CASES)


@pytest.mark.parametrize("name", NAMES)
def test_takes_dimensions_and_channels_and_says_what_it_is(name: str) -> None:
    net = small(name)
    arguments = list(inspect.signature(type(net).__init__).parameters)
    assert [a for a in arguments if a in ("spatial_dims", "in_channels", "out_channels")] == [
        "spatial_dims",
        "in_channels",
        "out_channels",
    ]
    assert "Args:" in (type(net).__doc__ or "") and "spatial_dims:" in (type(net).__doc__ or "")


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("name", NAMES)
def test_learns(name: str, dims: int) -> None:
    net, x = small(name, dims), image(name, dims)
    out = net(x)
    assert out.shape == result_shape(name, x) and out.dtype == torch.float32
    out.square().mean().backward()
    silent = [key for key, p in net.named_parameters() if p.grad is None or not p.grad.isfinite().all()]
    assert not [key for key in silent if not key.startswith(CASES[name].aside)]
    assert any(p.grad.abs().max() > 0 for p in net.parameters() if p.grad is not None)


@pytest.mark.parametrize("name", [name for name in NAMES if hasattr(small(name), "encode")])
def test_encodes_from_high_to_low_resolution(name: str) -> None:
    net, x = small(name).eval(), image(name)
    maps = net.encode(x)
    sides = [m.shape[2] for m in maps]
    assert isinstance(maps, list) and sides == sorted(sides, reverse=True)
    assert all(m.ndim == x.ndim and m.shape[0] == x.shape[0] for m in maps)


@pytest.mark.parametrize("name", NAMES)
def test_odd_sizes_run_or_name_the_multiple_that_does(name: str) -> None:
    net, x = small(name).eval(), image(name, side=37)
    try:
        assert net(x).shape == result_shape(name, x)
    except ValueError as error:
        found = re.search(r"size \[37, 37\].*expected multiples of (\d+)", str(error))
        assert found, f"{error} does not say what was found and what is expected"
        step = int(found.group(1))
        x = image(name, side=step * -(-37 // step))
        assert net(x).shape == result_shape(name, x)


@pytest.mark.parametrize("name", NAMES)
def test_names_what_does_not_fit(name: str) -> None:
    net, x = small(name), image(name)
    channels = CASES[name].channels
    with pytest.raises(ValueError, match=rf"shape \[2, {channels + 1}, .*expected \[B, {channels}, H, W\]"):
        net(torch.cat([x, x[:, :1]], 1))
    with pytest.raises(ValueError, match=rf"expected \[B, {channels}, H, W\]"):
        net(x[..., None])
    with pytest.raises(ValueError, match="spatial_dims is 4; expected 2 or 3"):
        small(name, 4)


@pytest.mark.parametrize("name", NAMES)
def test_runs_under_autocast(name: str) -> None:
    net, x = small(name).eval(), image(name)
    with torch.no_grad():
        expected = net(x)
        with torch.autocast("cpu", torch.bfloat16):
            out = net(x)
    assert out.dtype in (torch.bfloat16, torch.float32)
    scale = float(expected.abs().max())
    assert float((out.float() - expected).abs().mean()) < 0.05 * scale


@pytest.mark.parametrize("name", NAMES)
def test_metatensors_pass(name: str) -> None:
    net, x = small(name).eval(), image(name)
    out = net(MetaTensor(x))
    torch.testing.assert_close(torch.as_tensor(out), net(x), rtol=0, atol=0)


@pytest.mark.parametrize("name", NAMES)
def test_the_state_dict_carries_the_whole_function(name: str) -> None:
    net, x = small(name), image(name)
    net(x)  # training moves the running statistics
    stored = io.BytesIO()
    torch.save(net.state_dict(), stored)
    stored.seek(0)
    other = small(name)
    for p in other.parameters():
        nn.init.constant_(p, 0.5)
    other.load_state_dict(torch.load(stored, weights_only=True))
    torch.testing.assert_close(other.eval()(x), net.eval()(x), rtol=0, atol=0)


@pytest.mark.parametrize("name", NAMES)
def test_exports(name: str) -> None:
    net, x = small(name).eval(), image(name)
    program = torch.export.export(net, (x,))
    torch.testing.assert_close(program.module()(0.5 * x), net(0.5 * x), rtol=1e-4, atol=1e-5)


def learn(name: str, net: nn.Module, layer: type[nn.Module]) -> list[Any]:
    """Runs a network forward and backward; its layers of a class."""
    x = image(name)
    out = net(x)
    assert out.shape == result_shape(name, x)
    out.square().mean().backward()
    assert all(p.grad is not None for p in net.parameters())
    return [m for m in net.modules() if isinstance(m, layer)]


@pytest.mark.parametrize("name", [name for name, plug in PLUGGED if plug == "down"])
@pytest.mark.parametrize("halving", HALVINGS)
def test_takes_every_halving(name: str, halving: str) -> None:
    found = learn(name, small(name, down=halving), HALVINGS[halving])
    assert [m for m in found if m.stride == (2, 2)] if halving == "stride" else found


@pytest.mark.parametrize("name", [name for name, plug in PLUGGED if plug == "conv"])
def test_takes_adaptive_convolutions_on_one_partition(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    net = small(name, conv=("quadtree", {**QUADTREE[1], "levels": CASES[name].adaptive_levels}))
    made, make = list[Tensor](), SharedPlan.make
    monkeypatch.setattr(SharedPlan, "make", lambda self, x: made.append(x) or make(self, x))
    assert learn(name, net, QuadtreeConv)
    assert len(made) == 1


@pytest.mark.parametrize(("name", "plug"), sorted(set(PLUGS) - set(PLUGGED)))
def test_says_why_it_takes_no_other_halving_or_convolution(name: str, plug: str) -> None:
    with pytest.raises(ValueError, match=f"network '{name}' does not take '{plug}': "):
        small(name, **{plug: "sparse"})


@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning")  # checks of the input's shape are not traced
@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("name", NAMES)
def test_traces(name: str, dims: int) -> None:
    net, x = small(name, dims).eval(), image(name, dims, batch=1)
    with torch.no_grad():
        traced = torch.jit.trace(net, (x,), check_trace=False)
        other = x.flip(-1) * 0.7
        torch.testing.assert_close(traced(other), net(other), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("mobilenet_unet", {"down": "max-max-sd-sd-max"}),
        ("unet2015", {"conv": QUADTREE}),
        ("ahnet", {}),
        ("guided_unet", {}),
        ("lidc_cnn", {"down": "max-sd-sd-max", "conv": ("quadtree", {**QUADTREE[1], "levels": 2})}),
    ],
)
def test_a_traced_checkpoint_of_a_bundle_computes_the_same(name: str, options: dict[str, Any], tmp_path: Path) -> None:
    net, x = small(name, **options).eval(), image(name, batch=1)
    torch.save(net.state_dict(), tmp_path / "model.pt")
    shape = {"spatial_dims": 2, "in_channels": 1, "out_channels": 3}
    definition = {"_target_": "medseg.networks.create", "name": name, **shape, **CASES[name].arguments, **options}
    (tmp_path / "config.json").write_text(json.dumps({"net": definition}))
    ckpt_export(
        net_id="net",
        filepath=str(tmp_path / "model.ts"),
        ckpt_file=str(tmp_path / "model.pt"),
        config_file=str(tmp_path / "config.json"),
        use_trace=True,
        input_shape=list(x.shape),
    )
    exported = load_net_with_metadata(str(tmp_path / "model.ts"))[0]
    other = x.flip(-1) * 0.7
    torch.testing.assert_close(exported(other), net(other), rtol=1e-4, atol=1e-5)


def test_a_config_names_networks_by_the_registry() -> None:
    from monai.bundle import ConfigParser

    definition = {"_target_": "medseg.networks.create", "name": "lidc_cnn", "spatial_dims": 3}
    net = ConfigParser({"net": definition}).get_parsed_content("net")
    assert type(net) is type(create("lidc_cnn", spatial_dims=3))
