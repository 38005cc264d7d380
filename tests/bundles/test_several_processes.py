"""Both bundles trained and evaluated by two processes of torchrun: as one process, and written by one of them."""

from __future__ import annotations

import json
import math
import re
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from medseg.training.resume.run_file import read_run
from tests.bundles._torchrun import command, torchrun
from tests.bundles.conftest import TrainedBundle, read_config, workflow
from tests.bundles.test_runs import data_set, files_of, spoiled, train

SIDES = [48, 48, 48]  # the tiny scans, padded
TRAIN, EVALUATE = "multi_gpu_train.json", "multi_gpu_evaluate.json"


@pytest.mark.slow
def test_two_processes_train_as_one_with_the_doubled_batch_and_one_of_them_writes(
    trained: TrainedBundle, tmp_path: Path
) -> None:
    if trained.name == "lits_liver_segmentation":
        pytest.skip("two nodes train it in tests/examples/test_slurm_train.py")
    options: dict[str, Any] = {"dataset_dir": trained.dataset_dir, "epochs": 2, "val_interval": 1, "roi_size": SIDES}
    # A scan that the window makes constant has a variance of 0, and instance norm magnifies the noise of rounding.
    options |= {"window": "lung"}
    spoken = {key: json.dumps(value) if isinstance(value, list) else value for key, value in options.items()}
    done = torchrun(trained.name, TRAIN, bundle_root=tmp_path / "two", **spoken)
    assert done.returncode == 0, done.stderr[-2000:]
    train(trained.name, tmp_path / "one", batch_size=2, **options)
    assert files_of(tmp_path / "two") == files_of(tmp_path / "one")
    two, one = (json.loads((tmp_path / n / "eval" / "history.json").read_text()) for n in ("two", "one"))
    assert [r["loss"] for r in two] == pytest.approx([r["loss"] for r in one], abs=1e-5)
    assert [r["score"] for r in two] == pytest.approx([r["score"] for r in one], abs=1e-3)
    assert len(re.findall(r"epoch 2/2: mean loss", done.stdout)) == 1
    names = set(torch.load(tmp_path / "two" / "models" / "model.pt", weights_only=True))
    assert names == set(torch.load(tmp_path / "one" / "models" / "model.pt", weights_only=True))


@pytest.mark.slow
def test_two_processes_give_the_score_of_one_also_if_one_of_them_has_no_case(
    trained: TrainedBundle, infer: Callable[..., Any], tmp_path: Path
) -> None:
    options = {"bundle_root": trained.root, "dataset_dir": trained.dataset_dir}
    done = torchrun(trained.name, EVALUATE, output_dir=tmp_path / "two", **options)
    assert done.returncode == 0, done.stderr[-2000:]
    infer(["inference.json", "evaluate.json"], output_dir=tmp_path / "one")
    assert files_of(tmp_path / "two") == files_of(tmp_path / "one")
    for path in (tmp_path / "one").iterdir():
        assert (tmp_path / "two" / path.name).read_bytes() == path.read_bytes()


@pytest.mark.slow
def test_two_processes_that_are_told_to_stop_write_once_and_go_on_as_if_they_had_not_been(
    trained: TrainedBundle, tmp_path: Path
) -> None:
    if trained.name != "lidc_nodule_segmentation":
        pytest.skip("the same in both bundles")
    options = {"dataset_dir": trained.dataset_dir, "epochs": 14, "val_interval": 14}
    process = subprocess.Popen(
        **command(trained.name, TRAIN, bundle_root=tmp_path / "stopped", **options),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    assert process.stdout is not None
    for line in process.stdout:
        if "epoch 2/14" in line:
            process.send_signal(signal.SIGTERM)  # torchrun passes it on to all
            break
    said = process.stdout.read()
    assert process.wait(60) != 0
    assert said.count("the same command goes on from") == 1
    found = read_run(tmp_path / "stopped" / "models" / "last.pt")
    assert found is not None
    assert 2 <= found["epoch"] < 14
    again, whole = (torchrun(trained.name, TRAIN, bundle_root=tmp_path / n, **options) for n in ("stopped", "whole"))
    assert (again.returncode, whole.returncode) == (0, 0), again.stderr[-2000:] + whole.stderr[-2000:]
    assert again.stdout.count(f"going on with run {found['id']}") == 1
    ours, theirs = (
        torch.load(tmp_path / name / "models" / "last.pt", weights_only=True)["model"] for name in ("stopped", "whole")
    )
    assert all(torch.equal(ours[key], theirs[key]) for key in theirs)


@pytest.mark.slow
def test_what_one_process_refuses_ends_all_with_one_line(trained: TrainedBundle, tmp_path: Path) -> None:
    if trained.name != "lidc_nodule_segmentation":
        pytest.skip("the same in both bundles")
    good = {key: str(trained.dataset_dir / f"{key}s" / "scan.nii.gz") for key in ("image", "label")}
    odd = {**good, "label": str(spoiled(Path(good["label"]), tmp_path / "odd.nii.gz"))}
    data = data_set(tmp_path / "set", trained.dataset_dir, training=[good, odd])
    done = torchrun(trained.name, TRAIN, bundle_root=tmp_path / "run", dataset_dir=data, epochs=5)
    assert done.returncode == 1
    said = [line for line in (done.stdout + done.stderr).splitlines() if re.match(r"\[rank\d\]: |error:", line)]
    said = [line for line in said if "warn" not in line.lower()]
    assert len(said) == 1
    assert re.match(rf"\[rank\d\]: error: {tmp_path}/odd.nii.gz: 1 of 64000 voxels are not finite", said[0])


@pytest.mark.parametrize("config", ["train", "inference"])
def test_an_overlay_initialises_what_its_configuration_does(bundle: str, config: str) -> None:
    overlay = {"train": TRAIN, "inference": EVALUATE}[config]
    plain, several = (read_config(bundle, name)["initialize"] for name in (f"{config}.json", overlay))
    assert [step for step in several if "start_group" not in step] == plain
    assert several[:2] == [plain[0], "$start_group(@device, @group_timeout_minutes)"]


def test_without_torchrun_the_overlays_are_a_single_process_and_say_so(
    trained: TrainedBundle, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("RANK", "WORLD_SIZE"):
        monkeypatch.delenv(name, raising=False)
    values = {"bundle_root": tmp_path, "dataset_dir": trained.dataset_dir, "epochs": 1}
    run = workflow(trained.name, ["train.json", TRAIN], "train", **values)
    run.initialize()
    assert run.check_properties() == []
    run.run()
    run.finalize()
    assert "RANK is not set, so this is a single process" in caplog.text
    assert math.isfinite(json.loads((tmp_path / "eval" / "history.json").read_text())[0]["score"])
