"""A written result folder as one JSON object, for programs that start ``medseg segment``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from medseg.inference.outputs.folder import describe_outputs

__all__ = ["JSON_SUMMARY_SCHEMA_VERSION", "json_summary"]

JSON_SUMMARY_SCHEMA_VERSION = 1


def json_summary(folder: str | Path) -> dict[str, Any]:
    """What ``medseg segment --json`` prints about a result.

    Args:
        folder: a folder that `medseg.inference.Result.save` or ``medseg segment`` has written.

    Returns:
        ``schema_version``; ``output``, the folder as it was given; ``statistics``, the content of ``statistics.json``;
        ``warnings``, those of ``run.json``; ``files``, with ``path`` in the folder, ``sha256`` and ``bytes`` of each.

    >>> from medseg.inference import segment
    >>> result = segment("scan.nii.gz", "bundles/lits_liver_segmentation", "model.pt")
    >>> sorted(json_summary(result.save("results/case_1")))
    ['files', 'output', 'schema_version', 'statistics', 'warnings']
    """
    place = Path(folder)
    run = json.loads((place / "run.json").read_text(encoding="utf-8"))
    return {
        "schema_version": JSON_SUMMARY_SCHEMA_VERSION,
        "output": str(folder),
        "statistics": json.loads((place / "statistics.json").read_text(encoding="utf-8")),
        "warnings": run["warnings"],
        "files": [*run["outputs"], *describe_outputs(place, ("run.json",))],
    }
