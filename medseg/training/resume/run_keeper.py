"""Keep the state of a run after every epoch, and go on from it."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ignite.engine import Engine, Events
from torch import nn
from torch.optim import Optimizer

from medseg.io.bounded.errors import DataError
from medseg.io.bounded.weights import load_weights
from medseg.training.best_weights import BestWeightsSaver
from medseg.training.distributed.errors import EveryProcessError
from medseg.training.distributed.group import finish_group
from medseg.training.distributed.ranks import any_rank, is_writer, processes
from medseg.training.history import HistoryHandler
from medseg.training.last_weights import LastWeightsSaver
from medseg.training.resume.run_file import new_run_id, read_run, write_run
from medseg.training.resume.run_settings import case_list_digest, differences, run_settings
from medseg.training.resume.schedule import restore_schedule
from medseg.training.resume.stop_signal import STOPPED, StopSignal
from medseg.training.weights_files import set_aside

__all__ = ["RunKeeper"]

_LOG = logging.getLogger(__name__)


class RunKeeper(LastWeightsSaver):
    """Ignite handler for a MONAI trainer: a run that was stopped or killed goes on where its last file stands.

    After every epoch ``path`` gets the weights with everything that the next epoch depends on: optimiser, schedule,
    gradient scaler, history, best score, and the number of steps. With `SeededSteps`, `EpochBatches` and
    `SeededDataset`, which make all draws functions of seed, epoch and index, a resumed run gives what an uninterrupted
    one gives; on a CPU, bit for bit. It belongs at the end of the list of handlers: what the others do after an epoch
    is then part of the file.

    - A run goes on if its settings are those of the file; otherwise one line says what differs. ``restart`` begins
      anew: files that are in the way are renamed after the run that wrote them (``model.RUN.pt``).
    - With more ``epochs`` a finished run goes on, and its learning rate follows the schedule of the longer run.
    - The best weights are replaced by better ones of the same validation cases and metric alone; with other ones they
      are renamed.
    - SIGTERM: the step at hand is finished, the state is written, and the process ends with exit code 75.

    Args:
        network: the module that is trained.
        path: the file, such as ``models/last.pt``; also a file of weights for `medseg.io.load_weights`.
        optimizer: of the trainer.
        lr_scheduler: of the trainer, or None.
        settings: values by which the run is recognised, under the names that users know.
        loss: of the trainer.
        training_cases: its cases; the names of their files are part of the settings.
        validation_cases: cases of the validation, by which the best score is recognised.
        best: the handler of the best weights.
        history: the handler of the history.
        initial_weights: file that the run started from, or None.
        restart: begin anew.

    >>> import torch
    >>> network = nn.Linear(2, 1)
    >>> optimizer = torch.optim.SGD(network.parameters(), 0.1)
    >>> trainer = Engine(lambda engine, batch: None)
    >>> RunKeeper(network, "last.pt", optimizer, settings={"seed": 0}).attach(trainer)
    >>> trainer.run([0, 1], max_epochs=2).epoch, read_run("last.pt")["iteration"]
    (2, 4)
    """

    writes = False  # all processes read; only the first one writes

    def __init__(
        self,
        network: nn.Module,
        path: str | Path,
        optimizer: Optimizer,
        lr_scheduler: Any = None,
        settings: Mapping[str, Any] | None = None,
        loss: object = None,
        training_cases: Iterable[Any] = (),
        validation_cases: Iterable[Any] = (),
        best: BestWeightsSaver | None = None,
        history: HistoryHandler | None = None,
        initial_weights: str | Path | None = None,
        restart: bool = False,
    ) -> None:
        super().__init__(network, path, best, initial_weights)
        self.optimizer, self.lr_scheduler, self.history = optimizer, lr_scheduler, history
        self.settings = run_settings(
            settings or {}, network, optimizer, object() if loss is None else loss, training_cases
        )
        self.validation, self.restart = case_list_digest(validation_cases), bool(restart)
        self.run_id, self.stop = new_run_id(), StopSignal()

    def attach(self, engine: Engine) -> None:
        """Run at the start, after every step and epoch, and at the end of the trainer."""
        super().attach(engine)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self._step)
        engine.add_event_handler(Events.COMPLETED | Events.EXCEPTION_RAISED, self._release)

    def _start(self, engine: Engine) -> None:
        found = read_run(self.path, may_be_damaged=self.restart)
        any_rank(False)  # all processes have read before the first one renames a file
        if found is not None:
            self.earlier_run = found["id"]
            if self.best is not None:
                self.best.earlier_run = found["id"]
        if found is not None and not self.restart:
            self._refuse_another_run(found)
            self._go_on(engine, found)
        elif is_writer():
            super()._start(engine)
        self.stop.watch()

    def _refuse_another_run(self, found: Mapping[str, Any]) -> None:
        found_settings: dict[str, str] = found["settings"]
        differ = differences(found_settings, self.settings)
        if differ:
            kind = DataError if processes() == 1 else EveryProcessError
            raise kind(
                f"{self.path}: holds another run ({'; '.join(differ)}); give the values of that run to go on with it, "
                "--restart true to begin anew (its files are kept under other names), or another --weights FILE"
            )

    def _go_on(self, engine: Engine, found: Mapping[str, Any]) -> None:
        load_weights(self.network, self.path)
        self.optimizer.load_state_dict(found["optimizer"])
        if self.lr_scheduler is not None and found["lr_scheduler"] is not None:
            restore_schedule(
                self.lr_scheduler, found["lr_scheduler"], same=found["max_epochs"] == engine.state.max_epochs
            )
        scaler = getattr(engine, "scaler", None)
        if scaler is not None and found["scaler"]:
            scaler.load_state_dict(found["scaler"])
        if self.history is not None:
            self.history.load_state_dict(found["history"])
        self.run_id, self.epoch = found["id"], found["epoch"]
        self._take_best(found["best"])
        engine.state.iteration = found["iteration"]
        engine.state.epoch = found["iteration"] // found["epoch_length"]
        if is_writer():
            self._tell_place(engine, found)

    def _tell_place(self, engine: Engine, found: Mapping[str, Any]) -> None:
        if engine.state.max_epochs is not None and engine.state.epoch >= engine.state.max_epochs:
            _LOG.warning(
                "run %s has finished its %d epochs already: nothing is trained; raise --epochs to go on, or begin anew "
                "with --restart true",
                self.run_id,
                engine.state.max_epochs,
            )
            return
        done = found["iteration"] % found["epoch_length"]
        place = f" and {done} of {found['epoch_length']} steps" if done else ""
        _LOG.info("going on with run %s after %d epochs%s", self.run_id, engine.state.epoch, place)

    def _take_best(self, found: Mapping[str, Any]) -> None:
        best = self.best
        if best is None or found.get("best") is None:
            return
        if found["validation"] != self.validation:
            if is_writer():
                _LOG.warning(
                    "the validation cases were %s and are %s: best weights are sought anew",
                    found["validation"],
                    self.validation,
                )
            return
        best.name, best.best, best.epoch = found["name"], found["best"], found["epoch"]

    def _step(self, engine: Engine) -> None:
        # After the last step of an epoch, the other handlers have to do their part first.
        if engine.state.iteration % engine.state.epoch_length and any_rank(self.stop.asked):
            if is_writer():
                if self.epoch is None:
                    set_aside(self.path, self.earlier_run)
                self._write(engine)
            self._leave(engine)

    def __call__(self, engine: Engine) -> None:
        """Write the state after an epoch.

        Raises:
            DataError: if the network has diverged to NaN or infinite weights; the file of the epoch before is kept.
        """
        if is_writer():
            super().__call__(engine)
        if any_rank(self.stop.asked):
            self._leave(engine)

    def _leave(self, engine: Engine) -> None:
        if is_writer():
            _LOG.warning(
                "stopped in epoch %d, after %d steps; the same command goes on from %s",
                engine.state.epoch,
                engine.state.iteration,
                self.path,
            )
        self.stop.release()
        finish_group()
        engine.logger.addFilter(_is_no_exit)
        sys.exit(STOPPED)

    def _write(self, engine: Engine) -> None:
        scaler, best, length = getattr(engine, "scaler", None), self.best, engine.state.epoch_length
        finished = engine.state.iteration // length if length else engine.state.epoch
        state = {
            "id": self.run_id,
            "settings": self.settings,
            "epoch": finished,
            "iteration": engine.state.iteration,
            "epoch_length": length,
            "max_epochs": engine.state.max_epochs,
            "optimizer": self.optimizer.state_dict(),
            "lr_scheduler": None if self.lr_scheduler is None else self.lr_scheduler.state_dict(),
            "scaler": {} if scaler is None else scaler.state_dict(),
            "history": {} if self.history is None else self.history.state_dict(),
            "best": {},
        }
        if best is not None:
            state["best"] = {"name": best.name, "best": best.best, "epoch": best.epoch, "validation": self.validation}
        write_run(self.path, self.network, state)

    def _release(self, engine: Engine, error: BaseException | None = None) -> None:
        self.stop.release()
        if error is not None:
            raise error

    def tell(self) -> None:
        """Log which file is which, in the first process."""
        if is_writer():
            super().tell()


def _is_no_exit(record: logging.LogRecord) -> bool:
    """Ignite calls the end of a stopped run an error; the line of the handler has said what it is."""
    return f"due to exception: {STOPPED}" not in record.getMessage()
