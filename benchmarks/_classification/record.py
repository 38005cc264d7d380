"""The record of the classification study: runs of rows, and the test cases of every seed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks._classification.rows import Row
from benchmarks._classification.statistics import Predictions, predictions
from benchmarks._study.record import Record


class ClassificationRecord(Record):
    """Runs of one data set.

    A line of kind "cases" holds labels and groups of the test images of a seed; a line of kind "run" the scores and
    everything else about one row and seed.

    Args:
        path: the ``.jsonl`` file; it is made when the first line is added.
        settings: what every run was made with; runs with other settings are refused.
    """

    def __init__(self, path: Path, settings: dict[str, Any]) -> None:
        super().__init__(path, settings, run_key="row")

    def add_cases(self, seed: int, labels: Sequence[int], groups: Sequence[int]) -> None:
        """Keep what the test images of a seed are, or check that they are what they were."""
        line = {"kind": "cases", "seed": seed, "labels": list(labels), "groups": list(groups)}
        known = self._cases().get(seed)
        if known is None:
            self.add(line)
        elif known != line:
            raise SystemExit(f"{self.path}: the test images of seed {seed} are not those of the earlier runs")

    def add_run(self, row: Row, seed: int, scores: Sequence[float], found: dict[str, Any]) -> None:
        """Keep a finished run."""
        self.add(
            {"kind": "run", "row": row.name, "seed": seed, **found, "row_is": row._asdict(), "scores": list(scores)}
        )

    def predictions(self, row: str, seeds: Sequence[int] | None = None) -> list[Predictions]:
        """Scores of a row with labels and groups, by seed.

        Args:
            row: name of the row.
            seeds: those wanted; None takes all finished ones.
        """
        cases = self._cases()
        return [
            predictions(line["scores"], cases[line["seed"]]["labels"], cases[line["seed"]]["groups"])
            for line in self.runs_of(row)
            if seeds is None or line["seed"] in seeds
        ]

    def _cases(self) -> dict[int, dict[str, Any]]:
        return {line["seed"]: line for line in self.lines if line.get("kind") == "cases"}
