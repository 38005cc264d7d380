"""The memory table: its passes segment the volume they are timed on, and its cases are all segmentation networks."""

from __future__ import annotations

import pytest
import torch
from monai.inferers import sliding_window_inference
from torch import Tensor, nn

from benchmarks._network_memory.cases import CASES, QUICK, Case, build, macs, parameters, predictor, quick_version
from benchmarks._network_memory.passes import Sampled, by_slices, by_tiles, run_pass
from medseg.networks import LRASPP, UNet2015, VNet
from tests.networks import _cases as small


def volume(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


def test_every_segmentation_network_has_a_row() -> None:
    segment = {name for name, case in small.CASES.items() if case.kind == "segment"}
    assert {case.name for case in CASES} == segment
    assert len({case.title for case in CASES}) == len(CASES)
    assert set(QUICK) <= {case.title for case in CASES}


def test_computes_a_few_calls_and_repeats_the_last_result() -> None:
    seen: list[float] = []

    def call(x: Tensor) -> Tensor:
        seen.append(float(x))
        return x + 1

    sampled = Sampled(call, most_calls=3, most_seconds=100)
    results = [float(sampled(torch.tensor(float(i)))) for i in range(6)]
    assert seen == [0, 1, 2] and results == [1, 2, 3, 3, 3, 3]
    assert sampled.calls == 6 and len(sampled.seconds) == 3 and sampled.timed == sampled.seconds[1:]


def test_no_call_begins_after_the_time_is_up_but_the_second() -> None:
    sampled = Sampled(lambda x: x, most_calls=9, most_seconds=0)
    for _ in range(4):
        sampled(torch.zeros(1))
    assert len(sampled.seconds) == 2 and len(sampled.timed) == 1
    once = Sampled(lambda x: x, 9, 0)
    once(torch.zeros(1))
    assert once.timed == once.seconds


def test_slices_see_their_neighbours_and_zeros_beyond_the_ends() -> None:
    x, seen = volume(1, 4, 5, 3), list[Tensor]()

    def middle(image: Tensor) -> Tensor:
        seen.append(image)
        return image[:, 1:2]

    assert torch.equal(by_slices(x, 1, middle, neighbours=1), x)
    assert torch.equal(seen[0][0], torch.stack([torch.zeros(4, 5), x[0, ..., 0], x[0, ..., 1]]))
    assert torch.equal(seen[2][0], torch.stack([x[0, ..., 1], x[0, ..., 2], torch.zeros(4, 5)]))


def test_a_pass_by_slices_or_windows_segments_the_volume() -> None:
    torch.manual_seed(0)
    flat = LRASPP(2, 1, 2, encoder=("mobilenet_v3_small", {"alpha": 0.25}), inter_channels=8).eval()
    deep, x = VNet(3, 1, 2, channels=(2, 4)).eval(), volume(1, 32, 32, 20)
    with torch.no_grad():
        by_slice = by_slices(x, 2, flat)
        torch.testing.assert_close(by_slice[..., 7], flat(x[None, ..., 7])[0])
        whole = sliding_window_inference(x[None], (16, 16, 16), 1, deep, overlap=0.25, mode="gaussian")[0]
    assert whole.shape == by_slice.shape
    passed = run_pass("windows", x, 2, (16, 16, 16), deep, most=3, limit=100)
    assert passed.windows == 3 * 3 * 2 and passed.timed == 2
    assert passed.seconds >= passed.window_seconds * passed.windows


def test_tiles_of_a_slice_equal_the_network_without_padding_on_the_mirrored_slice() -> None:
    torch.manual_seed(0)
    net, x = UNet2015(2, 1, 2, channels=(2, 3), dropout=None).eval(), volume(1, 24, 24, 2)
    mirrored = nn.functional.pad(x[..., 0][None], (8, 8, 8, 8), mode="reflect")
    with torch.no_grad():
        torch.testing.assert_close(by_tiles(x, 2, net, 36)[..., 0], net(mirrored)[0])


@pytest.mark.parametrize("case", [case for case in CASES if case.label != "whole"], ids=lambda case: case.title)
def test_every_network_takes_its_window_and_its_cost_is_counted(case: Case) -> None:
    with torch.device("meta"):
        assert parameters(build(case)) > 10_000
    assert macs(case) > 1e9


def test_an_adaptive_network_costs_what_its_partition_keeps() -> None:
    case = Case("adaptive_unet", "slices", (64, 64))
    assert 0 < macs(case) < macs(case._replace(arguments={"dense_equal": True}))


def test_a_guided_network_is_run_with_guidance() -> None:
    case = Case("guided_unet", "triplets", (64, 64), 3, {"channels": (4, 6, 8)})
    net = build(case)
    for parameter in net.density.parameters():
        nn.init.normal_(parameter)
    x = volume(1, 3, 64, 64)
    with torch.no_grad():
        assert not torch.allclose(predictor(case, net)(x), net(x))


def test_a_quick_version_sees_less() -> None:
    assert quick_version(CASES[1]).window == (32, 32, 32)
    assert quick_version(CASES[0]).window == (64, 64)
