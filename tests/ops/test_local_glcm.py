"""local_glcm: texture features of every window, against scikit-image's co-occurrence matrices and in closed form."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from skimage.feature import graycomatrix, graycoprops
from torch import Tensor

from medseg.ops import last_backend, local_glcm
from medseg.ops._glcm_features import FEATURES, LINEAR, feature_bits
from medseg.ops.local_glcm import reference_local_glcm
from tests.ops.test_local_histogram import some_mask, windows

ANGLES = (0, math.pi / 4, math.pi / 2, 3 * math.pi / 4)
FLAT = [(0, 1), (1, 1), (-1, 1), (2, -1)]
SOLID = [(1, 0, 0), (0, 1, -1), (-1, 2, 1)]
CASES = [
    ((2, 2, 9, 12), (5, 5), FLAT),
    ((1, 1, 70, 7), (7, 3), [(0, 1), (3, -1)]),
    ((1, 2, 4, 5, 6), (3, 5, 3), SOLID),
    ((1, 1, 2, 3), (7, 7), [(0, 1), (4, 4)]),
]


def levels(shape: tuple[int, ...], count: int = 5, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randint(count, shape, generator=torch.Generator().manual_seed(sum(shape))).to(dtype)


def values(shape: tuple[int, ...]) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(sum(shape)), dtype=torch.float64) * 5


def of_matrix(p: NDArray[np.float64]) -> list[float]:
    """The features by their definitions, of a symmetric matrix that sums to 1."""
    i, j = np.indices(p.shape)
    mean = (i * p).sum()
    variance = ((i - mean) ** 2 * p).sum()
    asm = (p**2).sum()
    return [
        ((i - j) ** 2 * p).sum(),
        (abs(i - j) * p).sum(),
        (p / (1 + (i - j) ** 2)).sum(),
        asm,
        math.sqrt(asm),
        -(p[p > 0] * np.log(p[p > 0])).sum(),
        1.0 if variance < 1e-12 else ((i - mean) * (j - mean) * p).sum() / variance,
        ((i + j - 2 * mean) ** 3 * p).sum(),
        ((i + j - 2 * mean) ** 4 * p).sum(),
        p.max(),
    ]


def literal(x: Tensor, window: tuple[int, ...], offset: tuple[int, ...], count: int, mask: Tensor | None) -> Tensor:
    """Every window's features from a matrix of its own, counted pair by pair: ``[F, B, C, *S]``."""
    image, inside = x.long().numpy(), (torch.ones_like(x) if mask is None else mask.expand_as(x)).numpy() > 0
    out = np.zeros((len(FEATURES), *x.shape))
    for b, c in itertools.product(range(x.shape[0]), range(x.shape[1])):
        for place, around in windows(x.numpy(), window):
            part, used = image[b, c][around], inside[b, c][around]
            matrix = np.zeros((count, count))
            for q in itertools.product(*[range(s) for s in part.shape]):
                other = tuple(v + o for v, o in zip(q, offset, strict=True))
                if all(0 <= v < s for v, s in zip(other, part.shape, strict=True)) and used[q] and used[other]:
                    matrix[part[q], part[other]] += 1
                    matrix[part[other], part[q]] += 1
            if matrix.any():
                out[(slice(None), b, c, *place)] = of_matrix(matrix / matrix.sum())
    return torch.from_numpy(out)


