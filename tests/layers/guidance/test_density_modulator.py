"""The branch of histograms: published sizes, identity at the start, what it reads and what it takes for unknown."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from medseg.layers.guidance import DensityModulator, Guidance, Modulation
from medseg.transforms.texture import RegionHistogram

UNET_MAPS = [128, 128, 256, 256, 512, 512, 1024, 1024]
SMALL: dict[str, Any] = {"bins": 10, "widths": (8, 8)}
HEADS = ("fc", "conv1d")


def make(head: str = "fc", trained: bool = True, **options: Any) -> DensityModulator:
    """In evaluation; with a last layer that says something unless ``trained`` is False."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        wide = {"head_channels": 8} if head == "conv1d" else {}  # two channels may all be shut by their ReLU
        layer = DensityModulator([3, 5], head, **{**SMALL, **wide, **options}).eval()
        if trained:
            torch.nn.init.normal_(layer.head.last.weight)
    return layer


def histograms(*shape: int) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(1)).softmax(-1)


@pytest.mark.parametrize(
    ("head", "options", "expected"),
    # 200 -> 200 -> 200 -> 3840; and VGG-16 of 2 to 32 channels along one signal of 200 bins, 7 left, 200, 200, 3840.
    [("fc", {"signals": 2, "bins": 100}, 852_240), ("conv1d", {"signals": 1, "bins": 200}, 867_390)],
)
def test_heads_have_the_parameters_of_their_sources(head: str, options: dict[str, Any], expected: int) -> None:
    with torch.device("meta"):
        layer = DensityModulator(UNET_MAPS, head, **options)
    assert sum(p.numel() for p in layer.head.parameters()) == expected


def test_gates_are_squeeze_and_excitation_with_the_density_beside_the_means() -> None:
    layer = DensityModulator([3, 5], "se", **SMALL).eval()
    assert [[m.weight.shape for m in gate if hasattr(m, "weight")] for gate in layer.gates.gates] == [
        [(2, 11), (3, 2)],
        [(3, 13), (5, 3)],
    ]
    known, u = Guidance(histograms(2, 2, 10)), torch.randn(2, 5, 4, 6, 3)
    scales, shifts = layer(known)
    assert torch.equal(scales[1](u), torch.ones(2, 5)) and shifts == [None, None]
    for parameter in layer.parameters():
        torch.nn.init.normal_(parameter)
    features = layer.head(torch.log1p(10 * known.appearance))
    first, _, last = layer.gates.gates[1]
    hidden = (torch.cat([u.mean((2, 3, 4)), features], 1) @ first.weight.T + first.bias).clamp(min=0)
    expected = 2 / (1 + torch.exp(-(hidden @ last.weight.T + last.bias)))
    torch.testing.assert_close(layer(known)[0][1](u), expected)
    torch.testing.assert_close(Modulation(layer(known)[0][1])(u), u * expected[..., None, None, None])


def test_gates_have_no_shift() -> None:
    with pytest.raises(ValueError, match=r"head is 'se', shift True, .* expected no shift"):
        DensityModulator([3], "se", shift=True)


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("shift", [False, True])
def test_starts_with_scales_of_one_and_shifts_of_zero(head: str, shift: bool) -> None:
    scales, shifts = make(head, trained=False, shift=shift)(Guidance(histograms(2, 2, 10)))
    assert [s.shape for s in scales] == [(2, 3), (2, 5)]
    assert all(torch.equal(s, torch.ones_like(s)) for s in scales)
    assert all(torch.equal(s, torch.zeros_like(s)) if shift and s is not None else s is None for s in shifts)


@pytest.mark.parametrize("head", HEADS)
def test_learns_from_the_first_step(head: str) -> None:
    layer = make(head, trained=False, dropout=0.0).train()
    sum(s.sum() for s in layer(Guidance(histograms(2, 2, 10)))[0]).backward()
    assert layer.head.last.weight.grad.abs().sum() > 0


