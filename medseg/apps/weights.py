"""``medseg weights``: what a file of weights holds, and its twin in another format."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from medseg.apps.failures import CommandError
from medseg.io.bounded.atomic import json_text

__all__ = ["main"]

_MOST_LINES, _DEEPEST = 20, 12
_NOT_FINITE = 3


def main(args: argparse.Namespace) -> int:
    """Print what the files hold, or write one in another format.

    Returns:
        0, or 3 if a tensor holds NaN or infinite values.
    """
    from medseg.io.bounded.weights_report import convert_weights, describe_weights

    if args.to is not None:
        if len(args.files) > 1:
            raise CommandError(f"--to takes one file, found {len(args.files)}; give one FILE with one --to OUT")
        written = convert_weights(args.files[0], args.to, args.overwrite)
        print(f"{written}: the weights of {args.files[0]}, compared after writing")
        return 0
    reports = [describe_weights(path) for path in args.files]
    if args.json:
        print(json_text(reports[0] if len(reports) == 1 else reports))
    else:
        print("\n\n".join(_as_text(path, report, args.all) for path, report in zip(args.files, reports, strict=True)))
    bad = any(tensor["not_finite"] for report in reports for tensor in _tensors(report))
    return _NOT_FINITE if bad else 0


def _tensors(report: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return [tensor for state in report["state_dicts"] for tensor in state["tensors"]]


def _as_text(path: str | Path, report: Mapping[str, Any], everything: bool) -> str:
    lines = [f"{path}: {report['kind']}, {_size(report['bytes'])}", f"  sha256 {report['sha256']}"]
    if not report["state_dicts"]:
        lines.append("  a program of its own: it is not opened here; run only archives that you trust")
    lines += [_printable(f"  {name}: {text}") for name, text in report["entries"].items()]
    for state in report["state_dicts"]:
        where = f"entry {state['entry']}: " if state["entry"] else ""
        types = ", ".join(f"{count} {name}" for name, count in state["dtypes"].items())
        total = f"{state['n_numbers']:,} numbers, {_size(state['n_bytes'])}"
        lines.append(f"  {where}{len(state['tensors'])} tensors ({types}), {total}")
        lines += [f"    {line}" for line in (_each(state) if everything else _grouped(state))]
    lines += [
        f"  not finite: {_printable(tensor['name'])} holds {tensor['not_finite']} values that are NaN or infinite"
        for tensor in _tensors(report)
        if tensor["not_finite"]
    ]
    return "\n".join(lines)


def _each(state: Mapping[str, Any]) -> list[str]:
    names = [_printable(tensor["name"]) for tensor in state["tensors"]]
    width = max(map(len, names), default=0)
    return [
        f"{name:<{width}}  {tensor['dtype']} {_shape(tensor)}"
        for name, tensor in zip(names, state["tensors"], strict=True)
    ]


def _grouped(state: Mapping[str, Any]) -> list[str]:
    """A line for each beginning of the names, as long as the lines stay few: tensors, numbers, the largest shape."""
    depth, groups = 1, _groups(state["tensors"], 1)
    while depth < _DEEPEST and len(deeper := _groups(state["tensors"], depth + 1)) <= _MOST_LINES:
        depth, groups = depth + 1, deeper
    width = max(map(len, groups), default=0)
    lines = []
    for name, tensors in groups.items():
        numbers, largest = sum(map(_count, tensors)), max(tensors, key=_count)
        lines.append(f"{name:<{width}}  {len(tensors):>3} tensors {numbers:>12,} numbers, largest {_shape(largest)}")
    return lines


def _groups(tensors: Sequence[Mapping[str, Any]], depth: int) -> dict[str, list[Mapping[str, Any]]]:
    groups: dict[str, list[Mapping[str, Any]]] = {}
    for tensor in tensors:
        name = str(tensor["name"])
        groups.setdefault(_printable(".".join(name.split(".")[:-1][:depth]) or name), []).append(tensor)
    return groups


def _printable(text: str) -> str:
    """A text of a file without what could steer a terminal."""
    return "".join(letter if letter.isprintable() else "?" for letter in text)


def _count(tensor: Mapping[str, Any]) -> int:
    product = 1
    for length in tensor["shape"]:
        product *= int(length)
    return product


def _shape(tensor: Mapping[str, Any]) -> str:
    return " x ".join(map(str, tensor["shape"])) or "one number"


def _size(count: int) -> str:
    return f"{count:,} bytes" if count < 1_000_000 else f"{count / 1e6:,.1f} MB"
