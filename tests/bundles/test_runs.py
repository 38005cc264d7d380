"""Both bundles trained and evaluated in this process on tiny synthetic data, as a user would run them."""

from __future__ import annotations

import json
import math
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import torch
from PIL import Image

from data_prep.dataset import main as make_dataset
from medseg.io.bounded.one_line import refusal_of
from medseg.io.bounded.weights import nonfinite_tensor
from tests.bundles.conftest import BUNDLES, TrainedBundle, read_config, workflow, write_case


def test_training_defines_every_property_of_a_train_workflow(trained: TrainedBundle) -> None:
    assert trained.missing == []


def test_training_leaves_weights_history_and_curve(trained: TrainedBundle) -> None:
    files = sorted(str(path.relative_to(trained.root)) for path in trained.root.rglob("*") if path.is_file())
    assert files == ["eval/history.json", "eval/loss_curve.png", "models/last.pt", "models/model.pt"]
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
    score = run.evaluator.state.metrics["val_mean_dice_nonempty"]
    assert run.check_properties() == []
    mask = np.asanyarray(nib.load(tmp_path / "other_seg.nii.gz").dataobj) > 0
    label = np.asanyarray(nib.load(trained.dataset_dir / "labels" / "other.nii.gz").dataobj) > 0
    dice = 2.0 * (mask & label).sum() / (mask.sum() + label.sum())
    assert score == pytest.approx(dice, abs=1e-6)
    row = (tmp_path / "val_mean_dice_nonempty_raw.csv").read_text().splitlines()[1].split(",")
    assert row[0].endswith("other.nii.gz")
    assert float(row[1]) == pytest.approx(dice, abs=1e-5)
    # Training scores on the working grid, evaluation on the file's own: here both are the same grid.
    records = json.loads((trained.root / "eval" / "history.json").read_text())
    assert score == pytest.approx(max(record["score"] for record in records if "score" in record), abs=0.02)


def files_of(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def data_set(folder: Path, source: Path, **lists: Any) -> Path:
    """A ``dataset.json`` with some lists of another one changed; None leaves a list out."""
    content = {**json.loads((source / "dataset.json").read_text()), **lists}
    for key in ("training", "validation"):
        for case in content[key] or []:
            case.update({entry: str(source / case[entry]) for entry in ("image", "label")})
    folder.mkdir()
    content = {key: value for key, value in content.items() if value is not None}
    (folder / "dataset.json").write_text(json.dumps(content))
    return folder


def train(bundle: str, root: Path, dataset_dir: Path, **overrides: Any) -> Any:
    """A short training of a bundle into ``root``."""
    run = workflow(bundle, "train.json", "train", bundle_root=root, dataset_dir=dataset_dir, **overrides)
    run.initialize()
    run.run()
    run.finalize()
    return run


def test_a_data_set_without_any_foreground_trains_and_its_score_is_undefined(
    bundle: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    spacing = read_config(bundle, "train.json")["pixdim"][0]
    pair = write_case(tmp_path, "nothing", spacing, "RAS", foreground=False)
    assert make_dataset(["--pair", *pair, "--validation-pair", *pair, "--out", str(tmp_path / "set")]) == 0
    train(bundle, tmp_path / "run", tmp_path / "set", epochs=2, val_interval=1)
    records = json.loads((tmp_path / "run" / "eval" / "history.json").read_text())
    assert all(math.isfinite(record["loss"]) for record in records)
    assert [record["score"] for record in records] == [None, None]
    assert files_of(tmp_path / "run" / "models") == ["last.pt"]
    assert caplog.text.count("validation score is nan") == 1
    assert "no validation gave a score" in caplog.text


def test_a_run_shorter_than_the_interval_leaves_best_and_last_weights(trained: TrainedBundle, tmp_path: Path) -> None:
    assert read_config(trained.name, "train.json")["val_interval"] == 5
    train(trained.name, tmp_path, trained.dataset_dir, epochs=1)
    assert files_of(tmp_path / "models") == ["last.pt", "model.pt"]
    assert "score" in json.loads((tmp_path / "eval" / "history.json").read_text())[-1]


def test_an_empty_validation_list_leaves_the_last_weights_and_no_old_file_that_looks_new(
    trained: TrainedBundle, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "model.pt").write_bytes(b"old")
    data = data_set(tmp_path / "set", trained.dataset_dir, validation=[])
    train(trained.name, tmp_path, data, epochs=1)
    assert files_of(tmp_path / "models") == ["last.pt", "model.earlier-1.pt"]
    assert "model.pt was written by an earlier run; it is kept as model.earlier-1.pt" in caplog.text
    assert "there are no validation cases" in caplog.text


@pytest.mark.parametrize(
    ("lists", "line"),
    [({"validation": None}, "has no list 'validation'"), ({"training": []}, "the list 'training' is empty")],
)
def test_a_data_list_that_cannot_be_used_is_one_line_with_the_fix(
    trained: TrainedBundle, tmp_path: Path, lists: dict[str, Any], line: str
) -> None:
    data = data_set(tmp_path / "set", trained.dataset_dir, **lists)
    with pytest.raises(RuntimeError) as caught:
        train(trained.name, tmp_path, data, epochs=1)
    assert causes(caught.value)[-1].startswith(f"{data}/dataset.json: {line}")
    assert refusal_of(caught.value) == causes(caught.value)[-1]


@pytest.mark.slow
def test_on_the_command_line_a_refusal_is_one_line_and_the_exit_code_is_not_zero(
    trained: TrainedBundle, tmp_path: Path
) -> None:
    case = {"image": str(trained.dataset_dir / "images" / "scan.nii.gz"), "label": str(tmp_path / "odd.nii.gz")}
    spoiled(trained.dataset_dir / "labels" / "scan.nii.gz", tmp_path / "odd.nii.gz")
    data = data_set(tmp_path / "set", trained.dataset_dir, training=[case])
    options = {"config_file": BUNDLES / trained.name / "configs" / "train.json", "bundle_root": tmp_path,
               "dataset_dir": data, "roi_size": "[32,32,32]", "num_workers": 1}  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-m", "monai.bundle", "run", *(w for k, v in options.items() for w in (f"--{k}", str(v)))],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(BUNDLES.parent), "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""},
    )
    assert done.returncode == 1
    assert "Traceback" not in done.stdout + done.stderr
    errors = [line for line in (done.stdout + done.stderr).splitlines() if "not finite" in line]
    assert errors == [done.stderr.splitlines()[-1]]
    assert errors[0].startswith(f"error: {tmp_path}/odd.nii.gz: 1 of 64000 voxels are not finite")


