"""Reading of Decathlon-style data set lists, with one-line errors."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

__all__ = ["case_names", "read_dataset_json", "stem_of"]

_LISTS = ("training", "validation", "test")


def read_dataset_json(path: Path) -> dict[str, Any]:
    """Read a Decathlon-style list; every item becomes a dictionary with at least ``image``.

    Raises:
        DataError: if the file is missing, is no JSON object, or a list holds something else than items with an image.
    """
    from medseg.io.bounded.errors import DataError, os_reason

    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        reason = os_reason(error) if isinstance(error, OSError) else str(error)
        raise DataError(f"{path}: cannot be read as a data set list ({reason}); expected a dataset.json") from error
    if not isinstance(content, dict):
        raise DataError(f"{path}: holds a {type(content).__name__}, expected an object with a list 'training'")
    for key in _LISTS:
        items = content.get(key, [])
        if not isinstance(items, list):
            raise DataError(f"{path}: {key!r} is a {type(items).__name__}, expected a list of items with an image")
        content[key] = [{"image": item} if isinstance(item, str) else item for item in items]
        for item in content[key]:
            if not isinstance(item, dict) or not isinstance(item.get("image"), str):
                raise DataError(f"{path}: {key!r} holds {str(item)[:80]!r}, expected an object with a path 'image'")
    return content


def stem_of(path: str | Path) -> str:
    """File name without ``.nii`` or ``.nii.gz``."""
    name = Path(path).name
    for suffix in (".nii.gz", ".nii"):
        if name.lower().endswith(suffix):
            return name[: -len(suffix)]
    return name


def case_names(path: Path) -> list[str]:
    """Names of all cases of a list, whatever they are for."""
    content = read_dataset_json(path)
    return [stem_of(item["image"]) for key in _LISTS for item in content[key]]
