"""Saved inputs, and drawn ones: each target's seeds with changed fields, bytes and lengths, always the same ones."""

from __future__ import annotations

import functools
import signal
import struct
import sys
import tempfile
from collections import Counter
from pathlib import Path

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tests.fuzz._dicom_elements import join, split
from tests.fuzz._seeds import all_seeds
from tests.fuzz._targets import CORPUS, TARGETS, outcome
from tests.io._image_files import meta_header, nrrd_header

__all__ = ["TARGETS", "inputs", "run_drawn", "run_saved"]

_SECONDS = 30  # for one input: more is taken for a hang

_ODD_NUMBERS = [
    "0",
    "-1",
    "1",
    "2",
    "3",
    "32768",
    "2147483647",
    "2147483648",
    "-9223372036854775809",
    "99999999999999999",
]
_ODD_REALS = ["nan", "inf", "-inf", "1e308", "1e-320", "1_0", "0x10", ".", "1e", "-0", "+5", "1,5", "٣"]
_ODD_WORDS = [
    "",
    " ",
    "LOCAL",
    "LIST",
    "../a",
    "a.raw",
    "a.mhd",
    "/dev/zero",
    "%d",
    "True",
    "gzip",
    "none",
    "(1,0,0)",
    "\t",
]

_values = st.lists(st.sampled_from(_ODD_NUMBERS + _ODD_REALS + _ODD_WORDS), max_size=9).map(" ".join) | st.text(
    max_size=20
)
_numbers = (
    st.sampled_from([struct.pack("<f", x) for x in (float("nan"), float("inf"), 0.0, -1.0, 1e30, 1e-30, 352.0)])
    | st.sampled_from([struct.pack("<h", n) for n in (0, -1, 1, 7, 8, 255, 32767, -32768)])
    | st.sampled_from([struct.pack("<i", n) for n in (0, -1, 2**31 - 1, -(2**31), 2**16)])
    | st.binary(min_size=1, max_size=8)
)


_seeds = functools.cache(all_seeds)


@st.composite
def _edited(draw: st.DrawFn, target: str) -> bytes:
    """A seed after some edits: bytes overwritten, cut out, repeated, inserted, or the end cut off."""
    seeds = _seeds()[target]
    data = bytearray(seeds[draw(st.sampled_from(sorted(seeds)))])
    for _ in range(draw(st.integers(1, 4))):
        place = draw(st.integers(0, max(len(data) - 1, 0)))
        length = draw(st.integers(0, 64))
        kind = draw(st.sampled_from(["overwrite", "overwrite", "cut", "repeat", "insert", "end"]))
        if kind == "overwrite":
            new = draw(_numbers)
            data[place : place + len(new)] = new
        elif kind == "cut":
            del data[place : place + length]
        elif kind == "repeat":
            data[place:place] = data[place : place + length] * draw(st.integers(1, 50))
        elif kind == "insert":
            data[place:place] = draw(st.binary(max_size=16))
        else:
            del data[place:]
    return bytes(data)


def _changed_fields(names: list[str]) -> st.SearchStrategy[dict[str, str | None]]:
    return st.dictionaries(st.sampled_from(names) | st.text(min_size=1, max_size=8), st.none() | _values, max_size=4)


_META_NAMES = [line.partition(" =")[0] for line in meta_header().splitlines()] + [
    *("Rotation", "Position", "CenterOfRotation", "AnatomicalOrientation", "ElementSize", "HeaderSize"),
    *("CompressedDataSize", "ElementNumberOfChannels"),
]
_NRRD_NAMES = [line.partition(":")[0] for line in nrrd_header().splitlines() if ":" in line] + [
    *("space dimension", "space units", "data file", "line skip", "byte skip", "spacings"),
    *("Segment0_Layer:=", "Segment0_LabelValue:=", "Segment0_Extent:=", "Segment1_Name:="),
]


_SYNTAXES = [
    "1.2.840.10008.1.2" + end for end in ("", ".1", ".1.99", ".2", ".4.50", ".4.57", ".4.70", ".4.80", ".4.90", ".5")
]
_TEXTS = [
    *_ODD_NUMBERS,
    *_ODD_REALS,
    "0.7\\0.6",
    "1\\0\\0\\0\\1\\0",
    "0\\0\\0",
    "1.2.3",
    "MONOCHROME1",
    "RGB",
    "CT",
    "MR",
    "YES",
]
_TEXTS += ["\\".join([text] * 3) for text in ("1e308", "nan", "0", "-5")]


@st.composite
def _changed_elements(draw: st.DrawFn) -> bytes:
    """A slice some of whose elements hold other bytes, are gone, or are there twice."""
    elements = split(_seeds()["series"]["explicit"])
    for _ in range(draw(st.integers(1, 4))):
        n = draw(st.integers(0, len(elements) - 1))
        element = elements[n]
        if element.vr in (b"US", b"UL", b"SS"):
            value = struct.pack("<H", draw(st.sampled_from([0, 1, 2, 3, 5, 7, 8, 15, 16, 32, 64, 4096, 65535])))
        elif (element.group, element.number) == (2, 16):
            value = draw(st.sampled_from(_SYNTAXES)).encode()
        else:
            value = draw(st.sampled_from(_TEXTS).map(str.encode) | st.binary(max_size=40))
        kind = draw(st.sampled_from(["change", "change", "remove", "repeat"]))
        elements[n : n + 1] = {"change": [element._replace(value=value)], "remove": [], "repeat": [element] * 2}[kind]
    return join(elements)


def inputs(target: str) -> st.SearchStrategy[bytes]:
    """Inputs of a target."""
    if target == "metaimage":
        texts = _changed_fields(_META_NAMES).map(lambda fields: meta_header(**fields).encode("utf-8", "replace"))
        return _edited(target) | st.tuples(texts, st.binary(max_size=8) | st.just(bytes(420))).map(b"".join)
    if target == "nrrd":
        texts = _changed_fields(_NRRD_NAMES).map(lambda fields: nrrd_header(**fields).encode("utf-8", "replace"))
        return _edited(target) | st.tuples(texts, st.binary(max_size=8) | st.just(bytes(420))).map(b"".join)
    if target == "series":
        return _edited(target) | _changed_elements()
    return _edited(target)


def run_saved(target: str) -> dict[str, str]:
    """Run the saved inputs and say how each ended."""
    found: dict[str, str] = {}
    with tempfile.TemporaryDirectory() as folder:
        for path in sorted((CORPUS / target).iterdir()):
            print(path.name, file=sys.stderr)  # the last name is that of the input that ended the process
            found[path.name] = _timed(target, path.read_bytes(), Path(folder))
    return found


def run_drawn(target: str, examples: int) -> Counter[str]:
    """Draw inputs and count how they ended; whatever is neither a value nor one line is raised with its input."""
    counts: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as folder:

        @settings(
            max_examples=examples,
            derandomize=True,
            database=None,
            deadline=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        @given(inputs(target))
        def property_(data: bytes) -> None:
            counts[_timed(target, data, Path(folder))] += 1

        property_()
    return counts


def _timed(target: str, data: bytes, folder: Path) -> str:
    signal.alarm(_SECONDS)  # ends the process: a hang in C code raises nothing
    try:
        return outcome(target, data, folder)
    finally:
        signal.alarm(0)
