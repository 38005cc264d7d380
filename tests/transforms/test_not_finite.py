"""One voxel that is not finite: refused, or its effect stays in the neighbourhood that the docstring states."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from monai.transforms import MapTransform, Transform

import medseg.transforms
from medseg.transforms import (
    LBP,
    CheckAlignment,
    CheckFinite,
    CheckHU,
    ClickPatches,
    ElasticDeform,
    ElasticField,
    ElasticSettings,
    Gabor,
    GeodesicDistance,
    GuideMap,
    HUWindow,
    LargestComponent,
    LocalGLCM,
    LocalHistogram,
    LocalStatistics,
    MultiWindow,
    RandElasticDeform,
    RandGuideDropout,
    RandHUWindow,
    RandMultiWindow,
    RegionGLCM,
    RegionHistogram,
    VoxelToWorld,
    WorldToVoxel,
)
from tests.transforms._menu import as_metatensor, seeded, values
from tests.transforms.test_menu import menus

SIDES = (40, 41)
RANDOM = np.random.default_rng(0)
IMAGE = RANDOM.uniform(-150, 200, (1, *SIDES)).astype(np.float32)
REGIONS = np.zeros((2, *SIDES), bool)
REGIONS[0, 5:30, 5:30] = REGIONS[1, 32:, 32:] = True
SEED = np.zeros((1, *SIDES), bool)
SEED[0, 1, 1] = True
FIELD = ElasticField(RANDOM.normal(0, 1, (2, 5, 5)), np.array([12.0, 12.0]), np.zeros(2))
AT = (20, 21)
CLICKS = [[1, 20.0, 20.0, 0, 0]]
BAD = [np.nan, np.inf, -np.inf]

# Transforms of images, and how far from a voxel its effect may reach, in voxels.
MAPS: dict[str, tuple[Callable[[Any], Any], int]] = {
    "CheckAlignment": (lambda x: CheckAlignment()(as_metatensor(x[..., None]), as_metatensor(x[..., None]))[..., 0], 0),
    "CheckFinite": (lambda x: CheckFinite("fill")(x), 0),
    "CheckHU": (lambda x: CheckHU("ignore")(x), 0),
    "ElasticDeform": (lambda x: ElasticDeform(FIELD)(x), 4),
    "Gabor": (lambda x: Gabor((0.4,), 2)(x), 5),
    "GuideMap": (lambda x: GuideMap("gauss", 3.0)(x, CLICKS), 0),
    "HUWindow": (lambda x: HUWindow("liver")(x), 0),
    "HUWindow, not clipped": (lambda x: HUWindow("liver", clip=False)(x), 0),
    "LargestComponent": (lambda x: LargestComponent()(x > 150), 0),
    "LBP": (lambda x: LBP(8, 1.5)(x), 2),
    "LocalGLCM": (lambda x: LocalGLCM(5, 8)(x), 2),
    "LocalHistogram": (lambda x: LocalHistogram(5, 8)(x), 2),
    "LocalHistogram, clipped": (lambda x: LocalHistogram(5, 8, outside="clip")(x), 2),
    "LocalStatistics": (lambda x: LocalStatistics(5)(x), 2),
    "MultiWindow": (lambda x: MultiWindow(["liver", "lung"])(x), 0),
    "RandElasticDeform": (lambda x: seeded(RandElasticDeform(ElasticSettings(1.0, points=4), 1.0))(x), 4),
    "RandGuideDropout": (lambda x: seeded(RandGuideDropout(0.0))(x), 0),
    "RandHUWindow": (lambda x: seeded(RandHUWindow("liver"))(x), 0),
    "RandMultiWindow": (lambda x: seeded(RandMultiWindow(["liver", "lung"]))(x), 0),
}
# Transforms whose effect is checked by a test of its own below.
OTHERWISE = {"ClickPatches", "GeodesicDistance", "RegionGLCM", "RegionHistogram", "VoxelToWorld", "WorldToVoxel"}
# In their own test files; CheckHeader and LoadPrompts take files, and no voxels.
OTHERWISE |= {"CheckHeader", "LoadPrompts", "MaskOnSourceGrid", "ProbabilityOnSourceGrid"}
OTHERWISE |= {"SeparableSpacing"}
# Transforms that refuse it.
REFUSE = {
    "BorderWeightMap",
    "MapLabels",
    "RandHistogramMatch",
    "RandSparseAnnotationMask",
    "SaveMask",
    "SimulatePrompts",
    "SparseAnnotationMask",
}


def with_bad(value: float, image: np.ndarray = IMAGE, at: tuple[int, ...] = (0, *AT)) -> np.ndarray:
    changed = image.copy()
    changed[at] = value
    return changed


def differs(found: Any, clean: Any) -> np.ndarray:
    one, other = values(found), values(clean)
    return ~((one == other) | (np.isnan(one) & np.isnan(other)))


def array_transforms() -> dict[str, type]:
    members = {name: getattr(medseg.transforms, name) for name in medseg.transforms.__all__}
    return {
        name: member
        for name, member in members.items()
        if isinstance(member, type) and issubclass(member, Transform) and not issubclass(member, MapTransform)
    }


def test_every_transform_is_here_and_says_what_happens() -> None:
    assert {name.split(",")[0] for name in MAPS} | OTHERWISE | REFUSE == set(array_transforms())
    silent = [n for n, t in array_transforms().items() if not any(w in t.__doc__ for w in ("not finite", "NaN"))]
    assert silent == []


@pytest.mark.parametrize("value", BAD)
@pytest.mark.parametrize("name", MAPS)
def test_beyond_the_stated_reach_the_result_is_that_of_the_clean_image(name: str, value: float) -> None:
    transform, reach = MAPS[name]
    logging.disable(logging.WARNING)
    try:
        found, clean = transform(with_bad(value)), transform(IMAGE)
    finally:
        logging.disable(logging.NOTSET)
    if name == "LocalStatistics":  # its moments are about the mean of the image
        changed = ~np.isclose(values(found), values(clean), rtol=1e-5, atol=1e-5)
    else:
        changed = differs(found, clean)
    places = np.argwhere(changed)[:, 1:] - AT
    assert not len(places) or np.abs(places).max() <= reach


@pytest.mark.parametrize("value", BAD)
@pytest.mark.parametrize(
    "name", ["CheckAlignment", "CheckHU", "ElasticDeform", "RandElasticDeform", "RandGuideDropout"]
)
def test_where_voxels_are_moved_or_kept_every_changed_one_is_not_finite(name: str, value: float) -> None:
    found, clean = MAPS[name][0](with_bad(value)), MAPS[name][0](IMAGE)
    changed = differs(found, clean)
    assert changed.any() and not np.isfinite(values(found)[changed]).any()


@pytest.mark.parametrize("make", [HUWindow, RandHUWindow, lambda w: MultiWindow([w]), lambda w: RandMultiWindow([w])])
def test_windows_keep_nan_and_end_at_their_range(make: Callable[[str], Any]) -> None:
    found = values(seeded(make("liver"))(np.array([[np.nan, np.inf, -np.inf]], np.float32)))
    np.testing.assert_array_equal(found, [[np.nan, 1, 0]])


@pytest.mark.parametrize("value", BAD)
def test_paths_go_around_it(value: float) -> None:
    for call in (
        lambda x: values(GeodesicDistance(0.5, unit="voxel")(x, SEED))[0],
        lambda x: values(GuideMap("geodesic", max_distance=1e3, weight=0.5)(x, [[1, 1.0, 1.0, 0, 0]]))[0],
    ):
        found, clean = call(with_bad(value)), call(IMAGE)
        changed = found != clean
        far = (clean - clean[AT]) * (1 if clean[1, 1] < clean[AT] else -1) >= 0  # guides fall with the distance
        assert changed[AT] and not changed[~far].any() and np.isfinite(found).all()


@pytest.mark.parametrize("value", BAD)
@pytest.mark.parametrize("make", [lambda: RegionHistogram(8), lambda: RegionGLCM(8)])
def test_only_the_region_that_holds_it_changes(make: Callable[[], Any], value: float) -> None:
    found, clean = (values(make()(x, REGIONS)) for x in (with_bad(value), IMAGE))
    assert differs(found[0], clean[0]).any() and np.isfinite(found).all()
    np.testing.assert_array_equal(found[1], clean[1])


@pytest.mark.parametrize("value", BAD)
def test_only_the_voxels_of_a_patch_that_average_it_change(value: float) -> None:
    patches = ClickPatches((4, 8), 4)
    found, clean = values(patches(with_bad(value), CLICKS)), values(patches(IMAGE, CLICKS))
    changed = differs(found, clean)
    assert changed.sum() == 2 and not np.isfinite(found[changed]).any()
    assert not differs(patches(with_bad(value, at=(0, 2, 2)), CLICKS), clean).any()


@pytest.mark.parametrize("value", BAD)
@pytest.mark.parametrize("make", [VoxelToWorld, WorldToVoxel])
def test_only_the_point_itself_changes(make: Callable[[str], Any], value: float) -> None:
    points = np.random.default_rng(0).random((5, 3))
    found, clean = make("RAS")(with_bad(value, points, (2, 1)), torch.eye(4)), make("RAS")(points, torch.eye(4))
    assert set(np.argwhere(differs(found, clean))[:, 0]) == {2} and not np.isfinite(values(found)[2]).all()


@pytest.mark.parametrize("value", BAD)
@pytest.mark.parametrize("name", sorted(REFUSE))
def test_labels_and_scans_to_be_matched_are_refused(name: str, value: float) -> None:
    cases = [menu.case for menu in menus() if type(menu.case.array()).__name__ == name]
    assert cases
    for case in cases:
        transform = case.array() if name != "RandHistogramMatch" else type(case.array())([IMAGE], prob=1.0)
        with pytest.raises(ValueError, match=r"finite|whole numbers") as caught:
            case.apply(seeded(transform), case.changed(lambda array: np.full(array.shape, value, np.float32)))
        assert "\n" not in str(caught.value)
