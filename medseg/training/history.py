"""The record of a training run: loss and validation score per epoch, as JSON and as a curve."""

from __future__ import annotations

import logging
import time
from pathlib import Path

from ignite.engine import Engine, Events

from medseg.io.atomic import atomic_path, write_json

__all__ = ["HistoryHandler", "plot_history"]

_LOG = logging.getLogger(__name__)


class HistoryHandler:
    """Ignite handler for a MONAI trainer: one line, one JSON record and a redrawn curve per epoch.

    Writes ``history.json`` (list of ``{"epoch", "loss", "seconds"}``, with ``"score"`` where the epoch was validated)
    and ``loss_curve.png`` into ``output_dir``, atomically.

    Args:
        output_dir: folder for the two files.
        evaluator: the validation engine whose key metric is recorded, or None.
        every: how many epochs pass between two lines on the log.
    """

    def __init__(self, output_dir: str | Path, evaluator: Engine | None = None, every: int = 1) -> None:
        self.output_dir = Path(output_dir)
        self.evaluator = evaluator
        self.every = every
        self.records: list[dict[str, float]] = []
        self._losses: list[float] = []
        self._started = 0.0
        self._score: float | None = None

    def attach(self, engine: Engine) -> None:
        """Record iterations and epochs of the trainer, and the evaluator's scores."""
        engine.add_event_handler(Events.STARTED, self._start)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self._iteration)
        engine.add_event_handler(Events.EPOCH_COMPLETED, self)
        if self.evaluator is not None:
            self.evaluator.add_event_handler(Events.COMPLETED, self._validated)

    def _start(self, engine: Engine) -> None:
        self._started = time.monotonic()

    def _iteration(self, engine: Engine) -> None:
        output = engine.state.output
        self._losses.append(float((output[0] if isinstance(output, list) else output)["loss"]))

    def _validated(self, evaluator: Engine) -> None:
        self._score = float(evaluator.state.metrics[evaluator.state.key_metric_name])

    def __call__(self, engine: Engine) -> None:
        """Close the epoch: append its record, write the files and log one line."""
        loss = sum(self._losses) / max(len(self._losses), 1)
        record = {"epoch": engine.state.epoch, "loss": loss, "seconds": time.monotonic() - self._started}
        if self._score is not None:
            record["score"] = self._score
        self.records.append(record)
        self._losses, self._score = [], None
        write_json(self.output_dir / "history.json", self.records)
        if engine.state.epoch % self.every == 0 or engine.state.epoch == engine.state.max_epochs:
            plot_history(self.records, self.output_dir / "loss_curve.png")
            score = f", validation score {record['score']:.4f}" if "score" in record else ""
            _LOG.info(
                "epoch %d/%d: mean loss %.4f%s (%.0f s)",
                engine.state.epoch,
                engine.state.max_epochs,
                loss,
                score,
                record["seconds"],
            )


def plot_history(records: list[dict[str, float]], path: str | Path) -> Path:
    """Draw loss (left axis) and validation score (right axis) over epochs into a PNG file."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    axes.plot([r["epoch"] for r in records], [r["loss"] for r in records], color="tab:blue", label="training loss")
    axes.set_xlabel("epoch")
    axes.set_ylabel("training loss", color="tab:blue")
    axes.set_ylim(bottom=0)
    scored = [r for r in records if "score" in r]
    if scored:
        right = axes.twinx()
        right.plot([r["epoch"] for r in scored], [r["score"] for r in scored], "o-", color="tab:orange", ms=3)
        right.set_ylabel("validation score", color="tab:orange")
        right.set_ylim(0, 1)
    axes.grid(alpha=0.3)
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=100, format="png")
    return Path(path)
