"""Figures about a selection of patches, by hand and against scipy."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr

from medseg.layers import SparseDownsample
from medseg.layers.selection_health import (
    distinct_share,
    moved_share,
    rank_correlation,
    selection_health,
    target_cover,
)
from medseg.layers.sparse_downsample import PatchIndex


def test_distinct_counts_different_patches() -> None:
    assert distinct_share(torch.tensor([[3, 1, 3, 3], [0, 1, 2, 3]])) == pytest.approx((2 + 4) / 8)


def test_moved_counts_what_the_next_image_does_not_choose() -> None:
    assert moved_share(torch.tensor([[0, 1, 2, 3], [3, 2, 1, 0]])) == 0
    assert moved_share(torch.tensor([[0, 1, 2, 3], [0, 1, 6, 7], [4, 5, 6, 7]])) == pytest.approx(0.5)
    assert math.isnan(moved_share(torch.tensor([[0, 1]])))


def test_rank_correlation_is_spearmans() -> None:
    scores, norms = torch.randn(2, 3, 50, generator=torch.Generator().manual_seed(0))
    expected = np.mean([spearmanr(a, b).statistic for a, b in zip(scores.numpy(), norms.numpy(), strict=True)])
    assert rank_correlation(scores, norms) == pytest.approx(expected)
    assert rank_correlation(norms.square() * norms.sign(), norms) == pytest.approx(1.0)
    assert math.isnan(rank_correlation(torch.ones(1, 5), torch.arange(5.0)[None]))


def test_cover_follows_the_target_through_two_selections_and_a_pooling() -> None:
    mask = torch.zeros(2, 1, 16, 16)
    mask[0, 0, 2:6, 2:6] = 1  # in patches 0, 1, 4 and 5 of side 4
    first = PatchIndex(torch.tensor([[0, 5, 10, 15]] * 2, dtype=torch.int32), 4, (16, 16))
    second = PatchIndex(torch.tensor([[3], [0]], dtype=torch.int32), 2, (4, 4))
    covers, survives = target_cover(mask, [first, second])
    assert covers[0] == pytest.approx(0.5)  # patches 0 and 5 hold 2 x 2 pixels each
    assert covers[1] == 0.0  # patch 3 of the halved map holds neither
    assert survives.tolist() == [False, False]
    covers, survives = target_cover(mask, [first, second._replace(index=torch.zeros(2, 1, dtype=torch.int32))])
    assert covers[1] == pytest.approx(0.5)
    assert survives.tolist() == [True, False]


def test_figures_of_a_recorded_layer() -> None:
    x = torch.randn(3, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    mask = torch.zeros(3, 1, 16, 16)
    mask[:, :, :4, :4] = 1
    layers = {"norm": SparseDownsample(2, 3, 4, evaluator="norm"), "slots": SparseDownsample(2, 3, 4, "slots")}
    for layer in layers.values():
        layer.record = True
        layer(x)
    figures = selection_health({name: layer.selection for name, layer in layers.items() if name == "slots"}, mask)
    assert figures["slots"].distinct == 1
    assert figures["slots"].moved == 0  # the strided pick
    assert figures["slots"].cover == 1
    assert -1 <= figures["slots"].rank_correlation <= 1
    norm = selection_health({"norm": layers["norm"].selection})["norm"]
    assert norm.moved > 0
    assert math.isnan(norm.rank_correlation)
    assert math.isnan(norm.cover)


def test_the_score_of_a_patch_is_its_best_over_the_slots() -> None:
    x = torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    layer = SparseDownsample(2, 3, 4, ("slots", {"query_std": 1.0})).eval()
    layer.record = True
    layer(x)
    keys, queries = layer.evaluator(x, 4)
    torch.testing.assert_close(layer.selection.scores, (keys @ queries.T).amax(2), rtol=1e-5, atol=1e-5)


def test_a_mask_of_another_size_is_named() -> None:
    place = PatchIndex(torch.zeros(1, 4, dtype=torch.int32), 2, (8, 8))
    with pytest.raises(ValueError, match=r"a mask of size \[12, 12\] meets a layer whose map is \[8, 8\]"):
        target_cover(torch.zeros(1, 1, 12, 12), [place])