@pytest.mark.parametrize(("config", "kind"), [("train.json", "train"), ("inference.json", "infer")])
def test_a_patch_that_the_network_cannot_take_is_one_line_before_anything_runs(
    trained: TrainedBundle, tmp_path: Path, config: str, kind: str
) -> None:
    values = {"bundle_root": tmp_path, "dataset_dir": trained.dataset_dir, "roi_size": [200, 200, 160]}
    run = workflow(trained.name, config, kind, **values)
    with pytest.raises(RuntimeError) as caught:
        run.initialize()
    assert causes(caught.value)[-1] == (
        "roi_size is [200, 200, 160]; expected multiples of [16, 16, 16] (the product of the network's strides), such "
        "as [192, 192, 160] or [208, 208, 160]"
    )
    assert files_of(tmp_path) == []


def spoiled(source: Path, target: Path, value: float = math.nan) -> Path:
    """A copy of an image as float32 with one voxel that is not finite."""
    image = nib.load(source)
    array = np.asanyarray(image.dataobj).astype(np.float32)
    array[3, 4, 5] = value
    nib.save(nib.Nifti1Image(array, image.affine), target)
    return target


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_an_image_with_a_voxel_that_is_not_finite_gets_no_mask(
    trained: TrainedBundle, infer: Callable[..., Any], tmp_path: Path, value: float
) -> None:
    scan = spoiled(trained.dataset_dir / "images" / "other.nii.gz", tmp_path / "odd.nii.gz", value)
    with pytest.raises(RuntimeError) as caught:
        infer(input_files=[str(scan)], output_dir=tmp_path / "out")
    line = refusal_of(caught.value)
    assert line is not None
    assert line.startswith(
        f"{scan}: 1 of 64000 voxels are not finite (NaN or infinite), the first at index [0, 3, 4, 5]"
    )
    assert not (tmp_path / "out").exists()


