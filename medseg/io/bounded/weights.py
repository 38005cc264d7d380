"""Loading network weights safely: tensors only, every key accounted for."""

from __future__ import annotations

from pathlib import Path

import torch

from medseg.io.bounded.atomic import atomic_path
from medseg.io.bounded.checksum import sha256_of

__all__ = ["load_weights", "read_state", "save_weights", "sha256_of"]


def load_weights(network: torch.nn.Module, path: str | Path, device: torch.device | str = "cpu") -> torch.nn.Module:
    """Load a state dict into ``network`` in place; only tensors are unpickled and every key must match.

    Args:
        network: module to fill.
        path: file written by :func:`save_weights` or ``torch.save(net.state_dict(), path)``.
        device: where the tensors are loaded to.

    Returns:
        The same network.

    Raises:
        ValueError: one line naming the file if it is missing, unreadable, or belongs to another network.
    """
    state = read_state(path, device)
    own = network.state_dict()
    missing, unknown = sorted(own.keys() - state.keys()), sorted(state.keys() - own.keys())
    wrong = [key for key in own.keys() & state.keys() if own[key].shape != state[key].shape]
    if missing or unknown or wrong:
        raise ValueError(
            f"{path}: weights of another network ({len(missing)} keys missing, {len(unknown)} unknown, {len(wrong)} of "
            f"another shape; first: {(missing + unknown + sorted(wrong))[0]!r}); use the bundle they were trained with"
        )
    network.load_state_dict(state)
    return network


def read_state(path: str | Path, device: torch.device | str = "cpu") -> dict[str, torch.Tensor]:
    """Read a state dict; only tensors are unpickled.

    Args:
        path: file written by :func:`save_weights` or ``torch.save(net.state_dict(), path)``.
        device: where the tensors are loaded to.

    Raises:
        ValueError: one line naming the file if it is missing, unreadable or not a state dict.
    """
    path = Path(path)
    if not path.is_file():
        raise ValueError(f"{path}: no weights there; train the bundle first or pass the path of a trained model")
    try:
        state = torch.load(path, map_location=device, weights_only=True)
    except Exception as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ValueError(f"{path}: not a weights file that can be loaded safely ({reason})") from error
    if not isinstance(state, dict) or not all(isinstance(value, torch.Tensor) for value in state.values()):
        raise ValueError(f"{path}: expected a plain state dict of tensors, found {type(state).__name__}")
    return state


def save_weights(network: torch.nn.Module, path: str | Path) -> Path:
    """Save the network's state dict (on the CPU) atomically and return the path."""
    state = {key: value.detach().cpu() for key, value in network.state_dict().items()}
    with atomic_path(path) as temporary:
        torch.save(state, temporary)
    return Path(path)
