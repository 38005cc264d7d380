"""The device that a network runs on: chosen, checked and described."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from medseg.inference.errors import ConfigurationError

if TYPE_CHECKING:
    import torch

__all__ = ["choose_device", "describe_device"]


def choose_device(requested: str | torch.device | None = None, argument: str = "device") -> str:
    """The device as ``cpu`` or ``cuda:N``.

    Args:
        requested: ``cpu``, ``cuda`` or ``cuda:N``; None takes the first CUDA device, or the CPU where there is none.
        argument: what errors call it.

    Raises:
        ConfigurationError: for another kind of device, or one that torch does not see.

    >>> choose_device("cpu")
    'cpu'
    """
    import torch

    if requested is None:
        return "cuda:0" if torch.cuda.is_available() else "cpu"
    name = str(requested)
    if not re.fullmatch(r"cpu|cuda(:\d+)?", name):
        raise ConfigurationError(f"{argument} {name}: expected cpu, cuda or cuda:N")
    if name == "cpu":
        return name
    number = int(name.partition(":")[2] or 0)
    if number >= torch.cuda.device_count():
        raise ConfigurationError(
            f"{argument} {name}: torch {torch.__version__} sees {torch.cuda.device_count()} CUDA devices; "
            f"use {argument} cpu, or see `medseg doctor`"
        )
    return f"cuda:{number}"


def describe_device(device: str) -> dict[str, str]:
    """Name of a device for a report.

    Args:
        device: what `choose_device` returned.

    >>> describe_device("cpu")["device"]
    'cpu'
    """
    import torch

    name = torch.cuda.get_device_name(device) if device.startswith("cuda") else f"{torch.get_num_threads()} CPU threads"
    return {"device": device, "name": name}
