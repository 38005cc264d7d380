"""A real bundle small enough for tests: one 1 x 1 x 1 convolution that marks every voxel above 100 HU."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch

THRESHOLD_HU = 100.0


def metadata(class_name: str) -> dict[str, Any]:
    channels = {"0": "background", "1": class_name}
    return {
        "name": "tiny_threshold",
        "version": "0.1.0",
        "network_data_format": {"outputs": {"pred": {"channel_def": channels}}},
    }


CONFIG: dict[str, Any] = {
    "imports": ["$import torch", "$from medseg.io.bounded.weights import load_weights"],
    "bundle_root": ".",
    "output_dir": "$@bundle_root + '/eval'",
    "output_name": "{case}_seg",
    "device": "$torch.device('cpu')",
    "input_files": [],
    "weights": "$@bundle_root + '/models/model.pt'",
    "progress": False,
    "network_def": {"_target_": "torch.nn.Conv3d", "in_channels": 1, "out_channels": 2, "kernel_size": 1},
    "network": "$@network_def.to(@device)",
    "preprocessing": {
        "_target_": "Compose",
        "transforms": [
            {"_target_": "LoadImaged", "keys": "image", "ensure_channel_first": True},
            {"_target_": "Orientationd", "keys": "image", "axcodes": "RAS", "labels": None},
        ],
    },
    "dataset": {
        "_target_": "Dataset",
        "data": "$[{'image': name} for name in @input_files]",
        "transform": "@preprocessing",
    },
    "dataloader": {"_target_": "DataLoader", "dataset": "@dataset", "batch_size": 1},
    "inferer": {"_target_": "SlidingWindowInferer", "roi_size": [16, 16, 16], "progress": "@progress"},
    "postprocessing": {
        "_target_": "Compose",
        "transforms": [
            {"_target_": "AsDiscreted", "keys": "pred", "argmax": True},
            {
                "_target_": "Invertd",
                "keys": "pred",
                "transform": "@preprocessing",
                "orig_keys": "image",
                "nearest_interp": True,
                "to_tensor": True,
            },
            {
                "_target_": "medseg.transforms.output.save_mask.SaveMaskd",
                "keys": "pred",
                "output_dir": "@output_dir",
                "output_name": "@output_name",
            },
        ],
    },
    "evaluator": {
        "_target_": "SupervisedEvaluator",
        "device": "@device",
        "val_data_loader": "@dataloader",
        "network": "@network",
        "inferer": "@inferer",
        "postprocessing": "@postprocessing",
    },
    "initialize": ["$load_weights(@network, @weights, @device)"],
    "run": ["$@evaluator.run()"],
}


def make_tiny_bundle(root: Path, weights: bool = True, class_name: str = "bright tissue", **changes: Any) -> Path:
    """Write the bundle with its weights and return its folder; ``changes`` replace keys of the config."""
    (root / "configs").mkdir(parents=True)
    (root / "models").mkdir()
    (root / "configs" / "inference.json").write_text(json.dumps({**CONFIG, **changes}))
    (root / "configs" / "metadata.json").write_text(json.dumps(metadata(class_name)))
    if weights:
        state = {
            "weight": torch.tensor([0.0, 1.0]).reshape(2, 1, 1, 1, 1),
            "bias": torch.tensor([0.0, -THRESHOLD_HU]),
        }
        torch.save(state, root / "models" / "model.pt")
    return root
