"""LoadPrompts: the prompts of the image at hand, with missing and misspelt ones refused in one line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from monai.data import MetaTensor

from medseg.io.bounded.errors import DataError
from medseg.transforms import GuideMap, LoadPrompts, LoadPromptsd

CLICKS = [[1, 3.0, -4.0, 10.0], [0, 1, 2, 3]]
BOX = [[1, 3.0, -4.0, 10.0, 2.0, 2.0, 4.0]]


def image(name: str = "data/scan.nii.gz", axes: int = 3) -> MetaTensor:
    return MetaTensor(torch.zeros(1, *(8,) * axes), affine=torch.eye(4), meta={"filename_or_obj": name})


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return written(tmp_path, {"scan.nii.gz": CLICKS, "box.nii": BOX, "none.nii": []})


def written(folder: Path, content: Any) -> Path:
    path = folder / "prompts.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def test_a_click_has_no_extent_and_a_box_keeps_its_own(path: Path) -> None:
    load = LoadPrompts(path)
    assert load(image()).tolist() == [[1, 3, -4, 10, 0, 0, 0], [0, 1, 2, 3, 0, 0, 0]]
    assert load(image("box.nii")).tolist() == BOX
    assert load(image("/elsewhere/none.nii")).shape == (0, 7) and load(image("none.nii", axes=2)).shape == (0, 5)


def test_the_table_is_what_a_guide_map_reads(path: Path) -> None:
    scan = image()
    scan.affine = torch.tensor(np.diag([2.0, 2.0, 5.0, 1.0]))
    drawn = GuideMap("disc", sigma=0.5, frame="RAS", channels=("fg",), outside="keep")
    written(path.parent, {"scan.nii.gz": [[1, 4.0, 6.0, 10.0]]})
    found = drawn(scan, LoadPrompts(path)(scan))
    assert torch.nonzero(torch.as_tensor(found)[0]).tolist() == [[2, 3, 2]]


def test_the_dictionary_form_adds_an_item_and_keeps_the_image(path: Path) -> None:
    sample = {"image": image(), "other": 1}
    found = LoadPromptsd("image", path)(sample)
    assert set(found) == {"image", "other", "image_prompts"} and found["image"] is sample["image"]
    assert torch.equal(found["image_prompts"], LoadPrompts(path)(image()))
    with pytest.raises(ValueError, match="'image_prompts' exists already"):
        LoadPromptsd("image", path)(found)
    assert "image_prompts" not in LoadPromptsd("image", path, allow_missing_keys=True)({})
    with pytest.raises(ValueError, match="postfix is ''"):
        LoadPromptsd("image", path, postfix="")


@pytest.mark.parametrize(
    ("content", "line"),
    [
        ({"scn.nii.gz": CLICKS}, r"has no prompts for 'scan\.nii\.gz', only for scn\.nii\.gz; add them, or"),
        ("{", r"not valid JSON"),
        ([CLICKS], r"holds a list, expected an object"),
        ({"scan.nii.gz": [[1, 2.0]]}, r"prompts have shape \(1, 2\), expected \(N, 7\)"),
        ({"scan.nii.gz": [[2, 0, 0, 0]]}, r"prompts hold class 2, expected 1 \(foreground\) or 0"),
        ({"scan.nii.gz": [[1, None, 0, 0]]}, r"the form is"),
        ({"scan.nii.gz": [[1, "a", 0, 0]]}, r"the form is"),
        ({"scan.nii.gz": [1, 2, 3, 4]}, r"expected a list of rows"),
        ({"scan.nii.gz": "clicks"}, r"expected a list of rows"),
        ("[" * 100_000, r"not valid JSON"),
    ],
)
def test_what_is_no_list_for_the_image_is_one_line_with_the_file(tmp_path: Path, content: Any, line: str) -> None:
    path = written(tmp_path, content)
    with pytest.raises(DataError, match=line) as caught:
        LoadPrompts(path)(image())
    assert str(caught.value).startswith(f"{path}: ") and "\n" not in str(caught.value)


def test_a_missing_file_and_an_image_without_a_name_are_one_line(tmp_path: Path, path: Path) -> None:
    with pytest.raises(DataError, match=r"gone\.json: no such file; write the prompts"):
        LoadPrompts(tmp_path / "gone.json")(image())
    for nameless in (torch.zeros(1, 4, 4, 4), MetaTensor(torch.zeros(1, 4, 4, 4))):
        with pytest.raises(DataError, match="no file name in its metadata; use it after LoadImaged"):
            LoadPrompts(path)(nameless)
