"""The lists of a dataset.json: read as MONAI reads them, and one line with the fix for everything that is wrong."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from monai.data import load_decathlon_datalist

from medseg.datasets.data_list import read_data_list


def write(folder: Path, content: Any) -> Path:
    for name in ("a.nii.gz", "b.nii.gz"):
        (folder / name).touch()
    path = folder / "dataset.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


CASES = [{"image": "a.nii.gz", "label": "b.nii.gz", "fold": 2}, {"image": "b.nii.gz", "label": "a.nii.gz"}]


def test_a_list_is_what_monai_reads(tmp_path: Path) -> None:
    path = write(tmp_path, {"name": "set", "training": CASES, "validation": CASES[:1]})
    for key in ("training", "validation"):
        assert read_data_list(path, key) == load_decathlon_datalist(path, data_list_key=key)
    assert read_data_list(path, "training")[0] == {
        "image": f"{tmp_path}/a.nii.gz",
        "label": f"{tmp_path}/b.nii.gz",
        "fold": 2,
    }


def test_absolute_names_and_several_images_of_a_case_are_read(tmp_path: Path) -> None:
    case = {"image": [f"{tmp_path}/a.nii.gz", "b.nii.gz"], "label": "b.nii.gz"}
    assert read_data_list(write(tmp_path, {"training": [case]}), "training")[0]["image"] == [
        f"{tmp_path}/a.nii.gz",
        f"{tmp_path}/b.nii.gz",
    ]


def test_an_empty_list_is_accepted_only_where_it_may_be(tmp_path: Path) -> None:
    path = write(tmp_path, {"training": [], "validation": []})
    assert read_data_list(path, "validation", may_be_empty=True) == []
    with pytest.raises(ValueError, match="the list 'training' is empty; add at least one case in the form"):
        read_data_list(path, "training")


@pytest.mark.parametrize(
    ("content", "key", "expected"),
    [
        (
            {"training": CASES, "name": "set"},
            "validation",
            r"has no list 'validation' \(its lists: training\); add \"validation\": \[\] to train without validation, "
            r"or give cases .* \(python -m data_prep.dataset --validation-pair IMAGE LABEL\)",
        ),
        ({"name": "set"}, "training", r"has no list 'training' \(its lists: none\); add it in the form \[\{\"image\""),
        ({"training": {"image": "a"}}, "training", "'training' is a dict, expected a list in the form"),
        ("[1, 2]", "training", "holds a list, expected an object with lists of cases"),
        ("{", "training", "not valid JSON"),
        ({"training": ["a.nii.gz"]}, "training", "case 1 of 1 in 'training' is a str, expected an object with"),
        (
            {"training": [*CASES, {"image": "a.nii.gz"}]},
            "training",
            "case 3 of 3 in 'training' has no 'label', only im",
        ),
        ({"training": [{}]}, "training", "case 1 of 1 in 'training' has no 'image', only nothing"),
        (
            {"training": [{"image": "gone.nii", "label": "a.nii.gz"}]},
            "training",
            "case 1 of 1 in 'training': image 'gone.nii' does not exist; mend the list or the folder",
        ),
        ({"training": [{"image": "a.nii.gz", "label": None}]}, "training", "label None does not exist"),
    ],
)
def test_everything_else_is_one_line_with_the_file_and_the_fix(
    tmp_path: Path, content: Any, key: str, expected: str
) -> None:
    path = write(tmp_path, content)
    with pytest.raises(ValueError, match=expected) as caught:
        read_data_list(path, key, may_be_empty=True)
    assert str(caught.value).startswith(f"{path}: ") and "\n" not in str(caught.value)


def test_a_missing_file_names_the_command_that_makes_it(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"no such file; make it with python -m data_prep\.dataset"):
        read_data_list(tmp_path / "dataset.json", "training")
