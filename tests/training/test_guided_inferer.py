"""GuidedInferer: every window sees its own part of the guide and the rest of what is known about its image."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from monai.data import MetaTensor
from monai.inferers import Inferer, SimpleInferer, SliceInferer, SlidingWindowInferer
from torch import Tensor, nn

from medseg.inference import ForegroundInferer
from medseg.layers.guidance import Guidance
from medseg.training import GuidedInferer
from tests._collated import collated
from tests.networks._cases import small

DRAW = torch.Generator().manual_seed(0)


class PointwiseNet(nn.Module):
    """Image + 10 x guide + 100 x appearance, 0 for samples without guidance: a sum of what reaches each voxel."""

    def forward(self, x: Tensor, guidance: Guidance | None = None) -> Tensor:
        assert guidance is not None and guidance.guided is not None and guidance.appearance is not None
        ones = (1,) * (x.ndim - 2)
        out = x + 100 * guidance.appearance.reshape(-1, 1, *ones)
        if guidance.spatial is not None:
            out = out + 10 * guidance.spatial
        return out * guidance.guided.reshape(-1, 1, *ones)


def known(size: tuple[int, ...], batch: int = 3, spatial: bool = True) -> Guidance:
    return Guidance(
        appearance=torch.rand(batch, 1, generator=DRAW),
        spatial=torch.rand(batch, 1, *size, generator=DRAW) if spatial else None,
        guided=torch.tensor([True, False, True])[:batch],
    )


INFERERS: dict[str, tuple[Inferer, tuple[int, ...]]] = {
    "simple": (SimpleInferer(), (20, 30)),
    "windows": (SlidingWindowInferer((8, 8), sw_batch_size=4, overlap=0.5, mode="gaussian"), (20, 30)),
    "padded by a constant": (SlidingWindowInferer((32, 8), padding_mode="constant", cval=-1000.0), (3, 30)),
    "padded by copies": (SlidingWindowInferer((9, 32), padding_mode="replicate"), (20, 1)),
    "slices": (SliceInferer(spatial_dim=2, roi_size=(8, 8), sw_batch_size=3), (20, 12, 4)),
    "foreground": (ForegroundInferer((8, 8, 4), sw_batch_size=3), (20, 12, 6)),
}


@pytest.mark.parametrize("spatial", [True, False])
@pytest.mark.parametrize("name", INFERERS)
def test_windows_give_what_the_whole_batch_gives(name: str, spatial: bool) -> None:
    inferer, size = INFERERS[name]
    x, guidance = torch.rand(3, 1, *size, generator=DRAW), known(size, spatial=spatial)
    found = GuidedInferer(inferer)(x, PointwiseNet(), guidance=guidance)
    torch.testing.assert_close(found, PointwiseNet()(x, guidance), rtol=1e-5, atol=1e-4)


def test_a_guided_network_sees_in_every_window_what_it_is_given_directly() -> None:
    net = small("guided_unet", spatial="linear").train()
    with torch.no_grad():  # guidance starts as the identity
        for p in net.parameters():
            p.add_(0.05 * torch.randn(p.shape, generator=torch.Generator().manual_seed(5)))
    net.eval()
    x, guidance = (
        torch.rand(1, 1, 32, 16),
        Guidance(appearance=torch.rand(1, 2, 1, 10), spatial=torch.rand(1, 1, 32, 16)),
    )
    found = GuidedInferer(SlidingWindowInferer((16, 16), overlap=0.0))(x, net, guidance=guidance)
    for rows in (slice(0, 16), slice(16, 32)):
        expected = net(x[:, :, rows], guidance=guidance._replace(spatial=guidance.spatial[:, :, rows]))
        torch.testing.assert_close(found[:, :, rows], expected, rtol=1e-4, atol=1e-5)
    assert not torch.allclose(found, GuidedInferer(SlidingWindowInferer((16, 16), overlap=0.0))(x, net))


@pytest.mark.parametrize("guidance", [None, Guidance(), {}])
def test_without_guidance_the_inner_inferer_runs_alone(guidance: Any) -> None:
    seen: list[Any] = []
    result = GuidedInferer(lambda *args, **kwargs: seen.append((args, kwargs)))(
        torch.ones(1), "net", 1, guidance=guidance, a=2
    )
    assert result is None and seen == [((torch.ones(1), "net", 1), {"a": 2})]


def test_metadata_of_the_image_stay_and_guides_may_have_metadata_too() -> None:
    x, guidance = torch.rand(3, 1, 20, 30, generator=DRAW), known((20, 30))
    inferer = GuidedInferer(SlidingWindowInferer((8, 8)))
    found = inferer(collated(x), PointwiseNet(), guidance=guidance._replace(spatial=collated(guidance.spatial)))
    assert isinstance(found, MetaTensor) and len(found.meta["filename_or_obj"]) == 3
    torch.testing.assert_close(found.as_tensor(), PointwiseNet()(x, guidance), rtol=1e-5, atol=1e-4)


def test_a_guide_on_another_grid_is_refused_with_both_shapes() -> None:
    with pytest.raises(ValueError, match=r"has shape \[3, 1, 20, 29\]; expected \[3, guide channels, 20, 30\]"):
        GuidedInferer(SimpleInferer())(torch.rand(3, 1, 20, 30), PointwiseNet(), guidance=known((20, 29)))
