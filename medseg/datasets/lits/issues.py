"""The versioned table of known faults of LiTS: what the files hold, what is expected, what is done, and the source."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Any, Literal, NamedTuple

__all__ = ["IssueKind", "KnownIssue", "known_issues", "table_version"]

IssueKind = Literal["identity_geometry", "mirrored", "label_header", "permuted_axes", "no_tumour", "outlier"]
"""Kinds of rows:

* "identity_geometry": the header says 1 x 1 x 1 mm along R, A, S, which is a placeholder;
* "mirrored": the same headers have the wrong sign along the first axis;
* "label_header": the label's header differs from the image's, although the arrays match;
* "permuted_axes": the slices are not stacked along the body;
* "no_tumour": the label holds no tumour, which is correct;
* "outlier": reported as unusual, without a reason.
"""


class KnownIssue(NamedTuple):
    """One row of the table.

    Attributes:
        case: image name without suffix, e.g. ``volume-28``.
        kind: see :data:`IssueKind`.
        found: what the distributed file holds.
        expected: what is right.
        rule: name of the repair, or ``keep``.
        verified: whether the expected values were checked against a source file or counted.
        source: where they come from, in words.

    >>> known_issues("volume-28")["identity_geometry"].expected
    {'spacing_mm': [0.57, 0.57, 1.6]}
    """

    case: str
    kind: IssueKind
    found: Mapping[str, Any]
    expected: Mapping[str, Any]
    rule: str
    verified: bool
    source: str


def known_issues(case: str) -> dict[IssueKind, KnownIssue]:
    """The table's rows of one case, by kind; empty for a case without any.

    Args:
        case: image name without suffix: ``volume-N`` or ``test-volume-N``.

    >>> sorted(known_issues("volume-28"))
    ['identity_geometry', 'label_header', 'mirrored']
    >>> known_issues("volume-0")
    {}
    """
    return dict(_table()[1].get(case, {}))


def table_version() -> str:
    """Version of the table; it changes with every row.

    >>> table_version().isdigit()
    True
    """
    return _table()[0]


@cache
def _table() -> tuple[str, dict[str, dict[IssueKind, KnownIssue]]]:
    content = json.loads(files("medseg.datasets.lits").joinpath("issues.json").read_text(encoding="utf-8"))
    rows: dict[str, dict[IssueKind, KnownIssue]] = {}
    for row in content["issues"]:
        issue = KnownIssue(**row)
        rows.setdefault(issue.case, {})[issue.kind] = issue
    return str(content["table_version"]), rows
