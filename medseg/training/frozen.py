"""Freeze parts of a network while the rest trains: their parameters and their running statistics."""

from __future__ import annotations

from types import TracebackType

from torch import nn

__all__ = ["Frozen", "freeze"]


class _Still:
    """Replaces the ``train`` method of a module, so that the module stays in evaluation mode."""

    def __init__(self, module: nn.Module) -> None:
        self.module = module

    def __call__(self, mode: bool = True) -> nn.Module:
        return self.module


class Frozen:
    """Frozen parts of a network; a context manager that releases them at the end of its block.

    A copy of the network that is made while its parts are frozen stays frozen.

    Attributes:
        modules: the frozen parts.

    >>> from torch import nn
    >>> frozen = Frozen(nn.BatchNorm3d(2))
    >>> frozen.modules[0].train().training
    False
    >>> frozen.release()
    >>> frozen.modules[0].training
    True
    """

    def __init__(self, *modules: nn.Module) -> None:
        self.modules = modules
        self._learned = [p for module in modules for p in module.parameters() if p.requires_grad]
        self._modes = [(part, part.training) for module in modules for part in module.modules()]
        for parameter in self._learned:
            parameter.requires_grad_(False)
        for module in modules:
            module.eval()
            module.__dict__["train"] = _Still(module)

    def release(self) -> None:
        """Restore which parameters learn and the mode of each module. A second call does nothing."""
        for parameter in self._learned:
            parameter.requires_grad_(True)
        for module in self.modules:
            module.__dict__.pop("train", None)
        for part, mode in self._modes:
            part.training = mode
        self._learned, self._modes = [], []

    def __enter__(self) -> Frozen:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()


def freeze(*modules: nn.Module) -> Frozen:
    """Freeze parts of a network: no parameter learns, and no batch normalisation updates its statistics.

    With ``requires_grad_(False)`` alone the statistics still change with every batch, because trainers call
    ``network.train()`` in each epoch. Example, the second of the three training steps of `medseg.networks.AHNet`::

        with freeze(net.encoder):
            train(net, [p for p in net.parameters() if p.requires_grad])  # the decoder alone
        train(net, net.parameters())

    Args:
        modules: the parts.

    Returns:
        The frozen parts; they are released by `Frozen.release`, or at the end of a ``with`` block.

    Raises:
        ValueError: without a module, or for one that is frozen already.

    >>> from torch import nn
    >>> network = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 1))
    >>> with freeze(network[0]):
    ...     [parameter.requires_grad for parameter in network.parameters()]
    [False, False, True, True]
    >>> all(parameter.requires_grad for parameter in network.parameters())
    True
    """
    if not modules:
        raise ValueError("freeze: no module; expected at least one, such as net.encoder")
    for module in modules:
        if isinstance(module.__dict__.get("train"), _Still):
            raise ValueError(f"freeze: {type(module).__name__} is frozen already; release it first")
    return Frozen(*modules)
