"""Every transform that reads labels, masks or seeds refuses numbers between labels, with the value and its place."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from monai.transforms import Spacingd

from medseg.transforms import (
    LBP,
    BorderWeightMap,
    BorderWeightMapd,
    Gabor,
    GeodesicDistance,
    GeodesicDistanced,
    LocalGLCM,
    LocalHistogram,
    LocalStatistics,
    MapLabels,
    MapLabelsd,
    RandSparseAnnotationMask,
    RandSparseAnnotationMaskd,
    RegionGLCM,
    RegionGLCMd,
    RegionHistogram,
    RegionHistogramd,
    SaveMask,
    SimulatePrompts,
    SimulatePromptsd,
    SparseAnnotationMask,
    SparseAnnotationMaskd,
)

IMAGE = np.zeros((1, 8, 8), np.float32)
WHOLE = np.zeros((1, 8, 8), np.float32)
WHOLE[:, 2:6, 2:6] = 1
KINDS = ("ellipse_mid_slice", "clicks_dins", "clicks_deepigeos", "boxes", "scribbles")

# What reads a label map, for the array form or through an item of the dictionary form.
READERS: dict[str, Callable[[Any], Any]] = {
    "MapLabels": MapLabels({0: 0, 1: 1}),
    "MapLabelsd": lambda label: MapLabelsd("label", {0: 0, 1: 1})({"label": label}),
    "RegionHistogram": lambda label: RegionHistogram(labels=[1])(IMAGE, label),
    "RegionHistogramd": lambda label: RegionHistogramd("i", "label", labels=[1])({"i": IMAGE, "label": label}),
    "RegionGLCM": lambda label: RegionGLCM(labels=[1])(IMAGE, label),
    "RegionGLCMd": lambda label: RegionGLCMd("i", "label", labels=[1])({"i": IMAGE, "label": label}),
    "BorderWeightMap": BorderWeightMap(),
    "BorderWeightMapd": lambda label: BorderWeightMapd("label")({"label": label}),
    "SparseAnnotationMask": SparseAnnotationMask(255),
    "SparseAnnotationMaskd": lambda label: SparseAnnotationMaskd("label", 255)({"label": label}),
    "RandSparseAnnotationMask": RandSparseAnnotationMask(1),
    "RandSparseAnnotationMaskd": lambda label: RandSparseAnnotationMaskd("label", 1)({"label": label}),
    "GeodesicDistance": lambda label: GeodesicDistance(unit="voxel")(IMAGE, label),
    "GeodesicDistanced": lambda label: GeodesicDistanced("i", "s", unit="voxel")({"i": IMAGE, "s": label}),
    **{f"SimulatePrompts-{kind}": SimulatePrompts(kind) for kind in KINDS},
    "SimulatePrompts-target": SimulatePrompts("boxes", target=1),
    "SimulatePrompts-pred": lambda pred: SimulatePrompts("clicks_deepigeos")(WHOLE, pred),
    "SimulatePromptsd": lambda label: SimulatePromptsd("label", "boxes")({"label": label}),
    "SimulatePromptsd-pred": lambda pred: SimulatePromptsd("label", "clicks_deepigeos", pred_key="pred")(
        {"label": WHOLE, "pred": pred}
    ),
}
# What reads a mask of 0 and 1.
MASKED: dict[str, Callable[[Any], Any]] = {
    "RegionHistogram": lambda mask: RegionHistogram()(IMAGE, mask),
    "RegionGLCM": lambda mask: RegionGLCM()(IMAGE, mask),
    "LocalGLCM": lambda mask: LocalGLCM(3)(IMAGE, mask),
    "LocalHistogram": lambda mask: LocalHistogram(3)(IMAGE, mask),
    "LocalStatistics": lambda mask: LocalStatistics(3)(IMAGE, mask),
    "Gabor": lambda mask: Gabor()(IMAGE, mask),
    "LBP": lambda mask: LBP()(IMAGE, mask),
}
CONTAINERS: dict[str, Callable[[np.ndarray], Any]] = {
    "numpy": np.copy,
    "bfloat16": lambda array: torch.from_numpy(array).bfloat16(),
    "metatensor": lambda array: MetaTensor(torch.from_numpy(array.copy())),
}


def between(value: float) -> np.ndarray:
    label = WHOLE.copy()
    label[0, 5, 3] = value
    return label


@pytest.mark.parametrize("container", CONTAINERS)
@pytest.mark.parametrize("name", READERS)
@pytest.mark.parametrize("value", [0.5, float("nan"), float("inf")])
def test_a_label_map_with_a_number_between_labels_is_refused(name: str, container: str, value: float) -> None:
    with pytest.raises(ValueError, match=rf"contains {value:g} at \[(0, )?5, 3\], expected whole numbers") as caught:
        READERS[name](CONTAINERS[container](between(value)))
    assert ("were the labels interpolated? Resample them with mode 'nearest'" in str(caught.value)) == (value == 0.5)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", READERS)
def test_a_label_of_almost_one_is_not_one(name: str) -> None:
    with pytest.raises(ValueError, match=r"contains 0\.99 at \[(0, )?5, 3\], expected whole numbers"):
        READERS[name](between(0.99))


@pytest.mark.parametrize("container", CONTAINERS)
@pytest.mark.parametrize("name", READERS)
def test_whole_labels_are_taken_in_every_container(name: str, container: str) -> None:
    READERS[name](CONTAINERS[container](WHOLE))


@pytest.mark.parametrize("name", MASKED)
@pytest.mark.parametrize("value", [0.5, 2.0, float("nan")])
def test_a_mask_with_another_value_is_refused(name: str, value: float) -> None:
    with pytest.raises(ValueError, match=rf"values other than 0 and 1, such as {value:g} at \[0, 5, 3\], expected"):
        MASKED[name](between(value))


def test_a_label_that_a_resampling_interpolated_is_caught() -> None:
    label = MetaTensor(torch.from_numpy(WHOLE[..., None].copy()))
    data = {"image": label.clone(), "label": label}
    interpolated = Spacingd(["image", "label"], (0.7, 0.7, 1.0), mode="bilinear")
    with pytest.raises(ValueError, match="expected whole numbers; were the labels interpolated"):
        BorderWeightMapd("label")(interpolated(data))
    kept = Spacingd(["image", "label"], (0.7, 0.7, 1.0), mode=("bilinear", "nearest"))
    assert BorderWeightMapd("label")(kept(data))["label_weight"].isfinite().all()


def test_a_mask_to_save_is_refused_with_its_value(tmp_path: Path) -> None:
    mask = MetaTensor(torch.from_numpy(between(0.5)[..., None]), meta={"filename_or_obj": str(tmp_path / "a.nii.gz")})
    with pytest.raises(ValueError, match=r"mask holds values other than whole numbers 0 to 255, such as 0\.5; apply"):
        SaveMask(tmp_path)(mask)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: RegionHistogram(labels=[1.5]), "label in labels is 1.5, expected a whole number"),
        (lambda: RegionHistogram(labels=[(1, 1.7)]), "label in labels is 1.7, expected a whole number"),
        (lambda: RegionGLCMd("i", "l", labels=[float("nan")]), "label in labels is nan"),
        (lambda: SimulatePrompts("boxes", target=0.5), "target is 0.5; expected a whole number"),
        (lambda: SimulatePromptsd("l", "boxes", target=[1, 2.5]), "target is .*2.5.*; expected a whole number"),
        (lambda: SparseAnnotationMask(254.5), "unlabelled is 254.5; expected a whole number"),
    ],
)
def test_arguments_that_name_labels_are_whole_numbers_too(make: Callable[[], Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


def test_targets_may_be_any_collection_of_labels() -> None:
    label = np.zeros((1, 8, 8), np.uint8)
    label[0, 1, 1], label[0, 5, 5], label[0, 7, 7] = 1, 2, 3
    for target in ([1, 2], (1, 2), {1, 2}, np.array([1, 2])):
        assert len(SimulatePrompts("boxes", target=target)(label)) == 2
