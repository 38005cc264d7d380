"""Pages of reports: one file, no network, no script from data."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from html.parser import HTMLParser

import pytest

from medseg.io.bounded.html_page import html_page, html_table, inline_json, shown_number

EVIL = "</script><script>alert(1)</script><img src=x onerror=alert(1)>&\"'"


class Scripts(HTMLParser):
    """Types and contents of all scripts of a page, and every other tag."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.scripts: list[tuple[str, str]] = []
        self.tags: list[str] = []
        self._kind: str | None = None
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self._kind = (dict(attrs).get("type") or "text/javascript") if tag == "script" else None

    def handle_data(self, data: str) -> None:
        if self._kind:
            self.scripts.append((self._kind, data))
            self._kind = None


def test_a_page_without_a_script_allows_none() -> None:
    text = html_page(EVIL, ["<p>body</p>"])
    assert "default-src 'none'" in text
    assert "script-src" not in text
    assert not {"script", "img"} & set(Scripts(text).tags)


def test_the_policy_allows_the_programs_own_script_by_its_hash_alone() -> None:
    script = "document.title = 'x';"
    text = html_page("t", [inline_json("data", {"name": EVIL})], script=script)
    (allowed,) = re.findall(r"script-src '([^']*)'", text)
    assert allowed == "sha256-" + base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    page = Scripts(text)
    assert [kind for kind, _ in page.scripts] == ["application/json", "text/javascript"]
    assert json.loads(page.scripts[0][1]) == {"name": EVIL}
    assert page.scripts[1][1] == script
    assert "img" not in page.tags


@pytest.mark.parametrize("first_is_html", [False, True])
def test_cells_are_escaped(first_is_html: bool) -> None:
    text = html_table([EVIL], [["<b>own</b>" if first_is_html else EVIL, EVIL]], first_is_html)
    assert not {"script", "img"} & set(Scripts(text).tags)
    assert ("b" in Scripts(text).tags) == first_is_html


def test_a_missing_number_is_a_dash() -> None:
    assert [shown_number(value, 1) for value in (None, 0.0, 2.349)] == ["–", "0.0", "2.3"]
