"""The files of a run's weights: where the last ones go, and what becomes of files that lay there before."""

from __future__ import annotations

import logging
import os
from pathlib import Path

__all__ = ["last_beside", "set_aside"]

_LOG = logging.getLogger(__name__)


def last_beside(best: str | Path) -> str:
    """Where the last weights go: ``last.pt`` beside ``model.pt``, ``NAME_last.pt`` beside any other ``NAME.pt``.

    Args:
        best: file of the best weights.

    >>> last_beside("models/model.pt"), last_beside("results/fold_2.pt")
    ('models/last.pt', 'results/fold_2_last.pt')
    """
    best = Path(best)
    return str(best.with_name(("last" if best.stem == "model" else f"{best.stem}_last") + best.suffix))


def set_aside(path: str | Path) -> Path | None:
    """Rename an earlier run's file to ``NAME.RUN.pt``, and log it.

    RUN is the name of the run that the file says, or that its neighbour ``last.pt`` says; for other files it is the
    time at which the file was written. A number is added if there is such a file already.

    Args:
        path: the file; nothing is done if there is none.

    Returns:
        The new name, or None.

    >>> import os
    >>> from pathlib import Path
    >>> _ = Path("model.pt").write_bytes(b"weights of an earlier run")
    >>> os.utime("model.pt", (1.6e9, 1.6e9))
    >>> set_aside("model.pt").name
    'model.20200913-...pt'
    >>> set_aside("model.pt") is None
    True
    """
    from medseg.training.resume.run_file import run_id_of

    path = Path(path)
    if not path.exists():
        return None
    name, number = run_id_of(path), 1
    other = path.with_name(f"{path.stem}.{name}{path.suffix}")
    while other.exists():
        number += 1
        other = path.with_name(f"{path.stem}.{name}-{number}{path.suffix}")
    os.rename(path, other)
    _LOG.warning("%s was written by an earlier run; it is kept as %s", path, other.name)
    return other
