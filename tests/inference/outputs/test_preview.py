"""The preview is a real picture: right colours in the right places, for any grid."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from matplotlib.image import imread

from medseg.geometry import make_affine
from medseg.inference.outputs.preview import Window, window_for, write_preview

LABELS = {0: "background", 1: "liver", 2: "tumour"}
ORANGE, BLUE = np.array([0xE6, 0x9F, 0x00]) / 255, np.array([0x56, 0xB4, 0xE9]) / 255


def body(shape: tuple[int, int, int]) -> tuple[np.ndarray, np.ndarray]:
    """An ellipsoid with a small target in it."""
    grid = (np.indices(shape).T / np.array(shape) - 0.5).T
    image = np.where((grid**2).sum(axis=0) < 0.2, 50, -1000).astype(np.int16)
    mask = ((grid**2).sum(axis=0) < 0.05).astype(np.uint8)
    middle = tuple(slice(n // 2, n // 2 + 2) for n in shape)
    mask[middle] = 2
    return image, mask


def close_to(picture: np.ndarray, colour: np.ndarray) -> np.ndarray:
    return np.abs(picture[..., :3] - colour).max(axis=-1) < 0.05


@pytest.mark.parametrize("codes", ["RAS", "LPS", "PIR"])
def test_a_preview_shows_image_and_contours(tmp_path: Path, codes: str) -> None:
    image, mask = body((40, 50, 30))
    affine = make_affine((2.0, 2.0, 5.0), direction=codes)
    path = write_preview(tmp_path / "preview.png", image, mask, affine, LABELS, "case")
    picture = imread(path)
    assert picture.shape[1] == 1800
    assert picture[..., :3].std() > 0.1
    assert close_to(picture, ORANGE).sum() > 500
    assert close_to(picture, BLUE).sum() > 500
    assert [entry.name for entry in tmp_path.iterdir()] == ["preview.png"]


def test_an_empty_mask_draws_the_image_without_contours(tmp_path: Path) -> None:
    image, mask = body((20, 20, 20))
    picture = imread(write_preview(tmp_path / "p.png", image, mask * 0, np.eye(4), LABELS))
    panes = picture[100:-100]
    assert panes[..., :3].std() > 0.1
    assert not close_to(panes, ORANGE).any()


def test_outlines_lie_where_the_mask_lies(tmp_path: Path) -> None:
    # One class in the patient's right half: its contour must stay on the left of the axial pane.
    image, mask = np.zeros((40, 40, 40), np.int16), np.zeros((40, 40, 40), np.uint8)
    mask[25:35, 5:35, 5:35] = 1  # RAS axes: high i is right
    path = write_preview(tmp_path / "p.png", image, mask, np.eye(4), {0: "background", 1: "liver"})
    picture = imread(path)
    axial = close_to(picture[100:-100, : picture.shape[1] // 3], ORANGE)
    columns = np.flatnonzero(axial.any(axis=0))
    assert columns.max() < axial.shape[1] / 2


def test_the_window_follows_the_class_names() -> None:
    assert window_for({0: "background", 1: "lung nodule"}) == Window("lung", -600.0, 1500.0)
    assert window_for(LABELS).name == "abdomen"


def test_many_classes_fit(tmp_path: Path) -> None:
    mask = np.arange(20, dtype=np.uint8).repeat(400).reshape(20, 20, 20)
    labels = {0: "background", **{n: f"structure {n}" for n in range(1, 20)}}
    assert write_preview(tmp_path / "p.png", mask.astype(np.int16), mask, np.eye(4), labels).stat().st_size > 10_000


def test_the_last_row_shows_a_projection_in_which_every_lesion_is_outlined(tmp_path: Path) -> None:
    image, mask = np.zeros((60, 60, 60), np.int16), np.zeros((60, 60, 60), np.uint8)
    mask[10:16, 10:16, 10:16] = mask[40:44, 40:44, 50:54] = 1
    path = write_preview(tmp_path / "p.png", image, mask, np.eye(4), {0: "background", 1: "nodule"})
    picture = imread(path)
    third = close_to(picture[-100 - picture.shape[1] // 3 : -100, 2 * picture.shape[1] // 3 :], ORANGE)
    columns, middle = np.flatnonzero(third.any(axis=0)), third.shape[1] / 2
    assert columns.min() < middle < columns.max(), "one lesion on either side"
