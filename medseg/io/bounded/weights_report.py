"""What a file of weights holds, told without running anything that the file brings along."""

from __future__ import annotations

import zipfile
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from medseg.io.bounded.checksum import sha256_of
from medseg.io.bounded.errors import DataError, shorten
from medseg.io.bounded.safetensors_file import is_safetensors, read_metadata, read_safetensors
from medseg.io.bounded.weights import RUN_MARK, read_content, save_state, state_dicts_of

__all__ = ["REPORT_SCHEMA_VERSION", "convert_weights", "describe_weights"]

REPORT_SCHEMA_VERSION = 1

_LONGEST_TEXT = 60
_MOST_NAMES = 5


def describe_weights(path: str | Path) -> dict[str, Any]:
    """Look into a file of weights. Nothing in it is executed: pickled objects other than plain values are refused.

    Args:
        path: a file of ``torch.save`` (a state dict, or a checkpoint with one or several inside), a safetensors file,
            or a TorchScript archive, which is named and not opened.

    Returns:
        A JSON-able dictionary: ``schema_version, file`` (its name), ``bytes, sha256``; ``kind``, one of ``state dict``,
        ``state of a run`` (as a training of medseg writes it), ``Lightning checkpoint``, ``nnU-Net checkpoint``,
        ``checkpoint``, ``safetensors``, ``TorchScript archive``; ``entries``, short texts of what lies beside the
        tensors; ``state_dicts``, a list with ``entry`` (where it lies, empty for the file itself), ``tensors``, a list
        of ``name, shape, dtype, not_finite`` (how many values are NaN or infinite), ``n_numbers`` and ``n_bytes``.

    Raises:
        DataError: one line if there is no file, or it is damaged, holds objects that only code could rebuild, or holds
            no tensors.

    >>> from medseg.io import save_weights
    >>> _ = save_weights(torch.nn.Linear(3, 2), "model.pt")
    >>> found = describe_weights("model.pt")
    >>> found["kind"], found["state_dicts"][0]["n_numbers"], found["state_dicts"][0]["tensors"][0]["shape"]
    ('state dict', 8, [2, 3])
    """
    path = Path(path)
    if not path.is_file():
        raise DataError(f"{path}: no such file; expected a file of weights, such as model.pt")
    report: dict[str, Any] = {
        "schema_version": REPORT_SCHEMA_VERSION,
        "file": path.name,
        "bytes": path.stat().st_size,
        "sha256": sha256_of(path),
    }
    if is_safetensors(path):
        states = {"": read_safetensors(path)}
        return {**report, "kind": "safetensors", "entries": read_metadata(path), "state_dicts": _listed(states)}
    if _is_torchscript(path):
        return {**report, "kind": "TorchScript archive", "entries": {}, "state_dicts": []}
    content = _content(path)
    states = state_dicts_of(content)
    if not states:
        raise DataError(f"{path}: holds no state dict of tensors, but {_in_short(content)}")
    beside = {} if "" in states else {key: value for key, value in content.items() if key not in states}
    entries = {str(key): _in_short(value) for key, value in beside.items()}
    return {**report, "kind": _kind(content, states), "entries": entries, "state_dicts": _listed(states)}


