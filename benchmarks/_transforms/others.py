"""Intensity, guide and weight transforms against MONAI, scikit-image and SciPy."""

from __future__ import annotations

import numpy as np
import torch
from monai.transforms import ScaleIntensityRange
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt
from skimage.exposure import match_histograms

from benchmarks._transforms.case import Case
from medseg.transforms import BorderWeightMap, GuideMap, HUWindow, RandHistogramMatch


def window(side: int) -> Case:
    """One HU window; ours is MONAI's transform under the window's name."""
    x = torch.randn(1, side, side, side, generator=torch.Generator().manual_seed(0)) * 300
    ours, peer = HUWindow((40.0, 400.0)), ScaleIntensityRange(-160, 240, 0, 1, clip=True)
    name = f"HUWindow {side}^3"
    return Case(name, lambda: ours(x), "MONAI ScaleIntensityRange", lambda: peer(x), ideal=("copy", x.clone))


def matching(side: int) -> Case:
    """Matching to a given scan: ours keeps sorted quantiles of the reference, scikit-image sorts it in every call."""
    random = np.random.default_rng(0)
    image, reference = (
        random.uniform(-200, 250, (1, side, side, side)),
        random.uniform(-100, 300, (1, side, side, side)),
    )
    ours = RandHistogramMatch([reference], prob=1.0).set_random_state(0)

    def peer() -> NDArray[np.float64]:
        matched: NDArray[np.float64] = match_histograms(image, reference, channel_axis=0)
        return matched

    # 65536 quantiles over 400 HU are 0.006 HU apart; a value near 0 differs by no more.
    return Case(f"RandHistogramMatch {side}^3", lambda: ours(image), "match_histograms", peer, tolerance=2e-2)


def distances(shape: tuple[int, int, int]) -> Case:
    """The distance guide of five clicks; ours is SciPy's transform of the clicks' voxels."""
    clicks = np.random.default_rng(1).integers(0, shape, (5, 3))
    prompts = np.concatenate([np.ones((5, 1)), clicks, np.zeros((5, 3))], axis=1)
    image = torch.zeros(1, *shape)
    ours = GuideMap("edt", max_distance=40.0, channels=("fg",))

    def peer() -> NDArray[np.float64]:
        free = np.ones(shape, bool)
        free[tuple(clicks.T)] = False
        return np.minimum(distance_transform_edt(free) / 40.0, 1.0)[None]

    name = f"GuideMap edt {'x'.join(map(str, shape))}"
    return Case(name, lambda: ours(image, prompts), "SciPy distance_transform_edt", peer)


def borders(side: int, objects: int) -> Case:
    """U-Net's border weights; the usual form computes a distance transform of every object over the whole image."""
    random = np.random.default_rng(2)
    label = np.zeros((1, side, side), np.int64)
    for number in range(1, objects + 1):
        corner = random.integers(0, side - 20, 2)
        height, width = random.integers(8, 20, 2)
        label[0, corner[0] : corner[0] + height, corner[1] : corner[1] + width] = number
    ours = BorderWeightMap(10.0, 5.0, None, objects="instances")

    def peer() -> NDArray[np.float64]:
        maps = np.stack([distance_transform_edt(label[0] != n) for n in np.unique(label) if n])
        nearest = np.partition(maps, 1, axis=0)[:2]
        return 1 + 10.0 * np.exp(-(nearest.sum(0, keepdims=True) ** 2) / (2 * 5.0**2))

    name = f"BorderWeightMap {side}^2, {objects} objects"
    return Case(name, lambda: ours(label), "SciPy, whole image an object", peer)


def cases(quick: bool) -> list[Case]:
    """All comparisons of intensity, guides and weights."""
    if quick:
        return [window(96), matching(48), distances((24, 96, 96)), borders(128, 10)]
    return [window(192), matching(128), distances((96, 192, 192)), borders(512, 40)]
