"""What is wrong with a bundle folder is said in one line before anything heavy is loaded."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from medseg.inference.bundle import REQUIRED_KEYS, read_bundle
from medseg.inference.errors import ConfigurationError

METADATA = {
    "name": "tiny",
    "version": "0.2.0",
    "network_data_format": {"outputs": {"pred": {"channel_def": {"0": "background", "1": "liver"}}}},
}


def make_bundle(root: Path, config: Any = None, metadata: Any = METADATA) -> Path:
    (root / "configs").mkdir(parents=True)
    config = dict.fromkeys(REQUIRED_KEYS, "x") if config is None else config
    (root / "configs" / "inference.json").write_text(json.dumps(config))
    (root / "configs" / "metadata.json").write_text(json.dumps(metadata))
    return root


def refusal(root: Path) -> str:
    with pytest.raises(ConfigurationError) as caught:
        read_bundle(root)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_bundle_tells_its_name_version_and_classes(tmp_path: Path) -> None:
    bundle = read_bundle(make_bundle(tmp_path / "b"))
    assert (bundle.name, bundle.version, bundle.labels) == ("tiny", "0.2.0", {0: "background", 1: "liver"})
    assert not bundle.has_progress


def test_a_missing_folder_or_file_is_named(tmp_path: Path) -> None:
    assert "no such bundle folder" in refusal(tmp_path / "nowhere")
    assert "inference.json" in refusal(tmp_path)


def test_broken_json_is_located(tmp_path: Path) -> None:
    root = make_bundle(tmp_path / "b")
    (root / "configs" / "inference.json").write_text('{"weights": }')
    assert "line 1 column 13" in refusal(root)


def test_a_misspelt_key_is_suggested(tmp_path: Path) -> None:
    config = dict.fromkeys(REQUIRED_KEYS, "x")
    del config["output_name"]
    config["outputname"] = "x"
    text = refusal(make_bundle(tmp_path / "b", config))
    assert "'output_name' is missing" in text
    assert "'outputname'" in text


@pytest.mark.parametrize("channels", [None, {}, {"one": "liver"}, {"1": "liver"}, {"0": "background", "300": "x"}])
def test_class_names_that_cannot_be_used_are_refused(tmp_path: Path, channels: Any) -> None:
    metadata = {"network_data_format": {"outputs": {"pred": {"channel_def": channels}}}}
    assert "channel_def" in refusal(make_bundle(tmp_path / "b", metadata=metadata))
