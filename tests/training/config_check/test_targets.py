"""Targets are found as MONAI finds them, and compared by identity."""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any

import monai
import pytest
import torch
from monai.bundle.config_item import ComponentLocator, ConfigComponent

from medseg.training.config_check import committed
from medseg.training.config_check.findings import RefusedError
from medseg.training.config_check.targets import check_object, find_target, object_at, result_class

LOCATOR = ComponentLocator()


@pytest.mark.parametrize(
    "target",
    [
        *("UNet", "LoadImaged", "LoadImageDict", "DiceMetric", "SupervisedTrainer", "CacheDataset", "StatsHandler"),
        *("monai.networks.nets.UNet", "monai.networks.nets.unet.UNet", "monai.handlers.CheckpointSaver"),
        *("torch.optim.AdamW", "torch.optim.lr_scheduler.ReduceLROnPlateau", "torch.nn.CrossEntropyLoss"),
        *("torch.utils.data.DataLoader", "torch.utils.data.WeightedRandomSampler", "torch.device"),
        *("ignite.metrics.Accuracy", "ignite.handlers.EarlyStopping", "ignite.engine.Engine"),
        *("medseg.networks.create", "medseg.networks.GuidedUNet", "medseg.training.resume.RunKeeper"),
        *("monai.apps.detection.networks.retinanet_network.RetinaNet", "NibabelReader", "monai.utils.set_determinism"),
    ],
)
def test_a_target_is_what_monai_would_take(target: str) -> None:
    from monai.utils.module import locate

    path = ConfigComponent({"_target_": target}, locator=LOCATOR).resolve_module_name()
    assert find_target(target, LOCATOR) is locate(path)


def test_classes_of_lightning_are_allowed_once_it_is_imported() -> None:
    pl = pytest.importorskip("pytorch_lightning")
    assert find_target("pytorch_lightning.Trainer", LOCATOR) is pl.Trainer
    assert find_target("pytorch_lightning.callbacks.ModelCheckpoint", LOCATOR) is pl.callbacks.ModelCheckpoint
    for refused in ("loggers.WandbLogger", "callbacks.LambdaCallback", "LightningModule.load_from_checkpoint"):
        with pytest.raises(RefusedError):
            find_target(f"pytorch_lightning.{refused}", LOCATOR)


@pytest.mark.parametrize(
    ("target", "line"),
    [
        ("monai.networks.nets.Unett", "there is no such class or function, did you mean monai.networks.nets.Unet"),
        ("monai.no_such_module.X", "there is no such class or function"),
        ("UNett", "expected a class of medseg, monai, torch"),
        ("monai.networks.nets", "monai.networks.nets is a module"),
        ("torch.float32", "which is neither a class nor a function"),
        ("torch.Tensor", "torch.Tensor is not one of the committed kinds"),
        ("monai.data.MetaTensor", "monai.data.meta_tensor.MetaTensor is not one of the committed kinds"),
        ("medseg.networks.load_resnet", "medseg.networks.parts.resnet_weights.load_resnet is not a committed function"),
        ("torch.nn.Module.to", "torch.nn.modules.module.Module.to is not a committed function"),
        (["UNet"], "_target_ is ['UNet']; expected a class of medseg"),
        (5, "_target_ is 5; expected a class of medseg"),
    ],
)
def test_another_target_is_refused_in_one_line(target: Any, line: str) -> None:
    with pytest.raises(RefusedError) as caught:
        find_target(target, LOCATOR)
    assert line in str(caught.value) and "\n" not in str(caught.value)


def test_a_class_that_borrows_a_name_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    class Hostile(torch.nn.Module):
        pass

    Hostile.__module__, Hostile.__qualname__ = "monai.networks.nets.unet", "UNet"
    monkeypatch.setattr(monai, "Hostile", Hostile, raising=False)
    with pytest.raises(RefusedError, match="is a class of another package"):
        find_target("monai.Hostile", LOCATOR)


def test_a_subclass_of_another_package_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    module = ModuleType("monaihostile")
    module.Hostile = type("Hostile", (torch.nn.Module,), {"__module__": "monaihostile"})  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "monaihostile", module)
    with pytest.raises(RefusedError, match="expected a class of medseg"):
        find_target("Hostile", ComponentLocator())  # MONAI looks into every module whose name begins with monai


def test_what_inherits_from_a_refused_class_is_refused() -> None:
    lambda_transform = monai.transforms.Lambda

    class Mine(lambda_transform):  # type: ignore[misc, valid-type]
        pass

    with pytest.raises(RefusedError):
        check_object(Mine)


@pytest.mark.parametrize("path", [*committed.FUNCTIONS, *committed.KINDS, *committed.CALLABLE_CLASSES])
def test_every_committed_path_exists(path: str) -> None:
    if path.startswith("pytorch_lightning"):
        pytest.importorskip("pytorch_lightning")
    assert callable(object_at(path))


@pytest.mark.parametrize("path", [path for path, result in committed.FUNCTIONS.items() if result])
def test_every_committed_result_is_a_class(path: str) -> None:
    assert isinstance(result_class(object_at(path)), type)


@pytest.mark.parametrize("path", committed.REFUSED)
def test_every_refused_path_is_the_place_of_its_definition(path: str) -> None:
    """A class is compared by the name of the module that defines it, so a re-export in the list would do nothing."""
    if path.startswith("pytorch_lightning"):
        pytest.importorskip("pytorch_lightning")
    found = object_at(path)
    if found is None:
        pytest.skip("an optional library of it is not installed")
    if isinstance(found, type):
        assert f"{found.__module__}.{found.__qualname__}" == path


@pytest.mark.parametrize("path", committed.METHODS)
def test_every_committed_method_exists(path: str) -> None:
    owner = object_at(path) if "." in path else {"str": str, "list": list, "dict": dict}[path]
    assert [name for name in committed.METHODS[path] if not callable(getattr(owner, name, None))] == []