def convert_weights(source: str | Path, target: str | Path, overwrite: bool = False) -> Path:
    """Write the weights of a file in another format; what lies beside them (a run's state) is left out.

    Args:
        source: a file that `medseg.io.load_weights` takes.
        target: the new file, ``.pt`` or ``.safetensors``; it is written atomically, read again and compared.
        overwrite: replace the target if it exists.

    Raises:
        DataError: one line for a source without one state dict, or with values that are not finite; a target with
            another ending, or one that exists.

    >>> from medseg.io import load_weights, save_weights
    >>> _ = save_weights(torch.nn.Linear(3, 2), "model.pt")
    >>> convert_weights("model.pt", "model.safetensors").name
    'model.safetensors'
    >>> load_weights(torch.nn.Linear(3, 2), "model.safetensors")
    Linear(in_features=3, out_features=2, bias=True)
    """
    from medseg.io.bounded.weights import read_state

    source, target = Path(source), Path(target)
    if target.suffix.lower() not in (".pt", ".safetensors"):
        raise DataError(f"{target}: expected a name that ends with .pt or .safetensors")
    if target.exists() and (not overwrite or target.samefile(source)):
        raise DataError(f"{target}: exists already; choose another name, or replace it with --overwrite")
    state = read_state(source)
    save_state(state, target)
    again = read_state(target)
    if again.keys() != state.keys() or not all(_same_bits(again[key], state[key]) for key in state):
        raise DataError(f"{target}: holds other numbers than {source} after writing; the disk may be damaged")
    return target


def _same_bits(first: Tensor, second: Tensor) -> bool:
    return first.dtype == second.dtype and first.shape == second.shape and bool(torch.equal(first, second))


def _is_torchscript(path: Path) -> bool:
    try:
        with zipfile.ZipFile(path) as archive:
            return any(name.endswith("/constants.pkl") for name in archive.namelist())
    except (zipfile.BadZipFile, OSError, ValueError):
        return False


def _content(path: Path) -> Any:
    try:
        return read_content(path)
    except DataError as error:
        names = _foreign_names(path)
        if not names:
            raise
        raise DataError(
            f"{path}: holds objects that only code could rebuild, and is not opened ({shorten(names, _MOST_NAMES)}); "
            "save the state dict alone, with medseg.io.save_weights or torch.save(network.state_dict(), FILE)"
        ) from error


def _foreign_names(path: Path) -> list[str]:
    """Names of classes and functions that the pickle of a zipped file asks for and torch does not allow."""
    try:
        return sorted(torch.serialization.get_unsafe_globals_in_checkpoint(str(path)))
    except Exception:  # a damaged file has errors of many kinds; the reason of the reader stands then
        return []


def _kind(content: Any, states: Mapping[str, Any]) -> str:
    if "" in states:
        return "state dict"
    if RUN_MARK in content:
        return "state of a run"
    if "pytorch-lightning_version" in content:
        return "Lightning checkpoint"
    return "nnU-Net checkpoint" if "network_weights" in content else "checkpoint"


def _listed(states: Mapping[str, Mapping[str, Tensor]]) -> list[dict[str, Any]]:
    return [
        {
            "entry": entry,
            "n_numbers": sum(tensor.numel() for tensor in state.values()),
            "n_bytes": sum(tensor.numel() * tensor.element_size() for tensor in state.values()),
            "dtypes": dict(Counter(_dtype(tensor) for tensor in state.values())),
            "tensors": [_tensor(name, tensor) for name, tensor in state.items()],
        }
        for entry, state in states.items()
    ]


def _tensor(name: str, tensor: Tensor) -> dict[str, Any]:
    counts = tensor.is_floating_point() or tensor.is_complex()
    bad = tensor.numel() - int(torch.isfinite(tensor).sum()) if counts else 0
    return {"name": name, "shape": list(tensor.shape), "dtype": _dtype(tensor), "not_finite": bad}


def _dtype(tensor: Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")


def _in_short(value: Any) -> str:
    """A value in a few words: short texts and numbers as they are, of others the kind and the size."""
    if isinstance(value, Tensor):
        return f"a tensor of shape {list(value.shape)}"
    if isinstance(value, Mapping):
        return f"a dictionary of {len(value)}" + (f": {shorten(value, _MOST_NAMES)}" if value else "")
    if isinstance(value, list | tuple | set):
        return f"a list of {len(value)}"
    if value is None or isinstance(value, bool | int | float):
        return str(value)
    text = " ".join(str(value).split()) if isinstance(value, str) else f"an object of type {type(value).__name__}"
    return text if len(text) <= _LONGEST_TEXT else text[: _LONGEST_TEXT - 3] + "..."
