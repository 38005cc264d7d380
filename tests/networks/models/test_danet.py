"""DANet: published counts, no attention at the start, scores of the branches, and weights from a file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from medseg.layers import ChannelAttention, PositionAttention
from medseg.networks import DANet
from medseg.networks.models.danet import DualAttentionHead
from tests.networks._counting import count_parameters, on_meta

SMALL: dict[str, Any] = {"in_channels": 1, "out_channels": 3, "layers": (1, 1, 1, 1), "width": 4}


def make(dims: int = 2, **options: Any) -> DANet:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return DANet(dims, **{**SMALL, **options})


def test_the_head_has_the_published_number_of_parameters() -> None:
    # Per branch 2048 -> 512 and 512 -> 512 of side 3 with norms, thrice 512 -> 19; queries and keys of 64 channels,
    # values of 512, a factor for each attention.
    blocks = 2 * (9 * 2048 * 512 + 9 * 512 * 512 + 2 * 2 * 512)
    attention = 2 * (512 * 64 + 64) + 512 * 512 + 512 + 2
    expected = blocks + attention + 3 * (512 * 19 + 19)
    assert expected == 23_954_619
    assert count_parameters(on_meta(lambda: DualAttentionHead(2, 2048, 19, auxiliary=True))) == expected


@pytest.mark.parametrize(("layers", "expected"), [((3, 4, 6, 3), 47_462_651), ((3, 4, 23, 3), 66_454_779)])
def test_the_network_has_the_published_number_of_parameters(layers: tuple[int, ...], expected: int) -> None:
    assert count_parameters(on_meta(DANet, layers=layers, auxiliary=True)) == expected


def test_attends_at_an_eighth_of_the_resolution() -> None:
    maps = make().encode(torch.zeros(1, 1, 32, 48))
    assert [tuple(m.shape[2:]) for m in maps] == [(16, 24), (8, 12), (4, 6), (4, 6), (4, 6)]


@pytest.mark.parametrize("dims", [2, 3])
def test_starts_as_the_network_without_attention(dims: int) -> None:
    net, x = make(dims).eval(), torch.randn(1, 1, *(16,) * dims)
    with torch.no_grad():
        before = net(x)
        attended = [m for m in net.modules() if isinstance(m, PositionAttention | ChannelAttention)]
        for layer in attended:
            layer.gamma.fill_(0.5)
        after = net(x)
        for branch in (net.head.position, net.head.channel):
            branch[1] = nn.Identity()
        assert torch.equal(before, net(x))
    assert len(attended) == 2
    assert not torch.allclose(before, after)


def test_branches_have_scores_of_their_own_in_training_only() -> None:
    net, x = make(auxiliary=True, dropout=0.0), torch.randn(2, 1, 16, 24)
    results = net(x)
    assert [tuple(r.shape) for r in results] == [(2, 3, 16, 24)] * 3
    sum(r.square().mean() for r in results).backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in net.parameters())
    assert net.eval()(x).shape == (2, 3, 16, 24)
    with pytest.raises(ValueError, match="do not have their own scores; set auxiliary=True"):
        make().head.branches(torch.zeros(1, 128, 4, 4))


def test_loads_the_encoder_from_a_file_and_says_what_was_used(tmp_path: Path) -> None:
    source = make()
    with torch.no_grad():
        for parameter in source.encoder.parameters():
            parameter.normal_()
    torch.save({**source.encoder.state_dict(), "fc.weight": torch.zeros(2, 2)}, tmp_path / "resnet.pt")
    net = make(backbone_weights=tmp_path / "resnet.pt")
    assert net.loaded is not None and net.loaded.unused == ["fc.weight"] and not net.loaded.fresh
    for name, value in source.encoder.state_dict().items():
        assert torch.equal(net.encoder.state_dict()[name], value)
    assert make().loaded is None


def test_says_that_a_file_belongs_to_another_network(tmp_path: Path) -> None:
    torch.save(make(width=8).encoder.state_dict(), tmp_path / "wide.pt")
    with pytest.raises(ValueError, match=r"wide.pt: .* expected "):
        make(backbone_weights=tmp_path / "wide.pt")
    with pytest.raises(ValueError, match="energy is 'min'; expected one of max_minus, plain"):
        make(energy="min")
