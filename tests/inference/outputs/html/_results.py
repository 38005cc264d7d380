"""Results with known masks, without a network."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from medseg.geometry import make_affine
from medseg.inference import Result, class_statistics, read_bundle, read_case
from medseg.inference.monitor import Monitor
from medseg.inference.result import RunRecord
from medseg.io.volumes.nifti import plain_header
from tests.inference._tiny_bundle import make_tiny_bundle


def facts(**changes: Any) -> dict[str, Any]:
    """What ``run.json`` holds when the report is made."""
    known: dict[str, Any] = {
        "bundle": {"name": "tiny", "version": "0.1.0"},
        "started_at": "2026-01-01T00:00:00+00:00",
        "warnings": [],
        "weights_sha256": "ab" * 32,
        "config_sha256": "cd" * 32,
        "device": {"device": "cpu"},
        "precision": "float32",
        "seed": 0,
        "versions": {"python": "3", "torch": None},
        "equivalent_command": "python -m monai.bundle run",
        "stage_seconds": {"measure": 1.25},
        "peak_rss_bytes": 1 << 30,
    }
    return {**known, **changes}


def made(
    folder: Path, mask: np.ndarray, labels: dict[int, str], codes: str = "LPS", **changes: Any
) -> tuple[Result, dict[str, Any]]:
    """A result with this mask, and the facts of its run."""
    affine = make_affine((0.8, 0.8, 2.5), (-50.0, 40.0, 100.0), codes)
    image = np.random.default_rng(0).normal(40, 20, mask.shape).astype(np.int16)
    image[0] = -1000
    case = read_case(image, affine_ras=affine)
    statistics = {"schema_version": 2, **class_statistics(mask, image, affine, labels)}
    bundle = read_bundle(make_tiny_bundle(folder / "bundle", weights=False))
    record = RunRecord(case, bundle, plain_header(mask.shape, affine), {}, Monitor())
    result = Result(mask, np.asarray(affine), labels, statistics, (), record)
    return result, facts(input=case.facts(), **changes)
