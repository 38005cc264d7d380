"""The file with which a run can go on: weights, optimiser, schedule, history and place, read without running code."""

from __future__ import annotations

import secrets
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from medseg.io.bounded.errors import DataError
from medseg.io.bounded.weights import RUN_MARK, save_weights

__all__ = ["new_run_id", "read_run", "write_run"]

_VERSION = 1


def new_run_id() -> str:
    """A name for a run: the time and a random part.

    >>> len(new_run_id())
    20
    """
    return f"{time.strftime('%Y%m%d-%H%M%S')}-{secrets.token_hex(2)}"


def write_run(path: str | Path, network: nn.Module, state: Mapping[str, Any]) -> Path:
    """Write weights and state atomically.

    Args:
        path: target file.
        network: its state dict stands under ``model``, so that `medseg.io.load_weights` reads the file as weights.
        state: tensors, numbers, texts, lists and dictionaries of these.

    Raises:
        DataError: if a weight is NaN or infinite; the file stays as it was.
    """
    return save_weights(network, path, beside={RUN_MARK: _VERSION, **state})


def read_run(
    path: str | Path, device: torch.device | str = "cpu", may_be_damaged: bool = False
) -> dict[str, Any] | None:
    """What `write_run` wrote; None if there is no file, or one without the state of a run.

    Args:
        path: the file.
        device: where tensors are loaded to.
        may_be_damaged: None also for a file that cannot be used.

    Raises:
        DataError: if the file cannot be read safely, or was written by a later version.
    """
    path = Path(path)
    if not path.is_file():
        return None
    try:
        content = torch.load(path, map_location=device, weights_only=True)
    except Exception as error:
        if may_be_damaged:
            return None
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise DataError(
            f"{path}: not the state of a run that can be loaded safely ({reason}); move it away, or start anew with "
            "--restart true"
        ) from error
    if not isinstance(content, dict) or RUN_MARK not in content:
        return None
    if content[RUN_MARK] > _VERSION:
        if may_be_damaged:
            return None
        raise DataError(
            f"{path}: written by a later version of medseg (form {content['medseg_run']}, known up to {_VERSION}); "
            "update medseg, or start anew with --restart true"
        )
    return content