class TestAgainstScikitImage:
    @pytest.mark.parametrize("distance", [1, 2, 3])
    def test_every_window_and_angle(self, distance: int) -> None:
        x, w = levels((1, 1, 13, 15), 6), 7
        steps = [(round(math.sin(a) * distance), round(math.cos(a) * distance)) for a in ANGLES]
        found = local_glcm(x, w, steps, 6, mean=False)[0].reshape(4, len(FEATURES), 13, 15)
        image = x[0, 0].numpy().astype(np.uint8)
        for y, z in itertools.product(range(3, 10), range(3, 12)):
            patch = image[y - 3 : y + 4, z - 3 : z + 4]
            p = graycomatrix(patch, [distance], ANGLES, levels=6, symmetric=True, normed=True)
            for name in ("contrast", "dissimilarity", "homogeneity", "ASM", "energy", "correlation"):
                wanted = graycoprops(p, name)[0]
                np.testing.assert_allclose(found[:, FEATURES.index(name.lower()), y, z], wanted, atol=1e-12)
            for a in range(4):
                np.testing.assert_allclose(found[a, :, y, z], of_matrix(p[:, :, 0, a]), rtol=1e-11, atol=1e-11)

    @pytest.mark.parametrize("count", [32, 256])
    def test_many_levels_in_float32(self, count: int) -> None:
        x = levels((1, 1, 24, 24), count, torch.float32)
        found = local_glcm(x, 11, [(0, 1)], count)[0]
        for y, z in ((5, 5), (12, 9), (18, 18)):
            patch = x[0, 0, y - 5 : y + 6, z - 5 : z + 6].numpy().astype(np.uint8)
            p = graycomatrix(patch, [1], [0], levels=count, symmetric=True, normed=True)[:, :, 0, 0]
            np.testing.assert_allclose(found[:, y, z], of_matrix(p), rtol=2e-6, atol=1e-6)


@pytest.mark.parametrize("masked", [False, True], ids=["whole", "masked"])
@pytest.mark.parametrize(("shape", "window", "offsets"), CASES, ids=str)
class TestEveryWindow:
    def test_features_equal_the_literal_matrix(self, shape, window, offsets, masked: bool) -> None:
        x = levels(shape)
        mask = some_mask(x) if masked else None
        parts = torch.stack([literal(x, window, o, 5, mask) for o in offsets])
        wanted = parts.movedim((2, 3), (0, 1)).flatten(1, 3)
        found = local_glcm(x, window, offsets, 5, mask=mask, mean=False)
        torch.testing.assert_close(found, wanted, rtol=1e-11, atol=1e-11)
        whole = None if mask is None else mask.expand_as(x)
        flat, bits = [v for o in offsets for v in o], feature_bits("", FEATURES)
        reference = reference_local_glcm(x, whole, list(window), flat, 5, bits, False)
        torch.testing.assert_close(reference, wanted, rtol=1e-11, atol=1e-11)

    def test_the_mean_is_over_offsets_with_a_pair(self, shape, window, offsets, masked: bool) -> None:
        x = levels(shape)
        mask = some_mask(x) if masked else None
        parts = local_glcm(x, window, offsets, 5, mask=mask, mean=False).unflatten(1, (shape[1], len(offsets), -1))
        present = (parts[:, :, :, FEATURES.index("max_probability")] > 0).sum(2).clamp(min=1)[:, :, None]
        wanted = (parts.sum(2) / present).flatten(1, 2)
        torch.testing.assert_close(local_glcm(x, window, offsets, 5, mask=mask), wanted, rtol=1e-12, atol=1e-12)
        # Features alone, in any order of their names, are the same maps.
        some = local_glcm(x, window, offsets, 5, ("max_probability", "contrast"), mask)
        both = wanted.unflatten(1, (shape[1], -1))[:, :, [0, 9]].flatten(1, 2)
        torch.testing.assert_close(some, both, rtol=1e-12, atol=1e-12)
        counted = local_glcm(x, window, offsets, 5, "entropy", mask)
        torch.testing.assert_close(counted, wanted[:, 5 :: len(FEATURES)], rtol=1e-12, atol=1e-12)

    @pytest.mark.parametrize("mean", [False, True])
    def test_gradients_equal_the_reference(self, shape, window, offsets, masked: bool, mean: bool) -> None:
        x = values(shape).requires_grad_()
        mask = some_mask(x).expand_as(x) if masked else None
        found = local_glcm(x, window, offsets, 5, mask=mask, mean=mean)
        flat, bits = [v for o in offsets for v in o], feature_bits("", FEATURES)
        wanted = reference_local_glcm(x, mask, list(window), flat, 5, bits, mean)
        torch.testing.assert_close(found, wanted, rtol=1e-10, atol=1e-10)
        weight = torch.linspace(-1, 1, found.numel(), dtype=x.dtype).reshape(found.shape)
        pair = [torch.autograd.grad((out * weight).sum(), x)[0] for out in (found, wanted)]
        torch.testing.assert_close(*pair, rtol=1e-8, atol=1e-8)
        single = local_glcm(x.float(), window, offsets, 5, LINEAR, mask, mean)
        exact = local_glcm(x.float().double(), window, offsets, 5, LINEAR, mask, mean)
        torch.testing.assert_close(single.double(), exact, rtol=1e-5, atol=1e-5)


