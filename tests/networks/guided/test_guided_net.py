"""Guidance in any encoder-decoder: where it enters, the identity it starts as, the null form, and its limits."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from monai.networks.nets import BasicUNet, SegResNet, UNet
from torch import Tensor, nn

from medseg.layers.guidance import Guidance
from medseg.networks import GuidedNet, UNet2015, VNet
from medseg.partition import Quadtree

HISTOGRAMS: Any = ("fc", {"bins": 10, "widths": (8, 8)})
BACKBONES: dict[str, Any] = {
    "unet2015": (lambda: UNet2015(2, 1, 2, (4, 6, 8), padding="same", norm="instance"), (1, 32, 32)),
    "unet2015_valid": (lambda: UNet2015(2, 1, 2, (4, 6, 8)), (1, 60, 60)),
    "vnet": (lambda: VNet(3, 1, 2, (2, 4)), (1, 8, 8, 8)),
    "monai_unet": (lambda: UNet(2, 1, 2, (4, 8, 16), (2, 2), num_res_units=2), (1, 32, 32)),
    "monai_basic_unet": (lambda: BasicUNet(2, 1, 2, (4, 4, 8, 8, 8, 4)), (1, 32, 32)),
    "monai_segresnet": (lambda: SegResNet(2, 8, 1, 2, blocks_down=(1, 2, 2), blocks_up=(1, 1)), (1, 32, 32)),
}


def backbone(name: str = "unet2015") -> tuple[nn.Module, tuple[int, ...]]:
    build, shape = BACKBONES[name]
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return build().eval(), shape


def make(name: str = "unet2015", trained: bool = True, **options: Any) -> GuidedNet:
    """In evaluation; with branches that say something unless ``trained`` is False."""
    base, shape = backbone(name)
    with torch.random.fork_rng():
        torch.manual_seed(1)
        net = GuidedNet(base, **{"appearance": HISTOGRAMS, "image": shape, **options}).eval()
        for branch in (net.density, net.spatial) if trained else ():
            for parameter in branch.parameters() if branch is not None else ():
                nn.init.normal_(parameter, std=0.2)
    return net


def guidance(net: GuidedNet, shape: tuple[int, ...], batch: int = 2) -> tuple[Tensor, Guidance]:
    generator = torch.Generator().manual_seed(2)
    x = torch.randn(batch, *shape, generator=generator)
    known = Guidance()
    if net.density is not None:
        known = known._replace(appearance=torch.rand(batch, 2, 1, 10, generator=generator).softmax(-1))
    if net.spatial is not None:
        known = known._replace(spatial=torch.rand(batch, 1, *shape[1:], generator=generator))
    return x, known


@pytest.mark.parametrize("name", BACKBONES)
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"spatial": None},
        {"appearance": None},
        {"spatial": "normed", "appearance": ("conv1d", {"bins": 10, "shift": True})},
        {"appearance": ("se", HISTOGRAMS[1])},
    ],
    ids=["both", "appearance", "spatial", "conv1d_normed", "se"],
)
def test_starts_as_its_backbone_bit_for_bit(name: str, options: dict[str, Any]) -> None:
    net = make(name, trained=False, after_affine=True, **options)
    x, known = guidance(net, BACKBONES[name][1])
    with torch.no_grad():
        expected = backbone(name)[0](x)
        assert torch.equal(net(x, guidance=known), expected)
        assert torch.equal(net(x), expected)
        assert torch.equal(net.backbone(x), expected)


@pytest.mark.parametrize("name", BACKBONES)
@pytest.mark.parametrize("what", ["appearance", "spatial"])
def test_guidance_changes_the_result_and_every_site_learns(name: str, what: str) -> None:
    net = make(name, **{"spatial" if what == "appearance" else "appearance": None})
    x, known = guidance(net, BACKBONES[name][1])
    out = net(x, guidance=known)
    assert not torch.allclose(out, net(x))
    out.square().mean().backward()
    if what == "appearance":
        last, widths = [net.density.head.last.weight], net.density.channels
    else:
        last, widths = [conv.weight for conv in net.spatial.convs], [c for split in net.spatial.splits for c in split]
    touched = torch.cat([weight.grad.flatten(1).abs().sum(1) for weight in last])
    assert all(site.any() for site in touched.split(widths))


def test_sites_are_the_activations_of_the_encoder_below_the_image() -> None:
    sites = make().sites
    assert [(s.name, s.channels, s.halvings) for s in sites] == [
        ("encoder.1.2", 6, (1, 1)),
        ("encoder.1.5", 6, (1, 1)),
        ("encoder.2.2", 8, (2, 2)),
        ("encoder.2.5", 8, (2, 2)),
    ]
    assert [s.level for s in make(levels=(0, 2)).sites] == [0, 0, 2, 2]


def test_activations_that_run_twice_are_two_sites() -> None:
    base = SegResNet(2, 8, 1, 2, blocks_down=(1, 1), blocks_up=(1,))
    sites = GuidedNet(base, HISTOGRAMS, image=(1, 16, 16)).sites
    assert [(s.name, s.call) for s in sites] == [("down_layers.1.1.act", 0), ("down_layers.1.1.act", 1)]


def test_computes_scale_then_bias_then_affine_before_the_activation() -> None:
    class Small(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.act = nn.Conv2d(1, 3, 3, padding=1), nn.ReLU()

        def forward(self, x: Tensor) -> Tensor:
            return self.act(self.conv(x))

    net = GuidedNet(Small(), ("fc", {**HISTOGRAMS[1], "shift": True}), levels=(0,), after_affine=True, image=(1, 8, 8))
    for parameter in net.parameters():
        nn.init.normal_(parameter)
    net.eval()
    x, known = guidance(net, (1, 8, 8))
    scales, shifts = net.density(known)
    (bias,) = net.spatial(known, x)
    u = net.backbone.conv(x) * scales[0][..., None, None] + shifts[0][..., None, None] + bias
    expected = (net.gains[0][:, None, None] * u + net.offsets[0][:, None, None]).relu()
    torch.testing.assert_close(net(x, guidance=known), expected)


def test_gates_see_the_map_that_they_scale() -> None:
    net = make(appearance=("se", HISTOGRAMS[1]), spatial=None)
    x, known = guidance(net, (1, 32, 32))
    seen: list[Tensor] = []
    net.backbone.encoder[1][2].register_forward_hook(lambda _, inputs, __: seen.append(inputs[0]))
    with torch.no_grad():
        net.backbone(x)
        out = net(x, guidance=known)
        scale = net.density(known)[0][0](seen[0])
        torch.testing.assert_close(seen[1], seen[0] * scale[..., None, None])
        mixed = net(x, guidance=known._replace(guided=torch.tensor([True, False])))
        torch.testing.assert_close(mixed, torch.stack([out[0], net(x)[1]]))
    assert not torch.allclose(out, net(x))
    program = torch.export.export(net, (x,), {"guidance": known}, strict=False).module()
    torch.testing.assert_close(program(x, guidance=known), out)


def test_dropped_samples_equal_the_null_form_and_the_others_stay() -> None:
    net = make()
    x, known = guidance(net, (1, 32, 32))
    with torch.no_grad():
        mixed = net(x, guidance=known._replace(guided=torch.tensor([True, False])))
        torch.testing.assert_close(mixed[0], net(x, guidance=known)[0])
        torch.testing.assert_close(mixed[1], net(x)[1])
        assert not torch.allclose(mixed[1], net(x, guidance=known)[1])


def test_the_backbone_keeps_the_names_of_its_parameters() -> None:
    assert list(make().backbone.state_dict()) == list(backbone()[0].state_dict())


def test_a_copy_is_guided_by_itself_and_weights_go_round() -> None:
    net = make()
    x, known = guidance(net, (1, 32, 32))
    with torch.no_grad():
        expected = net(x, guidance=known)
        twin = copy.deepcopy(net)
        assert torch.equal(twin(x, guidance=known), expected)
        for branch in (net.density, net.spatial):
            for parameter in branch.parameters():
                parameter.zero_()
        assert torch.equal(twin(x, guidance=known), expected)
        other = make(trained=False)
        other.load_state_dict(twin.state_dict())
        assert torch.equal(other(x, guidance=known), expected)


def test_features_are_guided_too() -> None:
    net = make()
    x, known = guidance(net, (1, 32, 32))
    guided, base = net.encode(x, guidance=known), net.backbone.encode(x)
    assert torch.equal(guided[0], base[0])  # the image's own level is left alone
    assert not any(torch.allclose(g, b) for g, b in zip(guided[1:], base[1:], strict=True))


def test_hands_the_plan_of_an_adaptive_backbone_down() -> None:
    base = UNet2015(2, 1, 2, (4, 6), padding="same", conv=("quadtree", {"rounds": 1, "root": 2}), dropout=None)
    net = GuidedNet(base, HISTOGRAMS, image=(1, 32, 32)).eval()
    x, known = guidance(net, (1, 32, 32))
    plan = Quadtree.from_image(x, rounds=1, root=2).plan
    assert torch.equal(net(x, guidance=known, plan=plan), base(x, plan))


@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning")
def test_exports_and_traces_with_and_without_guidance() -> None:
    net = make()
    x, known = guidance(net, (1, 32, 32))
    with torch.no_grad():
        program = torch.export.export(net, (x,), {"guidance": known}).module()
        other = known._replace(appearance=known.appearance.flip(-1))
        torch.testing.assert_close(program(0.5 * x, guidance=other), net(0.5 * x, guidance=other))
        torch.testing.assert_close(torch.export.export(net, (x,)).module()(0.5 * x), net(0.5 * x))
        torch.testing.assert_close(torch.jit.trace(net, (x,))(x), net(x))
        traced = torch.jit.trace(net, example_kwarg_inputs={"x": x, "guidance": known.tensors()})
        torch.testing.assert_close(traced(x=0.5 * x, guidance=other.tensors()), net(0.5 * x, guidance=other))


def test_runs_under_autocast() -> None:
    net = make()
    x, known = guidance(net, (1, 32, 32))
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        out = net(x, guidance=known)
    assert out.dtype == torch.bfloat16
    assert torch.allclose(out.float(), net(x, guidance=known), atol=0.2)


def test_the_training_flags_of_the_backbone_survive_the_search() -> None:
    base = UNet2015(2, 1, 2, (4, 6), padding="same", norm="batch")
    base.encoder[1].eval()
    before = {name: module.training for name, module in base.named_modules()}
    statistics = {name: value.clone() for name, value in base.named_buffers()}
    GuidedNet(base, HISTOGRAMS, image=(1, 32, 32))
    assert {name: module.training for name, module in base.named_modules()} == before
    assert all(torch.equal(value, statistics[name]) for name, value in base.named_buffers())


def test_a_guide_map_does_not_follow_moved_patches() -> None:
    def base() -> UNet2015:
        return UNet2015(2, 1, 2, (4, 6, 8), padding="same", down="max-sd")

    with pytest.raises(
        ValueError, match=r"spatial guidance at level 2, below a sparse halving, .* choose levels less than 2"
    ):
        GuidedNet(base(), image=(1, 32, 32))
    assert GuidedNet(base(), levels=(1,), image=(1, 32, 32)).spatial is not None
    assert len(GuidedNet(base(), spatial=None, image=(1, 32, 32)).sites) == 4


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"levels": (1, 5)}, r"levels is \[1, 5\]; the backbone's encoder has levels \[0, 1, 2\]"),
        ({"image": (1, 30, 30)}, r"UNet2015 does not accept an image of shape \[1, 30, 30\] \(.*multiples of 4"),
        ({"image": (32,)}, r"image is \[32\]; expected \(channels, \*spatial\)"),
        ({"appearance": "mlp"}, "head is 'mlp'; expected one of fc, conv1d, se"),
        ({"spatial": 3}, "spatial is 3; expected a name, or a pair"),
    ],
)
def test_says_which_settings_do_not_fit(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make(**options)


def test_says_that_a_backbone_has_no_place_for_guidance() -> None:
    with pytest.raises(ValueError, match="Conv2d called no activation module on a map"):
        GuidedNet(nn.Conv2d(1, 1, 3))


@pytest.mark.parametrize("name", ["appearance", "spatial", "texture", "valid"])
def test_says_that_it_has_no_branch_for_what_is_given(name: str) -> None:
    net = make(**{"spatial" if name == "spatial" else "appearance": None})
    with pytest.raises(ValueError, match=f"{name} is given, but the network has no "):
        net(torch.zeros(1, 1, 32, 32), guidance={name: torch.zeros(1, 1)})
