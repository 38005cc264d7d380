"""``medseg::geodesic_distance``: shortest paths through an image in which steps across intensity edges are long.

The image is a graph: a voxel has edges to its 8 (2-D) or 26 (3-D) neighbours, and the distance map holds for every
voxel the length of the shortest path to a seed. With λ the weight of the intensities, ``|e|`` the length of a step and
``ΔI`` the difference of the intensities at its ends, a step costs

- ``additive``: ``(1 - λ) |e| + λ ‖ΔI‖₁``, the generalised geodesic distance of Criminisi et al., GeoS, 2008, in the
  form that the FastGeodis library computes;
- ``harmonic``: ``|e| / ((1 - λ) + λ / (‖ΔI‖₂ + 1e-5))``, the form of the GeodisTK library (DeepIGeoS, 2019).

The two costs give different maps, even where no edge is crossed. The norms run over the channels.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

from medseg.ops._checks import check_floating, check_same_device, shape_text
from medseg.ops._codes import ADDITIVE, COSTS
from medseg.ops._load import register_op

Cost = Literal["additive", "harmonic"]
_EPSILON = 1e-5


def geodesic_distance(
    image: Tensor,
    seeds: Tensor,
    weight: float = 1.0,
    spacing: Sequence[float] | None = None,
    cost: Cost = "additive",
    sweeps: int | None = None,
    limit: float = math.inf,
) -> Tensor:
    """Computes the geodesic distance to every set of seeds.

    A sweep visits the planes along the first axis forwards and backwards, then along the second and the third, and
    shortens the path to every voxel by way of its neighbours in the plane before. ``sweeps=None`` repeats this until
    nothing changes. The map is then that of Dijkstra's algorithm, also in float arithmetic, where the length of a path
    is summed from its seed. A number of sweeps gives the raster approximation. It is an upper bound of the exact map,
    and it is exact where the paths change direction only a few times.

    Where no seed can be reached the map is ``limit``: everywhere if a set has no seed, and at NaN intensities, which
    no path crosses. The op has no gradient. The result does not depend on the number of threads. On CUDA,
    ``sweeps=None`` waits for the device after every sweep, to find out whether anything has changed.

    Args:
        image: ``[B, C, H, W]`` or ``[B, C, D, H, W]``, C >= 1; float16 and bfloat16 are computed in float32.
            The intensity scale sets the distances; normalise it.
        seeds: ``[B, K, *S]``, K sets of seeds per image; every value that is not 0 is a seed.
        weight: λ, the weight of the intensities: from 0 (spatial length only) to 1 (intensities only).
        spacing: voxel side along each axis, such as mm. Default 1.
        cost: ``additive`` or ``harmonic``, see above.
        sweeps: sweeps over all axes, at least 1, or None for the exact map.
        limit: largest distance of the map, above 0; longer paths end here.

    Returns:
        ``[B, K, *S]`` in float32 (float64 for float64 images), contiguous.

    Raises:
        ValueError: for shapes, devices or options that do not fit.
        TypeError: for an image that is not floating.

    Example:
        A seed at the left end of a row that has one bright voxel:

        >>> import torch
        >>> from medseg.ops import geodesic_distance
        >>> image = torch.tensor([[[[0.0, 0.0, 5.0, 0.0]]]])
        >>> seeds = torch.tensor([[[[True, False, False, False]]]])
        >>> geodesic_distance(image, seeds, weight=0.5).tolist()
        [[[[0.0, 0.5, 3.5, 6.5]]]]
    """
    check_floating("geodesic_distance", image=image)
    check_same_device("geodesic_distance", image=image, seeds=seeds)
    steps = [1.0] * (image.ndim - 2) if spacing is None else [float(s) for s in spacing]
    _check_shapes(image, seeds, steps)
    _check_options(weight, cost, sweeps, limit)
    if image.dtype != torch.float64:
        image = image.float()
    result: Tensor = torch.ops.medseg.geodesic_distance(
        image.detach(), seeds.bool(), steps, float(weight), COSTS[cost], sweeps or 0, float(limit)
    )
    return result


def _check_shapes(image: Tensor, seeds: Tensor, steps: list[float]) -> None:
    if image.ndim not in (4, 5) or 0 in image.shape[1:]:
        raise ValueError(
            f"geodesic_distance: image has shape {shape_text(image)}; expected [B, C, H, W] or [B, C, D, H, W], "
            "none empty"
        )
    if seeds.ndim != image.ndim or seeds.shape[0] != image.shape[0] or seeds.shape[2:] != image.shape[2:]:
        raise ValueError(
            f"geodesic_distance: seeds have shape {shape_text(seeds)}; expected [{image.shape[0]}, K, "
            f"{', '.join(str(s) for s in image.shape[2:])}] like the image"
        )
    if len(steps) != image.ndim - 2 or not all(s > 0 and math.isfinite(s) for s in steps):
        raise ValueError(f"geodesic_distance: spacing is {steps}; expected {image.ndim - 2} positive numbers")


def _check_options(weight: float, cost: str, sweeps: int | None, limit: float) -> None:
    if not 0 <= weight <= 1:
        raise ValueError(f"geodesic_distance: weight is {weight}; expected 0 to 1")
    if cost not in COSTS:
        raise ValueError(f"geodesic_distance: cost is {cost!r}; expected one of {', '.join(COSTS)}")
    if sweeps is not None and sweeps < 1:
        raise ValueError(f"geodesic_distance: sweeps is {sweeps}; expected at least 1, or None for the exact map")
    if not limit > 0:
        raise ValueError(f"geodesic_distance: limit is {limit}; expected a positive number")


def reference_geodesic_distance(
    image: Tensor, seeds: Tensor, spacing: Sequence[float], weight: float, cost: int, sweeps: int, limit: float
) -> Tensor:
    """The sweeps in plain PyTorch, a plane at a time; ``sweeps=0`` repeats them until nothing changes."""
    distance = image.new_full(seeds.shape, limit).masked_fill_(seeds, 0)
    done, changed = 0, seeds.numel() > 0
    while changed and (sweeps == 0 or done < sweeps):
        before = distance.clone()
        for axis in range(len(spacing)):
            _sweep_axis(distance, image, axis, spacing, weight, cost)
        done, changed = done + 1, not torch.equal(before, distance)
    return distance


def _sweep_axis(distance: Tensor, image: Tensor, axis: int, spacing: Sequence[float], weight: float, cost: int) -> None:
    """Lowers the distances in place, forwards and backwards along one axis."""
    planes = image.shape[2 + axis]
    others = [s for i, s in enumerate(spacing) if i != axis]
    order = [(p, p - 1) for p in range(1, planes)] + [(p, p + 1) for p in range(planes - 2, -1, -1)]
    pad = [1, 1] * len(others)
    for at, before in order:
        here, out = image.select(2 + axis, at), distance.select(2 + axis, at)
        source = torch.nn.functional.pad(image.select(2 + axis, before), pad)
        reached = torch.nn.functional.pad(distance.select(2 + axis, before), pad, value=math.inf)
        for shift in torch.cartesian_prod(*[torch.arange(3)] * len(others)).reshape(-1, len(others)).tolist():
            window = (..., *(slice(s, s + n) for s, n in zip(shift, here.shape[2:], strict=True)))
            length = math.sqrt(spacing[axis] ** 2 + sum(((s - 1) * e) ** 2 for s, e in zip(shift, others, strict=True)))
            way = _way_on(reached[window], here - source[window], length, weight, cost)
            out.copy_(torch.where(way < out, way, out))


def _way_on(way: Tensor, difference: Tensor, length: float, weight: float, cost: int) -> Tensor:
    """Length of a path that goes on to the next voxel."""
    if cost == ADDITIVE:
        return way + length * (1 - weight) + weight * difference.abs().sum(1, keepdim=True)
    norm = difference.square().sum(1, keepdim=True).sqrt() + _EPSILON
    return way + length * norm / ((1 - weight) * norm + weight)


def _shape(
    image: Tensor, seeds: Tensor, spacing: Sequence[float], weight: float, cost: int, sweeps: int, limit: float
) -> Tensor:
    return image.new_empty(seeds.shape)


register_op(
    "geodesic_distance(Tensor image, Tensor seeds, float[] spacing, float weight, int cost, int sweeps, float limit) "
    "-> Tensor",
    reference_geodesic_distance,
)
torch.library.register_fake("medseg::geodesic_distance", _shape)
