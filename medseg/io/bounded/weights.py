"""Loading and saving network weights safely: finite tensors only, every key accounted for."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from medseg.io.bounded.atomic import atomic_path
from medseg.io.bounded.checksum import sha256_of
from medseg.io.bounded.errors import DataError, shorten
from medseg.io.bounded.safetensors_file import SUFFIX, is_safetensors, read_safetensors, write_safetensors

__all__ = [
    "RUN_MARK",
    "load_weights",
    "nonfinite_tensor",
    "read_content",
    "read_state",
    "save_state",
    "save_weights",
    "sha256_of",
    "state_dicts_of",
]

_LOG = logging.getLogger(__name__)

_CONTAINERS = ("state_dict", "model_state_dict", "network_weights", "model", "network", "net")
"""Entries under which training tools keep the state dict beside other things."""
RUN_MARK = "medseg_run"
"""Entry of the files that hold the state of a run of medseg beside its weights."""
_COMPILED = "_orig_mod."
"""What torch.compile puts before the names of a module, also inside of a network."""


class _Match(NamedTuple):
    """A file's state dict under a network's own names.

    Attributes:
        state: the tensors.
        taken_off: prefixes that the file's names had.
        extra: names in the file that belong to something else.
    """

    state: dict[str, Tensor]
    taken_off: tuple[str, ...] = ()
    extra: tuple[str, ...] = ()


def load_weights(network: nn.Module, path: str | Path, device: torch.device | str = "cpu") -> nn.Module:
    """Load a state dict into ``network`` in place; only tensors are unpickled and every key must match.

    Weights of the same network in another wrapping are recognised: a state dict inside of a checkpoint
    (``{"state_dict": ...}``, ``{"model": ...}``), and names with a prefix from DataParallel (``module.``),
    ``torch.compile`` (``_orig_mod.``) or a Lightning module (the name of its attribute). One warning on the log says
    what was taken off.

    Args:
        network: module to fill; one inside of DataParallel or ``torch.compile`` is found.
        path: file written by :func:`save_weights` or ``torch.save(net.state_dict(), path)``, or a safetensors file.
        device: where the tensors are loaded to.

    Returns:
        The same network.

    Raises:
        ValueError: one line naming the file if it is missing, unreadable, belongs to another network, or holds NaN or
            infinite values.

    Example:
        >>> import tempfile
        >>> import torch
        >>> from medseg.io import load_weights, save_weights
        >>> trained, fresh = torch.nn.Linear(3, 2), torch.nn.Linear(3, 2)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = save_weights(trained, f"{folder}/model.pt")
        ...     _ = load_weights(fresh, path)
        >>> bool((fresh.weight == trained.weight).all())
        True
    """
    state, inner = read_state(path, device), _unwrapped(network)
    names = {key.replace(_COMPILED, ""): key for key in inner.state_dict()}  # a part of it may be compiled
    own = {name: inner.state_dict()[key] for name, key in names.items()}
    match = _match(state, own, path)
    missing, unknown = sorted(own.keys() - match.state.keys()), sorted(match.state.keys() - own.keys())
    wrong = sorted(key for key in own.keys() & match.state.keys() if own[key].shape != match.state[key].shape)
    if missing or unknown or wrong:
        raise DataError(
            f"{path}: weights of another network ({len(missing)} keys missing, {len(unknown)} unknown, {len(wrong)} of "
            f"another shape; first: {(missing + unknown + wrong)[0]!r}); use the bundle they were trained with"
        )
    odd = next((key for key, value in match.state.items() if value.is_complex() != own[key].is_complex()), None)
    if odd is not None:
        raise DataError(
            f"{path}: {odd} holds numbers of {match.state[odd].dtype}, the network {own[odd].dtype}, so a part of them "
            "would be lost; expected real or complex numbers in both"
        )
    if match.taken_off:
        prefix = " and ".join(repr(prefix) for prefix in match.taken_off)
        _LOG.warning("%s: the names of the weights have the prefix %s of a wrapper, which was taken off", path, prefix)
    if match.extra:
        _LOG.warning("%s: not part of the network and left out: %s", path, shorten(match.extra))
    inner.load_state_dict({names[name]: value for name, value in match.state.items()})
    return network


def read_state(path: str | Path, device: torch.device | str = "cpu") -> dict[str, Tensor]:
    """Read a state dict, also from inside of a checkpoint; only tensors are unpickled.

    Args:
        path: file written by :func:`save_weights` or ``torch.save(net.state_dict(), path)``, or a safetensors file.
        device: where the tensors are loaded to.

    Raises:
        ValueError: one line naming the file if it is missing, unreadable or not a state dict, or naming the tensor that
            holds NaN or infinite values.
    """
    path = Path(path)
    if not path.is_file():
        raise DataError(f"{path}: no weights there; train the bundle first or pass the path of a trained model")
    if is_safetensors(path):
        state = read_safetensors(path, device)
    else:
        content = read_content(path, device)
        found = _state_of(content, path)
        if found is None:
            raise DataError(f"{path}: expected a plain state dict of tensors, found {type(content).__name__}")
        state = found
    fault = nonfinite_tensor(state)
    if fault:
        raise DataError(f"{path}: {fault}; such weights give no result: use weights saved before, or train again")
    return state


def read_content(path: str | Path, device: torch.device | str = "cpu") -> Any:
    """What a file of ``torch.save`` holds; only tensors, numbers, texts, lists and dictionaries are unpickled.

    Raises:
        ValueError: one line naming the file if it is damaged or holds anything else.
    """
    try:
        return torch.load(path, map_location=device, weights_only=True)
    except Exception as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise DataError(f"{path}: not a weights file that can be loaded safely ({reason})") from error


def save_weights(network: nn.Module, path: str | Path, beside: Mapping[str, Any] | None = None) -> Path:
    """Save the network's state dict (on the CPU) atomically.

    Wrappers are taken off first (DataParallel, DistributedDataParallel, ``torch.compile``), so the names are those of
    the network itself.

    Args:
        network: module whose state is saved.
        path: the file, replaced as a whole; a name that ends with ``.safetensors`` chooses that format.
        beside: what the file also holds; the state dict then stands under ``model``. Tensors, numbers, texts, lists and
            dictionaries of these, so that the file can be loaded safely. Not for safetensors.

    Returns:
        The path.

    Raises:
        ValueError: one line naming the tensor if one holds NaN or infinite values; the file stays as it was.

    Example:
        >>> import tempfile
        >>> import torch
        >>> from medseg.io import save_weights
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = save_weights(torch.nn.Linear(3, 2), f"{folder}/model.pt")
        ...     sorted(torch.load(path, weights_only=True))
        ['bias', 'weight']
    """
    state = {key.replace(_COMPILED, ""): v.detach().cpu() for key, v in _unwrapped(network).state_dict().items()}
    fault = nonfinite_tensor(state)
    if fault:
        raise DataError(
            f"{path}: weights were not saved: {fault}; the network has diverged: lower the learning rate or check the "
            "images"
        )
    save_state(state, path, beside)
    return Path(path)


def save_state(state: Mapping[str, Tensor], path: str | Path, beside: Mapping[str, Any] | None = None) -> Path:
    """Write a state dict atomically, in the format that the file's name asks for; see `save_weights`.

    Raises:
        ValueError: if something stands beside the tensors of a safetensors file, which holds none but tensors.
    """
    if Path(path).suffix.lower() == SUFFIX:
        if beside is not None:
            raise DataError(f"{path}: a safetensors file holds tensors alone; write the state of a run as .pt")
        with atomic_path(path) as temporary:
            write_safetensors(state, temporary)
        return Path(path)
    with atomic_path(path) as temporary:
        torch.save(dict(state) if beside is None else {"model": state, **beside}, temporary)
    return Path(path)


def nonfinite_tensor(state: Mapping[str, Tensor]) -> str:
    """The first tensor of a state dict with values that are NaN or infinite, and how many; empty if there is none."""
    for key, value in state.items():
        if value.is_floating_point() or value.is_complex():
            bad = value.numel() - int(torch.isfinite(value).sum())
            if bad:
                return f"{key!r} holds {bad} values of {value.numel()} that are not finite (NaN or infinite)"
    return ""


def _unwrapped(network: nn.Module) -> nn.Module:
    """The network inside of DataParallel, DistributedDataParallel or torch.compile, however often it is wrapped."""
    while True:
        parallel = isinstance(network, nn.DataParallel | nn.parallel.DistributedDataParallel)
        inner = network.module if parallel else getattr(network, "_orig_mod", None)
        if not isinstance(inner, nn.Module):
            return network
        network = inner


def _is_state(value: Any) -> bool:
    return isinstance(value, dict) and all(isinstance(item, Tensor) for item in value.values())


def _state_of(content: Any, path: Path) -> dict[str, Tensor] | None:
    """The state dict that a file's content is, or that it holds under one of the known names; None if there is none."""
    states = state_dicts_of(content)
    if not states:
        return None
    found = list(states)
    if found == [""]:
        return states[""]
    if len(found) > 1:
        raise DataError(f"{path}: holds several state dicts ({shorten(found)}); save the one you want on its own")
    if RUN_MARK not in content:
        _LOG.warning("%s: a checkpoint; the state dict under its entry %r was taken", path, found[0])
    return states[found[0]]


