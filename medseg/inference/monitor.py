"""How a program follows a run: its stages, its log, its progress bar and the place of its scratch files."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from medseg.inference.outputs.run_log import RunLog
from medseg.inference.stages import Stages

__all__ = ["Monitor"]


@dataclass(frozen=True)
class Monitor:
    """Lets a program follow `medseg.inference.segment`, which prints nothing.

    Attributes:
        stages: times the stages and tells a listener when one begins.
        log: collects what all libraries log.
        progress: show the bundle's progress bar, if it has one.
        scratch_dir: where intermediate files go (one copy of the image and of the mask); None takes the system's
            folder for temporary files.

    >>> from medseg.inference import Monitor, Stages
    >>> monitor = Monitor(stages=Stages(lambda name, detail: print("now:", name)))
    >>> with monitor.stages.stage("read case"):
    ...     pass
    now: read case
    """

    stages: Stages = field(default_factory=Stages)
    log: RunLog = field(default_factory=RunLog)
    progress: bool = False
    scratch_dir: Path | None = None

    @contextlib.contextmanager
    def scratch_folder(self) -> Iterator[Path]:
        """A new folder for intermediate files; it is removed at the end of the block."""
        with tempfile.TemporaryDirectory(prefix="scratch-", dir=self.scratch_dir) as name:
            yield Path(name)
