"""Loads weights of torchvision's residual networks into `ResNet`, with a report of all keys."""

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
    """Report on the keys of a file of weights.

    Attributes:
        used: keys that were loaded.
        unused: keys that the network does not have, such as those of the classification layer.
        fresh: parameters and statistics of the network that are not in the file; they keep their initial values.

    Example:
        >>> LoadedWeights(used=["conv1.weight"], unused=["fc.weight", "fc.bias"], fresh=[]).unused
        ['fc.weight', 'fc.bias']
    """

    used: list[str]
    unused: list[str]
    fresh: list[str]


def load_resnet(net: ResNet, path: str | Path) -> LoadedWeights:
    """Loads a state dict with the names of torchvision, such as that of ``resnet50``; nothing is downloaded.

    Only tensors are unpickled. The keys that were used and those that were not are returned and logged.

    Args:
        net: 2-D network with the same numbers of blocks and channels as the network of the file.
        path: the file, made by ``torch.save(torchvision_net.state_dict(), path)``.

    Returns:
        The keys that were used, those that were not used, and those that are not in the file.

    Raises:
        ValueError: one line with the name of the file if it cannot be read safely or belongs to another network. Only
            the stem may differ, if the numbers of input channels differ: it then keeps its random values.

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
    counters = ("num_batches_tracked",)  # files from before 2018 do not have them
    wrong = [key for key in fresh if key != _STEM and not key.endswith(counters)]
    if wrong or (_STEM in fresh and _STEM not in state):
        key = (wrong or fresh)[0]
        found = f"of shape {list(state[key].shape)}" if key in state else "missing"
        raise ValueError(
            f"{path}: {key!r} is {found}; expected {list(own[key].shape)}: give the state dict of a torchvision ResNet "
            f"with the same number of blocks, or leave out pretrained"
        )
    net.load_state_dict({key: state[key] for key in used}, strict=False)
    report = LoadedWeights(used, sorted(state.keys() - set(used)), fresh)
    _LOG.info("%s: %d keys used, unused %s, not in the file %s", path, len(used), report.unused, fresh)
    if _STEM in fresh:
        shapes = f"{list(state[_STEM].shape)}, that of the network {list(own[_STEM].shape)}"
        _LOG.warning("%s: the stem keeps its random values: that of the file has shape %s", path, shapes)
    return report
