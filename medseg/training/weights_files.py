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


def set_aside(path: str | Path, run_id: str = "") -> Path | None:
    """Rename an earlier run's file, and log it: to ``NAME.RUN.pt``, or ``NAME.earlier-1.pt`` if the run is not known.

    Where there is such a file already, the next free number is taken.

    Args:
        path: the file; nothing is done if there is none.
        run_id: name of the run that wrote the file, if it is known.

    Returns:
        The new name, or None.

    >>> from pathlib import Path
    >>> _ = Path("model.pt").write_bytes(b"weights of an earlier run")
    >>> set_aside("model.pt").name
    'model.earlier-1.pt'
    >>> set_aside("model.pt") is None
    True
    """
    path = Path(path)
    if not path.exists():
        return None
    number = 1
    other = path.with_name(f"{path.stem}.{run_id or 'earlier-1'}{path.suffix}")
    while other.exists():
        number += 1
        other = path.with_name(f"{path.stem}.{run_id or 'earlier'}-{number}{path.suffix}")
    os.rename(path, other)
    _LOG.warning("%s was written by an earlier run; it is kept as %s", path, other.name)
    return other
