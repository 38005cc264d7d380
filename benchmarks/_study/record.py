"""The record of a study: one JSON line for every finished run, so that the study can be stopped and continued."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from medseg.io.bounded.atomic import json_text

Line = dict[str, Any]


class Record:
    """Lines of a ``.jsonl`` file: the settings first, then one line for every finished run.

    A run's line has its ``seed`` and, under ``run_key``, the name of what was run. A study may add lines of its own
    kinds, which have no ``run_key``.

    Args:
        path: the file; it is made when the first line is added.
        settings: what every run was made with; None to only read what is there.
        run_key: key that names what was run, such as "row" or "net".

    Raises:
        SystemExit: if the runs in the file were made with other settings.
    """

    def __init__(self, path: Path, settings: dict[str, Any] | None, run_key: str) -> None:
        self.path, self.run_key = path, run_key
        text = path.read_text() if path.exists() else ""
        self.lines: list[Line] = [json.loads(line) for line in text.splitlines() if line.strip()]
        # As JSON gives them back: keys are text, tuples are lists.
        self.settings: dict[str, Any] = json.loads(json_text(settings or {}))
        for line in self.lines:
            if "settings" in line:
                if settings is None:
                    self.settings = line["settings"]
                self._check(line["settings"])

    def _check(self, known: dict[str, Any]) -> None:
        for key in {**known, **self.settings}:
            if known.get(key) != self.settings.get(key):
                raise SystemExit(
                    f"{self.path}: its runs were made with {key} {known.get(key)}, now it is {self.settings.get(key)}; "
                    "name another folder with --out or remove the file"
                )

    @property
    def runs(self) -> list[Line]:
        """Lines of all finished runs, in the order in which they finished."""
        return [line for line in self.lines if self.run_key in line]

    def names(self) -> list[str]:
        """What was run at least once, in the order in which it first finished."""
        return list(dict.fromkeys(run[self.run_key] for run in self.runs))

    def runs_of(self, name: str) -> list[Line]:
        """Finished runs of one name, by seed."""
        return sorted((run for run in self.runs if run[self.run_key] == name), key=lambda run: run["seed"])

    def has(self, name: str, seed: int) -> bool:
        """True if this run is done."""
        return any(run["seed"] == seed for run in self.runs_of(name))

    def add(self, line: Line) -> None:
        """Keep a line; the settings go before the first one."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("a") as file:
            if not self.lines:
                self._write(file, {"settings": self.settings})
            self._write(file, line)

    def _write(self, file: Any, line: Line) -> None:
        file.write(json_text(line, indent=None, separators=(",", ":")) + "\n")
        self.lines.append(line)
