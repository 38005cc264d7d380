"""Layers named in MONAI's form: what is split, which dropout is made, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest
from torch import nn

from medseg.layers.named import dropout_layer, split_named


@pytest.mark.parametrize(
    ("named", "expected"),
    [
        ("ReLU", ("relu", {})),
        (("Instance", {"affine": True}), ("instance", {"affine": True})),
    ],
)
def test_a_name_is_given_in_lower_case_with_its_arguments(named: Any, expected: tuple[str, dict[str, Any]]) -> None:
    assert split_named("Net", "act", named) == expected


def test_the_arguments_are_a_copy() -> None:
    options = {"affine": True}
    split_named("Net", "norm", ("batch", options))[1].clear()
    assert options == {"affine": True}


@pytest.mark.parametrize("named", [3, None, ("relu",), (nn.ReLU, {}), ("relu", 3)], ids=repr)
def test_another_form_is_refused_with_owner_argument_and_value(named: Any) -> None:
    with pytest.raises(ValueError, match=r"Net: act is .*; expected a name, or a pair \(name, \{arguments\}\)"):
        split_named("Net", "act", named)


@pytest.mark.parametrize(
    ("dropout", "axes", "expected"),
    [
        (None, 1, nn.Identity),
        (0.0, 2, nn.Identity),
        (0.5, 1, nn.Dropout),
        (0.5, 2, nn.Dropout2d),
        (("alphadropout", {"p": 0.5}), 1, nn.AlphaDropout),
    ],
    ids=repr,
)
def test_dropout_is_a_probability_a_name_or_none(dropout: Any, axes: int, expected: type[nn.Module]) -> None:
    layer = dropout_layer(dropout, axes)
    assert type(layer) is expected
    assert getattr(layer, "p", 0.5) == 0.5
