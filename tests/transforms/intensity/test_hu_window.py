"""HUWindow: known values, presets, types and errors."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from monai.data import MetaTensor

from medseg.transforms import HU_WINDOWS, HUWindow, HUWindowd

HU = np.array([[-2000.0, -150.0, 50.0, 150.0, 250.0, 3000.0]], dtype=np.float32)
EXPECTED = np.array([[0.0, 0.0, 0.5, 0.75, 1.0, 1.0]])
CONTAINERS = [
    np.asarray,
    torch.as_tensor,
    lambda a: MetaTensor(torch.as_tensor(a), affine=torch.diag(torch.tensor([3.0, 2, 1, 1]))),
]


@pytest.mark.parametrize("container", CONTAINERS)
def test_known_values_of_the_abdomen_window(container) -> None:
    image = container(HU.copy())
    result = HUWindow("abdomen")(image)
    np.testing.assert_allclose(np.asarray(result), EXPECTED, atol=1e-6)
    np.testing.assert_array_equal(np.asarray(image), HU)  # the input is left alone


def test_metatensor_keeps_its_affine() -> None:
    image = CONTAINERS[2](HU.copy())
    result = HUWindow("lung")(image)
    assert isinstance(result, MetaTensor)
    torch.testing.assert_close(result.affine, image.affine)


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


def test_dictionary_form_equals_the_array_form_and_leaves_other_keys() -> None:
    data = {"image": HU.copy(), "label": np.ones((1, 2))}
    result = HUWindowd("image", "abdomen")(data)
    np.testing.assert_array_equal(result["image"], HUWindow("abdomen")(HU))
    assert result["label"] is data["label"]
    np.testing.assert_array_equal(data["image"], HU)


def test_missing_key_raises_unless_allowed() -> None:
    with pytest.raises(KeyError):
        HUWindowd("ct", "abdomen")({"image": HU})
    assert HUWindowd("ct", "abdomen", allow_missing_keys=True)({"image": HU})["image"] is HU


@pytest.mark.parametrize(
    ("window", "message"),
    [
        ("abdomne", "unknown HU window 'abdomne'; use one of"),
        ((40.0, 0.0), "must be \\(centre, width\\) in HU with a positive width"),
        ((40.0,), "must be \\(centre, width\\)"),
        ((float("nan"), 400.0), "must be \\(centre, width\\)"),
    ],
)
def test_impossible_windows_are_named(window, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        HUWindow(window)


def test_reversed_output_range_is_refused() -> None:
    with pytest.raises(ValueError, match=r"out_min \(1.0\) must be below out_max \(0.0\)"):
        HUWindow("lung", 1.0, 0.0)
