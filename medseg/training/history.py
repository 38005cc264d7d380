"""The record of a training run: loss and validation score per epoch, as JSON and as a curve."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from ignite.engine import Engine, Events

from medseg.io.bounded.atomic import atomic_path, write_json
from medseg.io.bounded.errors import DataError

__all__ = ["HistoryHandler", "Record", "plot_history"]

Record = dict[str, float | None]
"""One epoch: ``epoch``, ``loss``, ``seconds`` and, where validated, ``score``; None if the value is not finite."""

_LOG = logging.getLogger(__name__)


class HistoryHandler:
    """Ignite handler for a MONAI trainer: one line, one JSON record and a redrawn curve per epoch.

    Writes ``history.json`` (list of ``{"epoch", "loss", "seconds"}``, with ``"score"`` where the epoch was validated)
    and ``loss_curve.png`` into ``output_dir``, atomically. A loss or score that is NaN or infinite becomes ``null``. A
    warning names the epoch, for the score only the first time; the run continues.

    Args:
        output_dir: folder for the two files.
        evaluator: the validation engine whose key metric is recorded, or None.
        every: number of epochs between two lines in the log.
        tensorboard: also write curves of loss, score and learning rate for TensorBoard, into ``tensorboard`` there.

    Raises:
        DataError: if TensorBoard is not installed but asked for.

    >>> from ignite.engine import Engine
    >>> trainer = Engine(lambda engine, batch: {"loss": batch})
    >>> history = HistoryHandler("run")
    >>> history.attach(trainer)
    >>> _ = trainer.run([0.5, 0.3], max_epochs=2)
    >>> [(record["epoch"], record["loss"]) for record in history.records]
    [(1, 0.4), (2, 0.4)]
    """

    writes = True

    def __init__(
        self, output_dir: str | Path, evaluator: Engine | None = None, every: int = 1, tensorboard: bool = False
    ) -> None:
        self.output_dir = Path(output_dir)
        self.curves = _curves(self.output_dir / "tensorboard") if tensorboard else None
        self.evaluator = evaluator
        self.every = every
        self.records: list[Record] = []
        self._losses: list[float] = []
        self._started = self._earlier = 0.0
        self._score: float | None = None
        self._undefined_said = False
        self._first = 0

    def state_dict(self) -> dict[str, Any]:
        """Records, the losses of the epoch at hand, and the seconds so far; see `load_state_dict`."""
        return {"records": [dict(r) for r in self.records], "losses": list(self._losses), "seconds": self._seconds()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on with the records of a run that was stopped; its seconds count on."""
        self.records = [dict(record) for record in state["records"]]
        self._losses, self._earlier = list(state["losses"]), float(state["seconds"])

    def _seconds(self) -> float:
        """Seconds of training, those before a stop included."""
        return self._earlier + (time.monotonic() - self._started if self._started else 0.0)

    def attach(self, engine: Engine) -> None:
        """Record iterations and epochs of the trainer, and the evaluator's scores."""
        engine.add_event_handler(Events.STARTED, self._start)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self._iteration)
        engine.add_event_handler(Events.EPOCH_COMPLETED, self)
        if self.evaluator is not None:
            self.evaluator.add_event_handler(Events.COMPLETED, self._validated)

    def _start(self, engine: Engine) -> None:
        self._started = time.monotonic()
        engine.add_event_handler(Events.EPOCH_STARTED(once=1), self._note_first)

    def _note_first(self, engine: Engine) -> None:
        self._first = engine.state.epoch - 1

    def _iteration(self, engine: Engine) -> None:
        output = engine.state.output
        loss = (output[0] if isinstance(output, list) else output)["loss"]
        self._losses.append(float(loss.detach() if isinstance(loss, torch.Tensor) else loss))

    def _validated(self, evaluator: Engine) -> None:
        self._score = float(evaluator.state.metrics[evaluator.state.key_metric_name])

    def __call__(self, engine: Engine) -> None:
        """Close the epoch: append its record, write the files and log one line."""
        epoch = engine.state.epoch
        loss = self._finite(sum(self._losses) / max(len(self._losses), 1), "mean loss", epoch)
        record: Record = {"epoch": epoch, "loss": loss, "seconds": self._seconds()}
        if self._score is not None:
            record["score"] = self._finite(self._score, "validation score", epoch)
        self.records.append(record)
        self._losses, self._score = [], None
        self._draw(record, engine)
        write_json(self.output_dir / "history.json", self.records)
        if epoch % self.every == 0 or epoch == engine.state.max_epochs:
            plot_history(self.records, self.output_dir / "loss_curve.png")
            score = f", validation score {_number(record['score']):.4f}" if "score" in record else ""
            text = f"mean loss {_number(loss):.4f}{score} ({record['seconds']:.0f} s{self._left(engine)})"
            _LOG.info("epoch %d/%d: %s", epoch, engine.state.max_epochs, text)

    def _draw(self, record: Record, engine: Engine) -> None:
        """The record's values as points of TensorBoard's curves."""
        if self.curves is None:
            return
        groups = getattr(getattr(engine, "optimizer", None), "param_groups", [])
        values = {**{k: record.get(k) for k in ("loss", "score")}, **({"lr": groups[0]["lr"]} if groups else {})}
        for name, value in values.items():
            if value is not None:
                self.curves.add_scalar(name, value, int(record["epoch"] or 0))
        self.curves.flush()

    def _left(self, engine: Engine) -> str:
        """The time that the rest will take at the speed since the start."""
        epoch, last = engine.state.epoch, engine.state.max_epochs
        if not last or epoch >= last:
            return ""
        seconds = (time.monotonic() - self._started) / max(1, epoch - self._first) * (last - epoch)
        hours, minutes = divmod(round(seconds / 60), 60)
        return f", {hours} h {minutes} min left" if hours else f", {minutes} min left" if minutes else ", < 1 min left"

    def _finite(self, value: float, what: str, epoch: int) -> float | None:
        """The value; None, with a warning, if it is not finite, because JSON has no such numbers."""
        if math.isfinite(value):
            return value
        if what == "mean loss":
            _LOG.warning(
                "epoch %d: %s is %s, recorded as null; lower learning_rate or check the images", epoch, what, value
            )
        elif not self._undefined_said:
            self._undefined_said = True
            _LOG.warning(
                "epoch %d: %s is %s (undefined), recorded as null and never compared; does any validation label hold "
                "foreground? (said once)",
                epoch,
                what,
                value,
            )
        return None


