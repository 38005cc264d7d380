"""GeodesicDistance: the op as a transform."""

from __future__ import annotations

import math

import numpy as np
import torch
from monai.data import MetaTensor

from medseg.ops import geodesic_distance
from medseg.transforms import GeodesicDistance, GeodesicDistanced
from tests.transforms._menu import AFFINE, MenuCase, TransformMenu

IMAGE = np.array([[[0.0, 0, 4, 4], [0, 0, 4, 4]]], dtype=np.float32)
SEEDS = np.array([[[1, 0, 0, 0], [0, 0, 0, 0]], [[0, 0, 0, 0], [0, 0, 0, 0]]], dtype=np.uint8)
# Half of each way, and half of the step of 4 across the edge.
D = math.sqrt(2)
FIRST = [[0, 0.5, 1 + 2, 1.5 + 2], [0.5, D / 2, (1 + D) / 2 + 2, (2 + D) / 2 + 2]]


class TestGeodesicDistance(TransformMenu):
    case = MenuCase(
        array=lambda: GeodesicDistance(0.5, unit="voxel", max_distance=30),
        dictionary=lambda: GeodesicDistanced("image", "seeds", 0.5, unit="voxel", max_distance=30),
        data={"image": IMAGE, "seeds": SEEDS},
        expected=np.array([FIRST, np.full((2, 4), 30)]),
        second=("seeds",),
        output="image_geodesic",
        errors=(
            (lambda: GeodesicDistance(1.1), "weight is 1.1, expected 0"),
            (lambda: GeodesicDistance(cost="sum"), "cost is 'sum', expected 'additive' or 'harmonic'"),
            (lambda: GeodesicDistance(unit="cm"), "unit is 'cm', expected 'mm' or 'voxel'"),
            (lambda: GeodesicDistance(sweeps=0), "sweeps is 0, expected at least 1"),
            (lambda: GeodesicDistance(max_distance=math.inf), "max_distance is inf, expected a positive number"),
            (lambda: GeodesicDistance()(IMAGE, SEEDS), "image is a Tensor without spacing|image is a ndarray without"),
            (lambda: GeodesicDistance()(IMAGE, SEEDS[:, :1]), r"image has shape \(1, 2, 4\) and seeds \(2, 1, 4\)"),
            (lambda: GeodesicDistanced("image", "seeds", postfix=""), "postfix is ''"),
        ),
    )


def test_mm_take_the_spacing_of_the_affine() -> None:
    generator = torch.Generator().manual_seed(0)
    image = MetaTensor(torch.rand(2, 5, 6, 7, generator=generator), affine=AFFINE)
    seeds = torch.rand(3, 5, 6, 7, generator=generator) > 0.98
    for cost, sweeps in (("additive", None), ("harmonic", 2)):
        found = GeodesicDistance(0.4, cost, sweeps)(image, seeds)
        expected = geodesic_distance(image.as_tensor()[None], seeds[None], 0.4, (2.0, 3.0, 5.0), cost, sweeps, 1e3)[0]
        torch.testing.assert_close(found.as_tensor(), expected)
