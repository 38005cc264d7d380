"""The record of the classification study: resumable, checked, and turned into tables."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks._classification.data import SIZE_2D, Fold, Part, load_fold
from benchmarks._classification.diameter import fit_diameter
from benchmarks._classification.record import ClassificationRecord
from benchmarks._classification.report import report
from benchmarks._classification.rows import BASELINE, Row
from benchmarks._classification.statistics import auc

FOUND = {"accuracy": 0.5, "auc": 0.5, "epochs": 20, "capped": False, "cpu_seconds": 3.0, "parameters": 10, "macs": 2e6}


def _fill(record: ClassificationRecord, rows: tuple[str, ...], seeds: tuple[int, ...], capped: bool = False) -> None:
    rng = np.random.default_rng(0)
    for seed in seeds:
        labels = (np.arange(40) % 2).tolist()
        record.add_cases(seed, labels, [100 * seed + i for i in range(40)])
        for row in rows:
            scores = (rng.normal(size=40) + np.array(labels) - 0.5).round(3).tolist()
            record.add_run(Row(row), seed, scores, {**FOUND, "capped": capped, "health": {"share": 0.5}})


def test_a_stopped_study_goes_on_where_it_was(tmp_path: Path) -> None:
    path = tmp_path / "new" / "a.jsonl"
    _fill(ClassificationRecord(path, {"epochs": 1}), (BASELINE,), (0, 1))
    again = ClassificationRecord(path, {"epochs": 1})
    assert again.has(BASELINE, 1)
    assert not again.has(BASELINE, 2)
    assert not again.has("other", 0)
    _fill(again, ("other",), (0,))
    assert [len(p.scores) for p in ClassificationRecord(path, {"epochs": 1}).predictions("other")] == [40]


def test_other_settings_or_cases_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    record = ClassificationRecord(path, {"epochs": 1, "rate": 2})
    _fill(record, (BASELINE,), (0,))
    with pytest.raises(SystemExit, match="made with epochs 1, now it is 9"):
        ClassificationRecord(path, {"epochs": 9, "rate": 2})
    with pytest.raises(SystemExit, match="seed 0 are not those"):
        record.add_cases(0, [0, 1], [3, 4])


def test_the_report_has_every_row_seed_and_difference(tmp_path: Path) -> None:
    record = ClassificationRecord(tmp_path / "a.jsonl", {})
    _fill(record, (BASELINE, "ours"), (0, 1, 2))
    text = report("phantom_nodule", record, "python -m something")
    lines = [line for line in text.splitlines() if line.startswith("| ours")]
    assert len(lines) == 3
    assert lines[0].split("|")[4].strip() != "-"
    assert "`python -m something`" in text
    assert "0 of 6 trained runs hit the cap of epochs." in text


def test_a_row_without_a_network_is_reported_beside_the_others(tmp_path: Path) -> None:
    record = ClassificationRecord(tmp_path / "a.jsonl", {})
    _fill(record, (BASELINE,), (0,))
    record.add_run(
        Row("diameter"), 0, np.linspace(-1, 1, 40).tolist(), {"accuracy": 0.6, "auc": 0.6, "cpu_seconds": 0.1}
    )
    text = report("lidc_shape", record, "c")
    assert len([line for line in text.splitlines() if line.startswith("| diameter")]) == 2
    assert "2 runs" in text and "of 1 trained runs" in text


def test_too_many_capped_runs_are_called_unfinished(tmp_path: Path) -> None:
    record = ClassificationRecord(tmp_path / "a.jsonl", {})
    _fill(record, (BASELINE,), (0, 1), capped=True)
    assert "NOT FINISHED" in report("phantom_nodule", record, "c")


def test_an_empty_record_says_how_to_begin(tmp_path: Path) -> None:
    assert "no finished run yet; python -m x" in report(
        "adrenal", ClassificationRecord(tmp_path / "a.jsonl", {}), "python -m x"
    )


def test_the_diameter_alone_separates_what_it_should() -> None:
    rng = np.random.default_rng(1)

    def part(count: int) -> Part:
        labels = rng.integers(0, 2, count)
        diameters = np.exp(2.0 + 0.6 * labels + 0.3 * rng.normal(size=count))
        return Part(torch.zeros(count, 1, 4, 4), torch.from_numpy(labels), None, torch.from_numpy(diameters).float())

    fold = Fold(part(300), part(50), part(200), list(range(200)), symmetric=True)
    result = fit_diameter(fold)
    # The optimal rule of two normal classes 2 standard deviations apart: AUC = Phi(2 / sqrt 2).
    assert auc(np.array(result.scores), fold.test.labels.numpy()) == pytest.approx(0.921, abs=0.04)
    assert result.record["weights"][1] == pytest.approx(0.6 / 0.09, rel=0.3)


def test_medmnist_folds_are_even_in_training_and_official_in_test(real_data) -> None:
    real_data("classification/pneumoniamnist.npz")
    fold = load_fold("pneumonia", 0)
    assert fold.train.images.shape[1:] == (1, SIZE_2D, SIZE_2D)
    assert abs(int(fold.train.labels.sum()) * 2 - len(fold.train.labels)) <= 1
    assert len(fold.test.labels) == 624
    other = load_fold("pneumonia", 1)
    assert not torch.equal(fold.train.images, other.train.images)
    assert torch.equal(fold.test.images, other.test.images)
