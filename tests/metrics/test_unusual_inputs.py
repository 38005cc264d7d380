"""Every public score with masks of every layout and type: the score of the usual mask, or one line."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

import medseg.metrics
from medseg.metrics import (
    dice_score,
    evaluate_case,
    lits_case,
    match_lesions,
    overlap_scores,
    surface_dice,
    surface_distances,
)
from tests._hostile import UNUSUAL, refused, result_or_refusal
from tests.transforms._menu import LAYOUTS, TYPES, values

STEPS = (2.5, 0.7, 0.8)
SCORES: dict[str, Callable[..., float]] = {
    "dice_score": dice_score,
    "overlap_scores": lambda a, b: overlap_scores(a, b).jaccard,
    "surface_dice": lambda a, b: surface_dice(a, b, STEPS, 1.0),
    "surface_distances": lambda a, b: 1 / (1 + surface_distances(a, b, STEPS).assd_mm),
    "match_lesions": lambda a, b: 1 / (1 + sum(match_lesions(a, b).counts(0.5)[1:])),
    "evaluate_case": lambda a, b: evaluate_case(a, b, STEPS, tolerance_mm=1.0).classes[0].surface_dice,
    "lits_case": lambda a, b: lits_case(a, b, STEPS).tumour.dice,
}
"""Every score of two masks, as a number that is 1 for equal masks."""
LABEL = (np.random.default_rng(0).random((3, 5, 6)) > 0.5).astype(np.float32)
OTHER = (np.random.default_rng(1).random((3, 5, 6)) > 0.5).astype(np.float32)


def test_every_public_score_of_two_masks_is_here() -> None:
    members = {name: getattr(medseg.metrics, name) for name in medseg.metrics.__all__}
    functions = {name: list(inspect.signature(f).parameters) for name, f in members.items() if inspect.isfunction(f)}
    assert set(SCORES) == {name for name, words in functions.items() if words[:2] == ["prediction", "reference"]}


@pytest.mark.parametrize("change", [*LAYOUTS.values(), *TYPES.values()], ids=[*LAYOUTS, *TYPES])
@pytest.mark.parametrize("name", SCORES)
def test_the_layout_and_the_type_change_nothing(name: str, change: Any) -> None:
    expected = SCORES[name](LABEL, OTHER)
    assert SCORES[name](change(LABEL), OTHER) == SCORES[name](LABEL, change(OTHER)) == expected
    assert SCORES[name](change(LABEL[..., :1]), OTHER[..., :1]) == SCORES[name](LABEL[..., :1], OTHER[..., :1])


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 0.5])
@pytest.mark.parametrize("name", SCORES)
def test_what_is_no_label_is_refused_in_one_line(name: str, value: float) -> None:
    wrong = LABEL.copy()
    wrong[1, 2, 3] = value
    for arguments in ((wrong, OTHER), (OTHER, wrong), (torch.from_numpy(wrong).bfloat16(), OTHER)):
        assert "[1, 2, 3]" in refused(lambda a=arguments: SCORES[name](*a))


@pytest.mark.parametrize("kind", UNUSUAL)
@pytest.mark.parametrize("name", SCORES)
def test_an_unusual_mask_gives_the_score_of_float32_or_one_line(name: str, kind: str) -> None:
    mask = UNUSUAL[kind](torch.from_numpy(LABEL))
    found = result_or_refusal(lambda: SCORES[name](mask, mask))
    if not isinstance(found, Exception):
        assert found == 1.0 == SCORES[name](values(mask), values(mask))
