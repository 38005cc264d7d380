"""Prompts of a user from a file, for the images of a folder."""

from __future__ import annotations

import json
from collections.abc import Hashable, Mapping
from pathlib import Path
from typing import Any

import torch
from monai.config import KeysCollection, NdarrayOrTensor
from monai.data import MetaTensor
from monai.transforms import MapTransform, Transform
from monai.utils import TransformBackends
from torch import Tensor

from medseg._arguments import checked_arguments
from medseg.io.bounded.errors import DataError, shorten
from medseg.transforms.guidance.prompts import read_prompts

__all__ = ["LoadPrompts", "LoadPromptsd"]

_FORM = '{"scan.nii.gz": [[1, 20.5, -31, 110]]}: class (1 target, 0 background) and position'
_LARGEST_BYTES = 64 << 20


@checked_arguments
class LoadPrompts(Transform):
    """The table of prompts of an image, from a JSON file with one list for every image.

    The file is an object: for the name of an image file its prompts, such as

        {"scan.nii.gz": [[1, 20.5, -31.0, 110.0], [0, 60.0, -31.0, 110.0]], "other.nii.gz": []}

    A row has the class (1 target, 0 background) and the position of a click; or also the extents of an ellipse or box
    along the axes, as `medseg.transforms.guidance.Prompts` has them. The frame of the positions is what `GuideMap` and
    `ClickPatches` are told: for files of users world coordinates in mm, "RAS" or "LPS". An empty list says that nothing
    is known about an image; an image that is not named in the file is refused, and so
    are positions that are not finite. Voxels are not looked at.

    Args:
        path: the file. It is read once, with the first image.

    Raises:
        DataError: for a file that cannot be read or has another form, and for an image that it does not name.

    Example:
        >>> import json, pathlib
        >>> from monai.data import MetaTensor
        >>> _ = pathlib.Path("prompts.json").write_text(json.dumps({"scan.nii.gz": [[1, 20.5, -31, 110]]}))
        >>> image = MetaTensor(torch.zeros(1, 8, 8, 8), meta={"filename_or_obj": "data/scan.nii.gz"})
        >>> LoadPrompts("prompts.json")(image).tolist()
        [[1.0, 20.5, -31.0, 110.0, 0.0, 0.0, 0.0]]
    """

    backend = [TransformBackends.TORCH]

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._lists: dict[str, Any] | None = None

    def __call__(self, img: NdarrayOrTensor) -> Tensor:
        """Return the table ``(N, 1 + 2 d)`` as float32.

        Args:
            img: image ``(C, *spatial)`` as MONAI loads it, with the path of its file in its metadata.
        """
        if self._lists is None:
            self._lists = _read(self.path)
        name, axes = _file_name(img), img.ndim - 1
        if name not in self._lists:
            raise DataError(
                f"{self.path}: has no prompts for {name!r}, only for {shorten(self._lists) or 'nothing'}; add them, or "
                f'"{name}": [] if nothing is known'
            )
        rows = self._lists[name]
        try:
            if not isinstance(rows, list) or not all(isinstance(row, list) for row in rows):
                raise ValueError(f"prompts are {rows!r:.60}, expected a list of rows")
            whole = [[*row, *[0.0] * axes] if len(row) == 1 + axes else row for row in rows]
            return torch.as_tensor(read_prompts(whole, axes).table(), dtype=torch.float32)
        except (ValueError, TypeError) as error:
            raise DataError(f"{self.path}: {name!r}: {error}; the form is {_FORM}") from error


def _file_name(img: Any) -> str:
    name = img.meta.get("filename_or_obj", "") if isinstance(img, MetaTensor) else ""
    if not isinstance(name, str | Path) or not str(name):
        raise DataError("LoadPrompts: the image has no file name in its metadata; use it after LoadImaged")
    return Path(name).name


def _read(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise DataError(f"{path}: no such file; write the prompts of every image there, in the form {_FORM}")
    if path.stat().st_size > _LARGEST_BYTES:
        raise DataError(f"{path}: has {path.stat().st_size} bytes, expected at most {_LARGEST_BYTES}")
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}: not valid JSON ({str(error) or type(error).__name__})") from error
    if not isinstance(content, dict):
        raise DataError(f"{path}: holds a {type(content).__name__}, expected an object in the form {_FORM}")
    return content


@checked_arguments
class LoadPromptsd(MapTransform):
    """Dictionary form of :class:`LoadPrompts`: the prompts of ``key`` become the item ``key + postfix``.

    Args:
        keys: the images; they do not change.
        path: see :class:`LoadPrompts`.
        postfix: appended to the key to form the name of the prompts.
        allow_missing_keys: whether a missing key is skipped instead of raising.

    Raises:
        ValueError: for an empty postfix, which would overwrite the image.

    Example:
        >>> import json, pathlib
        >>> from monai.data import MetaTensor
        >>> _ = pathlib.Path("prompts.json").write_text(json.dumps({"scan.nii.gz": []}))
        >>> image = MetaTensor(torch.zeros(1, 8, 8), meta={"filename_or_obj": "scan.nii.gz"})
        >>> LoadPromptsd("image", "prompts.json")({"image": image})["image_prompts"].shape
        torch.Size([0, 5])
    """

    backend = LoadPrompts.backend

    def __init__(
        self,
        keys: KeysCollection,
        path: str | Path,
        postfix: str = "_prompts",
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        if not postfix:
            raise ValueError("postfix is '', expected a text such as '_prompts' that keeps the image")
        self.load, self.postfix = LoadPrompts(path), postfix

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Return a copy of ``data`` with the prompts added.

        Raises:
            ValueError: if an item with the name of the output exists already.
        """
        result = dict(data)
        for key in self.key_iterator(result):
            name = f"{key}{self.postfix}"
            if name in data:
                raise ValueError(f"item {name!r} exists already, expected a new name; choose another postfix")
            result[name] = self.load(data[key])
        return result
