"""Everything that is logged during a run, collected as text without the case's path or name."""

from __future__ import annotations

import io
import logging
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType

__all__ = ["RunLog"]


class RunLog:
    """Collects log records and Python warnings of all libraries while the ``with`` block runs.

    Nothing goes to the terminal meanwhile, so that a user sees stages and errors only. Paths and names that are hidden
    are replaced by ``CASE`` or the placeholder given: file names often carry patient names.
    """

    def __init__(self) -> None:
        self._text = io.StringIO()
        self._hidden: list[tuple[str, str]] = []
        self._handler = logging.StreamHandler(self._text)
        self._handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
        self._level = logging.WARNING
        self._others: list[logging.Handler] = []

    def hide(self, words: Iterable[str | Path], placeholder: str = "CASE") -> None:
        """Replace these texts in the log, and in what ``hidden`` is asked to clean."""
        known = {word for word, _ in self._hidden}
        self._hidden += [(text, placeholder) for word in words if (text := str(word)) and text not in known]
        # Long texts first: a path contains the file name.
        self._hidden.sort(key=lambda pair: -len(pair[0]))

    def hidden(self, text: str) -> str:
        """``text`` with the hidden words replaced."""
        for word, placeholder in self._hidden:
            text = text.replace(word, placeholder)
        return text

    def text(self) -> str:
        """All lines so far."""
        return self.hidden(self._text.getvalue())

    def __enter__(self) -> RunLog:
        root = logging.getLogger()
        self._level, self._others = root.level, root.handlers[:]
        root.handlers = [self._handler]
        root.setLevel(logging.INFO)
        logging.captureWarnings(True)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        root = logging.getLogger()
        root.handlers = self._others
        root.setLevel(self._level)
        logging.captureWarnings(False)
