"""Which values of a label map are which class, as an evaluation is told."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from medseg.geometry.label_values import label_counts
from medseg.io.bounded.errors import DataError
from medseg.metrics.overlap import mask_of

__all__ = ["LITS_CLASSES", "Classes", "Scheme", "mask_of_class", "parse_classes", "unnamed_values"]

Scheme = Literal["lits", "plain"]
"""Whether the scores of the LiTS challenge are computed beside the usual ones."""

Classes = Mapping[str, tuple[int, ...]]
"""The values of every class. A value may belong to several: the liver holds its tumours. No values: all above 0."""

LITS_CLASSES: Classes = {"liver": (1, 2), "tumour": (2,)}
"""The classes of LiTS: 1 liver, 2 tumour, and tumours are liver."""

_FOREGROUND: Classes = {"foreground": ()}
_WORD = re.compile(r"(?P<name>[A-Za-z][A-Za-z0-9_-]{0,39})=(?P<values>\d{1,9}(?:,\d{1,9})*)")
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,39}")
_MAX_BYTES = 2**20


def parse_classes(words: Sequence[str], scheme: Scheme = "plain") -> Classes:
    """The classes of a command line.

    Args:
        words: ``NAME=VALUE[,VALUE]`` for every class, or one file ``*.json`` whose ``labels`` give names to values
            (Decathlon) or values to names (nnU-Net); none takes the default of the scheme.
        scheme: "lits" has liver and tumour by default, "plain" one class "foreground" of all values above 0.

    Raises:
        ValueError: for other words, a class that is named twice, or the value 0.
        DataError: for a file that cannot be read so.

    >>> parse_classes(["liver=1,2", "tumour=2"])
    {'liver': (1, 2), 'tumour': (2,)}
    """
    if not words:
        return LITS_CLASSES if scheme == "lits" else _FOREGROUND
    if len(words) == 1 and words[0].lower().endswith(".json"):
        return _from_file(Path(words[0]))
    found: dict[str, tuple[int, ...]] = {}
    for word in words:
        match = _WORD.fullmatch(word)
        if match is None:
            raise ValueError(f"labels holds {word!r}, expected NAME=VALUE[,VALUE], such as liver=1,2")
        if match["name"] in found:
            raise ValueError(f"labels names {match['name']} twice; join its values with commas")
        values = tuple(sorted({int(value) for value in match["values"].split(",")}))
        if 0 in values:
            raise ValueError(f"labels gives {match['name']} the value 0, which is background")
        found[match["name"]] = values
    return found


def mask_of_class(labels: Any, values: Sequence[int]) -> NDArray[np.bool_]:
    """Voxels of a class in a label map."""
    if not values:
        return mask_of(labels > 0)
    mask = mask_of(labels == values[0])
    for value in values[1:]:
        mask |= mask_of(labels == value)
    return mask


def unnamed_values(labels: NDArray[Any], classes: Classes) -> list[int]:
    """Values above 0 of a label map that belong to no class, sorted."""
    if any(not values for values in classes.values()):
        return []
    known = {value for values in classes.values() for value in values}
    return [int(value) for value in label_counts(labels) if value > 0 and int(value) not in known]


def _from_file(path: Path) -> Classes:
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise DataError(f"{path}: larger than {_MAX_BYTES} bytes, expected a short list of labels")
        content = json.loads(path.read_text(encoding="utf-8"))
        pairs = dict(content["labels"])
        found: dict[str, tuple[int, ...]] = {}
        for key, value in pairs.items():
            name, values = (str(value), [int(key)]) if str(key).isdigit() else (str(key), value)
            numbers = sorted({int(item) for item in (values if isinstance(values, list) else [values])})
            if numbers != [0]:
                found[name] = (*found.get(name, ()), *numbers)
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        if isinstance(error, DataError):
            raise
        raise DataError(f"{path}: holds no 'labels' with names and values, expected those of a dataset.json") from None
    wrong = next((name for name in found if not _NAME.fullmatch(name)), None)
    if wrong is not None or not found:
        raise DataError(f"{path}: 'labels' has a name that is not a word of letters, digits, - and _; write --labels")
    if any(value <= 0 for values in found.values() for value in values):
        raise DataError(f"{path}: 'labels' gives a class a value that is not above 0")
    return found