def in_air(source: Path, target: Path, change: Callable[[np.ndarray], np.ndarray] = np.array) -> Path:
    """A copy of an image with air beside it, changed as a whole."""
    image = nib.load(source)
    array = np.asarray(image.dataobj).astype(np.float32)
    array[:8] = -1000
    nib.save(nib.Nifti1Image(change(array), image.affine), target)
    return target


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda image: (image - image.min()) / np.ptp(image), "scaled to 0..1"),
        (lambda image: image * 0 - 1000, "every voxel is -1000"),
        (lambda image: image + 1024, "the intercept of -1024 was not applied"),
    ],
)
def test_an_image_that_can_be_no_ct_is_named_in_the_log_or_refused(
    trained: TrainedBundle,
    infer: Callable[..., Any],
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    change: Callable[[np.ndarray], np.ndarray],
    words: str,
) -> None:
    scan = in_air(trained.dataset_dir / "images" / "other.nii.gz", tmp_path / "odd.nii.gz", change)
    infer(input_files=[str(scan)], output_dir=tmp_path / "out")
    (line,) = [record.getMessage() for record in caplog.records if "expected air near -1000" in record.getMessage()]
    assert line.startswith(f"{scan}: ") and words in line
    assert files_of(tmp_path / "out") == ["odd_seg.nii.gz"]
    with pytest.raises(RuntimeError) as caught:
        infer(input_files=[str(scan)], output_dir=tmp_path / "refused", on_hu_doubt="refuse")
    assert refusal_of(caught.value) == line
    assert not (tmp_path / "refused").exists()


def test_a_right_image_and_a_stated_crop_raise_no_doubt(
    trained: TrainedBundle, infer: Callable[..., Any], tmp_path: Path
) -> None:
    inside = trained.dataset_dir / "images" / "other.nii.gz"
    scan = in_air(inside, tmp_path / "scan.nii.gz")
    infer(input_files=[str(scan)], output_dir=tmp_path / "out", on_hu_doubt="refuse")
    infer(input_files=[str(inside)], output_dir=tmp_path / "out", on_hu_doubt="refuse", cropped=True)
    assert files_of(tmp_path / "out") == ["other_seg.nii.gz", "scan_seg.nii.gz"]


def test_such_a_voxel_is_filled_if_asked_for_and_the_mask_is_as_without_it(
    trained: TrainedBundle, infer: Callable[..., Any], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    plain = trained.dataset_dir / "images" / "other.nii.gz"
    scans = [
        str(spoiled(plain, tmp_path / "nan.nii.gz")),
        str(spoiled(plain, tmp_path / "air.nii.gz", -1024)),
    ]
    infer(input_files=scans, output_dir=tmp_path / "out", on_nonfinite="fill", cropped=True)
    masks = [np.asanyarray(nib.load(tmp_path / "out" / f"{name}_seg.nii.gz").dataobj) for name in ("nan", "air")]
    np.testing.assert_array_equal(masks[0], masks[1])
    assert f"{scans[0]}: 1 of 64000 voxels are not finite" in caplog.text and scans[1] not in caplog.text


@pytest.mark.parametrize("spoil", ["image", "label"])
def test_training_refuses_an_image_or_label_with_such_a_voxel(
    trained: TrainedBundle, tmp_path: Path, spoil: str
) -> None:
    case = {
        "image": trained.dataset_dir / "images" / "scan.nii.gz",
        "label": trained.dataset_dir / "labels" / "scan.nii.gz",
    }
    case[spoil] = spoiled(case[spoil], tmp_path / "odd.nii.gz")
    data = data_set(tmp_path / "set", trained.dataset_dir, training=[{key: str(path) for key, path in case.items()}])
    with pytest.raises(RuntimeError) as caught:
        train(trained.name, tmp_path / "run", data, epochs=1)
    assert (refusal_of(caught.value) or "").startswith(f"{tmp_path}/odd.nii.gz: 1 of 64000 voxels are not finite")
    train(trained.name, tmp_path / "run", data, epochs=1, on_nonfinite="fill")
    assert files_of(tmp_path / "run" / "models") == ["last.pt", "model.pt"]


def test_a_run_that_diverges_stops_with_its_epoch_and_cases_and_keeps_no_bad_weights(
    trained: TrainedBundle, tmp_path: Path
) -> None:
    with pytest.raises(RuntimeError) as caught:
        train(trained.name, tmp_path, trained.dataset_dir, epochs=3, val_interval=3, learning_rate=1e30)
    line = refusal_of(caught.value) or ""
    assert re.match(r"epoch \d, iteration \d \(cases: \S+/images/(scan|phantom)\.nii\.gz\): the loss is nan, so", line)
    for path in (tmp_path / "models").glob("*.pt"):
        assert nonfinite_tensor(torch.load(path, weights_only=True)) == ""


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
