"""What is known of a case's tumours: histograms, texture and guide maps, of every slice or of middle slices only."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from monai.data import MetaTensor
from numpy.typing import NDArray
from scipy.ndimage import find_objects, label
from torch import Tensor

from benchmarks._guided.cases import SPACING_MM
from medseg.layers.guidance import Guidance
from medseg.transforms.guidance import GuideMap, SimulatePrompts
from medseg.transforms.texture import RegionGLCM, RegionHistogram

BINS, HU_RANGE = 50, (-100.0, 250.0)
GLCM_LEVELS, GLCM_HU = 16, (-50.0, 200.0)
LEAST_SIGMA_MM = 3.0
JITTER = {"centre_jitter": 0.2, "sigma_jitter": 1.4, "min_sigma": 0.0}
STEADY = {"centre_jitter": 0.0, "sigma_jitter": 1.0, "min_sigma": 0.0}

_of_slices = RegionHistogram(BINS, HU_RANGE, soft=True, slice_axis=2)
_of_region = RegionHistogram(BINS, HU_RANGE, soft=True)
_glcm = RegionGLCM(GLCM_LEVELS, GLCM_HU)


class Object(NamedTuple):
    """A connected tumour seen on its middle slice.

    Attributes:
        slices: the range that it reaches over.
        histogram: float32 ``[1, BINS]``.
        texture: float32 ``[F]``.
        pixels: on the middle slice.
    """

    slices: slice
    histogram: Tensor
    texture: Tensor
    pixels: int


def every_slice(image: NDArray[np.int16], organ: NDArray[np.bool_], tumour: NDArray[np.bool_]) -> Guidance:
    """Guidance from the true tumour on every slice: what nets are trained with, and an oracle where they are tested.

    Args:
        image: HU, ``[i, j, k]``.
        organ: the liver with its tumours.
        tumour: the true tumours.

    Returns:
        ``appearance``: float32 ``[slices, 2, 1, BINS]``, histograms of liver and tumour; a slice without tumour has an
        empty tumour histogram. ``texture``: float32 ``[slices, F + 1]``, the tumour's features, and 1; all 0 on a slice
        without tumour.
    """
    hu = torch.from_numpy(image.astype(np.float32))
    histograms = _of_slices(hu[None], torch.from_numpy(np.stack([organ, tumour])))
    rows = [_texture(hu[..., k], tumour[..., k]) for k in range(tumour.shape[2])]
    there = torch.from_numpy(tumour.any((0, 1)))[:, None].float()
    texture = torch.cat([torch.stack(rows) * there, there], 1)
    return Guidance(appearance=torch.as_tensor(histograms), texture=texture)


def middle_slices(image: NDArray[np.int16], organ: NDArray[np.bool_], tumour: NDArray[np.bool_]) -> Guidance:
    """Guidance from what a user outlines: each tumour on its middle slice, and the range of slices it reaches over.

    A slice gets the pooled histogram and the mean texture of those tumours whose range holds it; the organ's histogram
    is that of the slice.

    Args:
        image: HU, ``[i, j, k]``.
        organ: the liver with its tumours, true or predicted.
        tumour: the true tumours.

    Returns:
        As of `every_slice`.
    """
    hu = torch.from_numpy(image.astype(np.float32))
    histograms = torch.as_tensor(_of_slices(hu[None], torch.from_numpy(np.stack([organ, organ])))).clone()
    histograms[:, 1] = 0
    found = objects(image, tumour)
    texture = torch.zeros(tumour.shape[2], len(found[0].texture) + 1 if found else 1)
    for k in range(tumour.shape[2]):
        own = [item for item in found if item.slices.start <= k < item.slices.stop]
        if own:
            total = sum(item.pixels for item in own)
            histograms[k, 1] = torch.stack([item.histogram * (item.pixels / total) for item in own]).sum(0)
            texture[k] = torch.cat([torch.stack([item.texture for item in own]).mean(0), torch.ones(1)])
    return Guidance(appearance=histograms, texture=texture)


def objects(image: NDArray[np.int16], tumour: NDArray[np.bool_]) -> list[Object]:
    """The connected tumours (voxels that share a corner are connected), each seen on its middle slice only."""
    parts, _ = label(tumour, np.ones((3, 3, 3)))
    found = []
    for number, box in enumerate(find_objects(parts), start=1):
        middle = (box[2].start + box[2].stop - 1) // 2
        hu, mask = torch.from_numpy(image[..., middle].astype(np.float32)), parts[..., middle] == number
        histogram = torch.as_tensor(_of_region(hu[None], torch.from_numpy(mask[None])))[0]
        found.append(Object(box[2], histogram, _texture(hu, mask), int(mask.sum())))
    return found


def _texture(hu: Tensor, mask: NDArray[np.bool_]) -> Tensor:
    return torch.as_tensor(_glcm(hu[None], torch.from_numpy(mask[None])))[0].float()


def guide_map(tumour: NDArray[np.bool_], jitter: dict[str, float], seed: int) -> NDArray[np.float32]:
    """Ellipsoids ``[i, j, k]`` in 0 to 1 about the middle slice of every tumour, over its range of slices.

    Args:
        tumour: the true tumours.
        jitter: how far a user is off, `JITTER` or `STEADY`.
        seed: of that.
    """
    affine = torch.diag(torch.tensor([*SPACING_MM, 1.0], dtype=torch.float64))
    target = MetaTensor(torch.from_numpy(tumour[None].astype(np.uint8)), affine=affine)
    prompts = SimulatePrompts("ellipse_mid_slice", options=jitter).set_random_state(seed)(target)
    drawn = GuideMap("ellipse", unit="mm", channels=("fg",), min_sigma=LEAST_SIGMA_MM)(target, prompts)
    return np.asarray(torch.as_tensor(drawn)[0], np.float32)
