"""MultiWindow and RandMultiWindow: windows as channels."""

from __future__ import annotations

import numpy as np

from medseg.transforms import HUWindow, MultiWindow, MultiWindowd, RandMultiWindow, RandMultiWindowd
from tests.transforms._menu import MenuCase, RandomMenu, TransformMenu

HU = np.array([[[-2000.0, -150.0, 50.0], [150.0, 250.0, 3000.0]]], dtype=np.float32)
# abdomen: -150 to 250 HU; second window: 0 to 200 HU
EXPECTED = np.array([[[0.0, 0.0, 0.5], [0.75, 1.0, 1.0]], [[0.0, 0.0, 0.25], [0.75, 1.0, 1.0]]])
WINDOWS = ("abdomen", (100.0, 200.0))


class TestMultiWindow(TransformMenu):
    case = MenuCase(
        array=lambda: MultiWindow(WINDOWS),
        dictionary=lambda: MultiWindowd("image", WINDOWS),
        data={"image": HU},
        expected=EXPECTED,
        errors=(
            (lambda: MultiWindow([]), r"windows is \[\], expected a sequence of windows"),
            (lambda: MultiWindow("lung"), "windows is 'lung', expected a sequence of windows"),
            (lambda: MultiWindow((40, 400)), r"windows is \(40, 400\), expected a sequence of windows"),
            (lambda: MultiWindowd("image", ["lung", "abdomne"]), "unknown HU window 'abdomne'"),
            (lambda: MultiWindow(WINDOWS, 1.0, 0.0), r"out_min \(1.0\) must be below out_max"),
        ),
    )


class TestRandMultiWindow(RandomMenu):
    case = MenuCase(
        array=lambda: RandMultiWindow(WINDOWS, 40.0, (0.8, 1.25)),
        dictionary=lambda: RandMultiWindowd("image", WINDOWS, 40.0, (0.8, 1.25)),
        data={"image": HU},
        expected=None,
        errors=(
            (lambda: RandMultiWindow([]), r"windows is \[\], expected a sequence"),
            (lambda: RandMultiWindowd("image", WINDOWS, (5, 1)), r"centre_shift is \(5, 1\), expected two finite"),
            (lambda: RandMultiWindow(WINDOWS, out_min=3.0), r"out_min \(3.0\) must be below out_max"),
        ),
    )


def test_channels_are_grouped_by_window() -> None:
    slices = np.concatenate([HU, HU + 10, HU - 10])
    result = MultiWindow(WINDOWS)(slices)
    assert tuple(result.shape) == (6, 2, 3)
    for number, window in enumerate(WINDOWS):
        np.testing.assert_array_equal(result[3 * number : 3 * number + 3], HUWindow(window)(slices))


def test_one_window_equals_hu_window_and_volumes_work() -> None:
    volume = np.random.default_rng(0).normal(0, 300, (1, 4, 5, 6)).astype(np.float32)
    np.testing.assert_array_equal(MultiWindow(["lung"])(volume), HUWindow("lung")(volume))


def test_every_window_is_jittered_on_its_own() -> None:
    transform = RandMultiWindow([(40, 400), (40, 400)], 30.0, clip=False).set_random_state(0)
    result = np.asarray(transform(HU))
    assert np.abs(result[0] - result[1]).max() > 1e-3


def test_without_a_draw_the_nominal_windows_are_applied() -> None:
    np.testing.assert_array_equal(RandMultiWindow(WINDOWS, prob=0.0)(HU), MultiWindow(WINDOWS)(HU))
