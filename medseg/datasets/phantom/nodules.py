"""Lung nodules: kind, size, surface, place and the characteristics that radiologists rate."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from medseg.datasets.phantom.chest_anatomy import Chest
from medseg.datasets.phantom.render import Part
from medseg.datasets.phantom.shapes import Blob, Intersection, Shape, Waves

__all__ = ["NODULE_ORGAN", "Nodule", "draw_nodules"]

NODULE_ORGAN = 12
_DIAMETERS_MM = (3.2, 30.0)
_GAP_MM = 6.0


@dataclass(frozen=True)
class Nodule:
    """One nodule before sampling.

    Attributes:
        blob: the whole nodule, not yet cut by the lung's surface.
        shape: the part of it inside the lung.
        below: parts painted under the vessels (ground glass, which vessels shine through).
        above: parts painted over the vessels (solid tissue).
        kind: ``solid``, ``part-solid`` or ``ground-glass``.
        attachment: ``none``, ``vessel`` or ``wall``.
        contrast_hu: HU of the bulk of the nodule minus healthy lung.
        ratings: the nine LIDC characteristics.
    """

    blob: Blob
    shape: Shape
    below: list[Part]
    above: list[Part]
    kind: str
    attachment: str
    contrast_hu: float
    ratings: dict[str, int]


@dataclass(frozen=True)
class _Traits:
    """Drawn properties, 0 to 1 where no unit is given."""

    kind: str
    diameter_mm: float
    malignancy: float
    spiculation: float
    lobulation: float
    roundness: float
    calcified: bool


def draw_nodules(rng: np.random.Generator, chest: Chest, count: int | None) -> list[Nodule]:
    """Place nodules in the lungs, apart from each other, the largest first.

    Args:
        rng: source of randomness.
        chest: the anatomy they grow in.
        count: how many; None draws 0 to 8 (mean about 3).
    """
    number = min(int(rng.poisson(3.0)), 8) if count is None else count
    traits = sorted((_draw_traits(rng) for _ in range(number)), key=lambda trait: -trait.diameter_mm)
    low, high = chest.lungs.bounds()
    # Only the part of the lungs inside the default field of view: 200 mm of height.
    low, high = np.maximum(low, [-np.inf, -np.inf, -92.0]), np.minimum(high, [np.inf, np.inf, 92.0])
    points = rng.uniform(low, high, size=(12000, 3))
    depth = chest.lungs.signed(points.T.astype(np.float32))
    placed: list[Nodule] = []
    for trait in traits:
        nodule = _place(rng, chest, trait, points, depth, placed)
        if nodule is not None:
            placed.append(nodule)
    return placed


def _draw_traits(rng: np.random.Generator) -> _Traits:
    kind = str(rng.choice(["solid", "part-solid", "ground-glass"], p=[0.62, 0.19, 0.19]))
    low, high = np.log(_DIAMETERS_MM)
    diameter = float(np.exp(rng.triangular(low, np.log(7.5), high)))
    diameter = max(diameter, {"solid": 3.2, "part-solid": 8.0, "ground-glass": 6.0}[kind])
    calcified = kind == "solid" and diameter < 12.0 and rng.random() < 0.12
    lift = {"solid": 0.0, "part-solid": 0.6, "ground-glass": 0.0}[kind] - (3.0 if calcified else 0.0)
    malignancy = 1.0 / (1.0 + np.exp(-(1.6 * np.log2(diameter / 10.0) + lift + rng.normal(scale=0.8))))
    spiculation, lobulation = (float(np.clip(malignancy + rng.normal(scale=0.25) - 0.15, 0, 1)) for _ in range(2))
    return _Traits(kind, diameter, float(malignancy), spiculation, lobulation, float(rng.uniform(0.65, 1.0)), calcified)


def _make_blob(rng: np.random.Generator, trait: _Traits, centre: NDArray[np.float64]) -> Blob:
    axes = np.array([1.0, rng.uniform(trait.roundness, 1.0), trait.roundness])
    axes *= trait.diameter_mm / 2.0 / np.cbrt(axes.prod())
    lobes = Waves.random(rng, 5, 3.0, 0.02 + 0.07 * trait.lobulation)
    spikes = Waves.random(rng, 8, 10.0, 0.05 * trait.spiculation)
    waves = Waves(*(np.concatenate(pair) for pair in zip(_arrays(lobes), _arrays(spikes), strict=True)))
    return Blob(centre, axes, Rotation.random(random_state=rng).as_matrix(), waves)


def _arrays(waves: Waves) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    return waves.vectors, waves.phases, waves.amplitudes


def _place(
    rng: np.random.Generator,
    chest: Chest,
    trait: _Traits,
    points: NDArray[np.float64],
    depth: NDArray[np.float32],
    placed: list[Nodule],
) -> Nodule | None:
    attachment = str(rng.choice(["none", "vessel", "wall"], p=[0.45, 0.25, 0.30]))
    radius = trait.diameter_mm / 2.0
    if attachment == "wall":
        candidates = points[(depth < -0.55 * radius) & (depth > -0.9 * radius)]
    elif attachment == "vessel":
        candidates = _beside_vessels(rng, chest, radius)
    else:
        candidates = points[depth < -1.35 * radius - 2.0]
    for centre in rng.permutation(candidates)[:80]:
        apart = [np.linalg.norm(centre - other.blob.centre_mm) - _reach(other.blob) for other in placed]
        if all(gap > 1.4 * radius + _GAP_MM for gap in apart):
            return _build(rng, chest, trait, _make_blob(rng, trait, centre), attachment)
    return None


def _reach(blob: Blob) -> float:
    return float(blob.semi_axes_mm.max() * (1.0 + blob.waves.bound))


def _beside_vessels(rng: np.random.Generator, chest: Chest, radius: float) -> NDArray[np.float64]:
    """Centres from which a nodule just touches a vessel branch."""
    found = []
    for branch in chest.vessels:
        sideways = np.cross(branch.end_mm - branch.start_mm, rng.normal(size=3))
        sideways /= np.linalg.norm(sideways)
        middle = (branch.start_mm + branch.end_mm) / 2.0
        found.append(middle + sideways * (0.85 * radius + branch.start_radius_mm))
    centres = np.array(found).reshape(-1, 3)
    deep = chest.lungs.signed(centres.T.astype(np.float32)) < -1.35 * radius - 2.0
    return centres[deep & (np.abs(centres[:, 2]) < 92.0)]


def _build(rng: np.random.Generator, chest: Chest, trait: _Traits, blob: Blob, attachment: str) -> Nodule:
    shape: Shape = Intersection([blob, chest.lungs]) if attachment == "wall" else blob
    rim = float(rng.uniform(0.4, 1.0)) * min(1.0, trait.diameter_mm / 8.0)
    solid_hu = float(rng.uniform(250, 500) if trait.calcified else rng.uniform(-20, 70))
    glass_hu = float(rng.uniform(-680, -480))
    below, above = [], []
    if trait.kind == "solid":
        above.append(Part(shape, solid_hu, NODULE_ORGAN, rim_mm=rim))
    else:
        below.append(Part(shape, glass_hu, None, rim_mm=2.5 * rim))
        if trait.kind == "part-solid":
            scale = float(rng.uniform(0.4, 0.65))
            offset = blob.rotation @ (blob.semi_axes_mm * rng.uniform(-0.15, 0.15, 3))
            core: Shape = Blob(blob.centre_mm + offset, blob.semi_axes_mm * scale, blob.rotation, blob.waves)
            core = Intersection([core, chest.lungs]) if attachment == "wall" else core
            above.append(Part(core, solid_hu - 30.0, None, rim_mm=rim))
        above.append(Part(shape, None, NODULE_ORGAN))
    bulk = solid_hu if trait.kind == "solid" else glass_hu
    return Nodule(blob, shape, below, above, trait.kind, attachment, bulk - chest.lung_hu, _rate(trait))


def _rate(trait: _Traits) -> dict[str, int]:
    """The characteristics an ideal reader would give; scales as in the LIDC data set."""

    def level(value: float) -> int:
        return int(np.clip(np.rint(1.0 + 4.0 * value), 1, 5))

    texture = {"solid": 5, "part-solid": 3, "ground-glass": 1}[trait.kind]
    conspicuity = {"solid": 0.55, "part-solid": 0.45, "ground-glass": 0.15}[trait.kind] + 0.28 * np.log2(
        trait.diameter_mm / 6.0
    )
    blurred = {"solid": 0.0, "part-solid": 0.3, "ground-glass": 0.55}[trait.kind]
    return {
        "subtlety": level(float(np.clip(conspicuity, 0.0, 1.0))),
        "internalStructure": 1,
        "calcification": 3 if trait.calcified else 6,
        "sphericity": level((trait.roundness - 0.5) / 0.5),
        "margin": level(float(np.clip(1.0 - blurred - 0.4 * trait.spiculation, 0.0, 1.0))),
        "lobulation": level(trait.lobulation),
        "spiculation": level(trait.spiculation),
        "texture": texture,
        "malignancy": level(trait.malignancy),
    }
