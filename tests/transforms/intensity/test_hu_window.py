"""HUWindow and RandHUWindow: known values, presets and the range of the jitter."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from medseg.transforms import HU_WINDOWS, HUWindow, HUWindowd, RandHUWindow, RandHUWindowd
from tests.transforms._menu import MenuCase, RandomMenu, TransformMenu

HU = np.array([[-2000.0, -150.0, 50.0, 150.0, 250.0, 3000.0]], dtype=np.float32)
EXPECTED = np.array([[0.0, 0.0, 0.5, 0.75, 1.0, 1.0]])


class TestHUWindow(TransformMenu):
    case = MenuCase(
        array=lambda: HUWindow("abdomen"),
        dictionary=lambda: HUWindowd("image", "abdomen"),
        data={"image": HU},
        expected=EXPECTED,
        errors=(
            (lambda: HUWindow("abdomne"), "unknown HU window 'abdomne'; use one of"),
            (lambda: HUWindow((40.0, 0.0)), r"\(40.0, 0.0\) must be \(centre, width\) in HU with a positive width"),
            (lambda: HUWindow((40.0,)), r"must be \(centre, width\)"),
            (lambda: HUWindowd("image", (float("nan"), 400.0)), r"must be \(centre, width\)"),
            (lambda: HUWindow("lung", 1.0, 0.0), r"out_min \(1.0\) must be below out_max \(0.0\)"),
        ),
    )


class TestRandHUWindow(RandomMenu):
    case = MenuCase(
        array=lambda: RandHUWindow("abdomen", 40.0, (0.8, 1.25)),
        dictionary=lambda: RandHUWindowd("image", "abdomen", 40.0, (0.8, 1.25)),
        data={"image": HU},
        expected=None,
        errors=(
            (lambda: RandHUWindow("abdomne"), "unknown HU window 'abdomne'"),
            (lambda: RandHUWindow("lung", (20, -20)), r"centre_shift is \(20, -20\), expected two finite numbers"),
            (lambda: RandHUWindow("lung", width_scale=(0.0, 1.1)), r"width_scale is \(0.0, 1.1\), expected factors"),
            (lambda: RandHUWindowd("image", "lung", width_scale=(1.1,)), r"width_scale is \(1.1,\), expected two"),
            (lambda: RandHUWindow("lung", out_min=2.0), r"out_min \(2.0\) must be below out_max \(1.0\)"),
        ),
    )


@pytest.mark.parametrize("name", sorted(HU_WINDOWS))
def test_preset_edges_and_centre_map_to_the_range(name: str) -> None:
    centre, width = HU_WINDOWS[name]
    edges = np.array([[centre - width / 2, centre, centre + width / 2]], dtype=np.float32)
    np.testing.assert_allclose(HUWindow(name, -1.0, 1.0)(edges), [[-1.0, 0.0, 1.0]], atol=1e-5)


def test_pair_equals_the_preset_of_the_same_numbers() -> None:
    np.testing.assert_array_equal(HUWindow((-600, 1500))(HU), HUWindow("lung")(HU))


def test_without_clipping_the_scale_goes_on_linearly() -> None:
    np.testing.assert_allclose(HUWindow("abdomen", clip=False)(HU)[0, -1], (3000 + 150) / 400, rtol=1e-6)


def test_integer_input_becomes_float32() -> None:
    result = HUWindow("abdomen")(HU.astype(np.int16))
    assert result.dtype == torch.float32
    np.testing.assert_allclose(result, EXPECTED, atol=1e-6)


def window_of(transform: RandHUWindow) -> tuple[float, float]:
    """Centre and width that the next draw used, read off two values of the unclipped map."""
    at_0, at_100 = np.asarray(transform(np.array([[0.0, 100.0]]))).ravel()
    width = 100 / (at_100 - at_0)
    return (0.5 - at_0) * width, width


def test_drawn_windows_fill_their_ranges_evenly() -> None:
    transform = RandHUWindow((40, 400), (-10, 30), (0.5, 1.5), clip=False, dtype=np.float64).set_random_state(0)
    centres, widths = np.array([window_of(transform) for _ in range(400)]).T
    assert 30 <= centres.min() < 32 and 68 < centres.max() <= 70
    assert 200 <= widths.min() < 210 and 590 < widths.max() <= 600
    assert centres.mean() == pytest.approx(50, abs=2)
    assert widths.mean() == pytest.approx(400, abs=25)
    assert abs(np.corrcoef(centres, widths)[0, 1]) < 0.15


def test_where_no_jitter_is_drawn_the_nominal_window_is_applied() -> None:
    nominal = HUWindow("abdomen")(HU)
    np.testing.assert_array_equal(RandHUWindow("abdomen", prob=0.0)(HU), nominal)
    transform = RandHUWindow("abdomen", 40.0, prob=0.5).set_random_state(0)
    same = [np.array_equal(transform(HU), nominal) for _ in range(200)]
    assert 70 < sum(same) < 130


def test_all_keys_get_one_window() -> None:
    transform = RandHUWindowd(["a", "b"], "abdomen", 40.0, (0.5, 2.0), clip=False).set_random_state(1)
    for _ in range(3):
        result = transform({"a": HU, "b": HU.copy()})
        np.testing.assert_array_equal(result["a"], result["b"])
