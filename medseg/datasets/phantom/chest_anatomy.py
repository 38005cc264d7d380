"""The chest's organs as continuous shapes, bottom layer first."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from medseg.datasets.phantom.draw import jitter, random_blob, tube
from medseg.datasets.phantom.render import Part
from medseg.datasets.phantom.shapes import Capsule, Difference, Intersection, Shape, Trunk, Union, Waves
from medseg.datasets.phantom.vessel_tree import grow_tree

__all__ = ["Chest", "draw_chest"]


class Chest(NamedTuple):
    """A drawn chest.

    Attributes:
        below: parts under the lung vessels (body, lungs, mediastinum), in painting order.
        above: parts over the lung vessels (airways, bones).
        vessels: all vessel branches in both lungs.
        vessel_hu: HU of blood.
        lungs: both lungs as one region, without heart, mediastinum and diaphragm.
        lung_hu: mean HU of healthy lung.
    """

    below: list[Part]
    above: list[Part]
    vessels: list[Capsule]
    vessel_hu: float
    lungs: Shape
    lung_hu: float


class _Walls(NamedTuple):
    skin: Trunk
    muscle: Trunk
    cavity: Trunk
    s: NDArray[np.float64]


def draw_chest(rng: np.random.Generator) -> Chest:
    """Draw one chest (RAS mm, the body's centre at the origin)."""
    walls = _draw_walls(rng)
    lung_hu, soft_hu = float(rng.uniform(-890, -825)), float(rng.uniform(35, 60))
    vessel_hu = float(rng.uniform(120, 220)) if rng.random() < 0.35 else float(rng.uniform(30, 55))
    centre = _draw_centre(rng, walls, soft_hu, vessel_hu)
    lungs = [_draw_lung(rng, walls, side, [part.shape for part in centre]) for side in (1.0, -1.0)]
    below = [
        Part(walls.skin, float(rng.uniform(-115, -95)), 1, texture=Waves.random(rng, 6, 0.12, 6.0)),
        Part(walls.muscle, soft_hu, 2, texture=Waves.random(rng, 6, 0.15, 8.0)),
        *centre,
        *[Part(lung, lung_hu, 4, texture=Waves.random(rng, 10, 0.35, 12.0)) for lung in lungs],
    ]
    above = [*_draw_airways(rng, walls), *_draw_bones(rng, walls)]
    vessels = _draw_vessels(rng, walls, lungs)
    return Chest(below, above, vessels, vessel_hu, Union(lungs), lung_hu)


def _draw_walls(rng: np.random.Generator) -> _Walls:
    half_width, half_depth = float(rng.uniform(126, 140)), float(rng.uniform(90, 106))
    fat, muscle = float(rng.uniform(6, 16)), float(rng.uniform(12, 16))
    exponent = float(rng.uniform(2.2, 2.6))
    girth = Waves(np.array([[0.0, 0.0, rng.uniform(0.008, 0.02)]]), rng.uniform(0, 6.28, 1), np.array([0.02]))

    def layer(depth: float) -> Trunk:
        return Trunk((0.0, 0.0), (half_width - depth, half_depth - depth), exponent, girth)

    s = np.array([(half_width - fat - muscle) / 108.0, (half_depth - fat - muscle) / 74.0, 1.0])
    return _Walls(layer(0.0), layer(fat), layer(fat + muscle), s)


def _draw_centre(rng: np.random.Generator, walls: _Walls, soft_hu: float, blood_hu: float) -> list[Part]:
    """Mediastinum, heart, great vessels and the dome of the diaphragm."""
    s = walls.s

    def near(x: float, y: float, z: float, spread_mm: float = 4.0) -> NDArray[np.float64]:
        return jitter(rng, np.array([x, y, z]) * s, spread_mm)

    middle = random_blob(rng, near(0, -2, 20), np.array([24, 66, 320]) * s, tilt_deg=1, bumps=0.04)
    heart = random_blob(rng, near(-22, 20, -48), np.array([52, 44, 52]) * s, bumps=0.04)
    ascending = near(12, 18, 10)
    arch = tube(
        [
            ascending,
            ascending + np.array([-2.0, -6.0, 40.0]),
            [-8, -5, 66],
            [-20, -30, 62],
            [-22, -46, 40],
            [-22, -48, -300],
        ],
        float(rng.uniform(10, 13)),
    )
    domes = [
        random_blob(rng, near(64, -4, -140, 8), np.array([62, 80, 66]) * s, tilt_deg=3, bumps=0.02),
        random_blob(rng, near(-64, -4, -150, 8), np.array([62, 80, 66]) * s, tilt_deg=3, bumps=0.02),
    ]
    return [
        Part(
            Intersection([middle, walls.cavity]), float(rng.uniform(-40, 20)), 5, texture=Waves.random(rng, 6, 0.1, 20)
        ),
        *[Part(Intersection([dome, walls.cavity]), soft_hu + 10.0, 6) for dome in domes],
        Part(Intersection([heart, walls.cavity]), 0.7 * blood_hu + 0.3 * soft_hu, 7),
        Part(Union(arch), blood_hu, 8),
    ]


def _draw_lung(rng: np.random.Generator, walls: _Walls, side: float, removed: list[Shape]) -> Shape:
    centre = jitter(rng, np.array([side * 60.0, -2.0, -20.0]) * walls.s, 4)
    lung = random_blob(rng, centre, np.array([56, 80, 150]) * walls.s, tilt_deg=2, size_spread=0.04, bumps=0.02)
    return Difference(Intersection([lung, walls.cavity]), removed)


def _draw_airways(rng: np.random.Generator, walls: _Walls) -> list[Part]:
    fork = jitter(rng, np.array([2.0, -10.0, 28.0]) * walls.s, 3)
    trachea = tube([fork + np.array([0.0, 0.0, 300.0]), fork], float(rng.uniform(7.5, 9.5)))
    bronchi: list[Shape] = []
    for side in (1.0, -1.0):
        far = fork + np.array([side * 34.0, -4.0, -22.0])
        bronchi += tube([fork, far, far + np.array([side * 12.0, -6.0, -18.0])], [6.5, 4.5, 2.8])
        bronchi += tube([far, far + np.array([side * 14.0, 6.0, 12.0])], [3.6, 2.2])
    air: list[Shape] = [*trachea, *bronchi]
    wall = [
        Capsule(c.start_mm, c.end_mm, c.start_radius_mm + 1.4, c.end_radius_mm + 1.0)
        for c in air
        if isinstance(c, Capsule)
    ]
    return [*[Part(piece, 15.0, 9) for piece in wall], *[Part(piece, -990.0, 10) for piece in air]]


def _draw_bones(rng: np.random.Generator, walls: _Walls) -> list[Part]:
    """Spine, sternum and ribs that fall from the spine to the front."""
    s, value = walls.s, float(rng.uniform(300, 500))
    back, front = -78.0 * s[1], 78.0 * s[1]
    spine = [
        *tube([[0, back + 12, -400], [0, back + 12, 400]], 17.0),
        *tube([[0, back - 10, -400], [0, back - 10, 400]], 8.0),
    ]
    sternum = tube([[-8, front, 80], [-8, front, -60]], 7.0) + tube([[8, front, 80], [8, front, -60]], 7.0)
    muscle = walls.muscle
    parts = [
        Part(
            Intersection([Union(spine), walls.skin]),
            float(rng.uniform(160, 260)),
            3,
            texture=Waves.random(rng, 8, 0.25, 40),
        ),
        Part(Intersection([Union(sternum), muscle]), value * 0.6, 3),
    ]
    angles = np.deg2rad(np.linspace(-80, 60, 13))
    half_width, half_depth = np.array(muscle.semi_axes_mm) - 7.0
    power, first = 2.0 / muscle.exponent, float(rng.uniform(0, 24))
    for level in range(9):
        for side in (1.0, -1.0):
            x = side * half_width * np.abs(np.cos(angles)) ** power
            y = half_depth * np.sign(np.sin(angles)) * np.abs(np.sin(angles)) ** power
            z = 130.0 - first - 25.0 * level - np.linspace(0, 55, len(angles))
            parts += [Part(piece, value, 3) for piece in tube(np.stack([x, y, z], axis=1), 4.5)]
    return parts


def _draw_vessels(rng: np.random.Generator, walls: _Walls, lungs: list[Shape]) -> list[Capsule]:
    branches: list[Capsule] = []
    for lung, side in zip(lungs, (1.0, -1.0), strict=True):
        hilum = np.array([side * 36.0, -8.0, 2.0]) * walls.s
        for heading in (
            [0.5, 0.3, 1.0],
            [0.7, -0.5, 0.7],
            [1.0, 0.6, 0.1],
            [0.9, -0.8, -0.2],
            [0.7, 0.5, -0.8],
            [0.5, -0.5, -1],
        ):
            direction = np.array(heading) * [side, 1.0, 1.0] + rng.normal(scale=0.15, size=3)
            root = jitter(rng, hilum, 5.0)
            branches += grow_tree(rng, root, direction, float(rng.uniform(3.2, 5.0)), lung)
    return branches
