"""Export of a trained bundle to TorchScript and ONNX by MONAI's own commands."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import torch
from monai.bundle import ConfigParser, ckpt_export, load_bundle_config, onnx_export
from monai.data import load_net_with_metadata

from medseg.io.bounded.weights import load_weights
from tests.bundles.conftest import BUNDLES, SMALL, TrainedBundle, read_config


def files_of_export(trained: TrainedBundle) -> dict[str, Any]:
    """What every command of export is given."""
    configs = BUNDLES / trained.name / "configs"
    return {
        "net_id": "network_def",
        "ckpt_file": str(trained.root / "models" / "model.pt"),
        "meta_file": str(configs / "metadata.json"),
        "config_file": str(configs / "inference.json"),
        "network_def::channels": SMALL["network_def::channels"],
    }


def trained_network(trained: TrainedBundle) -> torch.nn.Module:
    definition = read_config(trained.name, "inference.json")["network_def"]
    definition["channels"] = SMALL["network_def::channels"]
    network = ConfigParser({"net": definition}).get_parsed_content("net")
    return load_weights(network, trained.root / "models" / "model.pt").eval()


@pytest.mark.parametrize("use_trace", [True, False], ids=["trace", "script"])
def test_the_exported_network_computes_the_same(trained: TrainedBundle, tmp_path: Path, use_trace: bool) -> None:
    ckpt_export(filepath=str(tmp_path / "model.ts"), use_trace=use_trace, **files_of_export(trained))
    network = trained_network(trained)
    exported, metadata, extra = load_net_with_metadata(str(tmp_path / "model.ts"), more_extra_files=("inference.json",))
    patch = torch.rand(2, 1, 32, 48, 32, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        torch.testing.assert_close(exported(patch), network(patch), rtol=1e-5, atol=1e-5)
    assert metadata["version"] == read_config(trained.name, "metadata.json")["version"]
    assert json.loads(extra["inference.json"])["pixdim"] == read_config(trained.name, "inference.json")["pixdim"]
    parser = load_bundle_config(str(tmp_path / "model.ts"), "inference.json")
    assert parser["_meta_"]["name"] == metadata["name"]


@pytest.mark.parametrize("use_trace", [True, False], ids=["trace", "script"])
def test_the_exported_network_makes_the_same_mask(
    trained: TrainedBundle, infer: Callable[..., Any], tmp_path: Path, use_trace: bool
) -> None:
    exported = tmp_path / "model.ts"
    ckpt_export(filepath=str(exported), use_trace=use_trace, **files_of_export(trained))
    values = {"input_files": [str(trained.dataset_dir / "images" / "other.nii.gz")]}
    infer(output_dir=tmp_path / "own", **values)
    infer(output_dir=tmp_path / "exported", network=f"$torch.jit.load({str(exported)!r})", **values)
    masks = [nib.load(tmp_path / folder / "other_seg.nii.gz") for folder in ("own", "exported")]
    own, other = (np.asanyarray(mask.dataobj) for mask in masks)
    assert 0 < own.mean() < 1
    np.testing.assert_array_equal(own, other)


def test_the_onnx_network_computes_the_same(trained: TrainedBundle, tmp_path: Path) -> None:
    """The reference evaluator of the onnx package computes it, so that no runtime is needed."""
    onnx = pytest.importorskip("onnx", reason="needs the extra onnx")
    pytest.importorskip("onnxscript", reason="needs the extra onnx")
    from onnx.reference import ReferenceEvaluator

    file = tmp_path / "model.onnx"
    shape = [1, 1, 32, 32, 32]
    onnx_export(filepath=str(file), input_shape=shape, **files_of_export(trained))
    model = onnx.load(str(file))
    onnx.checker.check_model(model)
    patch = torch.rand(shape, generator=torch.Generator().manual_seed(0))
    (found,) = ReferenceEvaluator(model).run(None, {model.graph.input[0].name: patch.numpy()})
    with torch.no_grad():
        np.testing.assert_allclose(found, trained_network(trained)(patch).numpy(), rtol=1e-3, atol=1e-4)
