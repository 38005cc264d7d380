"""Everything that is logged during a run, collected as text without the case's path or name."""

from __future__ import annotations

import io
import logging
import warnings
from collections.abc import Callable, Iterable
from pathlib import Path
from types import TracebackType
from typing import TextIO

from medseg.io.privacy.names import HiddenNames

__all__ = ["RunLog"]


class RunLog:
    """Collects log records and Python warnings of all libraries while the ``with`` block runs.

    Records from level INFO on are collected, whatever the root logger's level is. Handlers that the program has set up
    see what they would see without the block. Warnings go to the logger ``py.warnings``. Paths and names that are
    hidden are replaced by ``CASE`` or the placeholder given: file names often carry patient names. A block inside the
    block of the same object changes nothing.

    Args:
        exclusive: keep all records from the program's own handlers, so that a terminal shows stages and errors only.

    >>> import logging
    >>> with RunLog() as log:
    ...     log.hide(["/data/DOE_JANE.nii"])
    ...     logging.getLogger("reader").info("reading /data/DOE_JANE.nii")
    >>> log.text().split("INFO ")[1]
    'reader: reading CASE\\n'
    """

    def __init__(self, exclusive: bool = False) -> None:
        self.exclusive = exclusive
        self._text = io.StringIO()
        self._hidden: list[tuple[str, str]] = []
        self._names: HiddenNames | None = None
        self._handler = logging.StreamHandler(self._text)
        self._handler.setLevel(logging.INFO)
        self._handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
        self._depth = 0
        self._level = logging.WARNING
        self._others: list[logging.Handler] = []
        self._filter = _AsBefore(logging.WARNING)
        self._show_warning: Callable[..., None] = warnings.showwarning

    def hide(self, words: Iterable[str | Path], placeholder: str = "CASE") -> None:
        """Replace these texts in the log, and in what ``hidden`` is asked to clean."""
        known = {word for word, _ in self._hidden}
        self._hidden += [(text, placeholder) for word in words if (text := str(word)) and text not in known]
        # Long texts first: a path contains the file name.
        self._hidden.sort(key=lambda pair: -len(pair[0]))

    def hide_names(self, names: HiddenNames) -> None:
        """Replace the names of the files in the case, too, as the terminal does."""
        self._names = names

    def hidden(self, text: str) -> str:
        """``text`` with the hidden words and names replaced."""
        for word, placeholder in self._hidden:
            text = text.replace(word, placeholder)
        return text if self._names is None else "\n".join(map(self._names.hide, text.split("\n")))

    def text(self) -> str:
        """All lines so far."""
        return self.hidden(self._text.getvalue())

    def copy(self) -> RunLog:
        """A log with the same lines and hidden words; what is added to one is not added to the other."""
        twin = RunLog(self.exclusive)
        twin._text.write(self._text.getvalue())
        twin._hidden, twin._names = list(self._hidden), self._names
        return twin

    def __enter__(self) -> RunLog:
        self._depth += 1
        if self._depth > 1:
            return self
        root = logging.getLogger()
        self._level, self._others = root.level, root.handlers[:]
        self._filter = _AsBefore(root.level)
        for handler in self._others:
            handler.addFilter(self._filter)
        root.handlers = [self._handler, *([] if self.exclusive else self._others)]
        root.setLevel(min(root.level, logging.INFO))
        self._show_warning, warnings.showwarning = warnings.showwarning, _log_warning
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._depth -= 1
        if self._depth:
            return
        root = logging.getLogger()
        for handler in self._others:
            handler.removeFilter(self._filter)
        root.handlers = self._others
        root.setLevel(self._level)
        warnings.showwarning = self._show_warning


class _AsBefore(logging.Filter):
    """Lets pass what reached the root logger's handlers before the root's level was lowered."""

    def __init__(self, root_level: int) -> None:
        super().__init__()
        self._root_level = root_level

    def filter(self, record: logging.LogRecord) -> bool:
        logger: logging.Logger | None = logging.getLogger(record.name)
        while logger is not None and logger.parent is not None:
            if logger.level:
                return True
            logger = logger.parent
        return record.levelno >= self._root_level


def _log_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    logging.getLogger("py.warnings").warning("%s", warnings.formatwarning(message, category, filename, lineno, line))
