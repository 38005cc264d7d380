"""Both bundles trained and evaluated in this process on tiny synthetic data, as a user would run them."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import torch
from PIL import Image

from data_prep.dataset import main as make_dataset
from tests.bundles.conftest import TrainedBundle, read_config, workflow, write_case


def test_training_defines_every_property_of_a_train_workflow(trained: TrainedBundle) -> None:
    assert trained.missing == []


def test_training_leaves_weights_history_and_curve(trained: TrainedBundle) -> None:
    files = sorted(str(path.relative_to(trained.root)) for path in trained.root.rglob("*") if path.is_file())
    assert files == ["eval/history.json", "eval/loss_curve.png", "models/model.pt"]
    assert Image.open(trained.root / "eval" / "loss_curve.png").size == (700, 400)


def test_loss_falls_and_every_second_epoch_is_validated(trained: TrainedBundle) -> None:
    records = json.loads((trained.root / "eval" / "history.json").read_text())
    assert [record["epoch"] for record in records] == [1, 2, 3, 4]
    assert ["score" in record for record in records] == [False, True] * 2
    assert records[-1]["loss"] < records[0]["loss"]


def test_evaluation_gives_the_best_validation_score_and_the_dice_of_the_saved_mask(
    trained: TrainedBundle, infer: Callable[..., Any], tmp_path: Path
) -> None:
    run = infer(["inference.json", "evaluate.json"], output_dir=tmp_path)
    score = run.evaluator.state.metrics["val_mean_dice"]
    assert run.check_properties() == []
    mask = np.asanyarray(nib.load(tmp_path / "other_seg.nii.gz").dataobj) > 0
    label = np.asanyarray(nib.load(trained.dataset_dir / "labels" / "other.nii.gz").dataobj) > 0
    dice = 2.0 * (mask & label).sum() / (mask.sum() + label.sum())
    assert score == pytest.approx(dice, abs=1e-6)
    row = (tmp_path / "val_mean_dice_raw.csv").read_text().splitlines()[1].split(",")
    assert row[0].endswith("other.nii.gz")
    assert float(row[1]) == pytest.approx(dice, abs=1e-5)
    # Training scores on the working grid, evaluation on the file's own: here both are the same grid.
    records = json.loads((trained.root / "eval" / "history.json").read_text())
    assert score == pytest.approx(max(record["score"] for record in records if "score" in record), abs=0.02)


def test_a_data_set_without_any_foreground_trains(bundle: str, tmp_path: Path) -> None:
    spacing = read_config(bundle, "train.json")["pixdim"][0]
    pair = write_case(tmp_path, "nothing", spacing, "RAS", foreground=False)
    assert make_dataset(["--pair", *pair, "--validation-pair", *pair, "--out", str(tmp_path / "set")]) == 0
    root = tmp_path / "run"
    run = workflow(
        bundle, "train.json", "train", bundle_root=root, dataset_dir=tmp_path / "set", epochs=1, val_interval=1
    )
    run.initialize()
    run.run()
    assert math.isfinite(json.loads((root / "eval" / "history.json").read_text())[0]["loss"])
    assert (root / "models" / "model.pt").is_file()


def test_a_run_that_diverges_ends_with_null_in_its_history_and_names_the_epoch(
    trained: TrainedBundle, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    values = {"bundle_root": tmp_path, "dataset_dir": trained.dataset_dir, "epochs": 3, "val_interval": 3}
    run = workflow(trained.name, "train.json", "train", learning_rate=1e30, **values)
    run.initialize()
    run.run()
    losses = [record["loss"] for record in json.loads((tmp_path / "eval" / "history.json").read_text())]
    assert len(losses) == 3
    assert losses[-1] is None
    assert "epoch 3: mean loss is nan, recorded as null; lower learning_rate or check the images" in caplog.text


def test_training_goes_on_from_given_weights(trained: TrainedBundle, tmp_path: Path) -> None:
    weights = trained.root / "models" / "model.pt"
    values = {"bundle_root": tmp_path, "dataset_dir": trained.dataset_dir, "epochs": 1}
    run = workflow(trained.name, "train.json", "train", initial_weights=weights, **values)
    run.initialize()
    state = torch.load(weights, weights_only=True)
    for key, value in run.parser.get_parsed_content("network").state_dict().items():
        torch.testing.assert_close(value, state[key], rtol=0, atol=0)


def test_the_same_seed_gives_the_same_first_epoch(trained: TrainedBundle, tmp_path: Path) -> None:
    losses = []
    for name in ("a", "b"):
        values = {
            "bundle_root": tmp_path / name,
            "dataset_dir": trained.dataset_dir,
            "epochs": 1,
            "patches_per_image": 1,
        }
        run = workflow(trained.name, "train.json", "train", **values)
        run.initialize()
        run.run()
        losses.append(json.loads((tmp_path / name / "eval" / "history.json").read_text())[0]["loss"])
    assert losses[0] == losses[1]


def causes(error: BaseException | None) -> list[str]:
    messages = []
    while error is not None:
        messages.append(str(error))
        error = error.__cause__
    return messages


@pytest.mark.parametrize("config", ["train.json", "inference.json"])
def test_missing_weights_are_one_line_naming_the_file(trained: TrainedBundle, tmp_path: Path, config: str) -> None:
    kind, key = ("train", "initial_weights") if config == "train.json" else ("infer", "weights")
    values = {"bundle_root": tmp_path, "dataset_dir": trained.dataset_dir, key: tmp_path / "gone.pt"}
    run = workflow(trained.name, config, kind, **values)
    with pytest.raises(RuntimeError) as caught:
        run.initialize()
    line = f"{tmp_path}/gone.pt: no weights there; train the bundle first or pass the path of a trained model"
    assert causes(caught.value)[-1] == line


def test_a_folder_without_scans_is_one_line_and_not_a_silent_success(infer: Callable[..., Any], tmp_path: Path) -> None:
    with pytest.raises(RuntimeError) as caught:
        infer(dataset_dir=tmp_path, output_dir=tmp_path / "out")
    assert causes(caught.value)[-1].startswith(f"{tmp_path}: no NIfTI file")


def test_a_second_inference_into_the_same_folder_does_not_overwrite(
    trained: TrainedBundle, infer: Callable[..., Any], tmp_path: Path
) -> None:
    scans = {"dataset_dir": trained.dataset_dir / "images", "output_dir": tmp_path}
    infer(**scans)
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == ["other_seg.nii.gz", "phantom_seg.nii.gz", "scan_seg.nii.gz"]
    before = {name: (tmp_path / name).stat().st_mtime_ns for name in names}
    with pytest.raises(RuntimeError) as caught:
        infer(**scans)
    assert "exists already; remove it, choose another output_dir or set overwrite" in causes(caught.value)[-1]
    assert {name: (tmp_path / name).stat().st_mtime_ns for name in names} == before
    infer(**scans, overwrite=True)
    assert all((tmp_path / name).stat().st_mtime_ns > before[name] for name in names)
