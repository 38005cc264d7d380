"""Lightning beside the engines of the bundles: the same losses, the same score, and weights that go both ways."""

from __future__ import annotations

import doctest
import logging
import subprocess
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from ignite.engine import Events
from monai.bundle import ConfigWorkflow
from monai.data import DataLoader, Dataset
from monai.engines import SupervisedTrainer
from torch import Tensor, nn

from medseg.io import load_weights, save_weights
from medseg.io.bounded.errors import DataError
from medseg.networks import create
from medseg.training.sampling import EpochBatches, SeededDataset
from tests.bundles.conftest import BUNDLES, NAMES, SMALL, data_of_phantoms, single_thread

pl = pytest.importorskip("pytorch_lightning", reason="needs the extra lightning")

from medseg.training import lightning  # noqa: E402
from medseg.training.lightning import (  # noqa: E402
    ClassificationModule,
    ConfigDataModule,
    SegmentationModule,
    training_workflow,
)

EPOCHS = 10


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    with single_thread(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of Lightning, on workers and loggers
        logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
        yield


def trainer(**options: Any) -> Any:
    return pl.Trainer(
        accelerator="cpu", devices=1, logger=False, enable_progress_bar=False, enable_model_summary=False, **options
    )


class Losses(pl.Callback):
    """The loss of every step."""

    def __init__(self) -> None:
        self.values: list[float] = []

    def on_train_batch_end(self, trainer: Any, module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        self.values.append(float(outputs["loss"]))


@pytest.fixture(scope="module")
def phantoms(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two synthetic balls of 40^3 voxels, of 1 mm; one of them is validated, too."""
    return data_of_phantoms(tmp_path_factory.mktemp("phantoms"), side=40, spacing_mm=1.0)


def small(phantoms: Path, root: Path, **values: Any) -> dict[str, Any]:
    run = {"pixdim": [1.0] * 3, "cropped": True, "epochs": EPOCHS, "val_interval": EPOCHS, "patches_per_image": 1}
    # Dropout, so that equal losses also show equal draws inside of a step.
    return {**SMALL, **run, "network_def::dropout": 0.2, "dataset_dir": phantoms, "bundle_root": root, **values}


def config(bundle: str, name: str = "train.json") -> str:
    return str(BUNDLES / bundle / "configs" / name)


def ignite_run(bundle: str, values: dict[str, Any]) -> tuple[list[float], float]:
    """The losses and the last score of the bundle's own training."""
    texts = {key: str(value) if isinstance(value, Path) else value for key, value in values.items()}
    run, losses = ConfigWorkflow(config(bundle), workflow_type="train", logging_file=False, **texts), []
    run.initialize()
    engine = run.parser.get_parsed_content("train::trainer")
    engine.add_event_handler(
        Events.ITERATION_COMPLETED, lambda engine: losses.append(float(engine.state.output["loss"]))
    )
    run.run()
    evaluator = run.parser.get_parsed_content("validate::evaluator")
    return losses, evaluator.state.metrics["val_mean_dice_nonempty"]


def lightning_run(bundle: str, values: dict[str, Any], **options: Any) -> tuple[list[float], Any, Any]:
    work, losses = training_workflow(config(bundle), **values), Losses()
    module, data = SegmentationModule.from_workflow(work), ConfigDataModule.from_workflow(work)
    options.setdefault("max_epochs", EPOCHS)
    engine = trainer(callbacks=[losses, *options.pop("callbacks", [])], check_val_every_n_epoch=EPOCHS, **options)
    engine.fit(module, data)
    return losses.values, module, engine


@pytest.mark.parametrize("bundle", NAMES)
def test_the_first_20_losses_and_the_score_are_those_of_the_engine(bundle: str, phantoms: Path, tmp_path: Path) -> None:
    expected, score = ignite_run(bundle, small(phantoms, tmp_path / "ignite"))
    found, module, engine = lightning_run(bundle, small(phantoms, tmp_path / "lightning"), enable_checkpointing=False)
    assert len(expected) == len(found) == 20 and len(set(expected)) == 20
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6)
    assert float(engine.callback_metrics["val_mean_dice_nonempty"]) == pytest.approx(score, abs=1e-6)
    weights = torch.load(tmp_path / "ignite" / "models" / "last.pt", weights_only=True)["model"]
    torch.testing.assert_close(dict(module.network.state_dict()), weights, rtol=0, atol=1e-6)


def test_checkpoints_go_into_the_bundle_and_its_weights_into_the_module(phantoms: Path, tmp_path: Path) -> None:
    bundle, values = NAMES[0], small(phantoms, tmp_path, **{"network_def::dropout": 0.0})
    best = pl.callbacks.ModelCheckpoint(tmp_path / "checkpoints", monitor="val_mean_dice_nonempty", mode="max")
    _, module, _ = lightning_run(bundle, values, callbacks=[best])
    checkpoint = Path(best.best_model_path)
    kept = {key: value for key, value in values.items() if not key.startswith(("epochs", "val_interval", "patches"))}

    inference = ConfigWorkflow(
        config(bundle, "inference.json"),
        workflow_type="infer",
        logging_file=False,
        weights=str(checkpoint),
        progress=False,
        **{**kept, "dataset_dir": str(phantoms / "images"), "bundle_root": str(tmp_path)},
    )
    inference.initialize()
    network = inference.parser.get_parsed_content("network")
    torch.testing.assert_close(dict(network.state_dict()), dict(module.network.state_dict()), rtol=0, atol=0)
    inference.run()
    assert len(list((tmp_path / "eval").glob("*_seg.nii.gz"))) == 2

    saved = save_weights(network, tmp_path / "model.pt")
    again = SegmentationModule.from_workflow(training_workflow(config(bundle), **values, initial_weights=saved))
    torch.testing.assert_close(dict(again.network.state_dict()), dict(network.state_dict()), rtol=0, atol=0)
    for value in again.network.parameters():
        nn.init.zeros_(value)
    load_weights(again.network, checkpoint)
    torch.testing.assert_close(dict(again.network.state_dict()), dict(network.state_dict()), rtol=0, atol=0)


def test_a_resumed_run_has_the_losses_of_one_that_was_not_stopped(phantoms: Path, tmp_path: Path) -> None:
    whole, _, _ = lightning_run(NAMES[0], small(phantoms, tmp_path, epochs=4), max_epochs=4, enable_checkpointing=False)
    values = small(phantoms, tmp_path, epochs=4)
    _, _, engine = lightning_run(NAMES[0], values, max_epochs=2, default_root_dir=tmp_path)
    engine.save_checkpoint(tmp_path / "stopped.ckpt")
    work, losses = training_workflow(config(NAMES[0]), **values), Losses()
    rest = trainer(callbacks=[losses], max_epochs=4, limit_val_batches=0, enable_checkpointing=False)
    parts = SegmentationModule.from_workflow(work), ConfigDataModule.from_workflow(work)
    rest.fit(*parts, ckpt_path=tmp_path / "stopped.ckpt")
    assert len(losses.values) == 4
    np.testing.assert_allclose(losses.values, whole[4:], rtol=0, atol=1e-6)


def test_a_score_without_foreground_is_undefined_and_a_diverged_loss_stops(phantoms: Path, tmp_path: Path) -> None:
    work = training_workflow(config(NAMES[0]), **small(phantoms, tmp_path, learning_rate=1e30))
    module, data = SegmentationModule.from_workflow(work), ConfigDataModule.from_workflow(work)
    nothing = [{"image": torch.rand(1, 32, 32, 32), "label": torch.zeros(1, 32, 32, 32)}]
    engine = trainer(max_epochs=1)
    (found,) = engine.validate(module, DataLoader(nothing, batch_size=1), verbose=False)
    assert np.isnan(found["val_mean_dice_nonempty"])
    with pytest.raises(DataError, match=r"epoch 1, step 2: the loss is nan, so the training was stopped"):
        trainer(max_epochs=1, num_sanity_val_steps=0, limit_val_batches=0).fit(module, data)


def test_what_cannot_be_taken_over_is_refused_in_one_line(phantoms: Path, tmp_path: Path) -> None:
    metric = {"val_surface": {"_target_": "SurfaceDistance"}}
    work = training_workflow(config(NAMES[0]), **small(phantoms, tmp_path), **{"validate::key_metric": metric})
    with pytest.raises(DataError, match=r"validate::key_metric is 'SurfaceDistance'; expected the mean Dice"):
        SegmentationModule.from_workflow(work)
    data = ConfigDataModule.from_workflow(work)
    data.trainer = type("Trainer", (), {"world_size": 2})()
    with pytest.raises(DataError, match=r"has 2 processes; expected one \(devices=1\)"):
        data.setup("fit")


def test_a_bundle_without_validation_cases_trains(phantoms: Path, tmp_path: Path) -> None:
    work = training_workflow(config(NAMES[0]), **small(phantoms, tmp_path), **{"validate::dataset::data": "$[]"})
    data = ConfigDataModule.from_workflow(work)
    assert data.val_dataloader() == []
    engine = trainer(max_epochs=1, enable_checkpointing=False)
    engine.fit(SegmentationModule.from_workflow(work), data)
    assert "val_mean_dice_nonempty" not in engine.callback_metrics


class Blobs(torch.utils.data.Dataset[dict[str, Tensor]]):
    """Squares of noise, brighter by the number of their class."""

    def __init__(self, classes: int, count: int = 12) -> None:
        draw = torch.Generator().manual_seed(0)
        self.label = torch.arange(count) % classes
        self.image = torch.randn(count, 1, 16, 16, generator=draw) + self.label.reshape(-1, 1, 1, 1)

    def __len__(self) -> int:
        return len(self.label)

    def __getitem__(self, number: int) -> dict[str, Tensor]:
        return {"image": self.image[number], "label": self.label[number]}


def classifier(classes: int) -> tuple[nn.Module, nn.Module, torch.optim.Optimizer, DataLoader]:
    torch.manual_seed(0)
    net = create("lidc_cnn", spatial_dims=2, in_channels=1, out_channels=classes, channels=(4, 4, 6, 6))
    data, order = Blobs(classes), EpochBatches(12, batch_size=3, seed=0)
    loader = DataLoader(SeededDataset(data), batch_sampler=order)
    return net, nn.CrossEntropyLoss(), torch.optim.SGD(net.parameters(), lr=0.05), loader


def test_a_classification_has_the_losses_of_monais_engine() -> None:
    net, loss, optimizer, loader = classifier(2)
    expected: list[float] = []
    engine = SupervisedTrainer(torch.device("cpu"), 5, loader, net, optimizer, loss, decollate=False)
    engine.add_event_handler(Events.ITERATION_COMPLETED, lambda e: expected.append(float(e.state.output["loss"])))
    torch.manual_seed(0)
    engine.run()
    net, loss, optimizer, loader = classifier(2)
    module, losses = ClassificationModule(net, loss, optimizer), Losses()
    torch.manual_seed(0)
    data = ConfigDataModule(loader)
    trainer(max_epochs=5, callbacks=[losses], enable_checkpointing=False).fit(module, data)
    assert len(expected) == len(losses.values) == 20
    np.testing.assert_allclose(losses.values, expected, rtol=0, atol=1e-6)


class Given(nn.Module):
    """A network whose result is its input."""

    def __init__(self) -> None:
        super().__init__()
        self.unused = nn.Parameter(torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:
        return x


def scores_of(logits: list[list[float]], label: list[int]) -> dict[str, float]:
    net = Given()
    module = ClassificationModule(net, nn.CrossEntropyLoss(), torch.optim.SGD(net.parameters(), 0.1))
    data = [{"image": torch.tensor(x), "label": torch.tensor(y)} for x, y in zip(logits, label, strict=True)]
    (found,) = trainer().validate(module, DataLoader(Dataset(data), batch_size=2), verbose=False)
    return found


def test_accuracy_and_auc_are_those_of_all_cases() -> None:
    # Of the 2 x 3 pairs of a case of class 1 and one of class 0, the scores order 5 rightly.
    two = scores_of([[0.0, 3.0], [0.0, -1.0], [1.5, 0.0], [0.0, -2.0], [0.0, -0.5]], [1, 1, 0, 0, 0])
    assert two["val_accuracy"] == pytest.approx(4 / 5) and two["val_auc"] == pytest.approx(5 / 6)
    one = scores_of([[3.0], [-1.0], [-1.0], [-2.0], [-0.5]], [1, 1, 0, 0, 0])
    assert one["val_accuracy"] == pytest.approx(4 / 5) and one["val_auc"] == pytest.approx((3 + 1.5) / 6)
    three = scores_of([[5.0, 0, 0], [0, 5.0, 0], [0, 0, 5.0], [5.0, 0, 0]], [0, 1, 2, 0])
    assert three == {"val_accuracy": 1.0, "val_auc": 1.0}
    alone = scores_of([[0.0, 1.0], [1.0, 0.0]], [1, 1])
    assert alone["val_accuracy"] == 0.5 and np.isnan(alone["val_auc"])


@pytest.mark.parametrize("name", lightning.__all__)
def test_every_public_name_has_an_example_that_runs(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    member = getattr(lightning, name)
    tests = doctest.DocTestFinder(exclude_empty=True).find(member, name, globs={"torch": torch, **vars(lightning)})
    tests = [test for test in tests if test.examples]
    assert tests
    report: list[str] = []
    for test in tests:
        doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE).run(test, out=report.append)
    assert report == []


WITHOUT_IGNITE = """
import sys
sys.modules["ignite"] = None
import pytorch_lightning as pl
from medseg.training.lightning import ConfigDataModule, SegmentationModule, training_workflow
work = training_workflow(sys.argv[1], bundle_root=sys.argv[2], dataset_dir=sys.argv[3], pixdim=[1.0] * 3, cropped=True,
    roi_size=[32] * 3, patches_per_image=1, device="$torch.device('cpu')", amp=False,
    **{"network_def::channels": [4, 8, 8, 16, 16]})
trainer = pl.Trainer(accelerator="cpu", devices=1, max_epochs=1, logger=False, enable_checkpointing=False,
    enable_progress_bar=False)
trainer.fit(SegmentationModule.from_workflow(work), ConfigDataModule.from_workflow(work))
print("score", 0 <= float(trainer.callback_metrics["val_mean_dice_nonempty"]) <= 1)
"""


def test_lightning_needs_no_ignite(phantoms: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-c", WITHOUT_IGNITE, config(NAMES[0]), str(tmp_path), str(phantoms)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.stdout.splitlines()[-1:] == ["score True"], done.stderr[-2000:]
