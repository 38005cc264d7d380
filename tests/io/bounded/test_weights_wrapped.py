"""Weights of the same network in another wrapping load; weights with NaN or infinite values never do."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from medseg.io.bounded.weights import load_weights, nonfinite_tensor, read_state, save_weights
from tests.networks._cases import CASES, small

State = dict[str, Tensor]


def network(seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Conv3d(1, 3, 3), nn.Sequential(nn.BatchNorm3d(3), nn.Conv3d(3, 2, 1)))


def prefixed(state: State, prefix: str) -> State:
    return {prefix + key: value for key, value in state.items()}


def partly_compiled(state: State) -> State:
    return {key.replace("1.", "1._orig_mod.", 1) if key.startswith("1.") else key: v for key, v in state.items()}


WRAPPINGS: dict[str, Callable[[State], object]] = {
    "DataParallel": lambda state: prefixed(state, "module."),
    "torch.compile": lambda state: prefixed(state, "_orig_mod."),
    "compiled and parallel": lambda state: prefixed(state, "module._orig_mod."),
    "a compiled part": partly_compiled,
    "MONAI CheckpointSaver, model": lambda state: {"model": state, "epoch": 3},
    "MONAI CheckpointSaver, net": lambda state: {"net": state, "optimizer": {"state": {}, "param_groups": []}},
    "state_dict": lambda state: {"state_dict": state},
    "nnU-Net": lambda state: {"network_weights": prefixed(state, "_orig_mod."), "current_epoch": 5},
    "Lightning": lambda state: {"state_dict": prefixed(state, "net."), "epoch": 1, "global_step": 7},
    "Lightning of a deeper attribute": lambda state: {"state_dict": prefixed(state, "task.model.")},
}


@pytest.fixture
def words(caplog: pytest.LogCaptureFixture) -> Iterator[Callable[[], list[str]]]:
    caplog.set_level(logging.WARNING, logger="medseg.io.bounded.weights")
    yield lambda: [record.getMessage() for record in caplog.records if record.name == "medseg.io.bounded.weights"]


@pytest.mark.parametrize("wrapping", WRAPPINGS)
def test_weights_of_the_same_network_in_another_wrapping_load_and_it_is_said(
    tmp_path: Path, wrapping: str, words: Callable[[], list[str]]
) -> None:
    source, target, path = network(1), network(2), tmp_path / "w.pt"
    torch.save(WRAPPINGS[wrapping](source.state_dict()), path)
    load_weights(target, path)
    for key, value in source.state_dict().items():
        assert torch.equal(target.state_dict()[key], value), key
    assert words() and all(line.startswith(f"{path}: ") and "\n" not in line for line in words())


def test_plain_weights_load_without_a_word(tmp_path: Path, words: Callable[[], list[str]]) -> None:
    load_weights(network(2), save_weights(network(1), tmp_path / "w.pt"))
    assert words() == []


def test_the_words_name_the_prefix_the_entry_and_what_was_left_out(
    tmp_path: Path, words: Callable[[], list[str]]
) -> None:
    state = {**prefixed(network(1).state_dict(), "net."), "loss.weight": torch.ones(2)}
    torch.save({"state_dict": state}, tmp_path / "w.ckpt")
    load_weights(network(2), tmp_path / "w.ckpt")
    assert words() == [
        f"{tmp_path}/w.ckpt: a checkpoint; the state dict under its entry 'state_dict' was taken",
        f"{tmp_path}/w.ckpt: the names of the weights have the prefix 'net.' of a wrapper, which was taken off",
        f"{tmp_path}/w.ckpt: not part of the network and left out: loss.weight",
    ]


def test_two_networks_in_one_file_are_not_guessed_between(tmp_path: Path) -> None:
    both = {**prefixed(network(1).state_dict(), "student."), **prefixed(network(2).state_dict(), "teacher.")}
    torch.save(both, tmp_path / "a.pt")
    with pytest.raises(ValueError, match=r"a.pt: holds 2 networks of this kind.*'student.', 'teacher.'"):
        load_weights(network(), tmp_path / "a.pt")
    torch.save({"model": network(1).state_dict(), "state_dict": network(2).state_dict()}, tmp_path / "b.pt")
    with pytest.raises(ValueError, match=r"b.pt: holds several state dicts \(state_dict, model\)"):
        read_state(tmp_path / "b.pt")


def test_another_network_with_a_prefix_is_still_another_network(tmp_path: Path) -> None:
    torch.save(prefixed(nn.Sequential(nn.Conv3d(1, 3, 3)).state_dict(), "module."), tmp_path / "w.pt")
    with pytest.raises(ValueError, match="weights of another network"):
        load_weights(network(), tmp_path / "w.pt")


def test_another_shape_under_a_prefix_is_refused_before_anything_is_loaded(tmp_path: Path) -> None:
    state = prefixed(network(1).state_dict(), "module.")
    state["module.0.weight"] = torch.zeros(4, 1, 3, 3, 3)
    torch.save(state, tmp_path / "w.pt")
    into = network(2)
    before = {key: value.clone() for key, value in into.state_dict().items()}
    with pytest.raises(ValueError, match=r"1 of another shape; first: '0\.weight'"):
        load_weights(into, tmp_path / "w.pt")
    assert all(torch.equal(into.state_dict()[key], value) for key, value in before.items())


class WithCompiledPart(nn.Sequential):
    """A network of which one part is compiled."""

    def __init__(self, seed: int) -> None:
        parts = network(seed)
        super().__init__(parts[0], torch.compile(parts[1]))


@pytest.mark.parametrize(
    "wrap", [nn.DataParallel, torch.compile, lambda net: nn.DataParallel(torch.compile(net))],
    ids=["DataParallel", "torch.compile", "both"],
)  # fmt: skip
def test_a_wrapped_network_is_saved_and_loaded_under_its_own_names(
    tmp_path: Path, wrap: Callable[[nn.Module], nn.Module]
) -> None:
    plain = network(1)
    path = save_weights(wrap(plain), tmp_path / "w.pt")
    assert list(torch.load(path, weights_only=True)) == list(plain.state_dict())
    inner = network(2)
    wrapped = wrap(inner)
    assert load_weights(wrapped, path) is wrapped
    assert torch.equal(inner[0].weight, plain[0].weight)


def test_a_network_with_a_compiled_part_is_saved_and_loaded_under_its_own_names(tmp_path: Path) -> None:
    path = save_weights(WithCompiledPart(1), tmp_path / "w.pt")
    assert list(torch.load(path, weights_only=True)) == list(network().state_dict())
    into = load_weights(WithCompiledPart(2), path)
    assert torch.equal(into[1]._orig_mod[1].weight, network(1)[1][1].weight)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("key", ["0.bias", "1.0.running_var"], ids=["parameter", "running statistics"])
def test_values_that_are_not_finite_are_neither_saved_nor_loaded(tmp_path: Path, bad: float, key: str) -> None:
    good, path = network(1), tmp_path / "w.pt"
    save_weights(good, path)
    before = path.read_bytes()
    broken = network(2)
    broken.state_dict()[key][1] = bad
    fault = f"{key!r} holds 1 values of 3 that are not finite"
    with pytest.raises(ValueError, match="weights were not saved") as caught:
        save_weights(broken, path)
    assert fault in str(caught.value) and "\n" not in str(caught.value) and str(path) in str(caught.value)
    assert path.read_bytes() == before and list(tmp_path.iterdir()) == [path], "the file before stays as it was"
    torch.save(broken.state_dict(), path)
    into = network(3)
    kept = {name: value.clone() for name, value in into.state_dict().items()}
    with pytest.raises(ValueError, match="such weights give no result") as caught:
        load_weights(into, path)
    assert fault in str(caught.value) and str(caught.value).startswith(f"{path}: ")
    assert all(torch.equal(into.state_dict()[name], value) for name, value in kept.items())


def test_values_that_are_not_finite_are_found_inside_of_a_checkpoint(tmp_path: Path) -> None:
    torch.save({"state_dict": {"net.weight": torch.tensor([1.0, math.nan])}}, tmp_path / "w.pt")
    with pytest.raises(ValueError, match=r"'net.weight' holds 1 values of 2"):
        read_state(tmp_path / "w.pt")


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64, torch.complex64])
def test_every_floating_type_is_looked_at(dtype: torch.dtype) -> None:
    state = {"count": torch.tensor(3), "w": torch.tensor([1.0, math.inf]).to(dtype)}
    assert nonfinite_tensor(state) == "'w' holds 1 values of 2 that are not finite (NaN or infinite)"
    assert nonfinite_tensor({"w": torch.ones(2, dtype=dtype), "empty": torch.zeros(0, dtype=dtype)}) == ""


@pytest.mark.parametrize("name", CASES)
def test_no_network_of_the_registry_holds_such_values_by_design(name: str) -> None:
    assert nonfinite_tensor(small(name).state_dict()) == ""
