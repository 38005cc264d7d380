"""The command that tells what a file of weights holds."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from torch import nn

from medseg.apps.cli import main
from medseg.io import save_weights
from medseg.networks import create


def test_parts_of_a_network_are_listed_with_their_numbers(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    net = create("lraspp", spatial_dims=2, in_channels=1, out_channels=2)
    path = save_weights(net, tmp_path / "model.pt")
    assert main(["weights", str(path)]) == 0
    printed = capsys.readouterr().out
    total = sum(value.numel() for value in net.state_dict().values())
    assert printed.startswith(f"{path}: state dict, ")
    assert f"{total:,} numbers" in printed
    lines = [line for line in printed.splitlines() if " tensors " in line and "largest" in line]
    assert 1 < len(lines) <= 20
    counts = [int(line.split(" tensors ")[1].split()[0].replace(",", "")) for line in lines]
    assert sum(counts) == total
    assert main(["weights", str(path), "--all"]) == 0
    listed = capsys.readouterr().out
    assert all(name in listed for name in net.state_dict())


def test_json_and_code_of_weights_that_are_not_finite(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch.save({"head.weight": torch.tensor([1.0, float("nan")])}, tmp_path / "bad.pt")
    assert main(["weights", str(tmp_path / "bad.pt"), "--json"]) == 3
    assert json.loads(capsys.readouterr().out)["state_dicts"][0]["tensors"][0]["not_finite"] == 1
    assert main(["weights", str(tmp_path / "bad.pt")]) == 3
    assert "not finite: head.weight holds 1 values" in capsys.readouterr().out


def test_the_twin_is_written_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, twin = save_weights(nn.Linear(2, 1), tmp_path / "model.pt"), tmp_path / "model.safetensors"
    assert main(["weights", str(path), "--to", str(twin)]) == 0
    assert main(["weights", str(path), "--to", str(twin)]) == 1
    assert capsys.readouterr().err.count("\n") == 1
    assert main(["weights", str(path), "--to", str(twin), "--overwrite"]) == 0
    assert main(["weights", str(path), str(twin), "--to", str(tmp_path / "x.pt")]) == 1
    assert "--to takes one file, found 2" in capsys.readouterr().err


def test_names_in_a_file_cannot_steer_the_terminal(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch.save({"model": {"a\x1b[2Jb.weight": torch.zeros(2)}, "note\x07": "x\x1b]0;y"}, tmp_path / "odd.pt")
    assert main(["weights", str(tmp_path / "odd.pt"), "--all"]) == 0
    assert all(letter.isprintable() or letter == "\n" for letter in capsys.readouterr().out)


def test_other_files_are_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a.pt").write_bytes(b"PK\x03\x04 cut off")
    assert main(["weights", str(tmp_path / "a.pt")]) == 1
    err = capsys.readouterr().err
    assert "a.pt" in err
    assert err.count("\n") == 1
