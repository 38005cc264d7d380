"""Weights in the safetensors format: a JSON header and plain numbers, which nothing can hide code in."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from medseg.io.bounded.errors import DataError, UnreadableFileError
from medseg.io.bounded.voxel_data import one_line

__all__ = ["SUFFIX", "is_safetensors", "read_metadata", "read_safetensors", "write_safetensors"]

SUFFIX = ".safetensors"
_MOST_HEADER = 100_000_000  # bytes, the limit of the format's own library


def is_safetensors(path: str | Path) -> bool:
    """Whether a file begins as one of this format: the length of a header, and an opening brace.

    >>> _ = Path("model.safetensors").write_bytes((2).to_bytes(8, "little") + b"{}")
    >>> is_safetensors("model.safetensors")
    True
    """
    with Path(path).open("rb") as stream:
        start = stream.read(9)
    return len(start) == 9 and start[8:] == b"{" and 2 <= int.from_bytes(start[:8], "little") <= _MOST_HEADER


def read_safetensors(path: str | Path, device: torch.device | str = "cpu") -> dict[str, Tensor]:
    """Read all tensors; the library checks that the header's places lie in the file and do not overlap.

    Args:
        path: the file.
        device: where the tensors are loaded to.

    Raises:
        DataError: one line naming the file if it is damaged, or if the library is not installed.
    """
    from_file = _library().load_file
    try:
        state: dict[str, Tensor] = from_file(path, device=str(device))
    except Exception as error:  # the library has errors of its own
        raise UnreadableFileError(
            f"{path}: not a safetensors file that can be read ({one_line(error)}); it may be cut off"
        ) from error
    return state


def read_metadata(path: str | Path) -> dict[str, str]:
    """The texts beside the tensors; empty where there are none.

    Raises:
        DataError: if the header cannot be read.

    >>> _ = write_safetensors({"weight": torch.zeros(2)}, "model.safetensors", {"epoch": "3"})
    >>> sorted(read_metadata("model.safetensors").items())
    [('epoch', '3'), ('format', 'pt')]
    """
    try:
        with Path(path).open("rb") as stream:
            length = int.from_bytes(stream.read(8), "little")
            header: Any = json.loads(stream.read(length)) if length <= _MOST_HEADER else None
        found = header.get("__metadata__") or {}
    except (ValueError, RecursionError, AttributeError) as error:
        raise UnreadableFileError(f"{path}: the header of this safetensors file cannot be read") from error
    return {str(key): str(value) for key, value in found.items()} if isinstance(found, dict) else {}


def write_safetensors(state: Mapping[str, Tensor], path: Path, metadata: Mapping[str, str] | None = None) -> Path:
    """Write tensors to a file that no reader looks at yet; `medseg.io.save_weights` writes atomically.

    Args:
        state: tensors on the CPU; those that share memory are written once each.
        path: the file.
        metadata: texts beside the tensors; ``format: pt`` is always written, as other tools expect it.

    Raises:
        DataError: if the library is not installed.
    """
    plain = {key: value.detach().contiguous().clone() for key, value in state.items()}
    _library().save_file(plain, path, metadata={"format": "pt", **(metadata or {})})
    return path


def _library() -> Any:
    try:
        import safetensors.torch
    except ImportError as error:
        raise DataError(
            'safetensors files need a library that is not installed; pip install "medseg[safetensors]"'
        ) from error
    return safetensors.torch
