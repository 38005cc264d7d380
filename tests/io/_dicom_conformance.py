"""Attributes that an object of its SOP class must have, by the tables of the standard that highdicom carries."""

from __future__ import annotations

import json
from functools import cache
from importlib.resources import files
from typing import Any

from pydicom.dataset import Dataset


@cache
def _table(name: str) -> Any:
    return json.loads(files("highdicom").joinpath("_standard", name).read_text(encoding="utf-8"))


def violations(dataset: Dataset) -> list[str]:
    """Attributes of type 1 that are absent or empty, and of type 2 that are absent, in all mandatory modules.

    Conditional attributes (1C, 2C) are not judged, nor functional groups, which may be shared or stand in each frame.
    """
    iod = _table("sop_class_iod_map.json")[dataset.SOPClassUID]
    found = []
    for module in _table("iod_module_map.json")[iod]:
        if module["usage"] != "M" or module["key"].endswith("functional-groups"):
            continue
        for attribute in _table("module_attribute_map.json")[module["key"]]:
            if attribute["type"] not in ("1", "2"):
                continue
            keyword = attribute["keyword"]
            for item in _items(dataset, attribute["path"]):
                if keyword not in item or (attribute["type"] == "1" and item[keyword].value in (None, "", [])):
                    found.append(f"{module['key']}: {'.'.join([*attribute['path'], keyword])}")
    return sorted(set(found))


def _items(dataset: Dataset, path: list[str]) -> list[Dataset]:
    level = [dataset]
    for keyword in path:
        level = [inner for item in level for inner in item.get(keyword) or []]
    return level
