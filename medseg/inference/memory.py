"""An estimate of the main memory that a run needs, made before the run."""

from __future__ import annotations

import json
import math
import resource
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from medseg.geometry import spacing_of

if TYPE_CHECKING:
    from medseg.inference.bundle import Bundle
    from medseg.inference.case import Case

__all__ = ["MemoryPlan", "available_memory", "plan_memory"]

_IMPORTS = 500 << 20  # Python, torch, MONAI, SciPy and Matplotlib on a CPU, measured; more with a CUDA torch
_SLABS = 48 << 20  # the slabs of a resampling and what the allocator keeps of them
# Bytes for each voxel of the image in bundles that resample with MONAI's transforms: Invertd makes a float64 grid of
# coordinates (24 bytes), its normalised copy, and float64 copies of the scores. Measured on 512 x 512 x 300 voxels.
_WHOLE_GRID = 56


@dataclass(frozen=True)
class MemoryPlan:
    """The estimated peak of a run's resident memory, in bytes, and what it is made of.

    Attributes:
        base: the program and its libraries.
        image: the image as it is stored.
        stages: what each stage needs on top of these; the peak is that of the largest one.

    >>> plan = MemoryPlan(base=500, image=100, stages={"prepare": 150, "network": 300})
    >>> plan.peak, plan.largest
    (900, 'network')
    """

    base: int
    image: int
    stages: Mapping[str, int]

    @property
    def largest(self) -> str:
        """The stage with the highest need."""
        return max(self.stages, key=lambda name: self.stages[name])

    @property
    def peak(self) -> int:
        """Bytes of resident memory at the peak."""
        return self.base + self.image + self.stages[self.largest]


def plan_memory(bundle: Bundle, case: Case, probability_map: bool = False) -> MemoryPlan:
    """Estimate the peak memory of a bundle's run on a case, the program included.

    Shapes come from the key ``pixdim`` of the bundle, the network's own need from a run on shapes alone (without
    numbers). The estimate holds for the CPU; on a CUDA device the network's part lies in the device's memory.

    Args:
        bundle: the bundle.
        case: the image.
        probability_map: whether the probabilities of all foreground classes are kept, a byte each.

    >>> import numpy as np
    >>> from medseg.inference import read_bundle, read_case
    >>> case = read_case(np.zeros((128, 128, 64), np.int16), affine_ras=np.eye(4))
    >>> plan = plan_memory(read_bundle("bundles/lits_liver_segmentation"), case)
    >>> sorted(plan.stages)
    ['components', 'mask', 'network', 'prepare']
    """
    config = json.loads(bundle.config.read_text(encoding="utf-8"))
    array = case.array
    stored = array.itemsize * array.size
    lean = _targets(config) >= {"SeparableSpacingd", "MaskOnSourceGridd"}
    low = _resampled(config, array.shape, [float(s) for s in spacing_of(case.affine_ras)])
    if not lean:
        return MemoryPlan(_base(), stored, {"prepare and invert": _WHOLE_GRID * array.size, "network": 12 * low})
    kept = (len(bundle.labels) - 1) * array.size if probability_map else 0
    channels = 1 if "ForegroundInferer" in _targets(config) else len(bundle.labels)
    stages = {
        # The image turned to the network's axes, and its float32 copy on the network's grid.
        "prepare": stored + 4 * low + _SLABS,
        # That copy, the blended output and the sum of the blending weights.
        "network": 4 * low * (1 + channels + 1) + _activations(config),
        # First logits and probabilities on the network's grid; then probabilities, flags, mask or map, a turned copy.
        "mask": max(8 * low * channels, low * (4 * channels + 2) + kept + max(2 * array.size, kept) + _SLABS),
        # The mask, and six bytes a voxel of the box around its components: a target of a quarter of the image.
        "components": int(2.5 * array.size) + kept + 4 * low * channels,
    }
    return MemoryPlan(_base(), stored, stages)


def _base() -> int:
    """What the process has taken so far, or what it will take when everything is imported."""
    return max(_IMPORTS, _resident() if "torch" in sys.modules and sys.modules["torch"].cuda.is_available() else 0)


def _resident() -> int:
    try:
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    except OSError:
        return 0
    return pages * resource.getpagesize()


def _targets(config: Any) -> set[str]:
    """Last parts of all ``_target_`` names in a configuration."""
    if isinstance(config, dict):
        own = {str(config["_target_"]).rsplit(".", 1)[-1]} if "_target_" in config else set()
        return own.union(*(_targets(value) for value in config.values()))
    if isinstance(config, list):
        return set().union(*(_targets(value) for value in config))
    return set()


def _resampled(config: Mapping[str, Any], shape: Sequence[int], spacing_mm: Sequence[float]) -> int:
    """Voxels on the network's grid, padded to a window at least."""
    pixdim, window = config.get("pixdim"), config.get("roi_size")
    target = list(spacing_mm)
    if isinstance(pixdim, list) and len(pixdim) == 3 and all(isinstance(p, int | float) and p > 0 for p in pixdim):
        target = pixdim
    sides = [round((n - 1) * s / t) + 1 for n, s, t in zip(shape, spacing_mm, target, strict=True)]
    if isinstance(window, list) and len(window) == 3 and all(isinstance(w, int) for w in window):
        sides = [max(side, w) for side, w in zip(sides, window, strict=True)]
    return math.prod(sides)


def _activations(config: Mapping[str, Any]) -> int:
    """Most bytes that a pass of the network on a batch of windows holds at a time; 0 where it cannot be told."""
    window, batch = config.get("roi_size"), config.get("sw_batch_size", 1)
    definition = config.get("network_def")
    if not (isinstance(window, list) and isinstance(batch, int) and isinstance(definition, dict)):
        return 0
    import torch
    from monai.bundle import ConfigParser

    from medseg.inference._live_bytes import LiveBytes

    channels = definition.get("in_channels", 1)
    try:
        with torch.device("meta"), torch.no_grad():
            network = ConfigParser(dict(config)).get_parsed_content("network_def").eval()
            with LiveBytes() as live:
                network(torch.empty(batch, channels, *window))
    except (RuntimeError, NotImplementedError, TypeError, ValueError):
        return 0
    return live.peak


def available_memory() -> int | None:
    """Bytes of main memory that new work can use (``MemAvailable``), ``None`` where the system does not report it."""
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:")), None)
