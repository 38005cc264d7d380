"""What files of weights hold, without running what they bring along; and the same weights in the other format."""

from __future__ import annotations

import json
import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from medseg.io import load_weights, save_weights
from medseg.io.bounded.errors import DataError
from medseg.io.bounded.safetensors_file import is_safetensors, read_safetensors, write_safetensors
from medseg.io.bounded.weights_report import convert_weights, describe_weights


def network() -> nn.Module:
    torch.manual_seed(1)
    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Conv2d(4, 2, 1))


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    return save_weights(network(), tmp_path / "model.pt")


def write(path: Path, content: Any) -> Path:
    torch.save(content, path)
    return path


def test_a_state_dict_is_counted_tensor_by_tensor(weights: Path) -> None:
    found = describe_weights(weights)
    (state,) = found["state_dicts"]
    assert (found["kind"], found["file"], found["bytes"]) == ("state dict", "model.pt", weights.stat().st_size)
    assert state["n_numbers"] == sum(value.numel() for value in network().state_dict().values())
    assert state["dtypes"] == {"float32": 8, "int64": 1}
    shapes = {tensor["name"]: tensor["shape"] for tensor in state["tensors"]}
    assert shapes == {name: list(value.shape) for name, value in network().state_dict().items()}
    json.dumps(found, allow_nan=False)


@pytest.mark.parametrize(
    ("beside", "kind"),
    [
        ({"medseg_run": 1, "id": "20260101-000000-abcd", "epoch": 3}, "state of a run"),
        ({"pytorch-lightning_version": "2.6", "epoch": 3}, "Lightning checkpoint"),
        ({"epoch": 3}, "checkpoint"),
    ],
)
def test_checkpoints_are_told_apart_and_what_lies_beside_is_named(
    tmp_path: Path, beside: dict[str, Any], kind: str
) -> None:
    more = {"optimizer": {"state": {}, "param_groups": []}, "note": "x" * 500}
    found = describe_weights(write(tmp_path / "last.pt", {"state_dict": network().state_dict(), **beside, **more}))
    assert (found["kind"], found["state_dicts"][0]["entry"]) == (kind, "state_dict")
    assert found["entries"]["epoch"] == "3"
    assert found["entries"]["optimizer"] == "a dictionary of 2: state, param_groups"
    assert len(found["entries"]["note"]) == 60


def test_several_state_dicts_are_all_listed(tmp_path: Path) -> None:
    parts = {"model": network().state_dict(), "network": nn.Linear(2, 1).state_dict()}
    found = describe_weights(write(tmp_path / "two.pt", parts))
    assert [(state["entry"], len(state["tensors"])) for state in found["state_dicts"]] == [("model", 9), ("network", 2)]


def test_values_that_are_not_finite_are_counted_by_tensor(tmp_path: Path) -> None:
    state = network().state_dict()
    state["0.weight"][0, 0, :2, 0] = torch.tensor([float("nan"), float("inf")])
    found = describe_weights(write(tmp_path / "bad.pt", state))
    assert {t["name"]: t["not_finite"] for t in found["state_dicts"][0]["tensors"] if t["not_finite"]} == {
        "0.weight": 2
    }


class Hostile:
    """Its pickle makes a folder when it is loaded as ordinary pickles are."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.folder),)


@pytest.mark.parametrize("zipped", [True, False])
def test_code_in_a_file_is_named_and_does_not_run(tmp_path: Path, zipped: bool) -> None:
    path, trap = tmp_path / "trap.pt", tmp_path / "made"
    content = {"state_dict": network().state_dict(), "trap": Hostile(trap)}
    torch.save(content, path, _use_new_zipfile_serialization=zipped)
    with pytest.raises(DataError, match=r"trap\.pt: .*posix\.mkdir" if zipped else r"trap\.pt: .*safely"):
        describe_weights(path)
    assert not trap.exists()


def test_a_torchscript_archive_is_named_and_not_opened(tmp_path: Path) -> None:
    path = tmp_path / "network.ts"
    torch.jit.script(nn.Linear(2, 1)).save(str(path))
    found = describe_weights(path)
    assert (found["kind"], found["state_dicts"]) == ("TorchScript archive", [])


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "not a weights file"),
        (b"no weights", "not a weights file"),
        (pickle.dumps([1, 2]), "not a weights file"),
        ((50).to_bytes(8, "little") + b"{", "safetensors file that can be read"),
        ((2).to_bytes(8, "little") + b"{}" + b"more", "safetensors file that can be read"),
    ],
)
def test_other_files_are_one_line(tmp_path: Path, content: bytes, words: str) -> None:
    path = tmp_path / "model.pt"
    path.write_bytes(content)
    with pytest.raises(DataError, match=words) as caught:
        describe_weights(path)
    assert "\n" not in str(caught.value)


def test_files_without_a_state_dict_and_missing_files_are_one_line(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="holds no state dict of tensors, but a list of 1"):
        describe_weights(write(tmp_path / "list.pt", [torch.zeros(2)]))
    with pytest.raises(DataError, match="no such file"):
        describe_weights(tmp_path / "none.pt")


def test_the_twin_holds_the_same_bits_and_loads_into_the_network(weights: Path, tmp_path: Path) -> None:
    twin = convert_weights(weights, tmp_path / "model.safetensors")
    assert is_safetensors(twin)
    assert not is_safetensors(weights)
    expected = network().state_dict()
    for name, value in load_weights(network().apply(_clear), twin).state_dict().items():
        assert torch.equal(value, expected[name])
    back = convert_weights(twin, tmp_path / "back.pt")
    assert torch.load(back, weights_only=True).keys() == expected.keys()
    assert describe_weights(twin)["kind"] == "safetensors"


def _clear(module: nn.Module) -> None:
    for parameter in module.parameters():
        nn.init.zeros_(parameter)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64, torch.int8, torch.bool])
def test_types_of_numbers_survive_the_twin(tmp_path: Path, dtype: torch.dtype) -> None:
    state = {"part": torch.arange(6).reshape(2, 3).to(dtype).t()}
    twin = convert_weights(write(tmp_path / "a.pt", state), tmp_path / "a.safetensors")
    found = read_safetensors(twin)["part"]
    assert found.dtype == dtype
    assert torch.equal(found, state["part"])


def test_weights_that_share_memory_are_written_each(tmp_path: Path) -> None:
    shared = torch.ones(3)
    write_safetensors({"first": shared, "second": shared}, tmp_path / "a.safetensors")
    assert sorted(read_safetensors(tmp_path / "a.safetensors")) == ["first", "second"]


def test_an_existing_target_and_other_endings_are_refused(weights: Path, tmp_path: Path) -> None:
    target = tmp_path / "model.safetensors"
    target.write_bytes(b"of somebody else")
    with pytest.raises(DataError, match=r"exists already; .* --overwrite"):
        convert_weights(weights, target)
    assert target.read_bytes() == b"of somebody else"
    convert_weights(weights, target, overwrite=True)
    with pytest.raises(DataError, match="exists already"):
        convert_weights(weights, weights, overwrite=True)
    with pytest.raises(DataError, match=r"ends with \.pt or \.safetensors"):
        convert_weights(weights, tmp_path / "model.onnx")


def test_weights_that_are_not_finite_get_no_twin(tmp_path: Path) -> None:
    source = write(tmp_path / "a.pt", {"part": torch.tensor([np.nan])})
    with pytest.raises(DataError, match="not finite"):
        convert_weights(source, tmp_path / "a.safetensors")
    assert not (tmp_path / "a.safetensors").exists()
