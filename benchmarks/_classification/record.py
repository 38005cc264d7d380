"""The record of a study: one JSON line for every finished run, so that it can be stopped and taken up again."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks._classification.rows import Row
from benchmarks._classification.statistics import Predictions, predictions


class Record:
    """Lines of one data set.

    The first line holds the settings. A line of kind "cases" holds labels and groups of the test images of a seed; a
    line of kind "run" the scores and everything else about one row and seed.

    Args:
        path: the ``.jsonl`` file; made when the first line is added.
        settings: what every run was made with; runs under other settings are refused.
    """

    def __init__(self, path: Path, settings: dict[str, Any]) -> None:
        self.path, self.settings = path, settings
        self.lines: list[dict[str, Any]] = []
        if path.exists():
            self.lines = [json.loads(line) for line in path.read_text().splitlines() if line.strip()]
        for line in self.lines:
            if line["kind"] == "settings" and line["settings"] != settings:
                other = [
                    key for key in {**settings, **line["settings"]} if settings.get(key) != line["settings"].get(key)
                ]
                raise SystemExit(
                    f"{path}: its runs were made with other settings: {other[0]} was {line['settings'].get(other[0])}, "
                    f"now it is {settings.get(other[0])}; name another folder with --out or remove the file"
                )

    def has(self, row: str, seed: int) -> bool:
        """True if this row and seed are done."""
        return any(line["kind"] == "run" and (line["row"], line["seed"]) == (row, seed) for line in self.lines)

    def add_cases(self, seed: int, labels: Sequence[int], groups: Sequence[int]) -> None:
        """Keep what the test images of a seed are, or check that they are what they were."""
        line = {"kind": "cases", "seed": seed, "labels": list(labels), "groups": list(groups)}
        known = [other for other in self.lines if other["kind"] == "cases" and other["seed"] == seed]
        if known and known[0] != line:
            raise SystemExit(f"{self.path}: the test images of seed {seed} are not those of the earlier runs")
        if not known:
            self._add(line)

    def add_run(self, row: Row, seed: int, scores: Sequence[float], found: dict[str, Any]) -> None:
        """Keep a finished run."""
        self._add(
            {"kind": "run", "row": row.name, "seed": seed, **found, "row_is": row._asdict(), "scores": list(scores)}
        )

    def runs(self, row: str) -> list[dict[str, Any]]:
        """Finished runs of a row by seed."""
        chosen = [line for line in self.lines if line["kind"] == "run" and line["row"] == row]
        return sorted(chosen, key=lambda line: line["seed"])

    def predictions(self, row: str, seeds: Sequence[int] | None = None) -> list[Predictions]:
        """Scores of a row with labels and groups, by seed.

        Args:
            row: name of the row.
            seeds: those wanted; None takes all finished ones.
        """
        cases = {line["seed"]: line for line in self.lines if line["kind"] == "cases"}
        return [
            predictions(line["scores"], cases[line["seed"]]["labels"], cases[line["seed"]]["groups"])
            for line in self.runs(row)
            if seeds is None or line["seed"] in seeds
        ]

    def row_names(self) -> list[str]:
        """Rows with at least one finished run, in the order in which they first finished."""
        return list(dict.fromkeys(line["row"] for line in self.lines if line["kind"] == "run"))

    def _add(self, line: dict[str, Any]) -> None:
        if not self.lines and line["kind"] != "settings":
            self._add({"kind": "settings", "settings": self.settings})
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("a") as file:
            file.write(json.dumps(line, separators=(",", ":")) + "\n")
        self.lines.append(line)
