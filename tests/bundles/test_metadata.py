"""Metadata, versions and folder content of the bundles, checked by MONAI's own commands and without a network."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from monai.bundle import verify_metadata, verify_net_in_out
from packaging.version import Version

import medseg
from tests.bundles.conftest import BUNDLES, NAMES, read_config

SCHEMA = Path(__file__).resolve().parents[1] / "data" / "metadata_schema.json"
REQUIRED_KEYS = json.loads(SCHEMA.read_text())["required"]


def verify(metadata: Path, folder: Path) -> None:
    """MONAI's check against our own schema: a schema that lies at ``filepath`` already is not downloaded."""
    shutil.copy(SCHEMA, folder / "schema.json")
    verify_metadata(meta_file=str(metadata), filepath=str(folder / "schema.json"))


def verify_changed(name: str, folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    metadata = read_config(name, "metadata.json")
    change(metadata)
    (folder / "metadata.json").write_text(json.dumps(metadata))
    verify(folder / "metadata.json", folder)


def installed_version(package: str) -> str:
    return medseg.__version__ if package == "medseg" else importlib.metadata.version(package)


def test_there_are_two_bundles() -> None:
    assert NAMES == ["lidc_nodule_segmentation", "lits_liver_segmentation"]


def test_metadata_passes_monai_s_check(bundle: str, tmp_path: Path) -> None:
    verify(BUNDLES / bundle / "configs" / "metadata.json", tmp_path)


def test_the_schema_asks_for_the_eleven_keys() -> None:
    assert len(REQUIRED_KEYS) == 11


@pytest.mark.parametrize("key", [key for key in REQUIRED_KEYS if key != "schema"])
def test_metadata_without_a_required_key_fails(key: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="Failed validating"):
        verify_changed(NAMES[0], tmp_path, lambda metadata: metadata.pop(key))


@pytest.mark.parametrize("key", ["type", "format", "num_channels", "spatial_shape", "dtype", "value_range"])
def test_a_tensor_without_a_required_entry_fails(key: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="Failed validating"):
        verify_changed(NAMES[0], tmp_path, lambda m: m["network_data_format"]["inputs"]["image"].pop(key))


def test_supported_apps_as_a_list_fail(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="Failed validating"):
        verify_changed(NAMES[0], tmp_path, lambda metadata: metadata.update(supported_apps=[]))


def test_the_changelog_has_the_version(bundle: str) -> None:
    metadata = read_config(bundle, "metadata.json")
    assert metadata["changelog"][metadata["version"]].strip()


def test_the_named_versions_are_not_newer_than_the_installed_ones(bundle: str) -> None:
    metadata = read_config(bundle, "metadata.json")
    named = {
        "monai": metadata["monai_version"],
        "torch": metadata["pytorch_version"],
        "numpy": metadata["numpy_version"],
        **metadata["required_packages_version"],
    }
    newer = {name: version for name, version in named.items() if Version(version) > Version(installed_version(name))}
    assert not newer, f"named versions above the installed ones: {newer}"


def test_the_packages_that_the_configs_need_are_named(bundle: str) -> None:
    assert {"medseg", "nibabel", "pytorch-ignite", "fire"} <= set(
        read_config(bundle, "metadata.json")["required_packages_version"]
    )


def test_the_folder_holds_what_a_bundle_must(bundle: str) -> None:
    root = BUNDLES / bundle
    expected = ["LICENSE", "docs/README.md", "docs/data_license.txt", "models", "configs/logging.conf"]
    expected += [f"configs/{name}.json" for name in ("metadata", "train", "inference", "evaluate")]
    assert [name for name in expected if not (root / name).exists()] == []
    assert (root / "LICENSE").read_text() == (BUNDLES.parent / "LICENSE").read_text()


def test_required_packages_can_be_imported(bundle: str) -> None:
    modules = {"pytorch-ignite": "ignite"}
    for name in read_config(bundle, "metadata.json")["required_packages_version"]:
        assert importlib.util.find_spec(modules.get(name, name)) is not None, name


def test_versions_are_three_numbers_and_the_newest_one_is_the_bundle_s(bundle: str) -> None:
    metadata = read_config(bundle, "metadata.json")
    assert all(re.fullmatch(r"\d+\.\d+\.\d+", version) for version in metadata["changelog"])
    assert max(metadata["changelog"], key=Version) == metadata["version"]


def test_names_are_those_of_the_zoo(bundle: str) -> None:
    assert re.fullmatch(r"[a-z0-9]+(_[a-z0-9]+)+", bundle)
    files = {path.name for path in (BUNDLES / bundle / "configs").iterdir()}
    known = {"metadata.json", "train.json", "inference.json", "evaluate.json", "logging.conf"}
    assert known <= files <= known | {"multi_gpu_train.json", "multi_gpu_evaluate.json"}


def test_a_file_above_25_mb_is_listed_with_its_address_and_checksum(bundle: str) -> None:
    """Weights that a training left here are not part of the bundle, so only tracked kinds of file count."""
    root = BUNDLES / bundle
    large = [path for path in root.rglob("*") if path.is_file() and path.stat().st_size > 25 * 2**20]
    own = [path for path in large if path.relative_to(root).parts[0] not in ("models", "eval")]
    listed = root / "large_files.yml"
    entries = yaml.safe_load(listed.read_text())["large_files"] if listed.is_file() else []
    assert {str(path.relative_to(root)) for path in own} <= {entry["path"] for entry in entries}
    assert all({"path", "url", "hash_val", "hash_type"} <= entry.keys() for entry in entries)


def test_no_text_names_a_folder_of_one_person(bundle: str) -> None:
    for path in (BUNDLES / bundle).rglob("*"):
        if path.is_file() and path.suffix in (".json", ".md", ".txt", ".conf"):
            assert not re.search(r"(/home/|/Users/|/root/|/mnt/|[A-Z]:\\\\)", path.read_text()), path


def test_the_readme_has_the_parts_of_the_zoo_s_template(bundle: str) -> None:
    """Title, data, commands and limits, and a licence at the end; network, input, output and score are in the table."""
    text = (BUNDLES / bundle / "docs" / "README.md").read_text()
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    assert text.startswith("# ")
    assert [name for name in headings if name in ("Data", "Commands", "Limits", "Licence")] == [
        "Data",
        "Commands",
        "Limits",
        "Licence",
    ]
    assert {"network", "input", "output", "training", "score"} <= set(re.findall(r"^\| (\w+) \|", text, re.MULTILINE))


def test_no_bundle_has_code_of_its_own(bundle: str) -> None:
    assert not (BUNDLES / bundle / "scripts").exists()
    assert not list((BUNDLES / bundle).rglob("*.py"))


def test_classes_match_the_network_s_channels(bundle: str) -> None:
    for config in ("train.json", "inference.json"):
        network = read_config(bundle, config)["network_def"]
        tensors = read_config(bundle, "metadata.json")["network_data_format"]
        assert tensors["inputs"]["image"]["num_channels"] == network["in_channels"]
        assert tensors["outputs"]["pred"]["num_channels"] == network["out_channels"]
        assert len(tensors["outputs"]["pred"]["channel_def"]) == network["out_channels"]


@pytest.mark.parametrize("config", ["train.json", "inference.json"])
@pytest.mark.parametrize("n", [1, 2])
def test_the_network_takes_and_gives_what_the_metadata_says(bundle: str, config: str, n: int) -> None:
    configs = BUNDLES / bundle / "configs"
    files = {"meta_file": str(configs / "metadata.json"), "config_file": str(configs / config)}
    verify_net_in_out("network_def", **files, device="cpu", n=n)


def test_a_network_with_other_channels_fails(bundle: str) -> None:
    configs = BUNDLES / bundle / "configs"
    files = {"meta_file": str(configs / "metadata.json"), "config_file": str(configs / "train.json")}
    with pytest.raises(ValueError, match="output channel number `3` doesn't match: `2`"):
        verify_net_in_out("network_def", **files, device="cpu", **{"network_def::out_channels": 3})
