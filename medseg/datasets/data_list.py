"""The lists of cases in a ``dataset.json``, read with one clear line for each way in which they can be wrong."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from medseg.io.bounded.errors import DataError, shorten

__all__ = ["read_data_list"]

_FORM = '[{"image": "images/a.nii.gz", "label": "labels/a.nii.gz"}]'


def read_data_list(path: str | Path, key: str, may_be_empty: bool = False) -> list[dict[str, Any]]:
    """Read one list of cases, in the form of the Medical Segmentation Decathlon.

    The reading is MONAI's ``load_decathlon_datalist``; before it, everything is checked that would stop a training
    later: the file, the list, the entries ``image`` and ``label`` of every case, and that the named files exist.

    Args:
        path: the ``dataset.json``; relative names in it start from its folder.
        key: name of the list, such as "training" or "validation".
        may_be_empty: whether a list without a case is accepted.

    Returns:
        For each case a dictionary with the paths of ``image`` and ``label`` and what else the list holds.

    Raises:
        DataError: one line with the file, what is wrong, and what to do.

    >>> import json, pathlib
    >>> _ = pathlib.Path("ct.nii.gz").write_bytes(b""), pathlib.Path("mask.nii.gz").write_bytes(b"")
    >>> content = {"training": [{"image": "ct.nii.gz", "label": "mask.nii.gz"}]}
    >>> _ = pathlib.Path("dataset.json").write_text(json.dumps(content))
    >>> [sorted(case) for case in read_data_list("dataset.json", "training")]
    [['image', 'label']]
    """
    path = Path(path)
    cases = _cases(path, key)
    if not cases and not may_be_empty:
        raise DataError(f"{path}: the list {key!r} is empty; add at least one case in the form {_FORM}")
    for number, case in enumerate(cases, start=1):
        _check(path, f"case {number} of {len(cases)} in {key!r}", case)
    if not cases:
        return []
    from monai.data import load_decathlon_datalist

    found: list[dict[str, Any]] = load_decathlon_datalist(path, data_list_key=key)
    return found


def _cases(path: Path, key: str) -> list[Any]:
    if not path.is_file():
        raise DataError(f"{path}: no such file; make it with python -m data_prep.dataset, or give another dataset_dir")
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise DataError(f"{path}: not valid JSON ({error})") from error
    if not isinstance(content, dict):
        raise DataError(f"{path}: holds a {type(content).__name__}, expected an object with lists of cases")
    if key not in content:
        lists = [name for name, value in content.items() if isinstance(value, list)]
        raise DataError(f"{path}: has no list {key!r} (its lists: {shorten(lists) or 'none'}); {_remedy(key)}")
    if not isinstance(content[key], list):
        raise DataError(f"{path}: {key!r} is a {type(content[key]).__name__}, expected a list in the form {_FORM}")
    return content[key]


def _remedy(key: str) -> str:
    if key == "validation":
        return (
            'add "validation": [] to train without validation, or give cases for it when the file is made '
            "(python -m data_prep.dataset --validation-pair IMAGE LABEL)"
        )
    return f"add it in the form {_FORM}"


def _check(path: Path, which: str, case: Any) -> None:
    """Refuse a case without image or label, or whose files are not there."""
    if not isinstance(case, dict):
        raise DataError(f"{path}: {which} is a {type(case).__name__}, expected an object with 'image' and 'label'")
    for entry in ("image", "label"):
        if entry not in case:
            raise DataError(f"{path}: {which} has no {entry!r}, only {shorten(case) or 'nothing'}")
        for name in case[entry] if isinstance(case[entry], list) else [case[entry]]:
            if not isinstance(name, str) or not (path.parent / name).exists():
                raise DataError(f"{path}: {which}: {entry} {name!r} does not exist; mend the list or the folder")
