"""Elastic deformation against MONAI's, and against the dense field that plain torch would sample.

The field of MONAI's ``Rand3DElastic`` is another one (random, smoothed; the same trilinear order), so that the outputs
differ by construction; it is drawn on both sides. The same B-spline field as a dense displacement (tensordot along each
axis), read by ``grid_sample``, is compared before anything is timed. Ideal: a copy of the image.
"""

from __future__ import annotations

import numpy as np
import torch
from monai.transforms import Rand3DElastic
from torch import Tensor
from torch.nn.functional import grid_sample

from benchmarks import _harness as harness
from medseg.ops import bspline_warp
from medseg.ops._bspline_warp_reference import displacement
from medseg.transforms import ELASTIC_PRESETS, RandElasticDeform
from medseg.transforms.spatial.elastic_field import GridField

BAR = 5.0
SIDES, QUICK_SIDES = (96, 192), (64, 96)


def volume(side: int) -> Tensor:
    """A cube of noise ``(1, side, side, side)``: the times do not depend on the values."""
    return torch.randn(1, side, side, side, generator=torch.Generator().manual_seed(side))


def ours_alone(x: Tensor, grid: GridField) -> Tensor:
    """The op on a given field."""
    return bspline_warp(x[None], torch.from_numpy(grid.control).float()[None], grid.spacing, grid.origin)[0]


def dense(x: Tensor, grid: GridField) -> Tensor:
    """The same field stored densely, then sampled by torch."""
    size = x.shape[1:]
    u = displacement(torch.from_numpy(grid.control).float()[None], size, grid.origin, grid.spacing)[0]
    at = torch.stack(torch.meshgrid(*[torch.arange(float(n)) for n in size], indexing="ij")) + u
    scaled = [2 * at[a] / (n - 1) - 1 for a, n in enumerate(size)]
    return grid_sample(x[None], torch.stack(scaled[::-1], -1)[None], padding_mode="border", align_corners=True)[0]


def _rows_of(side: int, repeats: int, seconds: float) -> list[harness.Row]:
    """The whole transform against MONAI's, and the op against the dense field."""
    x, settings = volume(side), ELASTIC_PRESETS["unet3d"]
    ours = RandElasticDeform(settings, prob=1.0).set_random_state(0)
    monai = Rand3DElastic(sigma_range=(5, 8), magnitude_range=(100, 200), prob=1.0, padding_mode="border")
    monai.set_random_state(0)
    grid = settings.draw(np.random.RandomState(0), (side,) * 3, np.eye(4)).limited(0.9).on_grid(np.eye(4))
    error = (ours_alone(x, grid) - dense(x, grid)).abs().max().item()
    if not error < 1e-2 * side / 96:  # positions are rounded in float32, and the image is noise
        raise RuntimeError(f"the outputs differ by {error:.3g}")
    functions = {
        "ours": lambda: ours(x),
        "monai": lambda: monai(x),
        "op": lambda: ours_alone(x, grid),
        "dense": lambda: dense(x, grid),
        "copy": lambda: x.clone(),
    }
    times = {name: t.median_ms for name, t in harness.time_interleaved(functions, repeats, seconds).items()}
    ratio = times["monai"] / times["ours"]
    against_monai: harness.Row = {
        "case": f"RandElasticDeform {side}^3",
        "ours_ms": times["ours"],
        "peer": "Rand3DElastic",
        "peer_ms": times["monai"],
        "ratio": ratio,
        "ideal": f"copy {times['copy']:.2f} ms",
        "bar": BAR,
        "pass": ratio >= BAR,
    }
    against_dense: harness.Row = {
        "case": f"bspline_warp {side}^3",
        "ours_ms": times["op"],
        "peer": "dense field, grid_sample",
        "peer_ms": times["dense"],
        "ratio": times["dense"] / times["op"],
        "ideal": f"copy {times['copy']:.2f} ms",
    }
    return [against_monai, against_dense]


def rows(quick: bool) -> list[harness.Row]:
    """The rows of all sizes."""
    sides, repeats, seconds = (QUICK_SIDES, 5, 4.0) if quick else (SIDES, 25, 60.0)
    return [row for side in sides for row in _rows_of(side, repeats, seconds)]
