"""Sites as a user reads them, and modulations that stay in the thread of their call."""

from __future__ import annotations

import copy
import threading
from concurrent.futures import ThreadPoolExecutor

import torch
from torch import Tensor, nn

from medseg.layers.guidance import Guidance
from medseg.networks import GuidedNet, UNet2015
from medseg.networks.guided.sites import Site, Sites, find_sites

HISTOGRAMS = ("fc", {"bins": 10, "widths": (8,)})


def unet(**options: object) -> UNet2015:
    return UNet2015(2, 1, 2, (4, 6, 8), padding="same", norm="instance", **options)


def test_print_shows_a_table_of_the_sites() -> None:
    net = GuidedNet(unet(down="max-sd"), HISTOGRAMS, None, image=(1, 32, 32))
    assert str(net.sites) == "\n".join(
        [
            "activation   call  level  channels  halvings  moved",
            "encoder.1.2     0      1         6       1x1     no",
            "encoder.1.5     0      1         6       1x1     no",
            "encoder.2.2     0      2         8       2x2    yes",
            "encoder.2.5     0      2         8       2x2    yes",
            "4 sites on levels 1, 2",
        ]
    )


def test_columns_are_as_wide_as_their_widest_entry() -> None:
    sites = Sites(
        [Site("act", 10, 100_000_000, (0, 0, 0), False), Site("long.name.of.an.activation", 0, 1, (3, 3, 2), True)]
    )
    lines = str(sites).splitlines()
    assert len({len(line) for line in lines[:3]}) == 1
    assert lines[1].split() == ["act", "10", "0", "100000000", "0x0x0", "no"]
    assert lines[2].split() == ["long.name.of.an.activation", "0", "3", "1", "3x3x2", "yes"]
    assert lines[3] == "2 sites on levels 0, 3"


def test_sites_are_a_sequence_with_a_plain_representation() -> None:
    sites = find_sites(unet(), (1, 32, 32))
    assert len(sites) == 6 and sites[0] == ("encoder.0.2", 0, 4, (0, 0), False) and sites[-1].level == 2
    assert repr(sites[:1]) == "(Site(name='encoder.0.2', call=0, channels=4, halvings=(0, 0), moved=False),)"
    twin = copy.deepcopy(sites)
    assert type(twin) is Sites and twin == sites


def test_maps_are_followed_up_to_the_first_that_grows_and_single_voxels_are_left_out() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.down, self.up = (
                nn.Conv2d(1, 2, 3, 1, 1),
                nn.Conv2d(2, 4, 3, 2, 1),
                nn.Upsample(scale_factor=2),
            )
            self.fine, self.pooled, self.coarse, self.late = nn.ReLU(), nn.ReLU(), nn.PReLU(), nn.ReLU()

        def forward(self, x: Tensor) -> Tensor:
            x = self.fine(self.conv(x))
            x = x * self.pooled(x.mean((2, 3), keepdim=True))
            return self.late(self.up(self.coarse(self.down(x))))

    assert find_sites(Net(), (1, 9, 8)) == (("fine", 0, 2, (0, 0), False), ("coarse", 0, 4, (1, 1), False))


def test_two_threads_guide_one_network_without_mixing() -> None:
    net = GuidedNet(unet(dropout=None), HISTOGRAMS, None, image=(1, 32, 32)).eval()
    for parameter in net.density.parameters():
        nn.init.normal_(parameter)
    inputs = [(torch.randn(1, 1, 32, 32), Guidance(torch.rand(1, 2, 10).softmax(-1))) for _ in range(2)]
    with torch.no_grad():
        expected = [net(x, guidance=known) for x, known in inputs]
    assert not torch.allclose(*expected)
    meet = threading.Barrier(2, timeout=60)

    def wait(*_: object) -> None:
        meet.wait()  # both threads are inside the network, past the start of their guidance, before the first site

    net.backbone.encoder[0].register_forward_pre_hook(wait)

    def run(number: int) -> Tensor:
        with torch.no_grad():
            return net(inputs[number][0], guidance=inputs[number][1])

    with ThreadPoolExecutor(2) as pool:
        found = list(pool.map(run, range(2)))
    torch.testing.assert_close(found, expected)
