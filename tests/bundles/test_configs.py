"""The bundles' configs as text: names exist, keys agree, expressions are few, and no path of one machine is in them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pydoc import locate
from typing import Any

import pytest
from monai.bundle.config_item import ComponentLocator

from tests.bundles.conftest import BUNDLES, NAMES, read_config

CONFIGS = ["train.json", "inference.json", "evaluate.json", "multi_gpu_train.json", "multi_gpu_evaluate.json"]
MAX_EXPRESSIONS = 36
SHARED_KEYS = ["dataset_dir", "pixdim", "window", "roi_size", "network_def", "weights", "bundle_root", "device"]


def walk(value: Any, place: str = "") -> Iterator[tuple[str, Any]]:
    """Every item of a config with its place, depth first."""
    yield place, value
    if isinstance(value, dict):
        for key, item in value.items():
            yield from walk(item, f"{place}::{key}")
    elif isinstance(value, list):
        for number, item in enumerate(value):
            yield from walk(item, f"{place}::{number}")


def targets(config: dict[str, Any]) -> list[str]:
    return [value["_target_"] for _, value in walk(config) if isinstance(value, dict) and "_target_" in value]


def strings(config: dict[str, Any]) -> list[tuple[str, str]]:
    return [(place, value) for place, value in walk(config) if isinstance(value, str)]


@pytest.fixture(params=CONFIGS)
def config(bundle: str, request: pytest.FixtureRequest) -> dict[str, Any]:
    return read_config(bundle, request.param)


def test_every_target_can_be_imported(config: dict[str, Any]) -> None:
    locator = ComponentLocator()
    for name in targets(config):
        if "." in name:
            assert name.split(".")[0] in ("medseg", "monai", "torch"), name
            assert callable(locate(name)), name
        else:
            modules = locator.get_component_module_name(name)
            assert isinstance(modules, str), f"{name} is in {modules}: MONAI must know it exactly once"
            assert callable(locate(f"{modules}.{name}")), name


def test_imports_work(config: dict[str, Any]) -> None:
    for statement in config.get("imports", config.get("+imports")):
        assert re.fullmatch(r"\$(import [a-z]+|from (monai|medseg)[\w.]* import \w+)", statement), statement
        if " from " in f" {statement[1:]}":
            _, module, _, name = statement[1:].split()
            assert locate(f"{module}.{name}") is not None, statement


def test_expressions_are_few(config: dict[str, Any]) -> None:
    expressions = [value for _, value in strings(config) if value.startswith("$")]
    assert 0 < len(expressions) <= MAX_EXPRESSIONS


def test_there_is_no_path_but_the_documented_data_folder(config: dict[str, Any]) -> None:
    absolute = [place for place, value in strings(config) if re.search(r"(?<![\w@)'])/\w+/", value)]
    assert absolute in ([], ["::dataset_dir"])
    assert config.get("bundle_root", ".") == "."


def test_references_lead_somewhere(bundle: str) -> None:
    for files in (
        ["train.json"],
        ["inference.json"],
        ["inference.json", "evaluate.json"],
        ["train.json", "evaluate.json"],
    ):
        merged: dict[str, Any] = {}
        for file in files:
            merged.update({key.lstrip("+"): value for key, value in read_config(bundle, file).items()})
        places = {place for place, _ in walk(merged)}
        for place, value in strings(merged):
            for reference in re.findall(r"@([\w:]+)", value):
                assert f"::{reference}" in places, f"{files} {place}: @{reference} leads nowhere"


@pytest.mark.parametrize("key", SHARED_KEYS)
def test_training_and_inference_agree(bundle: str, key: str) -> None:
    assert read_config(bundle, "train.json")[key] == read_config(bundle, "inference.json")[key]


def test_images_are_prepared_alike_in_training_and_inference(bundle: str) -> None:
    def image_steps(transforms: list[dict[str, Any]]) -> list[dict[str, Any]]:
        steps = []
        for step in transforms:
            keys = step["keys"] if isinstance(step["keys"], list) else [step["keys"]]
            if "image" in keys:
                mode = step.get("mode")
                first = {"mode": mode[0]} if isinstance(mode, list) else {}
                steps.append({**step, "keys": "image", **first})
        return steps

    training = read_config(bundle, "train.json")["load_transforms"]
    inference = read_config(bundle, "inference.json")["preprocessing"]["transforms"]
    assert image_steps(training) == image_steps(inference)


def test_labels_are_prepared_alike_in_training_and_evaluation(bundle: str) -> None:
    training = [step for step in read_config(bundle, "train.json")["load_transforms"] if step["keys"] == "label"]
    evaluation = [
        step for step in read_config(bundle, "evaluate.json")["preprocessing"]["transforms"] if step["keys"] == "label"
    ]
    loading = ("LoadImaged", "medseg.transforms.CheckHeaderd")
    training = [
        step for step in training if not step["_target_"].endswith("Spacingd")
    ]  # scores are taken on the file's own grid
    assert training == [step for step in evaluation if step["_target_"] not in loading]
    assert len(training) == 3


def test_voxels_that_are_not_finite_are_looked_for_before_anything_mixes_voxels(bundle: str) -> None:
    lists = {
        "train.json": read_config(bundle, "train.json")["load_transforms"],
        "inference.json": read_config(bundle, "inference.json")["preprocessing"]["transforms"],
        "evaluate.json": [
            step
            for step in read_config(bundle, "evaluate.json")["preprocessing"]["transforms"]
            if step["keys"] == "label"
        ],
    }
    checked = {}
    for file, steps in lists.items():
        first = [step for step in steps if step["_target_"] not in ("LoadImaged", "medseg.transforms.CheckHeaderd")]
        checks = [step for step in steps if step["_target_"].endswith(".CheckFinited")]
        assert first[: len(checks)] == checks, file
        assert all(step["on_nonfinite"] == "@on_nonfinite" for step in checks)
        checked[file] = [step["keys"] for step in checks]
    assert checked == {"train.json": ["image", "label"], "inference.json": ["image"], "evaluate.json": ["label"]}
    assert all(read_config(bundle, file)["on_nonfinite"] == "refuse" for file in ("train.json", "inference.json"))


def test_values_are_judged_before_they_are_changed_and_a_doubt_is_a_warning(bundle: str) -> None:
    for file, steps in (
        ("train.json", read_config(bundle, "train.json")["load_transforms"]),
        ("inference.json", read_config(bundle, "inference.json")["preprocessing"]["transforms"]),
    ):
        names = [step["_target_"].split(".")[-1] for step in steps]
        window = names.index("SeparableSpacingd")
        assert steps[window]["before"]["_target_"] == "medseg.transforms.HUWindow"
        assert names.index("CheckHUd") < window
        assert not {"ScaleIntensityRanged", "HUWindowd"} & set(names)
        config = read_config(bundle, file)
        assert (config["on_hu_doubt"], config["cropped"]) == ("warn", False)


def test_headers_are_judged_before_a_file_is_loaded(bundle: str) -> None:
    for file, steps, keys in (
        ("train.json", read_config(bundle, "train.json")["load_transforms"], [["image", "label"]]),
        ("inference.json", read_config(bundle, "inference.json")["preprocessing"]["transforms"], ["image"]),
        ("evaluate.json", read_config(bundle, "evaluate.json")["preprocessing"]["transforms"], ["image", "label"]),
    ):
        loads = [number for number, step in enumerate(steps) if step["_target_"] == "LoadImaged"]
        before = [steps[number - 1] for number in loads]
        assert [step["_target_"] for step in before] == ["medseg.transforms.CheckHeaderd"] * len(keys), file
        assert [step["keys"] for step in before] == [steps[number]["keys"] for number in loads] == keys, file
        assert {step["on_doubt"] for step in before} == {"@on_header_doubt"}


def test_evaluation_makes_masks_as_inference_does(bundle: str) -> None:
    """It is complete, so that it works over train.json as well; what both have is the same."""
    inference, evaluation = read_config(bundle, "inference.json"), read_config(bundle, "evaluate.json")
    steps = evaluation["preprocessing"]["transforms"]
    assert [step for step in steps if step["keys"] == "image"] == inference["preprocessing"]["transforms"]
    assert {**inference["evaluator"], "key_val_metric": "@key_metric"} == evaluation["evaluator"]
    same = ["dataloader", "inferer", "postprocessing", "initialize", "run", "overlap", "sw_batch_size", "output_name"]
    same += ["overwrite", "progress"]
    assert {key: inference[key] for key in same} == {key: evaluation[key] for key in same}


def test_seeds_are_set_before_the_network_is_made(bundle: str) -> None:
    steps = read_config(bundle, "train.json")["initialize"]
    places = [next(i for i, step in enumerate(steps) if text in step) for text in ("set_determinism", "@network")]
    assert places == sorted(places)


def test_nothing_is_cached_unless_it_is_asked_for(bundle: str) -> None:
    assert read_config(bundle, "train.json")["cache_rate"] == 0.0


@pytest.mark.parametrize("name", NAMES)
def test_logging_goes_to_the_console_only(name: str) -> None:
    text = (BUNDLES / name / "configs" / "logging.conf").read_text()
    assert re.findall(r"^class=(.+)$", text, re.MULTILINE) == ["StreamHandler"]


def test_the_walk_finds_nested_items() -> None:
    config = json.loads('{"a": [{"_target_": "X", "b": {"_target_": "Y"}}]}')
    assert targets(config) == ["X", "Y"]
    assert [place for place, value in walk(config) if value == "Y"] == ["::a::0::b::_target_"]
