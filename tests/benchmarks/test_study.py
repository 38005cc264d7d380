"""What studies share: a record that can be continued, bootstrap intervals, parts of tables; and the recorded runs."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from benchmarks import adaptive_classification, guided_segmentation
from benchmarks._classification.record import ClassificationRecord
from benchmarks._classification.report import report as classification_report
from benchmarks._guided.record import GuidedRecord
from benchmarks._guided.report import report as guided_report
from benchmarks._study.intervals import crossed_weights, group_draws, interval_of
from benchmarks._study.record import Record
from benchmarks._study.report import effort, mean_of, percent, table_head, table_row

ROOT = Path(__file__).resolve().parents[2]
SETTINGS = {"epochs": 3, "channels": (8, 16), "sides": {128: 4}}


def _record(path: Path, settings: dict | None = SETTINGS) -> Record:
    return Record(path, settings, run_key="net")


def test_a_stopped_study_continues_where_it_was(tmp_path: Path) -> None:
    path = tmp_path / "new" / "runs.jsonl"
    first = _record(path)
    for name, seed in [("b", 1), ("a", 0), ("b", 0)]:
        first.add({"net": name, "seed": seed})
    again = _record(path)
    assert again.has("b", 1) and again.has("a", 0) and not again.has("a", 1) and not again.has("c", 0)
    assert again.names() == ["b", "a"]
    assert [run["seed"] for run in again.runs_of("b")] == [0, 1]
    again.add({"net": "a", "seed": 1})
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert ["settings" in line for line in lines] == [True, False, False, False, False]


def test_settings_are_compared_as_the_file_gives_them_back(tmp_path: Path) -> None:
    path = tmp_path / "runs.jsonl"
    _record(path).add({"net": "a", "seed": 0})
    assert _record(path).settings == {"epochs": 3, "channels": [8, 16], "sides": {"128": 4}}
    assert _record(path, None).settings == _record(path).settings
    with pytest.raises(SystemExit, match="made with epochs 3, now it is 4; name another folder with --out"):
        _record(path, {**SETTINGS, "epochs": 4})
    with pytest.raises(SystemExit, match="made with rate None, now it is 1"):
        _record(path, {**SETTINGS, "rate": 1})


def test_lines_of_other_kinds_are_no_runs(tmp_path: Path) -> None:
    path = tmp_path / "runs.jsonl"
    record = _record(path)
    record.add({"kind": "cases", "seed": 0})
    record.add({"net": "a", "seed": 0})
    assert [len(found.runs) for found in (record, _record(path))] == [1, 1]
    assert len(_record(path).lines) == 3


def test_a_group_is_drawn_whole_and_equally_often_in_every_seed() -> None:
    groups = [np.array([7, 7, 3, 9]), np.array([9, 7])]
    draws = group_draws(groups, resamples=200)
    for first, second in draws:
        counts = np.bincount(first, minlength=4)
        assert counts[0] == counts[1]
        assert counts[0] + counts[2] + counts[3] == 3, "as many groups are drawn as there are"
        assert np.bincount(second, minlength=2).tolist() == [counts[3], counts[0]]
    assert np.mean([len(first) for first, _ in draws]) == pytest.approx(4, abs=0.25)


def test_crossed_weights_are_products_of_how_often_seed_and_case_were_drawn() -> None:
    seed_of, case_of = np.repeat([0, 1, 2], 4), np.tile([0, 1, 2, 3], 3)
    weights = crossed_weights(seed_of, case_of, 500).reshape(500, 3, 4)
    assert (weights.sum((1, 2)) == 12).all()
    assert all(np.linalg.matrix_rank(table) == 1 for table in weights)
    lonely = crossed_weights(np.array([0, 1]), np.array([0, 1]), 100)
    assert lonely.any(1).all(), "a resample without any score is drawn again"


def test_an_interval_leaves_out_resamples_without_a_value() -> None:
    found = interval_of(50.0, [*range(101), float("nan")])
    assert found == (50.0, 2.5, 97.5)
    assert percent(interval_of(0.5, [0.25, 0.25])) == "50.0 (25.0, 25.0)"
    assert percent(interval_of(0.5, [-0.25, -0.25]), sign=True) == "+50.0 (-25.0, -25.0)"


def test_parts_of_tables() -> None:
    assert table_head(["a", "b"]) == ["| a | b |", "| --- | --- |"]
    assert table_row(["1", ""]) == "| 1 |  |"
    runs = [{"macs": 1e6}, {"macs": 2e6}, {}]
    assert mean_of(runs, "macs", 1e-6, "{:.2f}") == "1.50"
    assert mean_of(runs, "epochs") == "-"


@pytest.mark.parametrize(("capped", "verdict"), [(1, "."), (2, ": MORE THAN A FIFTH, NOT FINISHED.")])
def test_more_than_a_fifth_of_capped_runs_is_called_unfinished(capped: int, verdict: str) -> None:
    runs = [{"cpu_seconds": 720.0, "capped": number < capped} for number in range(5)]
    text = effort([*runs, {"cpu_seconds": 1800.0}], "trained runs", "epochs")
    assert text == f"6 runs, 1.50 core hours; {capped} of 5 trained runs hit the cap of epochs{verdict}"


def test_the_recorded_study_of_guidance_gives_the_published_table() -> None:
    record = GuidedRecord(guided_segmentation.RESULTS / "runs.jsonl", None)
    published = (ROOT / "benchmarks" / "RESULTS.md").read_text()
    rows: dict[str, list[str]] = {}
    for line in guided_report(record, "command").split("| row | minus |")[0].splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if len(cells) == 8 and cells[0] not in ("row", "---"):
            rows[cells[0]] = cells[1:3]
    assert len(rows) == 12
    for name, cells in rows.items():
        assert f"| {name} | {' | '.join(cells)} | " in published


@pytest.mark.slow
def test_the_recorded_classification_study_gives_the_published_table() -> None:
    settings = adaptive_classification.fixed(adaptive_classification.Settings())
    record = ClassificationRecord(adaptive_classification.RESULTS / "adrenal.jsonl", settings)
    published = (ROOT / "benchmarks" / "RESULTS.md").read_text().splitlines()
    rows = [line for line in classification_report("adrenal", record, "c").splitlines() if "| 5 | " in line]
    assert len(rows) == 3
    assert set(rows) <= set(published)


@pytest.mark.parametrize("path", sorted(adaptive_classification.RESULTS.glob("*.jsonl")), ids=lambda path: path.stem)
def test_every_recorded_classification_run_is_read(path: Path) -> None:
    record = ClassificationRecord(path, adaptive_classification.fixed(adaptive_classification.Settings()))
    text = path.read_text()
    assert len(record.runs) == text.count('"kind":"run"') > 0
    assert all(len(found.scores) == len(found.labels) for name in record.names() for found in record.predictions(name))
