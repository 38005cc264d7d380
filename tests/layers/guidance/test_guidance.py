"""Guidance as one argument: dictionaries in its place, plain tensors inside, trees of tensors, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from monai.data import MetaTensor
from torch.utils import _pytree as pytree

from medseg.layers.guidance import Guidance
from medseg.layers.guidance.guidance import as_guidance, guided_flags


def test_nothing_is_known_by_default() -> None:
    assert all(field is None for field in Guidance())
    assert as_guidance("Net", None) == Guidance()
    assert Guidance().tensors() == {}


def test_a_dictionary_takes_its_place() -> None:
    known = Guidance(texture=torch.zeros(2, 3), guided=torch.tensor([True, False]))
    assert list(known.tensors()) == ["texture", "guided"]
    again = as_guidance("Net", known.tensors())
    assert again.texture is known.texture and again.guided is known.guided and again.spatial is None


def test_metatensors_become_plain_tensors() -> None:
    found = as_guidance("Net", Guidance(spatial=MetaTensor(torch.ones(1, 1, 4, 4)))).spatial
    assert type(found) is torch.Tensor and found.shape == (1, 1, 4, 4)


@pytest.mark.parametrize(
    ("known", "batch", "expected"),
    [
        (Guidance(), None, 1),
        (Guidance(), 3, 3),
        (Guidance(), 0, 0),
        (Guidance(guided=torch.ones(4)), None, 4),
        (Guidance(torch.ones(4)), 2, 2),
    ],
)
def test_counts_samples(known: Guidance, batch: int | None, expected: int) -> None:
    assert known.samples(batch) == expected


def test_torch_sees_a_tree_of_tensors() -> None:
    known = Guidance(torch.ones(1), guided=torch.ones(1).bool())
    moved = pytree.tree_map(lambda leaf: None if leaf is None else leaf.to("meta"), known)
    assert type(moved) is Guidance and moved.appearance.is_meta and moved.spatial is None


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (
            {"mask": torch.zeros(1)},
            "Net: guidance has 'mask'; expected appearance, spatial, texture, valid, guided",
        ),
        (torch.zeros(2, 10), r"Net: guidance is a Tensor of shape \[2, 10\]; expected Guidance\(appearance=\.\.\."),
        ((None, None), r"Net: guidance is a tuple \(None, None\); expected Guidance"),
    ],
)
def test_anything_else_is_refused(given: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        as_guidance("Net", given)


def test_flags_are_bool_and_one_for_each_sample() -> None:
    known, cpu = Guidance(guided=torch.tensor([True, False])), torch.device("cpu")
    assert guided_flags("Net", Guidance(), 2, cpu) is None
    assert torch.equal(guided_flags("Net", known, 2, cpu), known.guided)
    with pytest.raises(ValueError, match=r"Net: guided is torch.bool of shape \[2\]; expected bool of \[3\]"):
        guided_flags("Net", known, 3, cpu)
    with pytest.raises(ValueError, match=r"Net: guided is torch.float32 of shape \[2\]; expected bool of \[2\]"):
        guided_flags("Net", Guidance(guided=torch.ones(2)), 2, cpu)
