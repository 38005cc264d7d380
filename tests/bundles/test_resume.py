"""A bundle's training that was killed or stopped goes on with the same command, and ends as if nothing had happened."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from ignite.engine import Engine, Events

from medseg.io.bounded.one_line import refusal_of
from medseg.training.resume.run_file import read_run
from tests.bundles.conftest import BUNDLES, SMALL, TrainedBundle, workflow


class KilledError(Exception):
    """What a test raises where a process would be killed."""


def train(trained: TrainedBundle, root: Path, die_in_step: int | None = None, **overrides: Any) -> Any:
    """The training of the fixture ``trained``, in another folder; it dies in a step if one is named."""
    keys = {"epochs": 4, "val_interval": 2, **overrides}
    run = workflow(trained.name, "train.json", "train", bundle_root=root, dataset_dir=trained.dataset_dir, **keys)
    run.initialize()
    if die_in_step is not None:

        def die(engine: Engine) -> None:
            if engine.state.iteration == die_in_step:
                raise KilledError

        run.trainer.add_event_handler(Events.ITERATION_STARTED, die)
    run.run()
    run.finalize()
    return run


def state(root: Path, name: str) -> dict[str, torch.Tensor]:
    content = torch.load(root / "models" / name, weights_only=True)
    return content.get("model", content)


def scores(root: Path) -> list[dict[str, Any]]:
    records = json.loads((root / "eval" / "history.json").read_text())
    return [{key: value for key, value in record.items() if key != "seconds"} for record in records]


@pytest.mark.parametrize("steps", [(2,), (4, 6), (3, 5, 8)], ids=str)
def test_killed_in_any_step_and_resumed_it_ends_bit_for_bit_like_an_uninterrupted_run(
    trained: TrainedBundle, tmp_path: Path, steps: tuple[int, ...]
) -> None:
    for step in steps:
        with pytest.raises(RuntimeError) as killed:
            train(trained, tmp_path, step)
        assert "KilledError" in repr(killed.getrepr(style="short"))
    train(trained, tmp_path)
    for name in ("last.pt", "model.pt"):
        ours, theirs = state(tmp_path, name), state(trained.root, name)
        assert all(torch.equal(ours[key], theirs[key]) for key in theirs)
    assert scores(tmp_path) == scores(trained.root)


def test_another_setting_is_one_line_with_both_values_and_restart_begins_anew(
    trained: TrainedBundle, tmp_path: Path
) -> None:
    train(trained, tmp_path, epochs=1)
    first = read_run(tmp_path / "models" / "last.pt")
    with pytest.raises(RuntimeError) as caught:
        train(trained, tmp_path, epochs=1, learning_rate=0.5)
    line = refusal_of(caught.value)
    assert line is not None and "holds another run (learning_rate was" in line and "--restart true" in line
    train(trained, tmp_path, epochs=1, learning_rate=0.0005, restart=True)
    assert first is not None
    files = sorted(path.name for path in (tmp_path / "models").iterdir())
    assert files == sorted(["last.pt", "model.pt", f"last.{first['id']}.pt", f"model.{first['id']}.pt"])


@pytest.mark.slow
def test_on_the_command_line_sigterm_ends_with_75_and_the_same_command_goes_on(
    trained: TrainedBundle, tmp_path: Path
) -> None:
    keys = {
        **SMALL,
        "bundle_root": str(tmp_path),
        "dataset_dir": str(trained.dataset_dir),
        "epochs": 500,
        "val_interval": 500,
    }
    config = BUNDLES / trained.name / "configs" / "train.json"
    command = [sys.executable, "-m", "monai.bundle", "run", "--config_file", str(config)]
    command += [word for key, value in keys.items() for word in (f"--{key}", str(value))]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert process.stdout is not None
    for line in process.stdout:
        if "epoch 2/500" in line:
            process.send_signal(signal.SIGTERM)
            break
    said = process.stdout.read()
    assert process.wait(60) == 75, said
    assert "the same command goes on from" in said
    assert "Traceback" not in said
    found = read_run(tmp_path / "models" / "last.pt")
    assert found is not None and found["epoch"] >= 2
