"""The record of the study of guidance: runs of nets, and the contrasts of the cases they were tested on."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks._study.record import Record


class GuidedRecord(Record):
    """Runs of the nets.

    A run's line has its ``net`` and ``seed``, how it was trained, and ``dice``: by name of the test set and of the row
    the tumour Dice of every case. Lines with ``contrast_hu`` hold, by case, how many HU its tumours are above its
    liver.

    Args:
        path: the ``.jsonl`` file; it is made when the first line is added.
        settings: what every run was made with; None to only read what is there.
    """

    def __init__(self, path: Path, settings: dict[str, Any] | None) -> None:
        super().__init__(path, settings, run_key="net")

    @property
    def contrast_hu(self) -> dict[str, float]:
        """Contrast of every case that is known, by name."""
        return {name: value for line in self.lines for name, value in line.get("contrast_hu", {}).items()}

    def add_contrasts(self, contrast_hu: Mapping[str, float]) -> None:
        """Keep the contrasts of those cases that are not known yet, by name."""
        known = self.contrast_hu
        new = {name: round(value, 1) for name, value in contrast_hu.items() if name not in known}
        if new:
            self.add({"contrast_hu": new})

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
