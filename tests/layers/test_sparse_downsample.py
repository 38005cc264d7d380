"""SparseDownsample: which patches it keeps, what it learns, what it refuses."""

from __future__ import annotations

import itertools
import warnings

import pytest
import torch
from monai.data import MetaTensor
from torch import Tensor, nn

from medseg.layers import SparseDownsample, patch_l1
from medseg.ops.patch_gather import from_patches, to_patches
from tests.ops._definitions import cut, paste

SIZES = {2: (16, 24), 3: (8, 8, 16)}
LITERAL = {"evaluator": "slots", "assignment": "argmax", "order": "slots", "surrogate": "paper"}
FORMS = [{}, {"surrogate": "paper"}, {"evaluator": "norm"}, {"evaluator": "slots"}, LITERAL]


def image(d: int, batch: int = 2, channels: int = 3, seed: int = 0) -> Tensor:
    return torch.randn(batch, channels, *SIZES[d], generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("d", [2, 3])
def test_the_norm_pick_keeps_the_patches_of_the_largest_mean_absolute_value_in_raster_order(d: int) -> None:
    x = image(d)
    out, place = SparseDownsample(d, 3, 4, evaluator="norm", return_index=True)(x)
    norms = cut(x, 4).abs().flatten(2).mean(2)
    count = norms.shape[1] >> d
    expected = norms.argsort(dim=1, descending=True)[:, :count].sort(dim=1).values
    assert place.index.tolist() == expected.tolist()
    chosen = torch.stack([cut(x, 4)[b, expected[b]] for b in range(2)])
    assert torch.equal(out, paste(chosen, tuple(s // 2 for s in SIZES[d]), 4))


def test_four_patches_by_hand() -> None:
    x = torch.tensor([[[[1.0, 2.0], [-5.0, 3.0]]]])
    assert SparseDownsample(2, 1, 1, evaluator="norm")(x).tolist() == [[[[-5.0]]]]
    layer = SparseDownsample(2, 1, 1).eval()  # mean and maximum of one voxel are the voxel
    assert layer(x).tolist() == [[[[3.0]]]]


@pytest.mark.parametrize("d", [2, 3])
def test_the_slots_form_starts_as_the_strided_pick(d: int) -> None:
    x = image(d)
    layer = SparseDownsample(d, 3, 4, **LITERAL, return_index=True)
    _, place = layer(x)
    grid = [s // 4 for s in SIZES[d]]
    numbers = torch.arange(torch.tensor(grid).prod()).reshape(grid)
    strided = numbers[tuple(slice(None, None, 2) for _ in grid)].flatten()
    assert place.index.tolist() == [strided.tolist()] * 2


@pytest.mark.parametrize("d", [2, 3])
@pytest.mark.parametrize("form", FORMS, ids=str)
def test_gathering_equals_the_product_with_a_one_hot_matrix(form: dict, d: int) -> None:
    x = image(d).double()
    layer = SparseDownsample(d, 3, 4, **form, return_index=True).double()
    out, place = layer(x)
    one_hot = nn.functional.one_hot(place.index.long(), to_patches(x, 4).shape[1]).double()
    expected = from_patches(one_hot @ to_patches(x, 4), (2, 3, *(s // 2 for s in SIZES[d])), 4)
    assert torch.equal(out, expected)


@pytest.mark.parametrize("form", [f for f in FORMS if f.get("evaluator") != "norm"], ids=str)
def test_every_parameter_of_the_evaluator_learns_after_a_step(form: dict) -> None:
    torch.manual_seed(0)
    layer = SparseDownsample(2, 3, 4, **form)
    optimiser = torch.optim.SGD(layer.parameters(), lr=0.1)
    for _ in range(3):  # the content key has no gradient while its query is 0
        optimiser.zero_grad()
        layer(image(2)).square().sum().backward()
        optimiser.step()
    for name, parameter in layer.named_parameters():
        assert parameter.grad is not None and parameter.grad.any(), name


def test_the_shared_start_follows_the_normalised_mean_and_maximum() -> None:
    x = image(2, batch=4)
    layer = SparseDownsample(2, 3, 4)
    layer.record = True
    layer(x)
    patches = cut(x, 4).flatten(3)
    description = torch.cat([patches.mean(3), patches.amax(3)], dim=2)
    spread = description.var(dim=(0, 1), unbiased=False)
    normalised = (description - description.mean((0, 1))) / (spread + 1e-5).sqrt()
    torch.testing.assert_close(layer.selection.scores, normalised.mean(2), atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(layer.selection.norms, patches.abs().mean((2, 3)))


def test_permuting_patches_permutes_the_scores() -> None:
    x = image(2)
    rows = to_patches(x, 4)
    order = torch.randperm(rows.shape[1], generator=torch.Generator().manual_seed(3))
    layer = SparseDownsample(2, 3, 4).eval()
    layer.record = True
    nn.init.normal_(layer.evaluator.query)
    scores = []
    for r in (rows, rows[:, order]):
        layer(from_patches(r, tuple(x.shape), 4))
        scores.append(layer.selection.scores)
    torch.testing.assert_close(scores[0][:, order], scores[1])


@pytest.mark.parametrize("form", FORMS, ids=str)
def test_items_of_a_batch_do_not_touch_each_other_in_evaluation(form: dict) -> None:
    layer = SparseDownsample(2, 3, 4, **form).eval()
    x = image(2, batch=3)
    together = layer(x)
    for b in range(3):
        assert torch.equal(layer(x[b : b + 1]), together[b : b + 1])


@pytest.mark.parametrize("padding", ["constant", "replicate"])
def test_other_sizes_are_padded_at_the_far_ends(padding: str) -> None:
    x = image(2)[:, :, :13, :21]
    layer = SparseDownsample(2, 3, 4, evaluator="norm", padding=padding)
    mode = nn.functional.pad(x, (0, 3, 0, 3), mode=padding)
    assert torch.equal(layer(x), SparseDownsample(2, 3, 4, evaluator="norm")(mode))


def test_the_smallest_map_is_one_slot() -> None:
    for d, form in itertools.product((2, 3), FORMS):
        x = torch.randn(2, 3, *(4,) * d)
        assert SparseDownsample(d, 3, 2, **form)(x).shape == (2, 3, *(2,) * d)


def test_warm_layers_pick_by_norm_and_the_state_dict_keeps_it() -> None:
    x = image(2)
    layer = SparseDownsample(2, 3, 4)
    expected = SparseDownsample(2, 3, 4, evaluator="norm")(x)
    assert not torch.equal(layer(x), expected)
    layer.warm = True
    assert torch.equal(layer(x), expected)
    other = SparseDownsample(2, 3, 4)
    other.load_state_dict(layer.state_dict())
    assert other.warm
    assert torch.equal(other.eval()(x), expected)
    layer.warm = False
    other.load_state_dict(layer.state_dict())
    assert not other.warm


def test_a_warm_evaluator_gets_no_gradient() -> None:
    layer = SparseDownsample(2, 3, 4)
    layer.warm = True
    x = image(2).requires_grad_()
    layer(x).sum().backward()
    assert x.grad.any()
    assert all(p.grad is None for p in layer.parameters())


def test_detach_keeps_the_evaluator_out_of_the_features() -> None:
    gradients = []
    for detach in (False, True):
        torch.manual_seed(0)
        layer = SparseDownsample(2, 3, 4, detach=detach)
        x = image(2).requires_grad_()
        layer(x).square().sum().backward()
        gradients.append(x.grad)
        assert layer.evaluator.start.grad.any()
    chosen = gradients[1] != 0
    assert torch.equal(gradients[1][chosen], 2 * image(2)[chosen])
    assert not torch.equal(gradients[0], gradients[1])


def test_the_residual_starts_half_way_to_max_pooling() -> None:
    x = image(2)
    layer = SparseDownsample(2, 3, 4, evaluator="norm", residual="max")
    plain = SparseDownsample(2, 3, 4, evaluator="norm")(x)
    torch.testing.assert_close(layer(x), 0.5 * plain + 0.5 * nn.functional.max_pool2d(x, 2))
    layer(x).sum().backward()
    assert layer.mix.grad.any()


def test_metatensors_keep_their_metadata() -> None:
    affine = torch.diag(torch.tensor([2.0, 2.0, 3.0, 1.0], dtype=torch.float64))
    x = MetaTensor(image(3), affine=affine, meta={"patient": "a"})
    out = SparseDownsample(3, 3, 4)(x)
    assert isinstance(out, MetaTensor)
    assert out.meta["patient"] == "a"
    assert torch.equal(out.affine, affine)


@pytest.mark.parametrize("form", FORMS, ids=str)
def test_autocast_selects_in_float32(form: dict) -> None:
    x = image(2).bfloat16()
    layer = SparseDownsample(2, 3, 4, **form, return_index=True).eval()
    _, expected = layer(x.float())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        out, place = layer(x)
    assert out.dtype == torch.bfloat16
    assert (place.index == expected.index).float().mean() > 0.9  # pooled means are rounded to bfloat16


@pytest.mark.parametrize("form", FORMS, ids=str)
def test_compiled_without_a_graph_break(form: dict) -> None:
    x = image(2)
    layer = SparseDownsample(2, 3, 4, **form).eval()
    compiled = torch.compile(layer, backend="aot_eager", fullgraph=True)
    assert torch.equal(compiled(x), layer(x))


@pytest.mark.parametrize("form", FORMS, ids=str)
def test_exported(form: dict) -> None:
    x = image(2)
    layer = SparseDownsample(2, 3, 4, **form).eval()
    program = torch.export.export(layer, (x,))
    assert torch.equal(program.module()(x), layer(x))


def test_small_patches_on_large_maps_are_warned_about_once() -> None:
    layer = SparseDownsample(2, 1, 2)
    with pytest.warns(UserWarning, match="patch 2 on a map of side 32 scrambles"):
        layer(torch.randn(1, 1, 32, 32))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        layer(torch.randn(1, 1, 32, 32))


REFUSED = [
    ({"spatial_dims": 4}, "spatial_dims is 4; expected 2 or 3"),
    ({"patch": 0}, "channels is 3 and patch is 0; expected at least 1"),
    ({"evaluator": "best"}, "evaluator is 'best'; expected one of 'shared', 'slots', 'norm'"),
    ({"padding": "reflect"}, "padding is 'reflect'; expected one of 'error', 'constant', 'replicate'"),
    ({"residual": "avg"}, "residual is 'avg'; expected one of None, 'max'"),
    ({"surrogate": "gumbel"}, "surrogate is 'gumbel'; expected one of 'paper', 'softmax', 'none'"),
    ({"tau": 0.0}, "tau is 0.0; expected more than 0"),
    ({"evaluator": ("norm", {"rank": 3})}, "evaluator 'norm' takes no options; found ['rank']"),
]


@pytest.mark.parametrize(("options", "message"), REFUSED, ids=[m for _, m in REFUSED])
def test_options_that_do_not_exist_are_named(options: dict, message: str) -> None:
    with pytest.raises(ValueError) as caught:
        SparseDownsample(**{"spatial_dims": 2, "channels": 3, "patch": 4, **options})
    assert str(caught.value) == f"SparseDownsample: {message}"


def test_one_score_per_patch_cannot_repeat_patches() -> None:
    with pytest.raises(
        ValueError, match="expected assignment 'unique' and order 'raster', found 'argmax' and 'raster'"
    ):
        SparseDownsample(2, 3, 4, assignment="argmax")


def test_inputs_that_do_not_fit_are_named() -> None:
    layer = SparseDownsample(2, 3, 4)
    with pytest.raises(ValueError, match=r"input has shape \[1, 2, 8, 8\]; expected \[B, 3, 2 spatial axes\]"):
        layer(torch.zeros(1, 2, 8, 8))
    with pytest.raises(
        ValueError, match=r"spatial size \[8, 12\] with patch 4; expected multiples of 8: pad the image"
    ):
        layer(torch.zeros(1, 3, 8, 12))


def test_patch_l1_divides_by_the_entries_of_a_patch() -> None:
    x = image(3)
    total = cut(x, 4).abs().flatten(2).sum(2)
    torch.testing.assert_close(patch_l1(x, 4, "sum"), total)
    torch.testing.assert_close(patch_l1(x, 4), total / (3 * 64))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_norms_of_16_bit_maps_are_summed_in_float32(dtype: torch.dtype) -> None:
    x = torch.full((1, 2, 64, 64), 128.0)
    for reduction in ("mean", "sum"):
        found = patch_l1(x.to(dtype), 32, reduction)
        torch.testing.assert_close(found, patch_l1(x, 32, reduction))
        assert found.dtype == torch.float32


@pytest.mark.parametrize(("size", "patch"), [((64, 32), 8), ((16, 16), 4), ((20, 20), 5), ((8, 8, 12), 2)])
def test_without_a_patch_side_every_map_gets_its_default(size: tuple[int, ...], patch: int) -> None:
    free, fixed = (SparseDownsample(len(size), 3, side, evaluator="norm", return_index=True) for side in (None, patch))
    x = torch.randn(1, 3, *size)
    (out, place), (expected, _) = free(x), fixed(x)
    assert place.patch == patch
    torch.testing.assert_close(out, expected, rtol=0, atol=0)
    odd = SparseDownsample(2, 3, evaluator="norm", padding="constant")
    assert odd(torch.randn(1, 3, 15, 15)).shape == (1, 3, 8, 8)
