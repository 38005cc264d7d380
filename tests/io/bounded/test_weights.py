"""Weights: tensors only, every key accounted for, one clear line for everything else."""

from __future__ import annotations

import hashlib
import os
import zipfile
from pathlib import Path

import pytest
import torch

from medseg.io.bounded.weights import load_weights, save_weights, sha256_of


def network(channels: int = 3, seed: int = 0) -> torch.nn.Module:
    torch.manual_seed(seed)
    return torch.nn.Sequential(torch.nn.Conv3d(1, channels, 3), torch.nn.BatchNorm3d(channels))


def test_saved_weights_load_into_another_network_exactly(tmp_path: Path) -> None:
    source, target = network(seed=1), network(seed=2)
    assert save_weights(source, tmp_path / "models" / "model.pt") == tmp_path / "models" / "model.pt"
    assert load_weights(target, tmp_path / "models" / "model.pt") is target
    for key, value in source.state_dict().items():
        torch.testing.assert_close(target.state_dict()[key], value, rtol=0, atol=0)


def test_the_file_is_a_plain_state_dict_on_the_cpu(tmp_path: Path) -> None:
    source = network()
    state = torch.load(save_weights(source, tmp_path / "model.pt"), weights_only=True)
    assert list(state) == list(source.state_dict())
    assert {value.device.type for value in state.values()} == {"cpu"}
    assert not any(value.requires_grad for value in state.values())


def test_a_file_by_torch_save_loads_too(tmp_path: Path) -> None:
    source, target = network(seed=1), network(seed=2)
    torch.save(source.state_dict(), tmp_path / "model.pt")
    load_weights(target, str(tmp_path / "model.pt"), "cpu")
    torch.testing.assert_close(target[0].weight, source[0].weight)


def refusal(path: Path, into: torch.nn.Module | None = None) -> str:
    """The message that loading ``path`` fails with: one line that begins with the file."""
    into = into or network()
    before = {key: value.clone() for key, value in into.state_dict().items()}
    with pytest.raises(ValueError) as caught:
        load_weights(into, path)
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert "\n" not in message
    for key, value in into.state_dict().items():
        torch.testing.assert_close(value, before[key], rtol=0, atol=0)
    return message


def test_a_missing_file_is_one_line_that_says_what_to_do(tmp_path: Path) -> None:
    assert "no weights there; train the bundle first" in refusal(tmp_path / "model.pt")
    assert "no weights there" in refusal(tmp_path)


def test_a_file_of_another_kind_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "text.pt").write_text("these are no weights")
    (tmp_path / "empty.pt").touch()
    whole = save_weights(network(), tmp_path / "whole.pt").read_bytes()
    (tmp_path / "cut.pt").write_bytes(whole[: len(whole) // 2])
    with zipfile.ZipFile(tmp_path / "archive.pt", "w") as archive:
        archive.writestr("note.txt", "hello")
    for name in ("text.pt", "empty.pt", "cut.pt", "archive.pt"):
        assert "not a weights file that can be loaded safely" in refusal(tmp_path / name)


class _Trap:
    """Unpickling this object would make a folder."""

    def __init__(self, folder: str) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (self.folder,)


def test_a_pickle_that_runs_code_is_refused_without_running_it(tmp_path: Path) -> None:
    torch.save({"weight": _Trap(str(tmp_path / "sprung"))}, tmp_path / "trap.pt")
    assert "not a weights file that can be loaded safely" in refusal(tmp_path / "trap.pt")
    assert not (tmp_path / "sprung").exists()


def test_a_whole_pickled_network_is_refused(tmp_path: Path) -> None:
    torch.save(network(), tmp_path / "network.pt")
    assert "loaded safely" in refusal(tmp_path / "network.pt")


@pytest.mark.parametrize("value", [torch.zeros(3), [torch.zeros(3)], {"epoch": 3}, {"model": {"a": 1}}])
def test_what_is_no_plain_state_dict_is_refused(tmp_path: Path, value: object) -> None:
    torch.save(value, tmp_path / "model.pt")
    message = refusal(tmp_path / "model.pt")
    assert message.endswith(f"expected a plain state dict of tensors, found {type(value).__name__}")


def test_weights_of_another_network_are_counted_and_the_first_key_is_named(tmp_path: Path) -> None:
    state = network().state_dict()
    state["extra.weight"] = torch.zeros(1)
    del state["0.bias"]
    torch.save(state, tmp_path / "model.pt")
    message = refusal(tmp_path / "model.pt")
    assert "(1 keys missing, 1 unknown, 0 of another shape; first: '0.bias')" in message


def test_another_shape_is_refused_before_anything_is_loaded(tmp_path: Path) -> None:
    save_weights(network(channels=4), tmp_path / "model.pt")
    message = refusal(tmp_path / "model.pt")
    assert "0 keys missing, 0 unknown, 6 of another shape; first: '0.bias'" in message


def test_checksum_is_that_of_hashlib_also_past_one_block(tmp_path: Path) -> None:
    content = os.urandom((1 << 20) + 17)
    (tmp_path / "file").write_bytes(content)
    (tmp_path / "empty").touch()
    assert sha256_of(tmp_path / "file") == hashlib.sha256(content).hexdigest()
    assert sha256_of(tmp_path / "empty") == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
