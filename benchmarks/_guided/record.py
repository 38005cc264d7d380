"""The record of the study: one JSON line for every finished run, so that it can be stopped and taken up again."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any


class Record:
    """Lines of a ``.jsonl`` file: the settings first, then a line for every finished run.

    A run's line has its ``net`` and ``seed``, how it was trained, and ``dice``: by name of the test set and of the row
    the tumour Dice of every case. Lines with ``contrast_hu`` say what the tumours of a case are against its liver.

    Args:
        path: the file; made when the first line is added.
        settings: what every run was made with; None to only read what is there.

    Raises:
        SystemExit: if the file's runs were made with other settings.
    """

    def __init__(self, path: Path, settings: dict[str, Any] | None) -> None:
        self.path = path
        lines = path.read_text().splitlines() if path.exists() else []
        found: list[dict[str, Any]] = [json.loads(line) for line in lines if line.strip()]
        self.runs = [line for line in found if "net" in line]
        self.contrast_hu: dict[str, float] = {}
        for line in found:
            self.contrast_hu |= line.get("contrast_hu", {})
        first = found[0]["settings"] if found else {}
        self.settings: dict[str, Any] = first if settings is None else json.loads(json.dumps(settings))
        for key in {**first, **self.settings}:
            if first and first.get(key) != self.settings.get(key):
                raise SystemExit(
                    f"{path}: its runs were made with {key} {first.get(key)}, now it is {self.settings.get(key)}; name "
                    "another folder with --out or remove the file"
                )

    def has(self, net: str, seed: int) -> bool:
        """True if this run is done."""
        return any((run["net"], run["seed"]) == (net, seed) for run in self.runs)

    def add(self, run: dict[str, Any]) -> None:
        """Keep a finished run."""
        self._write(run)
        self.runs.append(run)

    def add_contrasts(self, contrast_hu: Mapping[str, float]) -> None:
        """Keep the contrasts of those cases that are not known yet, by name."""
        new = {name: round(value, 1) for name, value in contrast_hu.items() if name not in self.contrast_hu}
        if new:
            self._write({"contrast_hu": new})
            self.contrast_hu |= new

    def _write(self, line: dict[str, Any]) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("a") as file:
            if not file.tell():
                file.write(json.dumps({"settings": self.settings}) + "\n")
            file.write(json.dumps(line, separators=(",", ":")) + "\n")

    def test_sets(self) -> list[str]:
        """Names of the sets that any run was tested on."""
        return list(dict.fromkeys(name for run in self.runs for name in run["dice"]))

    def scores(self, test_set: str) -> dict[str, dict[int, dict[str, float]]]:
        """Dice by row, seed and case."""
        found: dict[str, dict[int, dict[str, float]]] = {}
        for run in self.runs:
            for row, cases in run["dice"].get(test_set, {}).items():
                found.setdefault(row, {})[run["seed"]] = cases
        return found
