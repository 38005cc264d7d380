"""Merging label maps: values, conflicts and islands with known answers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from medseg.datasets import LabelLayer, merge_labels, parse_value_map

LIVER, TUMOUR, OTHER = np.array([1, 1, 1, 1, 0, 0]), np.array([0, 1, 1, 0, 0, 0]), np.array([0, 0, 1, 0, 0, 1])


def layers(*values: int) -> list[LabelLayer]:
    return [LabelLayer(*item) for item in zip(("liver", "a", "b"), (LIVER, TUMOUR, OTHER), values, strict=False)]


def test_several_files_of_one_class_become_one_label() -> None:
    found = merge_labels([LabelLayer("a", TUMOUR, 2), LabelLayer("b", OTHER, 2)])
    assert found.array.tolist() == [0, 2, 2, 0, 0, 2]
    assert found.array.dtype == np.uint8
    assert (found.repeated, found.conflicts) == (1, {})


def test_a_conflict_is_refused_with_names_place_and_remedy() -> None:
    with pytest.raises(
        ValueError, match=r"liver and a claim 2 voxel\(s\) with different values \(first at \[1\]: 1 and 2\)"
    ):
        merge_labels(layers(1, 2))


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ("first", [3, 3, 3, 3, 0, 1]),
        ("last", [3, 2, 1, 3, 0, 1]),
        ("highest", [3, 3, 3, 3, 0, 1]),
    ],
)
def test_conflicts_are_decided_by_the_named_rule_and_counted(rule: Any, expected: list[int]) -> None:
    found = merge_labels(layers(3, 2, 1), rule)
    assert found.array.tolist() == expected
    if rule == "last":
        assert found.conflicts == {("a", "liver"): 2, ("b", "a"): 1}
    else:
        assert found.conflicts == {("liver", "a"): 2, ("liver", "b"): 1}


def test_single_values_are_mapped_or_left_out_and_others_refused() -> None:
    array = np.array([0, 1, 2, 3])
    assert merge_labels([LabelLayer("x", array, {1: 5, 2: 0, 3: 300})]).array.tolist() == [0, 5, 0, 300]
    with pytest.raises(ValueError, match="x holds the value 3, which its map does not name; add 3:NEW, or 3:0"):
        merge_labels([LabelLayer("x", array, {1: 5, 2: 0})])


def test_islands_are_numbered_by_size_with_the_layers_that_drew_them() -> None:
    first, second = np.zeros((2, 6, 6), np.uint8)
    first[0:3, 0:3] = 1
    second[2, 2] = second[3, 3] = 1  # touches the first one by a corner
    second[5, 0] = 1
    found = merge_labels([LabelLayer("one", first, 2), LabelLayer("two", second, 2)])
    assert [(i.number, i.value, i.voxels, i.layers) for i in found.islands] == [
        (1, 2, 10, ("one", "two")),
        (2, 2, 1, ("two",)),
    ]
    assert found.islands[1].centre_voxel == (5.0, 0.0)
    assert found.instances[5, 0] == 2
    assert found.instances[3, 3] == 1


def test_islands_of_different_values_that_touch_are_two() -> None:
    found = merge_labels(layers(1, 2), "last")
    assert sorted((i.value, i.voxels) for i in found.islands) == [(1, 1), (1, 1), (2, 2)]


def test_empty_layers_give_an_empty_label() -> None:
    found = merge_labels([LabelLayer("none", np.zeros((3, 3, 3)), 1)])
    assert (found.array.any(), found.islands) == (False, ())


@pytest.mark.parametrize("text", ["", "a", "1:", "1:2,", "0:1", "1:2,1:3", "-1", "1:99999", "70000"])
def test_other_maps_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is no map of values"):
        parse_value_map(text)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ([], "there is no layer"),
        ([LabelLayer("x", np.array([0.5]), 1)], "x contains 0.5"),
        ([LabelLayer("x", np.array([-1]), 1)], "x holds the value -1, expected 0 to 65535"),
        ([LabelLayer("x", np.zeros(3), 1), LabelLayer("y", np.zeros(4), 1)], "y has shape .4,., x .3,."),
    ],
)
def test_wrong_layers_are_refused(given: list[LabelLayer], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        merge_labels(given)
    with pytest.raises(ValueError, match="rule is 'newest', expected one of refuse, first, last, highest"):
        merge_labels(given, "newest")  # type: ignore[arg-type]