class TestGradient:
    @pytest.mark.parametrize("feature", LINEAR)
    @pytest.mark.parametrize(
        ("shape", "window", "offsets"),
        [((1, 2, 5, 6), (5, 3), [(0, 1), (2, -1)]), ((1, 1, 3, 4, 4), (3, 3, 3), [(1, 0, 1), (0, -1, 1)])],
        ids=["2-D", "3-D"],
    )
    def test_gradcheck(self, shape, window, offsets, feature: str) -> None:
        x = values(shape).requires_grad_()
        for mask in (None, some_mask(x)):
            for mean in (True, False):
                assert torch.autograd.gradcheck(
                    lambda t, m=mask, a=mean: local_glcm(t, window, offsets, 5, feature, m, a),
                    (x,),
                    rtol=1e-3,
                    atol=1e-4,
                )

    def test_counted_features_have_none(self) -> None:
        x = values((1, 1, 6, 6)).requires_grad_()
        out = local_glcm(x, 3, [(0, 1)], 5, ("asm", "energy", "entropy", "max_probability"))
        assert torch.autograd.grad(out.sum(), x, allow_unused=True)[0] is None

    def test_a_second_derivative_is_refused(self) -> None:
        x = values((1, 1, 6, 6)).requires_grad_()
        out = local_glcm(x, 3, [(0, 1)], 5, "contrast").square().sum()
        (first,) = torch.autograd.grad(out, x, create_graph=True)
        with pytest.raises(RuntimeError, match="local_glcm: second derivatives are not implemented"):
            first.sum().backward()