def state_dicts_of(content: Any) -> dict[str, dict[str, Tensor]]:
    """The state dicts in a file's content by their entry; the entry is empty where the content itself is one.

    >>> sorted(state_dicts_of({"model": {"weight": torch.zeros(2)}, "epoch": 3}))
    ['model']
    """
    if _is_state(content):
        return {"": content}
    if not isinstance(content, dict):
        return {}
    return {name: content[name] for name in _CONTAINERS if content.get(name) and _is_state(content[name])}


def _match(state: dict[str, Tensor], own: Mapping[str, Tensor], path: str | Path) -> _Match:
    """The state under the network's names if a prefix is all that differs; else as it is."""
    if state.keys() == own.keys() or not own:
        return _Match(state)
    plain = {key.replace(_COMPILED, ""): value for key, value in state.items()}
    compiled = (_COMPILED,) if plain.keys() != state.keys() else ()
    if plain.keys() == own.keys():
        return _Match(plain, compiled)
    first = min(own)
    prefixes = {key.removesuffix(first) for key in plain if key.endswith("." + first)}
    whole = sorted(prefix for prefix in prefixes if _under(plain, prefix).keys() == own.keys())
    if len(whole) > 1:
        raise DataError(
            f"{path}: holds {len(whole)} networks of this kind, with the prefixes {shorten(map(repr, whole))}; save "
            "the one you want on its own"
        )
    if not whole:
        return _Match(state)
    extra = tuple(sorted(key for key in plain if not key.startswith(whole[0])))
    return _Match(_under(plain, whole[0]), (*compiled, whole[0]), extra)


def _under(state: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {key.removeprefix(prefix): value for key, value in state.items() if key.startswith(prefix)}
