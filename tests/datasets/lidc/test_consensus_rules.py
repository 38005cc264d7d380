"""Votes, union and STAPLE of masks whose result can be counted by hand or by the algorithm's own equations."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from numpy.typing import NDArray

from medseg.datasets.lidc import ConsensusRule, staple_mask

MASKS = [np.array(bits, bool) for bits in ([1, 1, 1, 0], [1, 1, 0, 0], [1, 0, 0, 0])]


@pytest.mark.trap("4.5-10")
@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("half", [1, 1, 0, 0]),  # at least 1.5 of the three who marked it
        ("half-of-four", [1, 1, 0, 0]),
        ("union", [1, 1, 1, 0]),
        ("at-least-1", [1, 1, 1, 0]),
        ("at-least-2", [1, 1, 0, 0]),
        ("at-least-3", [1, 0, 0, 0]),
        ("at-least-4", [0, 0, 0, 0]),
    ],
)
def test_votes_of_three_readers(name: str, expected: list[int]) -> None:
    rule = ConsensusRule.parse(name)
    assert rule.mask(MASKS).astype(int).tolist() == expected
    assert rule.text == name


@pytest.mark.trap("4.5-10")
def test_half_of_those_who_marked_it_and_half_of_four_differ_for_two_readers() -> None:
    two = MASKS[:2]
    assert ConsensusRule.parse("half").mask(two).astype(int).tolist() == [1, 1, 1, 0]
    assert ConsensusRule.parse("half-of-four").mask(two).astype(int).tolist() == [1, 1, 0, 0]
    assert "who marked that nodule" in ConsensusRule.parse("half").describe()
    assert "of the four readers" in ConsensusRule.parse("half-of-four").describe()


@pytest.mark.parametrize("name", ["most", "at-least-0", "at-least-", "at-least-x", ""])
def test_unknown_rules_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match=r"consensus is|readers is 0"):
        ConsensusRule.parse(name)
    with pytest.raises(ValueError, match="at least one mask"):
        ConsensusRule().mask([])


def staple_by_definition(masks: list[NDArray[np.bool_]], steps: int = 500) -> NDArray[np.float64]:
    """Expectation and maximisation exactly as in Warfield et al. 2004, equations 10, 11, 18 and 19, on flat arrays."""
    marked = np.array([mask.ravel() for mask in masks], float)
    prior = marked.mean()
    sensitivity = specificity = np.full(len(masks), 0.99999)
    truth = np.zeros(marked.shape[1])
    for _ in range(steps):
        yes = prior * np.prod(np.where(marked.T > 0, sensitivity, 1 - sensitivity), axis=1)
        no = (1 - prior) * np.prod(np.where(marked.T > 0, 1 - specificity, specificity), axis=1)
        truth = yes / (yes + no)
        sensitivity = (marked * truth).sum(axis=1) / truth.sum()
        specificity = ((1 - marked) * (1 - truth)).sum(axis=1) / (1 - truth).sum()
    return truth.reshape(masks[0].shape)


def test_staple_is_the_published_algorithm() -> None:
    pytest.importorskip("SimpleITK")
    rng = np.random.default_rng(0)
    i, j, k = np.indices((13, 12, 7))
    distance = np.sqrt((i - 6) ** 2 + (j - 6) ** 2 + (2 * (k - 3)) ** 2)
    masks = [distance + rng.normal(0, 0.7, distance.shape) < radius for radius in (4.0, 4.5, 3.0)]
    masks.append(rng.random(distance.shape) < 0.4)  # a reader who sees nothing
    padded = [np.pad(mask, 1) for mask in masks]
    expected = staple_by_definition(padded)[1:-1, 1:-1, 1:-1]
    assert np.abs(expected - 0.5).min() > 0.01, "no voxel may be so close to one half that rounding decides"
    assert np.array_equal(staple_mask(masks), expected > 0.5)
    assert not np.array_equal(staple_mask(masks), ConsensusRule().mask(masks))


def test_staple_of_one_reader_and_of_readers_who_agree_is_their_mask() -> None:
    mask = np.array([[1, 0], [1, 1]], bool)
    assert np.array_equal(staple_mask([mask]), mask)
    assert np.array_equal(staple_mask([mask, mask]), mask)
    assert not staple_mask([mask & ~mask]).any()


def test_staple_without_simpleitk_is_one_line_that_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "SimpleITK", None)
    with pytest.raises(RuntimeError, match=r"needs SimpleITK; pip install 'medseg\[itk\]'"):
        ConsensusRule.parse("staple").mask(MASKS)