class TestClosedForms:
    def features(self, image: Tensor, offset: tuple[int, int], count: int = 8) -> dict[str, float]:
        maps = local_glcm(image[None, None].double(), 5, [offset], count)[0, :, 4, 4]
        return dict(zip(FEATURES, maps.tolist(), strict=True))

    def test_a_constant_image_is_perfectly_regular(self) -> None:
        for level in (0.0, 3.0, 6.7):
            found = self.features(torch.full((9, 9), level), (0, 1))
            assert [found[f] for f in ("contrast", "dissimilarity", "cluster_shade")] == pytest.approx(
                [0, 0, 0], abs=1e-9
            )
            assert [found[f] for f in ("homogeneity", "asm", "energy", "max_probability")] == [1, 1, 1, 1]
            assert (found["entropy"], found["correlation"]) == pytest.approx((0, 1), abs=1e-12)

    def test_a_checkerboard_alternates_or_repeats(self) -> None:
        board = (torch.arange(9)[:, None] + torch.arange(9)) % 2 * 3
        side, diagonal = self.features(board, (0, 1)), self.features(board, (1, 1))
        assert (side["contrast"], side["correlation"], side["asm"]) == pytest.approx((9, -1, 0.5))
        assert side["entropy"] == pytest.approx(math.log(2))
        assert (diagonal["contrast"], diagonal["correlation"]) == pytest.approx((0, 1))

    def test_a_ramp_has_the_contrast_of_its_step(self) -> None:
        ramp = torch.arange(9.0).expand(9, 9)
        for step in (1, 2, 3):
            found = self.features(ramp, (0, step), 9)
            assert (found["contrast"], found["dissimilarity"]) == pytest.approx((step**2, step))
            assert self.features(ramp, (step, 0), 9)["contrast"] == 0

    def test_a_quarter_turn_exchanges_the_offsets(self) -> None:
        x = levels((1, 1, 9, 11))
        turned = local_glcm(x.rot90(1, (2, 3)), 5, [(1, 0), (1, -1)], 5, mean=False)
        straight = local_glcm(x, 5, [(0, 1), (1, 1)], 5, mean=False).rot90(1, (2, 3))
        torch.testing.assert_close(turned, straight, rtol=1e-11, atol=1e-11)

    def test_a_shift_of_all_levels_changes_nothing(self) -> None:
        x = levels((1, 1, 12, 12), 5)
        first = local_glcm(x, 7, FLAT, 32)
        torch.testing.assert_close(local_glcm(x + 20, 7, FLAT, 32), first, rtol=1e-10, atol=1e-10)

    def test_a_voxel_that_is_no_number_counts_as_masked(self) -> None:
        x, mask = values((1, 1, 8, 8)), torch.ones(1, 1, 8, 8, dtype=torch.bool)
        broken = x.clone()
        broken[..., 2, 3], broken[..., 5, 5] = torch.nan, torch.inf
        mask[..., 2, 3] = mask[..., 5, 5] = False
        assert torch.equal(local_glcm(broken, 3, FLAT[:3], 5), local_glcm(x, 3, FLAT[:3], 5, mask=mask))


@pytest.mark.parametrize("channels", [1, 3, 5, 17, 24])
def test_strides_and_other_channels_do_not_matter(channels: int) -> None:
    x = values((2, channels, 6, 7)).float()
    found = local_glcm(x, 3, FLAT[:3], 5)
    assert torch.equal(local_glcm(x.to(memory_format=torch.channels_last), 3, FLAT[:3], 5), found)
    assert torch.equal(local_glcm(x.mT.contiguous().mT, 3, FLAT[:3], 5), found)
    assert torch.equal(torch.cat([local_glcm(x[:, c : c + 1], 3, FLAT[:3], 5) for c in range(channels)], 1), found)


def test_the_number_of_threads_changes_no_bit() -> None:
    x, threads, results = values((1, 2, 150, 60)).float().requires_grad_(), torch.get_num_threads(), []
    try:
        for n in (1, 2, 5):
            torch.set_num_threads(n)
            out = local_glcm(x, 7, FLAT, 5)
            results.append((out.detach(), torch.autograd.grad(out.square().sum(), x)[0]))
    finally:
        torch.set_num_threads(threads)
    assert all(torch.equal(a, b) for other in results[1:] for a, b in zip(other, results[0], strict=True))


@pytest.mark.parametrize("shape", [(0, 1, 4, 4), (1, 0, 4, 4), (1, 1, 0, 4), (1, 1, 4, 0)], ids=str)
def test_empty_maps(shape: tuple[int, ...]) -> None:
    x = torch.zeros(shape, requires_grad=True)
    found = local_glcm(x, 3, [(0, 1)], 4)
    assert found.shape == (shape[0], len(FEATURES) * shape[1], *shape[2:])
    found.sum().backward()
    assert x.grad.shape == x.shape


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_16_bit_images_are_computed_in_float32(dtype: torch.dtype) -> None:
    x = levels((1, 1, 6, 6)).to(dtype)
    found = local_glcm(x, 3, [(0, 1)], 5)
    assert found.dtype == torch.float32
    assert torch.equal(found, local_glcm(x.float(), 3, [(0, 1)], 5))


