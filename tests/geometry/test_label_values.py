"""Labels are whole numbers, in arrays and tensors of every type."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from scipy import ndimage

from medseg.geometry import check_whole_labels, component_sizes, component_sizes_of_points, foreground_box, label_counts


@pytest.mark.parametrize(
    "labels",
    [
        np.array([[0, 255]], np.uint8),
        np.array([True, False]),
        np.array([0.0, 3.0, -2.0]),
        np.array([0.0, 3.0], ">f4"),
        np.zeros((0, 3)),
        np.float32(2),
        torch.tensor([0, 7]),
        torch.tensor([0.0, 7.0]).half(),
        torch.tensor([0.0, 7.0]).bfloat16(),
        torch.zeros(0, 2),
        MetaTensor(torch.ones(2, 2)),
    ],
    ids=lambda labels: f"{type(labels).__name__}-{labels.dtype}",
)
def test_whole_numbers_of_every_type_pass(labels: Any) -> None:
    check_whole_labels(labels, "label")


@pytest.mark.parametrize(
    "make",
    [np.asarray, torch.as_tensor, lambda v: torch.as_tensor(v).bfloat16(), lambda v: MetaTensor(torch.as_tensor(v))],
    ids=["numpy", "torch", "bfloat16", "metatensor"],
)
def test_the_first_fraction_is_named_with_its_place_and_its_likely_cause(make: Any) -> None:
    with pytest.raises(ValueError, match=r"^scan 7: label contains 0.5 at \[1, 0\], expected whole numbers; were") as e:
        check_whole_labels(make([[1.0, 2.0], [0.5, 0.25]]), "scan 7: label")
    assert "Resample them with mode 'nearest'" in str(e.value)
    assert "\n" not in str(e.value)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("make", [np.array, torch.tensor])
def test_values_that_are_not_finite_are_not_labels(make: Any, value: float) -> None:
    with pytest.raises(ValueError, match=rf"contains {value} at \[1\], expected whole numbers; labels must be finite"):
        check_whole_labels(make([0.0, value]), "label")


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.float32, bool])
@pytest.mark.parametrize("shape", [(7,), (4, 5), (3, 4, 5), (0, 4)])
def test_counts_are_those_of_numpy_unique(dtype: type, shape: tuple[int, ...]) -> None:
    labels = np.random.default_rng(0).integers(0, 4, shape).astype(dtype)
    values, counts = np.unique(labels, return_counts=True)
    found = label_counts(labels)
    assert list(found.items()) == list(zip(values.tolist(), counts.tolist(), strict=True))


@pytest.mark.parametrize("highest", [1, 8, 9, 255])
@pytest.mark.parametrize("order", ["C", "F", "strided"])
def test_counts_of_bytes_do_not_depend_on_the_order_in_memory(highest: int, order: str) -> None:
    labels = np.random.default_rng(0).integers(0, highest, (6, 5, 4), np.uint8, endpoint=True)
    labels[2] = 0
    view = labels[::2, ::-1] if order == "strided" else np.asarray(labels, order=order)
    values, counts = np.unique(view, return_counts=True)
    assert list(label_counts(view).items()) == list(zip(values.tolist(), counts.tolist(), strict=True))


@pytest.mark.parametrize("shape", [(50,), (20, 30), (12, 10, 14), (1, 30, 2)])
@pytest.mark.parametrize("share", [0.02, 0.2, 0.9])
def test_components_of_points_are_those_of_the_volume(shape: tuple[int, ...], share: float) -> None:
    inside = np.random.default_rng(0).random(shape) < share
    inside.flat[0] = inside.flat[-1] = True
    components, count = ndimage.label(inside, structure=np.ones((3,) * len(shape)))
    expected = component_sizes(components, count)
    assert component_sizes_of_points(np.argwhere(inside), shape).tolist() == expected.tolist()


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.float32, bool])
@pytest.mark.parametrize("order", ["C", "F", "strided"])
def test_the_box_of_the_foreground_holds_it_and_touches_it_on_all_sides(dtype: type, order: str) -> None:
    labels = np.zeros((9, 8, 7), dtype)
    labels[2, 3, 1] = labels[5, 6, 1] = labels[4, 4, 3] = 1
    view = labels.transpose(1, 2, 0)[::-1] if order == "strided" else np.asarray(labels, order=order)
    box = foreground_box(view)
    points = np.argwhere(view)
    assert box == tuple(slice(a, b + 1) for a, b in zip(points.min(0), points.max(0), strict=True))


def test_no_foreground_has_no_box() -> None:
    assert foreground_box(np.zeros((3, 4), np.uint8)) is None
    assert foreground_box(np.zeros((0, 4), np.uint8)) is None


def test_labels_that_are_in_one_plane_alone_are_counted_in_order() -> None:
    assert list(label_counts(np.array([[5, 5], [-3, 5]], np.int32)).items()) == [(-3, 1), (5, 3)]


@pytest.mark.parametrize("shape", [(9,), (4, 5), (3, 4, 5)])
def test_component_sizes_are_those_of_a_whole_count(shape: tuple[int, ...]) -> None:
    components = np.random.default_rng(0).integers(0, 6, shape)
    assert component_sizes(components, 6).tolist() == np.bincount(components.ravel(), minlength=7)[1:].tolist()
