"""Planar diameters against closed forms, a peer library and brute force."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from skimage.measure import find_contours

from medseg.geometry.diameters import planar_diameters


def outline(mask: np.ndarray) -> list[np.ndarray]:
    """The outline at the level 0.5, by another library; pixels that meet at a corner are joined."""
    found = find_contours(np.pad(mask, 1).astype(float), 0.5, fully_connected="high")
    return [line - 1 for line in found]


def longest_perpendicular(lines: list[np.ndarray], along: np.ndarray) -> float:
    """Segment by segment, in plain Python: the longest chord across ``along`` through any vertex."""
    across = np.array([-along[1], along[0]])
    segments = [pair for line in lines for pair in itertools.pairwise([(p @ along, p @ across) for p in line])]
    best = 0.0
    for t in {point[0] for segment in segments for point in segment}:
        heights = []
        for (t0, h0), (t1, h1) in segments:
            if min(t0, t1) - 1e-9 <= t <= max(t0, t1) + 1e-9:
                heights += [h0, h1] if abs(t1 - t0) < 1e-9 else [h0 + (h1 - h0) * (t - t0) / (t1 - t0)]
        best = max(best, max(heights) - min(heights))
    return best


@pytest.mark.parametrize(
    ("mask", "steps", "long", "short"),
    [
        (np.ones((1, 1)), (0.7, 0.7), 0.7, 0.7),
        (np.ones((5, 1)), (0.7, 0.9), 3.5, 0.9),
        (np.ones((1, 5)), (0.7, 0.9), 4.5, 0.7),
        (np.ones((2, 2)), (3.0, 1.0), np.hypot(6, 1), 2 * np.hypot(6, 1) / 6),  # the steep line between y = -0.5, 1.5
        (np.eye(2), (1.0, 1.0), np.hypot(2, 1), None),
    ],
)
def test_small_shapes_have_known_diameters(
    mask: np.ndarray, steps: tuple[float, float], long: float, short: float | None
) -> None:
    found = planar_diameters(mask, steps)
    assert found.long_mm == pytest.approx(long, abs=1e-3)
    if short is not None:
        assert found.short_mm == pytest.approx(short, abs=1e-3)


@pytest.mark.parametrize("seed", range(8))
def test_both_diameters_equal_brute_force_over_the_outline_of_a_peer(seed: int) -> None:
    rng = np.random.default_rng(seed)
    mask = rng.random((11, 9)) < (0.15, 0.4, 0.6, 0.9)[seed % 4]
    steps = np.linalg.qr(rng.normal(size=(3, 3)))[0][:, :2] * rng.uniform(0.5, 2.0, 2)
    steps[:, 1] += 0.2 * steps[:, 0] * (seed % 2)  # sheared axes too
    found = planar_diameters(mask, steps)
    lines = [line @ steps.T for line in outline(mask)]  # in space, not in the plane
    points = np.concatenate(lines)
    assert found.long_mm == pytest.approx(max(np.linalg.norm(p - q) for p in points for q in points))
    along = steps @ (found.long_ends[1] - found.long_ends[0])
    across = steps @ (found.short_ends[1] - found.short_ends[0])
    assert np.linalg.norm(along) == pytest.approx(found.long_mm)
    assert np.linalg.norm(across) == pytest.approx(found.short_mm)
    assert along @ across == pytest.approx(0, abs=1e-9)
    e1 = along / np.linalg.norm(along)
    plane = np.stack([e1, np.cross(np.cross(*steps.T) / np.linalg.norm(np.cross(*steps.T)), e1)], axis=1)
    assert found.short_mm == pytest.approx(longest_perpendicular([line @ plane for line in lines], np.array([1.0, 0])))


def test_an_ellipse_has_its_axes_within_a_pixel() -> None:
    x, y = (np.indices((60, 60)) - 30) * 0.5
    turned = (x + y) / np.sqrt(2), (x - y) / np.sqrt(2)
    found = planar_diameters((turned[0] / 10) ** 2 + (turned[1] / 4) ** 2 <= 1, (0.5, 0.5))
    assert 20.0 <= found.long_mm <= 20.5
    assert 7.5 <= found.short_mm <= 8.5


def test_masks_without_pixels_or_with_other_axes_are_refused() -> None:
    for mask in (np.zeros((4, 4)), np.ones((2, 2, 2))):
        with pytest.raises(ValueError, match="expected two axes and a pixel"):
            planar_diameters(mask, (1, 1))
    with pytest.raises(ValueError, match="steps_mm has shape"):
        planar_diameters(np.ones((2, 2)), (1, 1, 1))
