"""Export of a trained bundle to TorchScript by MONAI's own command."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from monai.bundle import ConfigParser, ckpt_export, load_bundle_config
from monai.data import load_net_with_metadata

from medseg.io.bounded.weights import load_weights
from tests.bundles.conftest import BUNDLES, SMALL, TrainedBundle, read_config


@pytest.mark.parametrize("use_trace", [True, False], ids=["trace", "script"])
def test_the_exported_network_computes_the_same(trained: TrainedBundle, tmp_path: Path, use_trace: bool) -> None:
    configs, weights = BUNDLES / trained.name / "configs", trained.root / "models" / "model.pt"
    channels = SMALL["network_def::channels"]
    ckpt_export(
        net_id="network_def",
        filepath=str(tmp_path / "model.ts"),
        ckpt_file=str(weights),
        meta_file=str(configs / "metadata.json"),
        config_file=str(configs / "inference.json"),
        use_trace=use_trace,
        **{"network_def::channels": channels},
    )
    definition = {**read_config(trained.name, "inference.json")["network_def"], "channels": channels}
    network = load_weights(ConfigParser({"net": definition}).get_parsed_content("net"), weights).eval()
    exported, metadata, extra = load_net_with_metadata(str(tmp_path / "model.ts"), more_extra_files=("inference.json",))
    patch = torch.rand(2, 1, 32, 48, 32, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        torch.testing.assert_close(exported(patch), network(patch), rtol=1e-5, atol=1e-5)
    assert metadata["version"] == read_config(trained.name, "metadata.json")["version"]
    assert json.loads(extra["inference.json"])["pixdim"] == read_config(trained.name, "inference.json")["pixdim"]
    parser = load_bundle_config(str(tmp_path / "model.ts"), "inference.json")
    assert parser["_meta_"]["name"] == metadata["name"]
