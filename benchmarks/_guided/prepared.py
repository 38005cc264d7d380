"""Cases as tensors with their guidance, slices first; crops, neighbouring slices and batches of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from benchmarks._guided.cases import LIVER, TUMOUR, Case
from benchmarks._guided.guidance import JITTER, STEADY, every_slice, guide_map, middle_slices
from medseg.layers.guidance import Guidance

VARIANTS = 3
"""Jittered guide maps made for every training case; each sample takes one of them."""
WINDOW = (64, 48)
"""Sides of a training crop."""
WANDER = 10
"""How far, in pixels, its middle lies from that of the liver at most."""
MARGIN, MULTIPLE = 2, 8
TUMOUR_SHARE = 0.75
"""Share of training samples that are sure to show tumour."""


class Prepared(NamedTuple):
    """A case.

    Attributes:
        name: of the case.
        hu: int16 ``[Z, H, W]``, the slices with liver and one more on each side.
        label: uint8 ``[Z, H, W]``.
        guides: float16 ``[V, Z, H, W]``: one steady map, or some jittered ones.
        given: guidance by its name, "middle" and "oracle"; of a training case, "oracle" alone.
        contrast_hu: of the tumours, against the liver.
    """

    name: str
    hu: Tensor
    label: Tensor
    guides: Tensor
    given: dict[str, Guidance]
    contrast_hu: float


class Batch(NamedTuple):
    """Slices with their guidance, ready for a net.

    Attributes:
        image: ``[B, 3, H, W]``, the slice in the middle; 0 at 50 HU, 1 at 100 HU, from -150 to 250 HU.
        label: ``[B, H, W]``.
        appearance: ``[B, 2, 1, BINS]``, histograms of liver and tumour.
        texture: ``[B, F + 1]``.
        spatial: ``[B, 1, H, W]``.
    """

    image: Tensor
    label: Tensor
    appearance: Tensor
    texture: Tensor
    spatial: Tensor


def prepare(case: Case, training: bool, seed: int) -> Prepared:
    """A case with its guidance.

    Args:
        case: the case.
        training: whether it is trained on (jittered guide maps) or looked at (one steady map, and middle slices).
        seed: of the jitter.
    """
    there = np.nonzero((case.label >= LIVER).any((0, 1)))[0]
    cut = slice(max(there[0] - 1, 0), there[-1] + 2)
    image, label = np.ascontiguousarray(case.image[..., cut]), np.ascontiguousarray(case.label[..., cut])
    tumour, organ = label == TUMOUR, label >= LIVER
    jitter, count = (JITTER, VARIANTS) if training else (STEADY, 1)
    guides = np.stack([guide_map(tumour, jitter, VARIANTS * seed + i) for i in range(count)])
    given = {"oracle": every_slice(image, organ, tumour)}
    if not training:
        given["middle"] = middle_slices(image, organ, tumour)
    return Prepared(
        case.name,
        torch.from_numpy(image).permute(2, 0, 1).contiguous(),
        torch.from_numpy(label).permute(2, 0, 1).contiguous(),
        torch.from_numpy(guides.astype(np.float16)).permute(0, 3, 1, 2).contiguous(),
        given,
        case.contrast_hu,
    )


def crop_around(organ: Tensor) -> tuple[slice, slice]:
    """The box of an organ ``[Z, H, W]`` in the plane with a margin, its sides multiples of 8, inside the image."""
    sides = []
    for axis in (1, 2):
        other = organ.any(0).any(2 - axis)
        places = other.nonzero()
        low, high = int(places[0]) - MARGIN, int(places[-1]) + 1 + MARGIN
        wanted = min(-(-(high - low) // MULTIPLE) * MULTIPLE, organ.shape[axis] // MULTIPLE * MULTIPLE)
        start = min(max((low + high - wanted) // 2, 0), organ.shape[axis] - wanted)
        sides.append(slice(start, start + wanted))
    return sides[0], sides[1]


def slices_of(
    case: Prepared, numbers: Sequence[int], crop: tuple[slice, slice], given: Guidance, variant: int = 0
) -> Batch:
    """Slices of a case within a crop."""
    index = torch.as_tensor(numbers)
    last = case.hu.shape[0] - 1
    around = torch.stack([case.hu[(index + step).clamp(0, last)][:, crop[0], crop[1]] for step in (-1, 0, 1)], 1)
    guide = case.guides[variant][index][:, None, crop[0], crop[1]].float()
    return Batch(
        (around.float().clamp(-150, 250) - 50) / 50,
        case.label[index][:, crop[0], crop[1]].long(),
        given.appearance[index],
        given.texture[index],
        guide,
    )


class Sampler:
    """Random training slices: crops about the liver, the same flips for image and guide map.

    Args:
        cases: to train on.
        rng: source of randomness.
    """

    def __init__(self, cases: Sequence[Prepared], rng: np.random.Generator) -> None:
        self.cases, self.rng = cases, rng
        self.liver = [(case.label >= LIVER).flatten(1).any(1).nonzero()[:, 0].tolist() for case in cases]
        self.tumour = [(case.label == TUMOUR).flatten(1).any(1).nonzero()[:, 0].tolist() for case in cases]
        boxes = [crop_around(case.label >= LIVER) for case in cases]
        self.middles = [[(side.start + side.stop) // 2 for side in box] for box in boxes]

    def batch(self, size: int) -> Batch:
        """So many slices, each from a case of its own choice."""
        parts = [self._one(int(number)) for number in self.rng.integers(len(self.cases), size=size)]
        return Batch(*(torch.cat(fields) for fields in zip(*parts, strict=True)))

    def _one(self, number: int) -> Batch:
        case = self.cases[number]
        pool = self.tumour[number] if self.rng.random() < TUMOUR_SHARE else self.liver[number]
        wander = self.rng.integers(-WANDER, WANDER, 2, endpoint=True)
        crop = tuple(
            slice(start := int(np.clip(middle + step - side // 2, 0, whole - side)), start + side)
            for middle, step, side, whole in zip(self.middles[number], wander, WINDOW, case.hu.shape[1:], strict=True)
        )
        chosen = int(pool[self.rng.integers(len(pool))])
        variant = int(self.rng.integers(len(case.guides)))
        found = slices_of(case, [chosen], (crop[0], crop[1]), case.given["oracle"], variant)
        axes = [axis for axis in (-1, -2) if self.rng.random() < 0.5]
        return found._replace(
            image=found.image.flip(axes), label=found.label.flip(axes), spatial=found.spatial.flip(axes)
        )
