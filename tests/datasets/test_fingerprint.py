"""The fingerprint equals what NumPy says about all voxels at once."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from skimage.io import imread

from medseg.datasets.fingerprint import case_fingerprint, dataset_fingerprint, histogram_percentile
from medseg.datasets.fingerprint_figure import draw_fingerprint
from medseg.geometry import make_affine

NAMES = {1: "liver", 2: "tumour"}


def make(name: str, seed: int, spacing: tuple[float, float, float], shape: tuple[int, int, int] = (9, 10, 11)):  # type: ignore[no-untyped-def]
    rng = np.random.default_rng(seed)
    image = rng.normal(80, 60, shape).round().astype(np.int16)
    label = np.zeros(shape, np.uint8)
    label[1:8, 1:8, 1:8] = 1
    label[2:4, 2, 2] = label[6, 6, 6] = 2
    return image, label, case_fingerprint(name, image, label, make_affine(spacing, direction="LPS"))


@given(st.lists(st.integers(-50, 50), min_size=1, max_size=60), st.floats(0, 100, allow_subnormal=False))
def test_percentiles_of_a_histogram_are_numpy_s(values: list[int], percent: float) -> None:
    first = min(values)
    counts = np.bincount(np.array(values) - first)
    assert histogram_percentile(first, counts, percent) == pytest.approx(np.percentile(values, percent), abs=1e-9)


def test_pooled_hu_are_those_of_all_foreground_voxels_together() -> None:
    made = [make("a", 0, (0.7, 0.7, 1.0)), make("b", 1, (0.8, 0.8, 5.0), (12, 9, 9))]
    found = dataset_fingerprint([case for *_, case in made], NAMES)["foreground_hu"]
    every = np.concatenate([image[label > 0] for image, label, _ in made]).astype(np.float64)
    assert found["voxels"] == every.size
    assert found["mean"] == pytest.approx(every.mean(), abs=1e-3)
    assert found["sd"] == pytest.approx(every.std(), abs=1e-3)
    assert found["percentile_00_5"] == pytest.approx(np.percentile(every, 0.5), abs=1e-3)
    assert found["percentile_99_5"] == pytest.approx(np.percentile(every, 99.5), abs=1e-3)


def test_spacings_shapes_volumes_and_parts_are_summed_up() -> None:
    cases = [make("a", 0, (0.7, 0.7, 1.0))[2], make("b", 1, (0.8, 0.8, 5.0), (12, 9, 9))[2]]
    found = dataset_fingerprint(cases, NAMES)
    assert found["number_of_cases"] == 2
    assert found["spacing_mm"] == {"least": [0.7, 0.7, 1.0], "median": [0.75, 0.75, 3.0], "largest": [0.8, 0.8, 5.0]}
    assert found["shape"]["largest"] == [12, 10, 11]
    assert found["orientations"] == {"LPS": 2}
    assert found["volumes_ml"]["tumour"]["largest"] == pytest.approx(3 * 0.8 * 0.8 * 5.0 / 1000)
    assert found["parts"]["tumour"]["total"] == 4
    assert found["parts"]["tumour"]["volume_ml"]["least"] == pytest.approx(0.49 / 1000)
    assert found["parts"]["liver"]["per_case"]["median"] == 1
    assert [case["name"] for case in found["cases"]] == ["a", "b"]


@pytest.mark.trap("4.4-08")
def test_cases_without_a_label_count_as_cases_without_and_give_no_nan() -> None:
    image = np.zeros((4, 4, 4), np.int16)
    empty = case_fingerprint("none", image, np.zeros((4, 4, 4), np.uint8), np.eye(4))
    found = dataset_fingerprint([empty], NAMES)
    assert found["foreground_hu"] is None
    assert found["parts"]["tumour"] == {
        "connectivity": "18 neighbours",
        "total": 0,
        "per_case": {"least": 0, "median": 0, "largest": 0, "mean": 0},
        "cases_without": 1,
        "volume_ml": None,
    }


def test_fractional_hu_enter_the_mean_exactly_and_the_percentiles_rounded() -> None:
    image = np.full((2, 2, 2), 10.25, np.float32)
    found = case_fingerprint("a", image, np.ones((2, 2, 2), np.uint8), np.eye(4)).to_record()["foreground_hu"]
    assert (found["mean"], found["sd"], found["percentile_50_0"]) == (10.25, 0.0, 10.0)


def test_what_cannot_be_measured_is_named() -> None:
    with pytest.raises(ValueError, match=r"x: image has shape \(2, 2, 2\), label \(2, 2, 3\)"):
        case_fingerprint("x", np.zeros((2, 2, 2)), np.zeros((2, 2, 3)), np.eye(4))
    with pytest.raises(ValueError, match="expected HU within"):
        case_fingerprint("x", np.full((2, 2, 2), 1e6), np.ones((2, 2, 2)), np.eye(4))
    with pytest.raises(ValueError, match="no case"):
        dataset_fingerprint([], NAMES)
    with pytest.raises(ValueError, match="the histogram is empty"):
        histogram_percentile(0, [0, 0], 50)


def test_the_picture_is_drawn_with_and_without_foreground(tmp_path: Path) -> None:
    cases = [make("a", 0, (0.7, 0.7, 1.0))[2], make("b", 1, (0.8, 0.8, 5.0))[2]]
    empty = case_fingerprint("none", np.zeros((4, 4, 4), np.int16), np.zeros((4, 4, 4), np.uint8), np.eye(4))
    pictures = [
        imread(draw_fingerprint(tmp_path / "a.png", cases, NAMES, "synthetic")),
        imread(draw_fingerprint(tmp_path / "b.png", [empty], NAMES)),
    ]
    for picture in pictures:
        assert min(picture.shape[:2]) > 500
        assert picture[..., :3].std() > 5
    assert not np.array_equal(*pictures)
