"""The device is chosen, checked, and named in reports."""

from __future__ import annotations

import pytest
import torch

from medseg.inference.device import choose_device, describe_device
from medseg.inference.errors import ConfigurationError


def test_the_cpu_is_taken_by_name_or_by_object() -> None:
    assert choose_device("cpu") == choose_device(torch.device("cpu")) == "cpu"


@pytest.mark.parametrize(("count", "expected"), [(0, "cpu"), (2, "cuda:0")])
def test_by_default_the_first_cuda_device_is_taken(monkeypatch: pytest.MonkeyPatch, count: int, expected: str) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: count > 0)
    assert choose_device() == expected


def test_a_cuda_device_gets_its_number_or_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert choose_device("cuda") == "cuda:0"
    assert choose_device("cuda:1") == "cuda:1"
    with pytest.raises(ConfigurationError, match=r"--device cuda:2: torch .* sees 2 CUDA devices; use --device cpu"):
        choose_device("cuda:2", "--device")


@pytest.mark.parametrize("name", ["mps", "gpu", "cuda:", "cpu:0"])
def test_other_names_are_refused(name: str) -> None:
    with pytest.raises(ConfigurationError, match=f"device {name}: expected cpu, cuda or cuda:N"):
        choose_device(name)


def test_a_report_tells_the_number_of_threads() -> None:
    assert describe_device("cpu") == {"device": "cpu", "name": f"{torch.get_num_threads()} CPU threads"}
