"""The abdomen's organs as continuous shapes, bottom layer first, with HU of a random contrast phase."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from medseg.datasets.phantom.draw import jitter, random_blob, tube
from medseg.datasets.phantom.render import Part
from medseg.datasets.phantom.shapes import Blob, Difference, Intersection, Shape, SmoothUnion, Trunk, Union, Waves

__all__ = ["PHASES", "Abdomen", "draw_abdomen"]

# HU ranges by contrast phase; they overlap on purpose, as those of real patients do.
PHASES: dict[str, dict[str, tuple[float, float]]] = {
    "native": {
        "liver": (50, 66), "spleen": (44, 58), "kidney": (30, 42), "muscle": (46, 62), "blood": (38, 48),
        "stomach": (22, 58),
    },
    "arterial": {
        "liver": (62, 84), "spleen": (80, 118), "kidney": (95, 150), "muscle": (54, 68), "blood": (180, 300),
        "stomach": (40, 80),
    },
    "portal": {
        "liver": (86, 114), "spleen": (92, 120), "kidney": (115, 165), "muscle": (62, 82), "blood": (125, 165),
        "stomach": (45, 100),
    },
    "delayed": {
        "liver": (72, 96), "spleen": (72, 96), "kidney": (85, 130), "muscle": (60, 78), "blood": (85, 112),
        "stomach": (40, 90),
    },
}  # fmt: skip
_PHASE_ODDS = {"native": 0.2, "arterial": 0.25, "portal": 0.35, "delayed": 0.2}


class Abdomen(NamedTuple):
    """A drawn abdomen.

    Attributes:
        parts: everything but the tumours, in painting order.
        liver: the liver's shape without the organs that press into it.
        liver_hu: mean HU of healthy liver.
        phase: contrast phase.
    """

    parts: list[Part]
    liver: Shape
    liver_hu: float
    phase: str


class _Frame(NamedTuple):
    """Body walls: skin, outer and inner border of the muscle wall; ``s`` scales positions to the body size."""

    skin: Trunk
    wall: Trunk
    cavity: Trunk
    half_width: float
    half_depth: float
    s: NDArray[np.float64]


def draw_abdomen(rng: np.random.Generator) -> Abdomen:
    """Draw one abdomen (RAS mm, the body's centre at the origin)."""
    phase = str(rng.choice(list(_PHASE_ODDS), p=list(_PHASE_ODDS.values())))
    hu = {organ: float(rng.uniform(*span)) for organ, span in PHASES[phase].items()}
    frame = _draw_frame(rng)
    neighbours = _draw_neighbours(rng, frame, hu)
    liver = _draw_liver(rng, frame, [part.shape for part in neighbours])
    parts = [
        Part(frame.skin, float(rng.uniform(-115, -95)), 1, texture=Waves.random(rng, 6, 0.12, 6.0)),
        Part(frame.wall, hu["muscle"], 2, texture=Waves.random(rng, 6, 0.15, 4.0)),
        Part(frame.cavity, float(rng.uniform(-110, -90)), 1),
        *_draw_lungs(rng, frame),
        *_draw_bowel(rng, frame, hu),
        *neighbours,
        Part(liver, hu["liver"], 14, texture=Waves.random(rng, 8, 0.13, 4.0)),
        *_draw_liver_vessels(rng, liver, frame, hu, phase),
        *_draw_ribs(rng, frame),
    ]
    return Abdomen(parts, liver, hu["liver"], phase)


def _draw_frame(rng: np.random.Generator) -> _Frame:
    half_width, half_depth = float(rng.uniform(140, 168)), float(rng.uniform(100, 122))
    fat, muscle = float(rng.uniform(8, 24)), float(rng.uniform(12, 19))
    exponent, girth = float(rng.uniform(2.2, 2.7)), Waves(np.zeros((2, 3)), rng.uniform(0, 6.28, 2), np.full(2, 0.02))
    girth.vectors[:, 2] = rng.uniform(0.008, 0.02, 2)

    def layer(depth: float) -> Trunk:
        return Trunk((0.0, 0.0), (half_width - depth, half_depth - depth), exponent, girth)

    inner = fat + muscle
    s = np.array([(half_width - inner) / 128.0, (half_depth - inner) / 84.0, 1.0])
    return _Frame(layer(0.0), layer(fat), layer(inner), half_width, half_depth, s)


def _draw_neighbours(rng: np.random.Generator, frame: _Frame, hu: dict[str, float]) -> list[Part]:
    """Organs that press into the liver or lie apart from it."""
    s = frame.s
    spine_y = -0.62 * 84.0 * s[1]

    def back(x: float, y: float, z: float) -> NDArray[np.float64]:
        return np.array([x, spine_y + y, z])

    def near(x: float, y: float, z: float, spread_mm: float = 6.0) -> NDArray[np.float64]:
        return jitter(rng, np.array([x, y, z]) * s, spread_mm)

    spleen = random_blob(rng, near(-92, -28, 42), [30, 44, 48], bumps=0.06)
    right = random_blob(rng, near(58, -38, -52), [27, 25, 52], tilt_deg=10)
    left = random_blob(rng, near(-62, -42, -32), [27, 25, 52], tilt_deg=10)
    stomach = random_blob(rng, near(-58, 30, 46, 8), [42, 34, 46], bumps=0.08)
    heart = random_blob(rng, near(-22, 34, 132), [58, 46, 42])
    gallbladder = random_blob(rng, near(48, 42, -34), [13, 15, 26], tilt_deg=20)
    psoas = [random_blob(rng, back(side * 40.0, 2.0, -90.0), [21, 19, 75]) for side in (1, -1)]
    erector = [random_blob(rng, back(side * 36.0, -22.0, 0.0), [30, 17, 400], tilt_deg=1) for side in (1, -1)]
    spine = [*tube([back(0, 4, -400), back(0, 4, 400)], 21.0), *tube([back(0, -25, -400), back(0, -25, 400)], 9.0)]
    aorta = tube([back(-10, 32, -400), back(-10, 32, 400)], float(rng.uniform(8, 12)))
    cava = tube([back(18, 34, -400), back(22, 40, 90), back(10, 60, 200)], float(rng.uniform(9, 12)))
    cortex = Waves.random(rng, 6, 0.2, 5.0)
    inside = [frame.cavity]
    return [
        *[Part(Intersection([frame.wall, muscle]), hu["muscle"], 2) for muscle in (*psoas, *erector)],
        Part(Union(spine), float(rng.uniform(150, 260)), 3, texture=Waves.random(rng, 8, 0.25, 40.0)),
        Part(Intersection([spleen, *inside]), hu["spleen"], 5, texture=Waves.random(rng, 6, 0.15, 3.0)),
        Part(Intersection([right, *inside]), hu["kidney"], 6, texture=cortex),
        Part(Intersection([left, *inside]), hu["kidney"], 7, texture=cortex),
        Part(Intersection([stomach, *inside]), hu["stomach"], 8, texture=Waves.random(rng, 6, 0.2, 6.0)),
        *_gas_bubble(rng, stomach),
        Part(Union(aorta), hu["blood"], 11),
        Part(Union(cava), hu["blood"] * float(rng.uniform(0.8, 1.0)), 11),
        Part(Intersection([heart, *inside]), min(hu["blood"], 1.15 * hu["liver"]), 12),
        Part(Intersection([gallbladder, *inside]), float(rng.uniform(4, 22)), 13),
    ]


def _gas_bubble(rng: np.random.Generator, hollow: Blob) -> list[Part]:
    """Gas rises to the front of a patient who lies on the back."""
    offset = np.array([0.0, 0.45, 0.0]) * hollow.semi_axes_mm
    bubble = random_blob(rng, hollow.centre_mm + offset, hollow.semi_axes_mm * [0.6, 0.35, 0.6])
    return [Part(Intersection([bubble, hollow]), -980.0, 10)]


def _draw_liver(rng: np.random.Generator, frame: _Frame, neighbours: list[Shape]) -> Shape:
    s = frame.s
    right = random_blob(
        rng, jitter(rng, np.array([64.0, 0.0, 22.0]) * s, 6), np.array([70, 80, 82]) * np.sqrt(s), bumps=0.04
    )
    left = random_blob(
        rng, jitter(rng, np.array([4.0, 40.0, 48.0]) * s, 6), np.array([76, 30, 38]) * np.sqrt(s), bumps=0.05
    )
    body = SmoothUnion(right, left, 20.0)
    return Difference(Intersection([body, frame.cavity]), neighbours)


def _draw_lungs(rng: np.random.Generator, frame: _Frame) -> list[Part]:
    parts = []
    for side in (1.0, -1.0):
        centre = jitter(rng, np.array([side * 66.0, -8.0, 165.0 if side > 0 else 158.0]) * frame.s, 6)
        lung = random_blob(rng, centre, np.array([60, 78, 90]) * frame.s, tilt_deg=3, bumps=0.03)
        shape = Intersection([lung, frame.cavity])
        parts.append(Part(shape, float(rng.uniform(-870, -800)), 4, texture=Waves.random(rng, 6, 0.15, 20.0)))
    return parts


def _draw_bowel(rng: np.random.Generator, frame: _Frame, hu: dict[str, float]) -> list[Part]:
    parts = []
    for _ in range(int(rng.integers(12, 20))):
        centre = rng.uniform([-95, -10, -130], [95, 65, -25]) * frame.s
        loop = random_blob(rng, centre, [18, 16, 18], size_spread=0.3, tilt_deg=60, bumps=0.12)
        wall_hu = hu["stomach"] + float(rng.uniform(-10, 15))
        parts.append(Part(Intersection([loop, frame.cavity]), wall_hu, 9))
        if rng.random() < 0.4:
            gas = Blob(loop.centre_mm + np.array([0.0, 5.0, 0.0]), loop.semi_axes_mm * 0.6, np.eye(3))
            parts.append(Part(Intersection([gas, frame.cavity]), -990.0, 10))
    return parts


def _draw_liver_vessels(
    rng: np.random.Generator, liver: Shape, frame: _Frame, hu: dict[str, float], phase: str
) -> list[Part]:
    """Portal and hepatic veins: brighter lines inside the liver that still belong to the liver label."""
    gain = {"native": 0.0, "arterial": 0.1, "portal": 0.6, "delayed": 0.5}[phase]
    value = hu["liver"] + gain * max(hu["blood"] - hu["liver"], 0.0) - (10.0 if phase == "native" else 0.0)
    hilum = np.array([24.0, 8.0, 18.0]) * frame.s
    members: list[Shape] = []
    for _ in range(7):
        direction = Rotation.from_euler("xyz", rng.uniform(-70, 70, 3), degrees=True).apply([0.9, 0.1, 0.3])
        middle = hilum + direction * rng.uniform(25, 40)
        end = middle + (direction + rng.normal(scale=0.4, size=3)) * rng.uniform(25, 45)
        members += tube([hilum, middle, end], [5.0, 3.0, 1.5])
    return [Part(Intersection([member, liver]), value, None) for member in members]


def _draw_ribs(rng: np.random.Generator, frame: _Frame) -> list[Part]:
    """Elliptic arcs in the muscle wall that fall from the spine to the front."""
    parts = []
    value, first = float(rng.uniform(300, 550)), float(rng.uniform(0, 26))
    angles = np.deg2rad(np.linspace(-78, 35, 11))
    half_width, half_depth = np.array(frame.wall.semi_axes_mm) - 5.0
    # Superellipse: the same exponent as the wall keeps the arc inside it.
    power = 2.0 / frame.wall.exponent
    for level in range(6):
        for side in (1.0, -1.0):
            x = side * half_width * np.abs(np.cos(angles)) ** power
            y = half_depth * np.sign(np.sin(angles)) * np.abs(np.sin(angles)) ** power
            z = 125.0 - first - 27.0 * level - np.linspace(0, 50, len(angles))
            shape = Intersection([Union(tube(np.stack([x, y, z], axis=1), 4.5)), frame.wall])
            parts.append(Part(shape, value, 3))
    return parts
