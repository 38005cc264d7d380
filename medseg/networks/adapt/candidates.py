"""Finds the layers of a network that `adapt` can replace, in the order in which they run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase

import torch
from torch import Tensor, nn

__all__ = ["Candidate", "Selection", "find_candidates", "is_selected", "observe", "one_line"]

Selection = str | Sequence[str] | Callable[[str, nn.Module], bool] | None

_CONVOLUTIONS = {2: nn.Conv2d, 3: nn.Conv3d}
_POOLS = {2: (nn.MaxPool2d, nn.AvgPool2d), 3: (nn.MaxPool3d, nn.AvgPool3d)}


@dataclass
class Candidate:
    """A layer that can be replaced, with its input and result in the first call.

    Attributes:
        module: the layer.
        names: all dotted names of the layer in the network.
        kind: ``"pool"``, ``"strided"`` or ``"plain"``.
        source: input of its first call, None if it was not called.
        output_shape: shape of its first result.
    """

    module: nn.Module
    kind: str
    names: list[str] = field(default_factory=list)
    source: Tensor | None = None
    output_shape: tuple[int, ...] = ()

    @property
    def name(self) -> str:
        """All names of the layer, separated by commas."""
        return ", ".join(self.names)

    @property
    def channels(self) -> int:
        """Channels of its input; the layer must be a convolution or must have been called."""
        return int(self.module.in_channels) if self.source is None else self.source.shape[1]


def find_candidates(net: nn.Module, spatial_dims: int) -> list[Candidate]:
    """All poolings and convolutions with the given number of axes, in the order of registration."""
    found: dict[nn.Module, Candidate] = {}
    for name, module in net.named_modules(remove_duplicate=False):
        kind = _kind(module, spatial_dims)
        if kind:
            found.setdefault(module, Candidate(module, kind)).names.append(name)
    return list(found.values())


def is_selected(candidate: Candidate, select: Selection) -> bool:
    """Whether ``select`` (a glob pattern, several, or a function of name and module) selects one of the names."""
    if select is None:
        return True
    if callable(select):
        return any(select(name, candidate.module) for name in candidate.names)
    patterns = [select] if isinstance(select, str) else select
    return any(fnmatchcase(name, pattern) for name in candidate.names for pattern in patterns)


def observe(net: nn.Module, candidates: Sequence[Candidate], example: Tensor) -> list[Candidate]:
    """Runs the network once, in evaluation mode without gradients, and records inputs and results of the candidates.

    Args:
        net: the network; its mode is restored.
        candidates: layers to record; ``source`` and ``output_shape`` of those that run are set.
        example: an input of the network.

    Returns:
        The candidates that ran, in the order of their first run.

    Raises:
        ValueError: if the network does not accept the example.
    """
    order: list[Candidate] = []
    by_module = {candidate.module: candidate for candidate in candidates}

    def note(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        candidate = by_module[module]
        if candidate.source is None:
            # The tensor itself is kept, so that no later tensor gets the same id.
            candidate.source = inputs[0]
            candidate.output_shape = tuple(output[0].shape if isinstance(output, tuple) else output.shape)
            order.append(candidate)

    modes = [(module, module.training) for module in net.modules()]
    handles = [candidate.module.register_forward_hook(note) for candidate in candidates]
    try:
        net.eval()
        with torch.no_grad():
            net(example)
    except RuntimeError as error:
        raise ValueError(
            f"adapt: the network does not accept the example of shape {list(example.shape)}: {one_line(error)}"
        ) from error
    finally:
        for handle in handles:
            handle.remove()
        for module, training in modes:
            module.training = training
    return order


def one_line(error: Exception) -> str:
    """The first line of the message of an error."""
    return (str(error).splitlines() or [type(error).__name__])[0]


def _kind(module: nn.Module, spatial_dims: int) -> str | None:
    if isinstance(module, _POOLS[spatial_dims]):
        return "pool"
    if not isinstance(module, _CONVOLUTIONS[spatial_dims]):
        return None
    if all(s == 1 for s in module.stride):
        # A 1x1 convolution reads no neighbours, so an adaptive version has no advantage.
        return "plain" if max(module.kernel_size) > 1 else None
    return "strided"
