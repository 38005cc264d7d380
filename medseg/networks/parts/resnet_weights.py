"""Weights of torchvision's residual networks for `ResNet`, from a file, every key accounted for."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import NamedTuple

from medseg.io.bounded.weights import read_state
from medseg.networks.parts.resnet import ResNet

__all__ = ["LoadedWeights", "load_resnet"]

_LOG = logging.getLogger(__name__)
_STEM = "conv1.weight"


class LoadedWeights(NamedTuple):
    """What became of a file's keys.

    Attributes:
        used: keys that were loaded.
        unused: keys that the network has no place for, such as those of the classifying layer.
        fresh: parameters and statistics of the network that the file does not hold; they keep their random start.

    Example:
        >>> LoadedWeights(used=["conv1.weight"], unused=["fc.weight", "fc.bias"], fresh=[]).unused
        ['fc.weight', 'fc.bias']
    """

    used: list[str]
    unused: list[str]
    fresh: list[str]


def load_resnet(net: ResNet, path: str | Path) -> LoadedWeights:
    """Loads a state dict with torchvision's names, such as that of its ``resnet50``; nothing is downloaded.

    Only tensors are unpickled. What was used and what was not is returned and logged.

    Args:
        net: 2-D network with as many blocks and channels as the file's.
        path: the file, made by ``torch.save(torchvision_net.state_dict(), path)``.

    Returns:
        The keys used, not used, and not found.

    Raises:
        ValueError: one line naming the file if it cannot be read safely or belongs to another network. Only the stem
            may differ, when the network has another number of input channels than the file: it then stays random.

    Example:
        >>> net = ResNet("my network", 2, in_channels=3, layers=(1, 1, 1, 1), width=4)
        >>> torch.save({**net.state_dict(), "fc.weight": torch.zeros(10, 128)}, "resnet.pt")
        >>> load_resnet(net, "resnet.pt").unused
        ['fc.weight']
    """
    state, own = read_state(path), net.state_dict()
    state = {key.removeprefix("module."): value for key, value in state.items()}
    used = [key for key in own if key in state and own[key].shape == state[key].shape]
    fresh = [key for key in own if key not in used]
    counters = ("num_batches_tracked",)  # files of before 2018 lack them
    wrong = [key for key in fresh if key != _STEM and not key.endswith(counters)]
    if wrong or (_STEM in fresh and _STEM not in state):
        key = (wrong or fresh)[0]
        found = f"of shape {list(state[key].shape)}" if key in state else "missing"
        raise ValueError(
            f"{path}: {key!r} is {found}; expected {list(own[key].shape)}: give the state dict of a torchvision ResNet "
            f"with as many blocks, or leave pretrained out"
        )
    net.load_state_dict({key: state[key] for key in used}, strict=False)
    report = LoadedWeights(used, sorted(state.keys() - set(used)), fresh)
    _LOG.info("%s: %d keys used, unused %s, not in the file %s", path, len(used), report.unused, fresh)
    if _STEM in fresh:
        shapes = f"{list(state[_STEM].shape)}, the network's {list(own[_STEM].shape)}"
        _LOG.warning("%s: the stem stays random: the file's has shape %s", path, shapes)
    return report