@pytest.mark.parametrize("head", HEADS)
def test_regions_and_channels_may_stand_on_axes_of_their_own(head: str) -> None:
    layer, given = make(head, signals=6), histograms(2, 2, 3, 10)
    flat = Guidance(given.reshape(2, 6, 10))
    for a, b in zip(layer(Guidance(given))[0], layer(flat)[0], strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize("head", HEADS)
def test_samples_without_guidance_get_what_no_histograms_give(head: str) -> None:
    layer, known = make(head, texture=4), Guidance(histograms(3, 2, 10), texture=torch.randn(3, 4))
    mixed = layer(known._replace(guided=torch.tensor([True, False, True])))[0]
    alone, null = layer(known)[0], layer(batch=3)[0]
    for m, a, n in zip(mixed, alone, null, strict=True):
        assert torch.equal(m[[0, 2]], a[[0, 2]])
        assert torch.equal(m[1], n[1])
        assert not torch.equal(a[1], n[1])


def test_an_unknown_region_is_no_empty_region() -> None:
    layer, given = make(), histograms(1, 2, 1, 10)
    given[:, 1] = 0
    known = Guidance(given, valid=torch.tensor([[[True], [False]]]))
    empty, unknown = layer(Guidance(given))[0][0], layer(known)[0][0]
    assert not torch.allclose(empty, unknown)
    given[:, 1] = histograms(10)
    assert torch.equal(unknown, layer(known)[0][0])


def test_reads_the_histogram_and_no_order_of_voxels() -> None:
    grey = torch.randn(1, 20, 20, generator=torch.Generator().manual_seed(0)) * 60
    mask = torch.zeros(1, 20, 20)
    mask[:, 5:15, 5:15] = 1
    shuffled, inside = grey.clone(), mask.bool()
    shuffled[inside] = grey[inside][torch.randperm(100, generator=torch.Generator().manual_seed(1))]
    shuffled[~inside] = 0
    transform, layer = RegionHistogram(bins=10, value_range=(-250.0, 250.0)), make(signals=1)
    before, after = (layer(Guidance(transform(image, mask)[None]))[0] for image in (grey, shuffled))
    assert all(torch.equal(b, a) for b, a in zip(before, after, strict=True))


def test_sees_a_shift_of_the_grey_values() -> None:
    grey = torch.randn(1, 20, 20, generator=torch.Generator().manual_seed(0)) * 40
    mask, transform, layer = torch.ones(1, 20, 20), RegionHistogram(10, (-250.0, 250.0)), make(signals=1)
    given, moved = transform(grey, mask)[None], transform(grey + 50, mask)[None]
    torch.testing.assert_close(moved, given.roll(1, -1))
    assert not torch.allclose(layer(Guidance(given))[0][0], layer(Guidance(moved))[0][0])


@pytest.mark.parametrize("head", HEADS)
def test_gradients_reach_the_null_forms_of_unguided_samples_only(head: str) -> None:
    layer = make(head, texture=3)
    for guided, reached in ((torch.tensor([True, True]), False), (torch.tensor([True, False]), True)):
        layer.zero_grad(set_to_none=False)
        known = Guidance(histograms(2, 2, 10), texture=torch.randn(2, 3), guided=guided)
        sum(s.sum() for s in layer(known)[0]).backward()
        for null in (layer.null_density, layer.null_texture):
            assert bool(null.grad.any() if null.grad is not None else False) is reached


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"head": "vgg"}, "head is 'vgg'; expected one of fc, conv1d"),
        ({"bins": 0}, "bins is 0; expected a whole number from 1"),
        ({"head": "conv1d", "widths": (8,)}, r"widths is \[8\]; the conv1d head expects 2 numbers"),
    ],
)
def test_says_what_settings_there_are(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make(**options)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"appearance": torch.zeros(2, 3, 10)},
            r"appearance has shape \[2, 3, 10\]; expected \[2, regions, channels, 10\]",
        ),
        ({"appearance": torch.zeros(2, 2, 9)}, r"appearance has shape \[2, 2, 9\]"),
        (
            {"appearance": torch.zeros(2, 2, 10), "texture": torch.zeros(2, 3)},
            "texture is given, but the layer expects none",
        ),
        ({"appearance": torch.zeros(2, 2, 10), "guided": torch.ones(2)}, r"guided is torch.float32 of shape \[2\]"),
        ({"valid": torch.ones(2, 2).bool()}, "valid is given without appearance"),
    ],
)
def test_says_what_it_reads(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()(Guidance(**arguments))
