"""Every public score with masks of every layout and type: the score of the usual mask, or one line."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

import medseg.metrics
from medseg.metrics import dice_score
from tests._hostile import UNUSUAL, refused, result_or_refusal
from tests.transforms._menu import LAYOUTS, TYPES, values

SCORES = {"dice_score": dice_score}
LABEL = (np.random.default_rng(0).random((2, 3, 5, 6)) > 0.5).astype(np.float32)
OTHER = (np.random.default_rng(1).random((2, 3, 5, 6)) > 0.5).astype(np.float32)


def test_every_public_score_is_here() -> None:
    assert set(SCORES) == set(medseg.metrics.__all__)


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
    wrong[0, 1, 2, 3] = value
    for arguments in ((wrong, OTHER), (OTHER, wrong), (torch.from_numpy(wrong).bfloat16(), OTHER)):
        assert "[0, 1, 2, 3]" in refused(lambda a=arguments: SCORES[name](*a))


@pytest.mark.parametrize("kind", UNUSUAL)
@pytest.mark.parametrize("name", SCORES)
def test_an_unusual_mask_gives_the_score_of_float32_or_one_line(name: str, kind: str) -> None:
    mask = UNUSUAL[kind](torch.from_numpy(LABEL))
    found = result_or_refusal(lambda: SCORES[name](mask, mask))
    if not isinstance(found, Exception):
        assert found == 1.0 == SCORES[name](values(mask), values(mask))
