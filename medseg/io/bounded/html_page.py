"""Reports as one HTML file: nothing is loaded from outside, texts are escaped, and no script comes from data."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Sequence
from html import escape
from typing import Any

from medseg.io.bounded.atomic import json_text

__all__ = ["html_page", "html_table", "inline_json", "shown_number"]

STYLE = """
:root { color-scheme: light; }
body { font: 15px/1.5 system-ui, sans-serif; margin: 0 auto; max-width: 60rem; padding: 1rem; color: #1b1b1b;
  background: #fff; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.15rem; margin-top: 2rem; }
.scroll { overflow-x: auto; margin-bottom: 1rem; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: .25rem .6rem; border-bottom: 1px solid #ddd; text-align: right; white-space: nowrap; }
th:first-child, td:first-child { text-align: left; } thead th { border-bottom: 2px solid #888; }
.warn { background: #fff4e0; border-left: 4px solid #d98200; padding: .5rem .8rem; }
.note { color: #555; font-size: .9rem; } img, svg { max-width: 100%; height: auto; }
@media (max-width: 40rem) { th, td { padding: .2rem .35rem; font-size: .85rem; }
  th:first-child, td:first-child { white-space: normal; overflow-wrap: anywhere; min-width: 6rem; } }
@media print { body { max-width: none; padding: 0; font-size: 10pt; } .scroll { overflow: visible; }
  h2 { break-after: avoid; } tr { break-inside: avoid; } @page { size: A4; margin: 15mm; } }
"""


def html_page(title: str, parts: Iterable[str], style: str = "", script: str = "") -> str:
    """A whole page. Its policy allows no network at all, and no script but the one given here.

    Args:
        title: of the page, plain text.
        parts: HTML; whoever makes it escapes what it was given.
        style: rules after the common ones.
        script: of the program itself, never made from data (`inline_json` takes data to it). The policy allows it by
            its hash, so that a script in ``parts`` would not run.

    >>> "script-src" in html_page("Report", ["<p>no script</p>"])
    False
    """
    policy = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
    if script:
        digest = base64.b64encode(hashlib.sha256(script.encode("utf-8")).digest()).decode("ascii")
        policy += f"; script-src 'sha256-{digest}'"
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{STYLE}{style}</style></head><body>\n"
        + "\n".join(parts)
        + (f"\n<script>{script}</script>" if script else "")
        + "\n</body></html>\n"
    )


def html_table(heads: Sequence[str], rows: Iterable[Sequence[Any]], first_is_html: bool = False) -> str:
    """A table of plain texts, which can be scrolled sideways on a narrow screen.

    Args:
        heads: of the columns.
        rows: of cells.
        first_is_html: the first cell of each row is HTML, made by the caller.

    >>> "&lt;b&gt;" in html_table(["name"], [["<b>"]])
    True
    """
    head = "".join(f"<th>{escape(text)}</th>" for text in heads)

    def cells(row: Sequence[Any]) -> str:
        texts = [str(cell) if first_is_html and n == 0 else escape(str(cell)) for n, cell in enumerate(row)]
        return "".join(f"<td>{text}</td>" for text in texts)

    body = "".join(f"<tr>{cells(row)}</tr>\n" for row in rows)
    return f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>\n{body}</tbody></table></div>'


def inline_json(identifier: str, value: Any) -> str:
    """Data for the page's script, as text that is not run and in which no tag can end or begin.

    Args:
        identifier: of the element, for the script.
        value: what `medseg.io.bounded.atomic.json_text` takes.

    >>> inline_json("data", {"name": "</script><script>"})
    '<script type="application/json" id="data">{"name": "\\\\u003c/script\\\\u003e\\\\u003cscript\\\\u003e"}</script>'
    """
    text = json_text(value, indent=None)
    for sign in "<>&":
        text = text.replace(sign, f"\\u{ord(sign):04x}")
    return f'<script type="application/json" id="{escape(identifier)}">{text}</script>'


def shown_number(value: float | None, digits: int = 1) -> str:
    """A number for people, or a dash for None.

    >>> shown_number(3.14159, 2), shown_number(None)
    ('3.14', '–')
    """
    return "–" if value is None else f"{value:.{digits}f}"
