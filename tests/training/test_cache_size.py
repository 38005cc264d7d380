"""The size of a cache, said before it is filled."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from monai.data import CacheDataset
from monai.transforms import Compose, LoadImaged, Spacingd

from medseg.geometry import make_affine
from medseg.io.volumes.nifti import write_nifti
from medseg.training import cache_size
from medseg.training.cache_size import announce_cache, cache_bytes

PIXDIM = (1.5, 1.5, 2.0)


@pytest.fixture
def cases(tmp_path: Path) -> list[dict[str, str]]:
    affine = make_affine((0.7, 0.8, 3.0), (0, 0, 0), "LPS")
    paths = [str(write_nifti(tmp_path / f"{n}.nii.gz", np.zeros((21 + n, 30, 11), np.int16), affine)) for n in range(4)]
    return [{"image": path, "label": path} for path in paths]


def test_the_size_is_that_of_the_cached_tensors(cases: list[dict[str, str]]) -> None:
    keys = ["image", "label"]
    steps = Compose([LoadImaged(keys, ensure_channel_first=True), Spacingd(keys, PIXDIM)])
    data = CacheDataset(cases, steps, progress=False)
    held = sum(item[key].numel() * 4 for item in data for key in keys)
    assert cache_bytes(cases, PIXDIM) == held


def said(caplog: pytest.LogCaptureFixture, *arguments: Any) -> list[tuple[int, str]]:
    caplog.set_level(logging.INFO)
    caplog.clear()
    announce_cache(*arguments)
    return [(record.levelno, record.getMessage()) for record in caplog.records]


def test_only_the_share_that_is_kept_counts(
    cases: list[dict[str, str]], caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert said(caplog, cases, PIXDIM, 0.0, "training") == []
    ((level, line),) = said(caplog, cases, PIXDIM, 0.5, "training")
    assert level == logging.INFO
    assert line.startswith("cache of 2 training case(s): about 0.0 GiB, ")
    monkeypatch.setattr(cache_size, "available_memory", lambda: 1000)
    ((level, line),) = said(caplog, cases, PIXDIM, 1.0, "validation")
    assert level == logging.WARNING
    assert "cache of 4 validation case(s)" in line and "choose a smaller cache_rate" in line
