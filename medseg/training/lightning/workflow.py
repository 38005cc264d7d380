"""The parts of a bundle's training configuration, for another engine than ignite's."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from monai.bundle import ConfigWorkflow

__all__ = ["part_of", "training_workflow"]


def training_workflow(config: str | Path | Sequence[str | Path], **overrides: Any) -> ConfigWorkflow:
    """A training configuration, read, overridden and initialised as ``python -m monai.bundle run`` does it.

    Seeds are set, sizes are checked and ``initial_weights`` are loaded; nothing is trained. The modules of this package
    take their parts from it: ``network``, ``loss``, ``optimizer``, ``lr_scheduler``, ``prepare_batch``, and the data
    loaders and inferers of ``train`` and ``validate``. Ignite's trainer and handlers are not made.

    Args:
        config: the file, or several files of which later ones override earlier ones.
        overrides: values for keys of the configuration; ``::`` separates levels.

    Returns:
        The initialised workflow; ``workflow.parser.get_parsed_content(KEY)`` gives its parts.

    Example:
        >>> import json, pathlib
        >>> content = {"initialize": ["$print('seeded', @seed)"], "run": [], "seed": 0}
        >>> _ = pathlib.Path("train.json").write_text(json.dumps(content))
        >>> workflow = training_workflow("train.json", seed=3)
        seeded 3
    """
    files = [config] if isinstance(config, str | Path) else list(config)
    values = {key: str(value) if isinstance(value, Path) else value for key, value in overrides.items()}
    workflow = ConfigWorkflow([str(file) for file in files], workflow_type="train", logging_file=False, **values)
    workflow.initialize()
    return workflow


def part_of(workflow: ConfigWorkflow, key: str, default: Any = None) -> Any:
    """A part of the configuration, or the default where it has none."""
    part: Any = workflow.parser.get()
    for level in key.split("::"):
        if not isinstance(part, dict) or level not in part:
            return default
        part = part[level]
    return workflow.parser.get_parsed_content(key)
