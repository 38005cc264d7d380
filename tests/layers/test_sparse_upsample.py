"""SparseUpsample: patches return to where SparseDownsample took them from."""

from __future__ import annotations

import pytest
import torch
from monai.data import MetaTensor

from medseg.layers import PatchIndex, SparseDownsample, SparseUpsample
from tests.ops._definitions import cut, paste


@pytest.mark.parametrize("d", [2, 3])
def test_chosen_patches_return_and_the_others_are_zero(d: int) -> None:
    sizes = (16, 24) if d == 2 else (8, 8, 16)
    x = torch.randn(2, 3, *sizes, generator=torch.Generator().manual_seed(0))
    out, place = SparseDownsample(d, 3, 4, evaluator="norm", return_index=True)(x)
    expected = torch.zeros_like(cut(x, 4))
    for b in range(2):
        chosen = place.index[b].long()
        expected[b, chosen] = cut(x, 4)[b, chosen]
    assert torch.equal(SparseUpsample(d)(out, place), paste(expected, sizes, 4))


def test_patches_of_one_place_are_averaged() -> None:
    x = torch.arange(16.0).reshape(1, 1, 4, 4)
    place = PatchIndex(torch.tensor([[5, 5, 5, 0]], dtype=torch.int32), 2, (8, 8))
    patches = cut(SparseUpsample(2)(x, place), 2)[0]
    torch.testing.assert_close(patches[5], cut(x, 2)[0, :3].mean(0))
    assert torch.equal(patches[0], cut(x, 2)[0, 3])
    assert patches.flatten(1).any(1).sum() == 2


@pytest.mark.parametrize("d", [2, 3])
def test_on_two_patches_along_each_axis_all_are_neighbours(d: int) -> None:
    place = PatchIndex(torch.tensor([[2]], dtype=torch.int32), 1, (2,) * d)
    out = SparseUpsample(d, "neighbours")(torch.full((1, 1, *(1,) * d), 3.0), place)
    assert torch.equal(out, torch.full((1, 1, *(2,) * d), 3.0))


def test_empty_places_take_the_mean_of_their_neighbours() -> None:
    x = torch.arange(1.0, 5.0).reshape(1, 1, 2, 2)
    place = PatchIndex(torch.tensor([[0, 1, 4, 15]], dtype=torch.int32), 1, (4, 4))
    out = SparseUpsample(2, "neighbours")(x, place)[0, 0]
    assert out[0, :2].tolist() == [1.0, 2.0]
    assert out[1, 1] == 2.0  # 1, 2 and 3 around it
    assert out[2, 0] == 3.0
    assert out[3, 0] == 0.0  # nothing around it
    assert out[2, 3] == 4.0


@pytest.mark.parametrize("fill", ["zeros", "neighbours"])
@pytest.mark.parametrize("d", [2, 3])
def test_gradients_are_exact(d: int, fill: str) -> None:
    generator = torch.Generator().manual_seed(0)
    index = torch.randint(4**d, (2, 2**d), generator=generator).int()
    x = torch.randn(2, 2, *(2,) * d, generator=generator, dtype=torch.float64).requires_grad_()
    layer = SparseUpsample(d, fill)
    assert torch.autograd.gradcheck(lambda t: layer(t, PatchIndex(index, 1, (4,) * d)), (x,))


def test_padding_is_cut_off_and_other_channels_pass() -> None:
    x = torch.randn(1, 3, 13, 21)
    out, place = SparseDownsample(2, 3, 4, evaluator="norm", padding="constant", return_index=True)(x)
    assert SparseUpsample(2)(torch.cat([out, out], dim=1), place).shape == (1, 6, 13, 21)


def test_metatensors_and_half_precision_pass() -> None:
    x = MetaTensor(torch.randn(1, 3, 16, 16).bfloat16(), meta={"patient": "a"})
    out, place = SparseDownsample(2, 3, 4, evaluator="norm", return_index=True)(x)
    back = SparseUpsample(2)(out, place)
    assert isinstance(back, MetaTensor)
    assert (back.dtype, back.meta["patient"]) == (torch.bfloat16, "a")


def test_compiled_and_exported_with_its_downsampling() -> None:
    class Pair(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.down = SparseDownsample(2, 3, 4, return_index=True)
            self.up = SparseUpsample(2, "neighbours")

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.up(*self.down(x))

    pair, x = Pair().eval(), torch.randn(2, 3, 16, 16)
    torch.testing.assert_close(torch.compile(pair, backend="aot_eager", fullgraph=True)(x), pair(x))
    torch.testing.assert_close(torch.export.export(pair, (x,)).module()(x), pair(x))


def test_a_map_of_another_size_is_named() -> None:
    place = PatchIndex(torch.zeros(1, 4, dtype=torch.int32), 2, (8, 8))
    with pytest.raises(ValueError, match=r"input has shape \[1, 3, 8, 8\]; expected \[1, C, 4, 4\], as its"):
        SparseUpsample(2)(torch.zeros(1, 3, 8, 8), place)
    with pytest.raises(ValueError, match="fill is 'mean'; expected one of 'zeros', 'neighbours'"):
        SparseUpsample(2, "mean")
