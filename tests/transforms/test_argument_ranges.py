"""Arguments beyond their documented range are one line, and results are finite up to the ends of the range."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from medseg.transforms import (
    LBP,
    BorderWeightMap,
    CheckFinite,
    ClickPatches,
    ElasticField,
    ElasticSettings,
    Gabor,
    GeodesicDistance,
    GuideMap,
    HUWindow,
    LocalGLCM,
    LocalHistogram,
    LocalStatistics,
    MapLabels,
    MapLabelsd,
    MultiWindow,
    RandElasticDeform,
    RandElasticDeformd,
    RandGuideDropout,
    RandHistogramMatch,
    RandHistogramMatchd,
    RandHUWindow,
    RandHUWindowd,
    RandMultiWindow,
    RandMultiWindowd,
    RandSparseAnnotationMask,
    RegionGLCM,
    RegionHistogram,
    SaveMask,
    SimulatePrompts,
    SparseAnnotationMask,
)

NAN, INF = float("nan"), float("inf")
IMAGE = np.random.default_rng(0).uniform(-200, 250, (1, 8, 9)).astype(np.float32)
LABEL = np.zeros((1, 8, 9), np.uint8)
LABEL[0, 2:4, 2:4] = LABEL[0, 6:, 6:] = 1
CLICK = [[1, 3.0, 4.0, 1, 1]]
FIELD = ElasticField(np.ones((2, 4, 4)), np.array([20.0, 20.0]), np.zeros(2))

REFUSED: list[tuple[Callable[[], Any], str]] = [
    # label maps
    (lambda: MapLabels({1: 1.7}), "new value of 1 in mapping is 1.7, expected a whole number"),
    (lambda: MapLabels({1: 300}), "new value of 1 in mapping is 300, expected 0 to 255: the result is uint8"),
    (lambda: MapLabels({1: -1}), "new value of 1 in mapping is -1, expected 0 to 255"),
    (lambda: MapLabels({1.5: 1}), "old value in mapping is 1.5, expected a whole number"),
    (lambda: MapLabelsd("label", {"1.5": 1}), "old value in mapping is '1.5', expected a whole number"),
    (lambda: MapLabels({"one": 1}), "old value in mapping is 'one', expected a whole number"),
    (lambda: MapLabels({1: NAN}), "new value of 1 in mapping is nan, expected a whole number"),
    (lambda: MapLabelsd("label", {1: 0, "1": 1}), "mapping names old value 1 twice, expected every value once"),
    # windows
    (lambda: HUWindow(50), r"HU window \(50,\) must be \(centre, width\) in HU"),
    (lambda: HUWindow((INF, 400)), "must be .centre, width. in HU"),
    (lambda: HUWindow((1e300, 1e299)), "must be .centre, width. in HU"),
    (lambda: HUWindow((1e20, 1.0)), "so narrow that its edges are equal in float32, expected a wider one"),
    (lambda: HUWindow("liver", -INF), r"out_min \(-inf\) must be below out_max \(1.0\), both finite"),
    (lambda: HUWindow("liver", 0, INF), r"out_min \(0\) must be below out_max \(inf\), both finite"),
    (lambda: HUWindow("liver", 0, 1e300), "dtype is float32, which holds .* expected a type that holds the output ra"),
    (lambda: MultiWindow([np.int64(40), np.int64(400)]), "expected a sequence of windows such as"),
    (lambda: RandHUWindow("liver", centre_shift=1e300), "must be .centre, width. in HU"),
    (lambda: RandHUWindow("liver", width_scale=(1e-12, 1.0)), "so narrow that its edges are equal in float32"),
    (lambda: RandMultiWindow(["liver"], centre_shift=INF), r"centre_shift is \(-inf, inf\), expected two finite"),
    (lambda: RandMultiWindow(["lung"], width_scale=1.1), r"width_scale is 1.1; expected a list of numbers"),
    # probabilities, which MONAI does not check
    *(
        (lambda make=make, prob=prob: make(prob), f"prob is {prob}, expected a probability from 0 to 1")
        for prob in (-0.1, 1.5, NAN)
        for make in (
            lambda p: RandHUWindow("liver", prob=p),
            lambda p: RandHUWindowd("i", "liver", prob=p),
            lambda p: RandMultiWindow(["liver"], prob=p),
            lambda p: RandMultiWindowd("i", ["liver"], prob=p),
            lambda p: RandHistogramMatch([IMAGE], p),
            lambda p: RandHistogramMatchd("i", [IMAGE], p),
            lambda p: RandElasticDeform(prob=p),
            lambda p: RandElasticDeformd("i", prob=p),
            RandGuideDropout,
        )
    ),
    # texture
    *(
        (lambda make=make, window=window: make(window), "window is .*[,;] expected a.* whole number")
        for window in (0, 2, 2.5, NAN, INF, ())
        for make in (LocalStatistics, LocalHistogram, LocalGLCM)
    ),
    (lambda: RegionHistogram(2.5), "RegionHistogram: bins is 2.5; expected a whole number"),
    (lambda: RegionHistogram(NAN), "RegionHistogram: bins is nan; expected a whole number"),
    (lambda: RegionHistogram(value_range=(-1e308, 1e308)), "expected two numbers, the lower one first"),
    (lambda: RegionGLCM(levels=2.5), "RegionGLCM: levels is 2.5; expected a whole number"),
    (lambda: LocalGLCM(skip_axis=0.5), "LocalGLCM: skip_axis is 0.5; expected a whole number or None"),
    (lambda: LBP(2.5), "LBP: points is 2.5; expected a whole number"),
    (lambda: LBP(NAN), "LBP: points is nan; expected a whole number"),
    (lambda: Gabor(orientations=1e9), "orientations is 1000000000, expected a whole number to 1000"),
    (lambda: Gabor(orientations=0), "orientations is 0, expected at least 1"),
    (lambda: Gabor(bandwidth=1e-9), "bandwidth is 1e-09, expected a number of octaves above 0"),
    (lambda: Gabor((1e-9,))(IMAGE), "frequency is 1e-09 .* whose filter reaches .* voxels, expected at most 4096"),
    # guidance
    (lambda: GuideMap("gauss", 1e300), r"sigma is 1e\+300, expected positive numbers, 1e-30 to 1e\+30"),
    (lambda: GuideMap("gauss", ()), r"sigma is \(\), expected positive numbers"),
    (lambda: GuideMap("edt", max_distance=(1, 2)), r"GuideMap: max_distance is \(1, 2\); expected a number or None"),
    (lambda: GuideMap("box", value_range=(0, 1e300)), r"value_range is \(0, 1e\+300\), expected two numbers"),
    (lambda: GuideMap("box", value_range=1.0), "value_range is 1.0; expected a list of numbers"),
    (lambda: GeodesicDistance(max_distance=1e300), r"max_distance is 1e\+300, expected a positive number"),
    (lambda: GeodesicDistance(sweeps=1.5), "sweeps is 1.5; expected a whole number"),
    (lambda: ClickPatches((32.5, 64), 32), r"sides is \(32.5, 64\); expected a list of whole numbers"),
    (lambda: ClickPatches((32,), 1.5), "size is 1.5; expected a whole number"),
    (lambda: SimulatePrompts("clicks_dins", options={"most": 2.5}), "option most is 2.5, expected a whole number"),
    (lambda: SimulatePrompts("boxes", options={"margin": 1.5}), "option margin is 1.5, expected a whole number"),
    (lambda: SimulatePrompts("clicks_deepigeos", options={"least": 1e20}), r"option least is 1e\+20, expected a whole"),
    (lambda: SimulatePrompts("boxes", slice_axis=0.5), "slice_axis is 0.5; expected a whole number"),
    (
        lambda: RandGuideDropout(1, null=1e30)(torch.ones(2).half()),
        r"null is 1e\+30, which a guide of torch.float16 ca",
    ),
    # weights
    (lambda: BorderWeightMap(w0=1e300), r"w0 is 1e\+300 and sigma 5.0, expected w0 from 0"),
    (lambda: BorderWeightMap(class_weights=(1, 1e39)), "class_weights is .* one number from 0 for every class, up to"),
    (lambda: BorderWeightMap(class_weights=(1, NAN)), r"class_weights is \(1, nan\)"),
    (lambda: RandSparseAnnotationMask(1.7), "count is 1.7; expected a whole number"),
    (lambda: RandSparseAnnotationMask((1, NAN)), r"count is \(1, nan\); expected a whole number"),
    (lambda: SparseAnnotationMask(slices={0: [1.5]}), "index in slices is 1.5, expected a whole number"),
    (lambda: SparseAnnotationMask(slices={"z": [1]}), "axis in slices is 'z', expected a whole number"),
    # spatial
    (lambda: ElasticSettings(1.0, points=INF), "points is inf; expected a whole number"),
    (lambda: ElasticSettings(1.0, points=2.5), "points is 2.5; expected a whole number"),
    (
        lambda: RandElasticDeform(ElasticSettings(1.0, spacing=1e-9), 1.0)(IMAGE),
        r"settings give \d+ x \d+ control points .* use a larger spacing",
    ),
    (lambda: RandElasticDeform(0.5), "settings is 0.5, expected ElasticSettings or one of unet"),
    (lambda: FIELD.limited(-1), "contraction is -1, expected a number above 0"),
    (lambda: FIELD.inverse_points([[1.0, 2.0]], most=0), "tolerance_mm is 1e-06 and most 0, expected numbers from 0"),
    # output
    (lambda: SaveMask(Path(), "{patient}"), "output_name is '{patient}', expected a name with no other field than {c"),
    (lambda: CheckFinite("fill", 1e30)(torch.full((1, 2), NAN).half()), r"fill_value is 1e\+30; expected a number tha"),
]


@pytest.mark.parametrize(("call", "message"), REFUSED, ids=[str(i) for i in range(len(REFUSED))])
def test_arguments_beyond_their_range_are_one_line(call: Callable[[], Any], message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        call()
    assert "\n" not in str(caught.value)


ENDS: dict[str, Callable[[], Any]] = {
    **{f"HUWindow {w}": lambda w=w: HUWindow(w)(IMAGE) for w in ((0, 1e30), (1e30, 1e29), (50, 1e-5))},
    **{f"border sigma {s}": lambda s=s: BorderWeightMap(sigma=s)(LABEL) for s in (1e-300, 1e-3, 1e30, 1e300)},
    **{f"border, one object, {s}": lambda s=s: BorderWeightMap(sigma=s)(LABEL[:, :5]) for s in (1e-300, 1e300)},
    "border w0": lambda: BorderWeightMap(w0=1e30)(LABEL),
    **{f"gauss {s}": lambda s=s: GuideMap("gauss", s)(IMAGE, CLICK) for s in (1e-30, 1e30)},
    **{f"disc {s}": lambda s=s: GuideMap("disc", s)(IMAGE, CLICK) for s in (1e-30, 1e30)},
    **{f"ellipse {s}": lambda s=s: GuideMap("ellipse", min_sigma=s)(IMAGE, CLICK) for s in (1e-30, 1e30)},
    **{f"exp_geodesic {s}": lambda s=s: GuideMap("exp_geodesic", s)(IMAGE, CLICK) for s in (1e-30, 1e30)},
    **{f"edt {m}": lambda m=m: GuideMap("edt", max_distance=m)(IMAGE, CLICK) for m in (1e-30, 1e30)},
    **{f"geodesic {m}": lambda m=m: GuideMap("geodesic", max_distance=m)(IMAGE, CLICK) for m in (1e-30, 1e30)},
    "geodesic range": lambda: GuideMap("geodesic", max_distance=1, value_range=(-1e30, 1e30))(IMAGE, CLICK),
    **{
        f"GeodesicDistance {m}": lambda m=m: GeodesicDistance(max_distance=m, unit="voxel")(IMAGE, 0 * LABEL)
        for m in (1e-30, 1e30)
    },
    **{f"LBP {r}": lambda r=r: LBP(8, r)(IMAGE) for r in (1e-300, 7.0, 9.0, 1e300)},
    **{f"Gabor {b}": lambda b=b: Gabor((0.2,), bandwidth=b)(IMAGE) for b in (0.01, 100)},
    **{f"distance {d}": lambda d=d: RegionGLCM(distances=(d,), labels=[1])(IMAGE, LABEL) for d in (0.8, 1e9)},
    **{
        f"range {r}": lambda r=r: RegionHistogram(value_range=r, labels=[1])(IMAGE, LABEL)
        for r in ((0, 1e-300), (-1e300, 1e300), (1e300, 1.1e300))
    },
    "elastic std": lambda: RandElasticDeform(ElasticSettings(1e300, spacing=5.0), 1.0)(IMAGE),
    "elastic spacing": lambda: RandElasticDeform(ElasticSettings(1.0, spacing=1e300), 1.0)(IMAGE),
}


@pytest.mark.parametrize("name", ENDS)
def test_results_are_finite_at_the_ends_of_a_range(name: str) -> None:
    with np.errstate(over="ignore"):
        found = ENDS[name]()
    assert torch.as_tensor(found).isfinite().all()


def test_whole_numbers_may_be_given_as_floats_and_as_json_gives_them() -> None:
    label = np.array([[0, 1]])
    np.testing.assert_array_equal(MapLabels({"0": 0.0, "1": 2.0})(label), MapLabels({0: 0, 1: 2})(label))
    np.testing.assert_array_equal(LocalStatistics(np.int64(3))(IMAGE), LocalStatistics(3.0)(IMAGE))
    np.testing.assert_array_equal(
        SparseAnnotationMask(slices={"0": [1.0]})(LABEL), SparseAnnotationMask(slices={0: [1]})(LABEL)
    )
