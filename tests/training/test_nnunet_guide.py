"""Guides are dropped at random, kept out of intensity augmentation, and nnU-Net finds the trainer that does so."""

from __future__ import annotations

import importlib
import runpy
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from medseg.training.nnunet_guide import KeepChannels, drop_guides, guide_channels, trainer_folder


def batch(samples: int = 400) -> torch.Tensor:
    return torch.rand(samples, 3, 2, 2, generator=torch.Generator().manual_seed(0)) + 0.1


def test_all_guides_of_a_sample_fall_together_and_the_image_never_does() -> None:
    data = batch()
    found = drop_guides(data, (1, 2), 0.3, torch.Generator().manual_seed(1))
    gone = (found[:, 1:] == 0).flatten(1)
    assert torch.equal(gone.all(dim=1), gone.any(dim=1))
    assert 0.2 < gone.all(dim=1).float().mean() < 0.4
    assert torch.equal(found[:, 0], data[:, 0])
    assert torch.equal(found[~gone.all(dim=1)], data[~gone.all(dim=1)])
    assert torch.equal(data, batch())


def test_probabilities_0_and_1_are_exact() -> None:
    data = batch(50)
    assert drop_guides(data, (1,), 0.0) is data
    found = drop_guides(data, (1,), 1.0)
    assert not found[:, 1].any()
    assert torch.equal(found[:, [0, 2]], data[:, [0, 2]])


def test_impossible_draws_are_named() -> None:
    with pytest.raises(ValueError, match=r"prob is 1\.5"):
        drop_guides(batch(2), (1,), 1.5)
    with pytest.raises(ValueError, match=r"channels is \[3\], expected numbers from 0 to 2"):
        drop_guides(batch(2), (3,), 0.5)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"channel_names": {"0": "CT"}}, "has no 'guide_channels'"),
        ({"channel_names": {"0": "CT"}, "guide_channels": [0]}, "some but not all of the channels 0 to 0"),
        ({"channel_names": {"0": "CT", "1": "noNorm"}, "guide_channels": [2]}, r"guide_channels is \[2\]"),
    ],
)
def test_a_data_set_without_usable_guides_is_refused(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        guide_channels(given)
    assert guide_channels({"channel_names": {"0": "CT", "1": "a", "2": "b"}, "guide_channels": [2, 1]}) == (1, 2)


def test_kept_channels_survive_a_transform_that_works_in_place() -> None:
    def brighten(**data: Any) -> dict[str, Any]:
        data["image"] += 1
        data["segmentation"] = data["segmentation"] * 2
        return data

    image, segmentation = torch.rand(3, 4, 4), torch.ones(1, 4, 4)
    expected = image.clone()
    expected[[0, 2]] += 1
    found = KeepChannels(brighten, (1,))(image=image, segmentation=segmentation)
    assert torch.equal(found["image"], expected)
    assert torch.equal(found["segmentation"], 2 * torch.ones(1, 4, 4))
    assert KeepChannels(lambda **data: data, (1,))(segmentation=segmentation) == {"segmentation": segmentation}


def test_the_command_prints_the_trainers_folder(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.warns(RuntimeWarning, match="found in sys.modules"):
        runpy.run_module("medseg.training.nnunet_guide", run_name="__main__")
    assert Path(capsys.readouterr().out.strip()) == trainer_folder()
    assert (trainer_folder() / "guide_dropout.py").is_file()


def test_without_nnunet_the_trainer_names_the_extra_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("nnunetv2", "batchgeneratorsv2"):
        for module in [module for module in sys.modules if module.split(".")[0] == name]:
            monkeypatch.delitem(sys.modules, module)
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.delitem(sys.modules, "medseg.training.nnunet_trainers.guide_dropout", raising=False)
    with pytest.raises(ImportError, match=r"pip install 'medseg\[nnunet\]'") as caught:
        importlib.import_module("medseg.training.nnunet_trainers.guide_dropout")
    assert "\n" not in str(caught.value)


def test_nnunet_finds_the_trainer_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("nnunetv2")
    from nnunetv2.utilities.find_objects import recursive_find_trainer_class_by_name

    monkeypatch.setenv("nnUNet_extTrainer", str(trainer_folder()))
    found = recursive_find_trainer_class_by_name("nnUNetTrainerGuideDropout")
    assert found.__name__ == "nnUNetTrainerGuideDropout"
    assert found.guide_dropout == 0.5


def test_every_intensity_transform_of_nnunet_keeps_the_guide_and_moves_of_the_image_move_it_too() -> None:
    pytest.importorskip("nnunetv2")
    from batchgeneratorsv2.transforms.spatial.mirroring import MirrorTransform

    from medseg.training.nnunet_trainers.guide_dropout import nnUNetTrainerGuideDropout

    trainer = nnUNetTrainerGuideDropout.__new__(nnUNetTrainerGuideDropout)
    trainer.guide_channels = (1,)
    composed = trainer.get_training_transforms((16, 16, 16), (-0.5, 0.5), None, (0, 1, 2), False)
    kept = [transform for transform in composed.transforms if isinstance(transform, KeepChannels)]
    assert len(kept) == 7
    assert any(isinstance(transform, MirrorTransform) for transform in composed.transforms)
    guide = torch.zeros(2, 16, 16, 16)
    guide[0].normal_()
    guide[1, 4:8, 4:8, 4:8] = 1
    for transform in kept:
        transform.transform.apply_probability = 1.0
        found = [transform(image=guide.clone())["image"] for _ in range(20)]  # some change a channel now and then only
        assert all(torch.equal(image[1], guide[1]) for image in found)
        assert not all(torch.equal(image[0], guide[0]) for image in found)


def test_the_trainer_drops_guides_in_training_steps_only(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("nnunetv2")
    from medseg.training.nnunet_trainers.guide_dropout import nnUNetTrainer, nnUNetTrainerGuideDropout

    seen: list[torch.Tensor] = []
    monkeypatch.setattr(nnUNetTrainer, "train_step", lambda self, batch: seen.append(batch["data"]) or {"loss": 0})
    trainer = nnUNetTrainerGuideDropout.__new__(nnUNetTrainerGuideDropout)
    trainer.guide_channels = (2,)
    data = batch(200)
    torch.manual_seed(0)
    assert trainer.train_step({"data": data, "target": None}) == {"loss": 0}
    gone = (seen[0][:, 2] == 0).flatten(1).all(dim=1)
    assert 0.4 < gone.float().mean() < 0.6
    assert torch.equal(seen[0][:, :2], data[:, :2])
    assert nnUNetTrainerGuideDropout.validation_step is nnUNetTrainer.validation_step
