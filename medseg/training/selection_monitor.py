"""Monitor sparse downsampling during training: measures of each layer at each validation, and alarms."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from typing import Any

import torch
from ignite.engine import Engine, Events
from torch import Tensor, nn

from medseg.layers.selection_health import SelectionHealth, selection_health
from medseg.training.evaluator_parameters import sparse_layers

__all__ = ["SelectionMonitor"]

_LOG = logging.getLogger(__name__)
_MIN_DISTINCT = 0.5
_ADVICE = "lower the evaluators' learning rate to a fifth, or set surrogate='none' (the norm pick)"


class SelectionMonitor:
    """Collects `medseg.layers.selection_health` over a validation and warns when a selection goes wrong.

    Ignite handler for an evaluator (`attach`). Without ignite: `start`, then `update` after every batch, then `finish`.
    Alarms: fewer than half of the slots show distinct patches; no image changes the choice; the target's cover falls
    for two validations in a row after the warm-up. The measures of all validations are in ``history``.

    Args:
        network: a network with `SparseDownsample` layers that run in the order of its modules.
        mask: maps the engine's batch to a target mask ``[B, 1, *S]`` at input size; None: the cover is not measured.

    Raises:
        ValueError: if there is no such layer.

    >>> import torch
    >>> from torch import nn
    >>> from medseg.layers import SparseDownsample
    >>> network = nn.Sequential(nn.Conv2d(1, 3, 3, padding=1), SparseDownsample(2, channels=3, patch=4))
    >>> monitor = SelectionMonitor(network)
    >>> monitor.start()
    >>> _ = network(torch.rand(2, 1, 16, 16))
    >>> monitor.update()
    >>> figures, alarms = monitor.finish()
    >>> figures["1"].distinct
    1.0
    """

    def __init__(self, network: nn.Module, mask: Callable[[Any], Tensor] | None = None) -> None:
        self.layers = sparse_layers(network)
        self.mask = mask
        self.history: list[dict[str, SelectionHealth]] = []
        self._batches: list[dict[str, SelectionHealth]] = []
        self._falls = dict.fromkeys(self.layers, 0)

    def attach(self, engine: Engine) -> None:
        """Monitor every run of an evaluation engine; ``engine.state.selection_health`` holds the measures."""
        engine.add_event_handler(Events.STARTED, lambda e: self.start())
        engine.add_event_handler(Events.ITERATION_COMPLETED, self._iteration)
        engine.add_event_handler(Events.COMPLETED, self._completed)

    def _iteration(self, engine: Engine) -> None:
        self.update(None if self.mask is None else self.mask(engine.state.batch))

    def _completed(self, engine: Engine) -> None:
        engine.state.selection_health = self.finish()[0]

    def start(self) -> None:
        """Begin a validation: the layers record their selections until `finish`."""
        self._batches = []
        for layer in self.layers.values():
            layer.record = True

    @torch.no_grad()
    def update(self, mask: Tensor | None = None) -> None:
        """Add the selections of the batch that the network has just seen.

        Args:
            mask: ``[B, 1, *S]`` of the target at input size, or None.
        """
        selections = {name: layer.selection for name, layer in self.layers.items() if layer.selection is not None}
        if selections:
            self._batches.append(selection_health(selections, mask))

    def finish(self) -> tuple[dict[str, SelectionHealth], list[str]]:
        """End a validation: log one line per layer and every alarm.

        Returns:
            Measures of every layer, as means over batches; and the alarms as sentences.
        """
        for layer in self.layers.values():
            layer.record, layer.selection = False, None
        figures = {name: _mean([b[name] for b in self._batches if name in b]) for name in self.layers}
        alarms = [text for name, f in figures.items() for text in self._alarms(name, f)]
        self.history.append(figures)
        for name, f in figures.items():
            _LOG.info("%s: %s", name, ", ".join(f"{k} {v:.3f}" for k, v in f._asdict().items() if v == v))
        for text in alarms:
            _LOG.warning("%s", text)
        return figures, alarms

    def _alarms(self, name: str, figures: SelectionHealth) -> list[str]:
        texts = []
        if figures.distinct < _MIN_DISTINCT:
            texts.append(
                f"{name}: only {figures.distinct:.0%} of the slots show distinct patches; use assignment='unique'"
            )
        if figures.moved == 0:
            texts.append(f"{name}: every image keeps the same patches; {_ADVICE}")
        before = self.history[-1][name].cover if self.history else math.nan
        warm = self.layers[name].warm
        self._falls[name] = self._falls[name] + 1 if figures.cover < before and not warm else 0
        if self._falls[name] >= 2:
            texts.append(f"{name}: the target's cover fell twice in a row, to {figures.cover:.2f}; {_ADVICE}")
        return texts


def _mean(figures: list[SelectionHealth]) -> SelectionHealth:
    """Mean of each measure over the batches that have it."""
    columns = [[v for v in column if v == v] for column in zip(*figures, strict=True)] or [[]] * 4
    return SelectionHealth(*(sum(c) / len(c) if c else math.nan for c in columns))
