from __future__ import annotations

import json
from pathlib import Path

import pytest
from pydicom.sr.codedict import codes

from medseg.io.bounded.errors import DataError
from medseg.io.results.segment_info import PRESETS, Code, SegmentInfo, describe_segments, preset, read_segment_names


def test_codes_of_known_segments_are_those_of_the_standard() -> None:
    scheme = codes.SCT
    for name, concept in (
        ("liver", scheme.Liver),
        ("liver tumour", scheme.Neoplasm),
        ("lung", scheme.Lung),
        ("lung nodule", scheme.Nodule),
    ):
        assert PRESETS[name].kind == Code(concept.value, concept.scheme_designator, concept.meaning)
    categories = {PRESETS[name].category[0] for name in PRESETS}
    assert categories == {scheme.AnatomicalStructure.value, scheme.MorphologicallyAbnormalStructure.value}
    assert PRESETS["lung nodule"].region == Code(scheme.Lung.value, "SCT", "Lung")


@pytest.mark.parametrize("name", ["Liver_Tumour", "liver tumor", "TUMOUR", "neoplasm-of-liver"])
def test_spellings_of_a_name_find_its_codes_and_keep_the_name(name: str) -> None:
    info = preset(name)
    assert info.name == name
    assert info.kind == PRESETS["liver tumour"].kind


def test_an_unknown_name_is_known_to_have_no_codes() -> None:
    assert preset("blob").is_uncoded
    assert not preset("liver").is_uncoded


def test_every_value_that_occurs_must_be_named() -> None:
    with pytest.raises(DataError, match=r"label value 7 has no name \(named: \[1\]\)"):
        describe_segments([0, 1, 7], {1: "liver"}, "M.nii.gz")


def test_values_are_described_in_ascending_order_with_a_colour_each() -> None:
    infos = describe_segments([2, 9], {9: "b", 2: "a", 4: "absent"})
    assert [(value, info.name, info.number) for value, info in infos.items()] == [
        (2, "a", 2),
        (4, "absent", 4),
        (9, "b", 9),
    ]
    assert len({info.color_rgb for info in infos.values()}) == 3


def test_names_are_made_up_only_where_none_are_given() -> None:
    assert [info.name for info in describe_segments([3, 0], None).values()] == ["segment 3"]


@pytest.mark.parametrize(
    ("segments", "words"),
    [({1: "a", 2: "a"}, "two segments are named 'a'"), ({}, "at least one"), ({0: "background"}, "at least one")],
)
def test_descriptions_that_contradict_each_other_are_refused(segments: dict[int, str], words: str) -> None:
    with pytest.raises(DataError, match=words):
        describe_segments([], segments)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["", "  ", "a\\b", "x" * 65, "line\nbreak"])
def test_names_that_dicom_cannot_hold_are_refused(name: str) -> None:
    with pytest.raises(DataError, match="segment name"):
        SegmentInfo(name)


def test_names_are_read_from_json_with_whatever_is_given(tmp_path: Path) -> None:
    entry = {"name": "spot", "kind": ["52988006", "SCT", "Lesion"], "color_rgb": [1, 2, 3], "algorithm_type": "MANUAL"}
    (tmp_path / "names.json").write_text(json.dumps({"0": "background", "1": "liver", "5": entry}))
    infos = read_segment_names(tmp_path / "names.json")
    assert list(infos) == [1, 5]
    assert infos[1].kind.meaning == "Liver"
    assert infos[5] == SegmentInfo(
        "spot", kind=Code("52988006", "SCT", "Lesion"), color_rgb=(1, 2, 3), algorithm_type="MANUAL"
    )


def test_a_description_comes_back_from_its_json_form(tmp_path: Path) -> None:
    info = preset("lung nodule")
    (tmp_path / "names.json").write_text(json.dumps({"3": info.as_json()}))
    assert read_segment_names(tmp_path / "names.json") == {3: info}


def test_a_training_folders_list_of_labels_will_do(tmp_path: Path) -> None:
    (tmp_path / "dataset.json").write_text('{"labels": {"0": "background", "1": "nodule"}, "training": []}')
    assert read_segment_names(tmp_path / "dataset.json")[1].kind.meaning == "Nodule"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "no readable JSON"),
        ("[]", "holds a list"),
        ('{"one": "liver"}', "key 'one'"),
        ('{"1": 5}', "entry '1': expected a name"),
        ('{"1": {"name": "a", "kind": ["1", "SCT"]}}', r"kind is .* expected \[code, scheme, meaning\]"),
        ('{"1": {"name": "a", "colour": [0, 0, 0]}}', "not a field of a segment"),
        ('{"1": {"name": "a", "color_rgb": [0, 0, 300]}}', "expected three numbers from 0 to 255"),
        ('{"1": {"name": "a", "algorithm_type": "ROBOT"}}', "expected one of MANUAL"),
    ],
)
def test_what_is_no_list_of_names_is_refused_in_one_line(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "names.json"
    path.write_text(text)
    with pytest.raises(DataError, match=words) as caught:
        read_segment_names(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
