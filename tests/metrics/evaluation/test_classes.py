"""Classes and their values, as words and as a file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from medseg.io.bounded.atomic import write_json
from medseg.io.bounded.errors import DataError
from medseg.metrics.evaluation.classes import mask_of_class, parse_classes, unnamed_values


def test_words_and_defaults() -> None:
    assert parse_classes(["liver=2,1", "tumour=2"]) == {"liver": (1, 2), "tumour": (2,)}
    assert parse_classes([], "lits") == {"liver": (1, 2), "tumour": (2,)}
    assert parse_classes([]) == {"foreground": ()}


@pytest.mark.parametrize(
    "labels",
    [
        {"background": 0, "liver": [1, 2], "tumour": 2},
        {"0": "background", "1": "liver", "2": "tumour"},
    ],
)
def test_the_labels_of_both_kinds_of_dataset_json(tmp_path: Path, labels: dict[str, object]) -> None:
    path = write_json(tmp_path / "dataset.json", {"labels": labels})
    assert parse_classes([str(path)])["tumour"] == (2,)
    assert set(parse_classes([str(path)])) == {"liver", "tumour"}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["liver"], "expected NAME=VALUE"),
        (["liver=a"], "expected NAME=VALUE"),
        (["<b>=1"], "expected NAME=VALUE"),
        (["liver=0"], "which is background"),
        (["a=1", "a=2"], "names a twice"),
    ],
)
def test_other_words_are_refused(words: list[str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse_classes(words)


@pytest.mark.parametrize("content", ["{", "[]", '{"labels": 3}', '{"labels": {"<b>": 1}}', '{"labels": {"a": -1}}'])
def test_other_files_are_refused_in_one_line(tmp_path: Path, content: str) -> None:
    path = tmp_path / "dataset.json"
    path.write_text(content)
    with pytest.raises(DataError, match=r"dataset\.json: "):
        parse_classes([str(path)])


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.int32])
def test_masks_and_values_without_a_class(dtype: type) -> None:
    labels = np.array([0, 1, 2, 5, 7], dtype)
    assert mask_of_class(labels, (1, 2)).tolist() == [False, True, True, False, False]
    assert mask_of_class(labels, ()).tolist() == [False, True, True, True, True]
    assert unnamed_values(labels, {"liver": (1, 2)}) == [5, 7]
    assert unnamed_values(labels, {"foreground": ()}) == []