def _curves(folder: Path) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        raise DataError("tensorboard is not installed; pip install tensorboard, or leave out --tensorboard") from None
    return SummaryWriter(str(folder))


def _number(value: float | None) -> float:
    return math.nan if value is None else value


def _points(records: list[Record], key: str) -> tuple[list[float], list[float]]:
    return [_number(record["epoch"]) for record in records], [_number(record[key]) for record in records]


def plot_history(records: list[Record], path: str | Path) -> Path:
    """Draw loss (left axis) and validation score (right axis) over epochs into a PNG file; None leaves a gap.

    Args:
        records: one record per epoch, as :class:`HistoryHandler` keeps them.
        path: PNG file, replaced atomically.

    Returns:
        The path.

    >>> records = [{"epoch": 1, "loss": 0.6, "seconds": 9.0}, {"epoch": 2, "loss": 0.4, "seconds": 9.0, "score": 0.7}]
    >>> plot_history(records, "loss_curve.png").name
    'loss_curve.png'
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    axes.plot(*_points(records, "loss"), color="tab:blue")
    axes.set_xlabel("epoch")
    axes.set_ylabel("training loss", color="tab:blue")
    axes.set_ylim(bottom=0)
    scored = [r for r in records if "score" in r]
    if scored:
        right = axes.twinx()
        right.plot(*_points(scored, "score"), "o-", color="tab:orange", ms=3)
        right.set_ylabel("validation score", color="tab:orange")
        right.set_ylim(0, 1)
    axes.grid(alpha=0.3)
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=100, format="png")
    return Path(path)
