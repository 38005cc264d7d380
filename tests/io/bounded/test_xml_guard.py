"""XML is parsed within bounds of size, depth and number, and without entities."""

from __future__ import annotations

from pathlib import Path

import pytest

from medseg.io.bounded.errors import DataError
from medseg.io.bounded.xml_guard import parse_xml


def write(path: Path, content: str | bytes) -> Path:
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def test_plain_documents_become_a_tree(tmp_path: Path) -> None:
    root = parse_xml(write(tmp_path / "a.xml", '<?xml version="1.0"?><a><b c="1">&lt;text&#65;</b></a>'))
    assert (root.tag, root[0].attrib, root[0].text) == ("a", {"c": "1"}, "<textA")


@pytest.mark.parametrize(
    "before",
    [
        "<!DOCTYPE a>",
        '<!DOCTYPE a [<!ENTITY b "bbbb">]>',
        '<!DOCTYPE a SYSTEM "file:///etc/passwd">',
        '<!DOCTYPE a [<!ENTITY % p SYSTEM "http://localhost/x"> %p;]>',
        "<!DOCTYPE a [" + "".join(f'<!ENTITY e{n + 1} "{f"&e{n};" * 10}">' for n in range(9)) + "]>",
    ],
)
def test_documents_with_a_doctype_are_refused_before_anything_is_expanded(tmp_path: Path, before: str) -> None:
    with pytest.raises(DataError, match="DOCTYPE or entities, which LIDC files never do"):
        parse_xml(write(tmp_path / "a.xml", f"{before}<a>&e9;</a>"), "LIDC")


def test_depth_number_and_size_are_bounded(tmp_path: Path) -> None:
    deep = write(tmp_path / "deep.xml", "<a>" * 50 + "</a>" * 50)
    assert parse_xml(deep, max_depth=50).tag == "a"
    with pytest.raises(DataError, match="more than 49 deep"):
        parse_xml(deep, max_depth=49)
    many = write(tmp_path / "many.xml", "<a>" + '<b c="1" d="2"/>' * 100 + "</a>")
    assert len(parse_xml(many, max_elements=301)) == 100
    with pytest.raises(DataError, match="more than 300 XML elements"):
        parse_xml(many, max_elements=300)
    with pytest.raises(DataError, match="100 bytes, expected at most 99 for an XML file"):
        parse_xml(write(tmp_path / "large.xml", "<a>" + " " * 93 + "</a>"), max_bytes=99)


def test_a_hundred_thousand_levels_are_no_crash(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="more than 64 deep"):
        parse_xml(write(tmp_path / "a.xml", "<a>" * 100_000))


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"text",
        b"<a>",
        b"<a></b>",
        b"<a>&unknown;</a>",
        b"<a>\xff</a>",
        b'<?xml version="1.0" encoding="no-such"?><a/>',
        b'<?xml version="1.0" encoding="shift_jis"?><a>\x82\xa0</a>',
        b"\xff\xfe<\x00a",
        b"<a>\x00</a>",
    ],
)
def test_damage_is_one_line(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(DataError, match=r"a\.xml: not well-formed XML") as caught:
        parse_xml(write(tmp_path / "a.xml", content))
    assert "\n" not in str(caught.value)


def test_a_missing_file_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"gone\.xml: cannot be read \(No such file"):
        parse_xml(tmp_path / "gone.xml")
