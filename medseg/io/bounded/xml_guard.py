"""Parse XML of unknown origin, with limits on size, depth and number of elements, and without entities."""

from __future__ import annotations

from pathlib import Path
from typing import NoReturn
from xml.etree import ElementTree
from xml.parsers import expat

from medseg.io.bounded.errors import DataError
from medseg.io.bounded.limits import file_size
from medseg.io.bounded.voxel_data import one_line

__all__ = ["parse_xml"]


def parse_xml(
    path: str | Path,
    kind: str = "XML",
    max_bytes: int = 64 * 1024 * 1024,
    max_depth: int = 64,
    max_elements: int = 500_000,
) -> ElementTree.Element:
    """Parse a file after a first pass has checked the limits.

    The first pass builds no tree. It stops at a DOCTYPE or an entity declaration, so no entity is expanded and no other
    file is read. It also stops at the first element beyond the limits, which limits the memory of the tree too (some
    hundred bytes for each element).

    Args:
        path: the file.
        kind: what the file should be, for the errors, such as "LIDC".
        max_bytes: largest size of the file.
        max_depth: largest number of nested elements.
        max_elements: largest number of elements and attributes.

    Raises:
        DataError: one line if the file cannot be read, is too large or too deep, declares a DOCTYPE or an entity, or is
            not well-formed.
    """
    path = Path(path)
    size = file_size(path)
    if size > max_bytes:
        raise DataError(f"{path}: {size} bytes, expected at most {max_bytes} for an {kind} file")
    try:
        with path.open("rb") as stream:
            data = stream.read(max_bytes + 1)
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from error
    try:
        _check(path, data, kind, max_depth, max_elements)
        return ElementTree.fromstring(data)
    except DataError:
        raise
    # Besides parse errors: unknown encodings raise LookupError, multi-byte encodings ValueError.
    except (expat.ExpatError, ElementTree.ParseError, LookupError, ValueError) as error:
        raise DataError(f"{path}: not well-formed XML ({one_line(error)}); fetch the file again") from error


def _check(path: Path, data: bytes, kind: str, max_depth: int, max_elements: int) -> None:
    depth = elements = 0

    def refuse(*_: object) -> NoReturn:
        raise DataError(f"{path}: the XML file declares a DOCTYPE or entities, which {kind} files never do; not read")

    def enter(_: str, attributes: list[str]) -> None:
        nonlocal depth, elements
        depth += 1
        elements += 1 + len(attributes) // 2
        if depth > max_depth:
            raise DataError(f"{path}: XML elements lie more than {max_depth} deep, expected fewer in an {kind} file")
        if elements > max_elements:
            raise DataError(f"{path}: more than {max_elements} XML elements, expected fewer in an {kind} file")

    def leave(_: str) -> None:
        nonlocal depth
        depth -= 1

    parser = expat.ParserCreate()
    parser.ordered_attributes = True
    parser.StartDoctypeDeclHandler = refuse
    parser.EntityDeclHandler = refuse
    parser.StartElementHandler = enter
    parser.EndElementHandler = leave
    parser.Parse(data, True)
