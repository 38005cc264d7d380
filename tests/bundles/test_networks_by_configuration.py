"""Every segmentation network of the registry trains and infers in the bundles through ``network_def`` alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import torch

from medseg.io.bounded.one_line import refusal_of
from medseg.networks import list_networks
from tests.bundles.conftest import BUNDLES, SMALL, data_of_phantoms, history
from tests.networks._cases import CASES

# Beside the classification networks, rnet needs scribbles: it is no network of one image.
SEGMENTATION = [name for name in list_networks() if CASES[name].kind == "segment" and name != "rnet"]
LIVER, NODULE = "lits_liver_segmentation", "lidc_nodule_segmentation"
# Each name in 3-D in one bundle and slice by slice in the other.
FORMS = [(name, form) for name in SEGMENTATION for form in ("3-D", "2-D")]


def as_json(value: Any) -> Any:
    """What a configuration file can hold: lists in place of tuples."""
    if isinstance(value, dict):
        return {key: as_json(item) for key, item in value.items()}
    return [as_json(item) for item in value] if isinstance(value, list | tuple) else value


def network_def(name: str, form: str) -> dict[str, Any]:
    dims, channels = (3, 1) if form == "3-D" else (2, CASES[name].channels)
    shape = {"spatial_dims": dims, "in_channels": channels, "out_channels": 2}
    network = {"_target_": "medseg.networks.create", "name": name, **shape, **as_json(CASES[name].arguments)}
    if form == "3-D":
        return network
    return {"_target_": "medseg.networks.SliceBySlice", "network": network, "neighbours": (channels - 1) // 2}


@pytest.fixture(scope="module")
def phantoms(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two synthetic balls of 48^3 voxels, of 1 mm; one of them is validated, too."""
    return data_of_phantoms(tmp_path_factory.mktemp("phantoms"), side=48, spacing_mm=1.0)


def run(bundle: str, config: str, kind: str, **values: Any) -> Any:
    from monai.bundle import ConfigWorkflow

    small = {key: value for key, value in SMALL.items() if "network_def" not in key}
    overrides = {key: str(value) if isinstance(value, Path) else value for key, value in {**small, **values}.items()}
    file = str(BUNDLES / bundle / "configs" / config)
    return ConfigWorkflow(file, workflow_type=kind, logging_file=False, pixdim=[1.0] * 3, **overrides)


@pytest.mark.parametrize(("name", "form"), FORMS)
def test_a_name_trains_and_infers(phantoms: Path, tmp_path: Path, name: str, form: str) -> None:
    bundle = LIVER if form == "3-D" else NODULE
    values: dict[str, Any] = {
        "bundle_root": tmp_path,
        "network_def": network_def(name, form),
        "roi_size": [32, 32, 32] if form == "3-D" else [32, 32, 4],
    }
    more = {"patches_per_image": 2} if form == "3-D" else {"patches_per_image": 1, "sample_size": [32, 32, 4]}
    training = run(bundle, "train.json", "train", dataset_dir=phantoms, epochs=2, val_interval=2, **more, **values)
    training.initialize()
    before = {key: value.clone() for key, value in training.parser.get_parsed_content("network").state_dict().items()}
    training.run()
    training.finalize()
    epochs = history(tmp_path)
    assert len(epochs) == 2 and all(np.isfinite(epoch["loss"]) for epoch in epochs)
    assert 0 <= epochs[1]["score"] <= 1
    after = torch.load(tmp_path / "models" / "model.pt", weights_only=True)
    assert any(not torch.equal(before[key], value) for key, value in after.items())

    inference = run(bundle, "inference.json", "infer", dataset_dir=phantoms / "images", progress=False, **values)
    inference.initialize()
    inference.run()
    scans = sorted((phantoms / "images").iterdir())
    masks = sorted(tmp_path.glob("eval/*_seg.nii.gz"))
    assert len(masks) == len(scans) == 2
    for scan, mask in zip(scans, masks, strict=True):
        assert nib.load(mask).shape == nib.load(scan).shape == (48, 48, 48)
        assert set(np.unique(np.asanyarray(nib.load(mask).dataobj))) <= {0, 1}


@pytest.mark.parametrize(("config", "kind"), [("train.json", "train"), ("inference.json", "infer")])
def test_a_size_that_does_not_fit_is_said_before_anything_runs_with_the_next_that_does(
    phantoms: Path, tmp_path: Path, config: str, kind: str
) -> None:
    for form, size, line in (
        ("3-D", [32, 32, 30], "roi_size is [32, 32, 30]; expected multiples of [4, 4, 4]"),
        ("2-D", [30, 32, 3], "roi_size is [30, 32, 3]; expected multiples of [4, 4, 1]"),
    ):
        values = {"network_def": network_def("vnet", form), "roi_size": size, "bundle_root": tmp_path}
        work = run(LIVER, config, kind, dataset_dir=phantoms, **values)
        with pytest.raises(RuntimeError) as caught:
            work.initialize()
        refusal = refusal_of(caught.value) or ""
        assert refusal.startswith(line) and refusal.endswith({"3-D": "[32, 32, 32]", "2-D": "[32, 32, 3]"}[form])
    assert list(tmp_path.iterdir()) == []


def test_too_few_values_for_a_normalisation_are_said_before_the_first_step(phantoms: Path, tmp_path: Path) -> None:
    values = {"network_def": network_def("mobilenet_unet", "3-D"), "roi_size": [32] * 3, "patches_per_image": 1}
    work = run(LIVER, "train.json", "train", dataset_dir=phantoms, bundle_root=tmp_path, **values)
    with pytest.raises(RuntimeError) as caught:
        work.initialize()
    assert refusal_of(caught.value) == (
        "roi_size is [32, 32, 32] and a training batch has 1 patch: one value for each channel is left at the "
        "network's lowest level, too few for its normalisation; use at least [64, 32, 32], or more patches in a batch "
        "(batch_size, patches_per_image)"
    )
    assert list(tmp_path.iterdir()) == []
