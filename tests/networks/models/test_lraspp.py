"""LR-ASPP on a MobileNet: published counts, torchvision's function, sparse halvings undone on the way up."""

from __future__ import annotations

import pytest
import torch

from medseg.layers import SparseUpsample
from medseg.networks import LRASPP
from medseg.networks.parts.undo_halvings import undo_halvings
from tests.networks._counting import count_macs, count_parameters, on_meta
from tests.networks._torchvision_peer import shake_statistics, take_weights, torchvision_models

SMALL = ("mobilenet_v3_small", {"alpha": 0.25})


@pytest.mark.parametrize(
    ("classes", "count", "size", "giga"), [(21, 3_221_538, (520, 520), 2.086), (19, 3_221_198, (1024, 2048), 15.77)]
)
def test_parameters_and_multiply_adds_are_the_published_ones(
    classes: int, count: int, size: tuple[int, int], giga: float
) -> None:
    net = on_meta(lambda: LRASPP(2, 3, classes))
    assert count_parameters(net) == count
    assert count_macs(net, 1, 3, *size) / 1e9 == pytest.approx(giga, abs=0.5 * 10 ** -len(str(giga).split(".")[1]))


@pytest.mark.parametrize(("size", "full", "reduced"), [("large", 3_221_198, 1_746_878), ("small", 1_077_646, 515_614)])
def test_a_reduced_tail_halves_the_last_stage(size: str, full: int, reduced: int) -> None:
    def count(tail: bool) -> int:
        encoder = (f"mobilenet_v3_{size}", {"reduced_tail": tail})
        return count_parameters(on_meta(lambda: LRASPP(2, 3, 19, encoder=encoder)))

    assert (count(False), count(True)) == (full, reduced)


def test_equals_the_network_of_torchvision() -> None:
    peer = torchvision_models().segmentation.lraspp_mobilenet_v3_large
    theirs = peer(weights=None, weights_backbone=None, num_classes=5).eval()
    ours = LRASPP(2, 3, 5).eval()
    shake_statistics(theirs)
    take_weights(ours, theirs)
    x = torch.randn(1, 3, 72, 97)
    with torch.no_grad():
        torch.testing.assert_close(ours(x), theirs(x)["out"], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("down", ["stride", "max", "sparse", "max-max-sd-sd"])
def test_the_result_has_the_image_size_whatever_halves(dims: int, down: str) -> None:
    net = LRASPP(dims, 1, 3, encoder=SMALL, inter_channels=8, down=down)
    out = net(torch.randn(2, 1, *(32,) * dims))
    assert out.shape == (2, 3, *(32,) * dims)
    out.square().mean().backward()
    assert all(p.grad is not None for name, p in net.named_parameters() if "blocks" not in name)


def test_odd_sizes_run_with_strides() -> None:
    assert LRASPP(2, 1, 3, encoder=SMALL)(torch.randn(2, 1, 45, 51)).shape == (2, 3, 45, 51)


def test_patches_go_back_before_a_map_is_interpolated() -> None:
    from medseg.layers import SparseDownsample

    x = torch.randn(1, 2, 32, 32)
    kept, place = SparseDownsample(2, 2, 4, evaluator="norm", return_index=True)(x)
    pooled = torch.nn.functional.avg_pool2d(kept, 2)
    back = undo_halvings(pooled, [None, place, None], (64, 64))
    half = torch.nn.functional.interpolate(pooled, scale_factor=2, mode="bilinear", align_corners=False)
    returned = SparseUpsample(2)(half, place)
    expected = torch.nn.functional.interpolate(returned, scale_factor=2, mode="bilinear", align_corners=False)
    torch.testing.assert_close(back, expected)
    plain = undo_halvings(kept, [None, None], (70, 70))
    torch.testing.assert_close(
        plain, torch.nn.functional.interpolate(kept, (70, 70), mode="bilinear", align_corners=False)
    )


def test_settings_that_do_not_fit_are_named() -> None:
    with pytest.raises(ValueError, match="LRASPP: output_stride is 8; expected 16 or 32"):
        LRASPP(2, 1, 2, output_stride=8)
    with pytest.raises(ValueError, match="encoder is 'mobilenet_v4'; expected one of mobilenet_v1"):
        LRASPP(2, 1, 2, encoder="mobilenet_v4")
