"""Count the bytes of tensors that are alive, on any device, also on the one without numbers."""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

__all__ = ["LiveBytes"]


def _is_tensor(value: Any) -> bool:
    return isinstance(value, torch.Tensor)


def _normalised(image: torch.Tensor, *others: Any) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    training = others[4]
    statistics = image.new_empty(image.shape[1] if training else 0)
    return torch.empty_like(image), statistics, statistics.clone()


def _same_size(image: torch.Tensor, *_: Any) -> torch.Tensor:
    return torch.empty_like(image)


def _joined(tensors: Sequence[torch.Tensor], axis: int = 0) -> torch.Tensor:
    shape = list(tensors[0].shape)
    shape[axis] = sum(tensor.shape[axis] for tensor in tensors)
    return tensors[0].new_empty(shape)


# What these operators allocate without numbers. torch's own forms are written in Python, and their first use imports
# its compiler, which takes longer than the smaller networks need for a case.
_WITHOUT_NUMBERS: dict[Any, Any] = {
    torch.ops.aten.native_batch_norm.default: _normalised,
    torch.ops.aten._prelu_kernel.default: _same_size,
    torch.ops.aten.cat.default: _joined,
}


class LiveBytes(TorchDispatchMode):
    """Within this context, the bytes of all tensors that operators make, from their making to their end.

    Attributes:
        now: bytes that are alive.
        peak: the most that were alive at a time.

    >>> with LiveBytes() as live:
    ...     kept = torch.zeros(10, dtype=torch.float32, device="meta")
    ...     for _ in range(3):
    ...         other = kept + 1
    >>> live.now, live.peak
    (80, 120)
    """

    def __init__(self) -> None:
        super().__init__()
        self.now = self.peak = 0
        self._known: set[int] = set()

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """No wrapper against torch.compile around `__torch_dispatch__`: it would import the compiler, one second."""
        return False

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run the operator and count the storages that are new."""
        known = _WITHOUT_NUMBERS.get(func) if all(t.is_meta for t in tree_leaves(args) if _is_tensor(t)) else None
        result = func(*args, **(kwargs or {})) if known is None else known(*args)
        for value in tree_leaves(result):
            if _is_tensor(value):
                self._add(value)
        return result

    def _add(self, tensor: torch.Tensor) -> None:
        storage = tensor.untyped_storage()
        key, size = storage._cdata, storage.nbytes()
        if key in self._known:
            return
        self._known.add(key)
        self.now += size
        self.peak = max(self.peak, self.now)
        weakref.finalize(storage, self._remove, key, size)

    def _remove(self, key: int, size: int) -> None:
        self._known.discard(key)
        self.now -= size
