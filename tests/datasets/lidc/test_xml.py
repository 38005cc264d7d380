from __future__ import annotations

from pathlib import Path

import pytest

from medseg.datasets.lidc.records import PointMark
from medseg.datasets.lidc.xml import OtherReadError, find_reading, read_xml
from medseg.io.bounded.errors import DataError
from tests.datasets.lidc._messages import SCORES, message, nodule, non_nodule, roi, square


def _write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.trap("4.5-07")
def test_a_message_becomes_readers_nodules_and_points(tmp_path: Path) -> None:
    first = nodule("A", roi(-10.5, square(20, 30, 3)), roi(-8, square(20, 30, 2), "FALSE")) + non_nodule("N", 1, 2, 3)
    second = nodule("0", roi(-10.5, square(21, 30, 3))) + nodule("tiny", roi(4, [(7, 9)]), scores=None)
    reading = read_xml(_write(tmp_path / "a.xml", message("1.2", first, second)))
    assert (reading.series_uid, reading.source, reading.readers) == ("1.2", "xml", 2)
    assert [(a.reader, a.nodule_id) for a in reading.annotations] == [(1, "A"), (2, "0")]
    assert reading.annotations[0].ratings == SCORES
    contours = reading.annotations[0].contours
    assert [(c.z_mm, c.inclusion, len(c.points)) for c in contours] == [(-10.5, True, 25), (-8.0, False, 17)]
    assert contours[0].points[0].tolist() == [17, 27], "x comes first, then y"
    assert reading.points == (
        PointMark(1, "N", "non_nodule", 2, 3, 1.0),
        PointMark(2, "tiny", "nodule_below_3mm", 7, 9, 4.0),
    )


@pytest.mark.trap("4.5-07")
def test_a_small_nodule_with_zeros_for_scores_is_still_a_point(tmp_path: Path) -> None:
    tiny = nodule("tiny", roi(4, [(7, 9)]), scores=dict.fromkeys(SCORES, 0))
    reading = read_xml(_write(tmp_path / "a.xml", message("1.2", tiny)))
    assert reading.points == (PointMark(1, "tiny", "nodule_below_3mm", 7, 9, 4.0),)
    assert (reading.annotations, reading.warnings) == ((), ())


def test_a_nodule_without_characteristics_keeps_its_outline(tmp_path: Path) -> None:
    text = message("1.2", nodule("A", roi(1, square(9, 9, 3)), scores=None))
    annotation = read_xml(_write(tmp_path / "a.xml", text)).annotations[0]
    assert annotation.ratings == {}
    assert len(annotation.contours) == 1


@pytest.mark.trap("4.5-06")
def test_a_score_out_of_range_is_kept_and_said(tmp_path: Path) -> None:
    text = message("1.2", nodule("A", roi(1, square(9, 9, 3)), scores={**SCORES, "internalStructure": 5}))
    reading = read_xml(_write(tmp_path / "a.xml", text))
    assert reading.annotations[0].ratings["internalStructure"] == 5
    assert reading.warnings == ("nodule A: internalStructure is 5, outside 1 to 4; kept as recorded",)


@pytest.mark.parametrize(
    "before",
    ['<!DOCTYPE x [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;&a;">]>', '<!DOCTYPE x SYSTEM "file:///etc/passwd">'],
)
def test_documents_with_a_doctype_are_not_read(tmp_path: Path, before: str) -> None:
    with pytest.raises(DataError, match="DOCTYPE"):
        read_xml(_write(tmp_path / "a.xml", message("1.2", before=before)))


def test_a_doctype_hidden_in_another_encoding_is_found(tmp_path: Path) -> None:
    text = message("1.2", before="<!DOCTYPE x>").replace("UTF-8", "UTF-16")
    path = tmp_path / "a.xml"
    path.write_bytes(text.encode("utf-16"))
    with pytest.raises(DataError, match="DOCTYPE"):
        read_xml(path)


def test_a_chest_x_ray_read_is_refused_by_name(tmp_path: Path) -> None:
    path = _write(tmp_path / "068.xml", message("1.2", root="IdriReadMessage"))
    with pytest.raises(OtherReadError, match=r"068\.xml: root IdriReadMessage is the read of a chest X-ray"):
        read_xml(path)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("<LidcReadMessage><Response", "not well-formed"),
        ("<LidcReadMessage/>", "has no ResponseHeader"),
        (message("1", nodule("A", "")), "nodule A of reader 1 has no roi"),
        (message("1", nodule("A", roi(1, square(5, 5, 2), "MAYBE"))), "inclusion is a text of 5 characters"),
        (message("1", nodule("A", roi(1, []))), "no edgeMap point"),
        (message("1", nodule("A", roi(float("nan"), square(5, 5, 2)))), "imageZposition"),
        (message("1", nodule("A", roi(1, [("1.5", 2), (3, 4)]))), "expected a whole number"),
    ],
)
def test_damage_is_named_in_one_line(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(DataError) as caught:
        read_xml(_write(tmp_path / "a.xml", text))
    assert words in str(caught.value)
    assert str(caught.value).startswith(str(tmp_path / "a.xml"))
    assert "\n" not in str(caught.value)


def test_the_file_of_the_series_is_found_among_others(tmp_path: Path) -> None:
    _write(tmp_path / "a" / "068.xml", message("9", root="IdriReadMessage"))
    _write(tmp_path / "b" / "other.xml", message("1.1"))
    _write(tmp_path / "c" / "069.XML", message("1.2", nodule("A", roi(1, square(9, 9, 3)))))
    reading, path, skipped = find_reading(tmp_path, "1.2")
    assert path.name == "069.XML"
    assert len(reading.annotations) == 1
    assert [line.split(":")[0] for line in skipped] == ["skipped 068.xml", "skipped other.xml"]


def test_no_file_or_two_different_files_for_a_series(tmp_path: Path) -> None:
    _write(tmp_path / "a.xml", message("1.2"))
    with pytest.raises(DataError, match=r"no LIDC XML file reads series 7 \(skipped a.xml"):
        find_reading(tmp_path, "7")
    _write(tmp_path / "copy.xml", message("1.2"))
    assert find_reading(tmp_path, "1.2")[1].name == "a.xml"
    _write(tmp_path / "b.xml", message("1.2", nodule("A", roi(1, square(9, 9, 3)))))
    with pytest.raises(DataError, match="3 different XML files"):
        find_reading(tmp_path, "1.2")


def test_a_real_message(real_data) -> None:
    root = real_data("lidc/LIDC-IDRI-0001")
    series = "1.3.6.1.4.1.14519.5.2.1.6279.6001.179049373636438705059720603192"
    reading, path, skipped = find_reading(root, series)
    assert path.name == "069.xml"
    assert reading.readers == 4
    assert [a.ratings["malignancy"] for a in reading.annotations] == [5, 5, 5, 4]
    assert sum(point.z_mm == -242.5 for point in reading.points) == 4
    assert skipped == [
        "skipped 068.xml: root IdriReadMessage is the read of a chest X-ray, expected LidcReadMessage (a CT read)"
    ]