def test_compiled_code_ran(compiled: None) -> None:
    local_glcm(values((1, 1, 4, 4)).requires_grad_(), 3, [(0, 1)], 5).sum().backward()
    assert last_backend("local_glcm") == last_backend("local_glcm_backward") == "cpu:generic64"


class TestTorch:
    @pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
    @pytest.mark.parametrize("mean", [False, True])
    def test_opcheck(self, dtype: torch.dtype, mean: bool) -> None:
        x = values((2, 2, 6, 7)).to(dtype).requires_grad_()
        mask = some_mask(x).expand_as(x)
        bits, linear = feature_bits("", FEATURES), feature_bits("", LINEAR)
        for m in (None, mask):
            torch.library.opcheck(torch.ops.medseg.local_glcm.default, (x, m, [3, 5], [0, 1, 2, -1], 5, linear, mean))
        plain = x.detach()
        out = torch.ops.medseg.local_glcm(plain, mask, [3, 5], [0, 1, 2, -1], 5, bits, mean)
        torch.library.opcheck(
            torch.ops.medseg.local_glcm_backward.default, (out, plain, mask, [3, 5], [0, 1, 2, -1], 5, bits, mean)
        )

    def test_compiled_with_full_graph_forward_and_backward(self) -> None:
        x = values((1, 2, 8, 9)).requires_grad_()

        def run(t: Tensor) -> Tensor:
            return local_glcm(t * 2, 3, FLAT[:3], 10).square().sum()

        wanted = torch.autograd.grad(run(x), x)[0]
        found = torch.autograd.grad(torch.compile(run, backend="aot_eager", fullgraph=True)(x), x)[0]
        torch.testing.assert_close(found, wanted)

    def test_exported_with_a_free_batch_size(self) -> None:
        class Maps(torch.nn.Module):
            def forward(self, x: Tensor) -> Tensor:
                return local_glcm(x, 3, [(0, 1)], 5)

        x, batch = values((2, 1, 8, 8)), torch.export.Dim("batch", min=1, max=16)
        program = torch.export.export(Maps(), (x,), dynamic_shapes=({0: batch},))
        other = values((5, 1, 8, 8))
        assert torch.equal(program.module()(other), Maps()(other))

    def test_meta_tensors_give_shapes_without_values(self) -> None:
        x = torch.empty(2, 3, 4, 5, 6, device="meta")
        assert local_glcm(x, 3, SOLID[:2], 8, ("asm", "contrast"), mean=False).shape == (2, 12, 4, 5, 6)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"window": 4}, "window is 4; expected 2 odd numbers of voxels, or one for all axes"),
        ({"offsets": []}, "there are no offsets; expected at least one"),
        ({"offsets": [(0, 0)]}, "offset is [0, 0]; expected 2 steps, not all 0, shorter than window [3, 3]"),
        ({"offsets": [(0, 3)]}, "offset is [0, 3]; expected 2 steps, not all 0, shorter than window [3, 3]"),
        ({"offsets": [(0, 1, 0)]}, "offset is [0, 1, 0]; expected 2 steps, not all 0, shorter than window [3, 3]"),
        ({"levels": 1}, "levels is 1; expected 2 to 1024"),
        ({"features": ()}, f"there are no features; expected some of {', '.join(FEATURES)}"),
        ({"features": ("mean",)}, f"feature 'mean' is unknown; expected some of {', '.join(FEATURES)}"),
        ({"x": torch.zeros(3, 4, 4)}, "x has shape [3, 4, 4]; expected [B, C, H, W] or [B, C, D, H, W]"),
    ],
)
def test_what_does_not_fit_is_named(change: dict, message: str) -> None:
    arguments = {"x": torch.zeros(1, 2, 4, 4), "window": 3, "offsets": [(0, 1)], "levels": 4, **change}
    with pytest.raises(ValueError) as caught:
        local_glcm(**arguments)
    assert str(caught.value) == f"local_glcm: {message}"
