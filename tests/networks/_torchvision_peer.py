"""torchvision's networks as an oracle, where it is installed."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch
from torch import nn

_OPS: list[torch.library.Library] = []


def torchvision_models() -> ModuleType:
    """`torchvision.models`; skips the test where torchvision is not installed, nor in the folder ``peers`` of CI.

    The public wheel's compiled ops need the CUDA build of torch. The networks use none of them, but importing
    the package describes two, which must have a schema then.
    """
    if importlib.util.find_spec("torchvision") is None:
        sys.path.append(str(Path(sys.prefix) / "peers"))
    if importlib.util.find_spec("torchvision") is None:
        pytest.skip("torchvision is not installed, so there is no peer to compare with")
    try:
        return importlib.import_module("torchvision.models")
    except RuntimeError:
        for name in [name for name in sys.modules if name.split(".")[0] == "torchvision"]:
            del sys.modules[name]
    library = torch.library.Library("torchvision", "FRAGMENT")
    for op in ("nms", "qnms"):
        library.define(f"{op}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    _OPS.append(library)
    return importlib.import_module("torchvision.models")


def take_weights(ours: nn.Module, theirs: nn.Module) -> None:
    """Loads a peer's state by order: the same layers in the same order, under other names."""
    mine, other = ours.state_dict(), list(theirs.state_dict().values())
    assert [t.shape for t in mine.values()] == [t.shape for t in other]
    ours.load_state_dict(dict(zip(mine, other, strict=True)))


def shake_statistics(net: nn.Module) -> None:
    """Draws statistics, scales and biases unlike those of a new network, so that nothing hides behind 0 and 1."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, t in net.state_dict().items():
            if t.ndim == 1:
                low, high = (0.5, 1.5) if "var" in name or name.endswith("weight") else (-0.2, 0.2)
                t.copy_(torch.rand(t.shape, generator=generator) * (high - low) + low)
