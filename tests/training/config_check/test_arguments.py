"""Arguments of targets: names, types, and those that load code."""

from __future__ import annotations

from typing import Any

import pytest
from monai.data import DataLoader, PersistentDataset
from monai.networks.nets import UNet
from monai.transforms import LoadImage, SaveImage

from medseg.networks import create
from medseg.training.config_check import committed
from medseg.training.config_check.arguments import check_arguments, check_fixed_argument, check_special_keys
from medseg.training.config_check.findings import RefusedError

SHAPE = {"spatial_dims": 3, "in_channels": 1, "out_channels": 2, "channels": [8, 16], "strides": [2]}


@pytest.mark.parametrize(
    ("target", "given"),
    [
        (UNet, SHAPE),
        (UNet, {**SHAPE, "norm": ["instance", {"affine": True}], "channels": "@channels", "dropout": 0}),
        (create, {"name": "vnet", "anything": 1}),
        (DataLoader, {"dataset": "@dataset", "num_workers": "$1 + 1", "pin_memory": True}),
        (LoadImage, {"reader": ["NibabelReader", {"_target_": "ITKReader"}], "allow_pickle": False}),
        (SaveImage, {"writer": "NibabelWriter", "output_dir": "a"}),
        (PersistentDataset, {"data": [], "transform": None, "cache_dir": None, "weights_only": True}),
    ],
)
def test_fitting_arguments_pass(target: Any, given: dict[str, Any]) -> None:
    check_arguments(target, given)


@pytest.mark.parametrize(
    ("target", "given", "line"),
    [
        (
            UNet,
            {**SHAPE, "chanels": [8]},
            "has the argument 'chanels', which UNet does not have; did you mean 'channels'",
        ),
        (UNet, {**SHAPE, "zzz": 1}, "has the argument 'zzz', which UNet does not have; expected one of spatial_dims, "),
        (UNet, {"spatial_dims": 3}, "lacks the argument 'in_channels' of UNet"),
        (UNet, {**SHAPE, "spatial_dims": "three"}, "has spatial_dims = 'three'; expected a whole number"),
        (UNet, {**SHAPE, "channels": [8, "wide"]}, "has channels = [8, 'wide']; expected a list of whole numbers"),
        (UNet, {**SHAPE, "bias": "yes"}, "has bias = 'yes'; expected true or false"),
        (SaveImage, {"writer": "os.system"}, "has writer = 'os.system', which is loaded by its name; expected one of"),
        (SaveImage, {"writer": "@writer"}, "has writer = an expression, which is loaded by its name"),
        (LoadImage, {"allow_pickle": "$True"}, "has the argument allow_pickle = an expression; expected False"),
        (LoadImage, {"allow_pickle": 0}, "has the argument allow_pickle = 0; expected False"),
        (create, {"name": "a", "pretrained": "yes"}, "has the argument pretrained = 'yes'; expected False or None"),
    ],
)
def test_others_are_refused_in_one_line(target: Any, given: dict[str, Any], line: str) -> None:
    with pytest.raises(RefusedError) as caught:
        check_arguments(target, given)
    assert str(caught.value).startswith(line)


def test_arguments_that_load_code_are_given_by_name() -> None:
    with pytest.raises(RefusedError, match=r"^gives reader of LoadImage by its place; expected reader=...$"):
        check_arguments(LoadImage, {}, positional=1)


def test_a_partial_call_may_lack_arguments_but_not_have_others() -> None:
    check_arguments(UNet, {"spatial_dims": 3}, partial=True)
    with pytest.raises(RefusedError, match="did you mean 'channels'"):
        check_arguments(UNet, {"chanels": [8]}, partial=True)


@pytest.mark.parametrize("name", committed.FIXED_ARGUMENTS)
def test_the_committed_values_of_an_argument_pass_and_no_others(name: str) -> None:
    for value in committed.FIXED_ARGUMENTS[name]:
        check_fixed_argument(name, value)
    for value in (Ellipsis, "text", 2, [1]):
        with pytest.raises(RefusedError):
            check_fixed_argument(name, value)


@pytest.mark.parametrize(
    ("config", "line"),
    [
        ({"_taget_": "UNet"}, "has the key '_taget_'; expected _target_"),
        ({"_mode_": "debug"}, "has the _mode_ 'debug'; expected default or callable"),
        ({"_mode_": "$'debug'"}, "has the _mode_"),
        ({"_disabled_": [1]}, "has _disabled_ [1]; expected true, false or an expression"),
        ({"_debug_": True}, "has the key '_debug_'"),
    ],
)
def test_special_keys_are_those_of_monai(config: dict[str, Any], line: str) -> None:
    with pytest.raises(RefusedError) as caught:
        check_special_keys({"_target_": "UNet", **config})
    assert str(caught.value).startswith(line)


def test_all_keys_of_monai_pass() -> None:
    check_special_keys(
        {"_target_": "UNet", "_disabled_": "$@off", "_requires_": ["@a"], "_desc_": "text", "_mode_": "callable"}
    )
