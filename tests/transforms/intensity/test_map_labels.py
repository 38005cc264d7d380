"""MapLabels: known values mapped, unknown ones named."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from monai.data import MetaTensor

from medseg.transforms import MapLabels, MapLabelsd
from tests.transforms._menu import MenuCase, TransformMenu

LITS = {0: 0, 1: 1, 2: 1}


class TestMapLabels(TransformMenu):
    case = MenuCase(
        array=lambda: MapLabels(LITS),
        dictionary=lambda: MapLabelsd("label", LITS),
        data={"label": np.array([[0, 1, 2, 2, 0]], dtype=np.uint8), "image": np.array([[7.0]])},
        expected=np.array([[0, 1, 1, 1, 0]]),
        key="label",
        dtype=torch.uint8,
        errors=(
            (lambda: MapLabels({}), "mapping is empty"),
            (lambda: MapLabelsd("label", {}), "mapping is empty"),
            (lambda: MapLabels(LITS)(np.array([[3]])), r"label map: label values 3 are unexpected, known are \[0, 1"),
        ),
    )


def test_swapped_values_do_not_run_into_each_other() -> None:
    result = MapLabels({0: 0, 1: 2, 2: 1})(np.array([[1, 2, 0]]))
    np.testing.assert_array_equal(np.asarray(result), [[2, 1, 0]])


def test_float_labels_with_whole_values_are_accepted() -> None:
    np.testing.assert_array_equal(np.asarray(MapLabels(LITS)(np.array([[0.0, 2.0]]))), [[0, 1]])


def test_string_keys_as_in_json() -> None:
    np.testing.assert_array_equal(np.asarray(MapLabels({"0": 0, "5": 1})(np.array([[5, 0]]))), [[1, 0]])


def test_unknown_values_are_named_with_the_file_and_the_fix() -> None:
    label = MetaTensor(torch.tensor([[0, 1, 5, 7]]), meta={"filename_or_obj": "case_3.nii.gz"})
    with pytest.raises(
        ValueError, match=r"case_3.nii.gz: label values 5, 7 are unexpected, known are \[0, 1, 2\]; map"
    ):
        MapLabels(LITS)(label)


def test_half_way_values_of_an_interpolated_label_are_refused() -> None:
    with pytest.raises(ValueError, match=r"label map contains 0\.5 at \[0, 1\], expected whole numbers"):
        MapLabels(LITS)(np.array([[0.0, 0.5, 1.0]]))
