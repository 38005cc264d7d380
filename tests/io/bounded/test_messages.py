"""Long lists of like lines become one."""

from __future__ import annotations

from medseg.io.bounded.messages import sum_up


def test_lines_of_one_kind_are_counted_and_the_others_stay_in_their_order() -> None:
    lines = [f"left out a{n}.dcm: second slice at {n}.5 mm; b{n}.dcm is kept" for n in range(6)]
    others = ["head CT: the volume shows a face", "2 padding voxels raised to -1024 HU"]
    assert sum_up([others[0], *lines, others[1]], "ct.json") == [
        others[0],
        "left out a0.dcm: second slice at 0.5 mm; b0.dcm is kept (and 5 more like it, all in ct.json)",
        others[1],
    ]


def test_two_lines_of_one_kind_are_shown_both_and_three_are_not() -> None:
    lines = [f"'{name}': its mask is empty" for name in ("BODY", "left lung", "PTV 60")]
    assert sum_up(lines[:2], "segments.json") == lines[:2]
    assert sum_up(lines, "segments.json") == ["'BODY': its mask is empty (and 2 more like it, all in segments.json)"]


def test_files_without_an_ending_are_told_from_words_by_their_digits() -> None:
    assert len(sum_up(["left out IM1: cut off", "left out IM2: cut off", "left out IM3: cut off"], "x")) == 1
    assert len(sum_up(["the liver is empty", "the lung is empty", "the spleen is empty"], "x")) == 3
