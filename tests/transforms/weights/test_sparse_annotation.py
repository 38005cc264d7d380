"""SparseAnnotationMask and its random form: which voxels count as annotated."""

from __future__ import annotations

import numpy as np
import pytest

from medseg.transforms import (
    RandSparseAnnotationMask,
    RandSparseAnnotationMaskd,
    SparseAnnotationMask,
    SparseAnnotationMaskd,
)
from tests.transforms._menu import MenuCase, RandomMenu, TransformMenu

LABEL = np.array([[[0, 1, 255, 255], [255, 1, 0, 0], [2, 255, 255, 0]]], dtype=np.uint8)


class TestSparseAnnotationMask(TransformMenu):
    case = MenuCase(
        array=lambda: SparseAnnotationMask(255),
        dictionary=lambda: SparseAnnotationMaskd("label", 255),
        data={"label": LABEL},
        expected=np.array([[[1, 1, 0, 0], [0, 1, 1, 1], [1, 0, 0, 1.0]]]),
        key="label",
        output="label_annotated",
        errors=(
            (SparseAnnotationMask, "unlabelled and slices are both None, expected"),
            (lambda: SparseAnnotationMask(slices={}), r"slices is \{\}, expected at least one slice index"),
            (lambda: SparseAnnotationMaskd("label", slices={0: []}), r"slices is \{0: \[\]\}, expected at least one"),
            (lambda: SparseAnnotationMask(1)(np.ones((2, 3, 3))), r"label has shape \(2, 3, 3\), expected one channel"),
            (lambda: SparseAnnotationMask(slices={2: [0]})(LABEL), "slices names axis 2, but the label has spatial ax"),
            (lambda: SparseAnnotationMask(slices={1: [4]})(LABEL), "slices names slice 4 of axis 1, expected less th"),
            (lambda: SparseAnnotationMaskd("label", 255, postfix=""), "postfix is ''"),
        ),
    )


VOLUME = (np.random.default_rng(0).random((1, 9, 10, 11)) > 0.9).astype(np.uint8)


class TestRandSparseAnnotationMask(RandomMenu):
    case = MenuCase(
        array=lambda: RandSparseAnnotationMask((1, 0, 2)),
        dictionary=lambda: RandSparseAnnotationMaskd("label", (1, 0, 2)),
        data={"label": VOLUME},
        expected=None,
        key="label",
        output="label_annotated",
        errors=(
            (
                lambda: RandSparseAnnotationMask(0),
                "count is 0, expected numbers of slices from 0, at least one abo",
            ),
            (lambda: RandSparseAnnotationMaskd("label", (0, -1)), r"count is \(0, -1\), expected numbers"),
            (lambda: RandSparseAnnotationMask((1, 1))(VOLUME), "count names 2 axes, but the label has 3 spatial axes"),
            (lambda: RandSparseAnnotationMask(12)(VOLUME), "count asks for 12 slices along axis 2, which has 11"),
            (lambda: RandSparseAnnotationMask(1)(np.zeros((2, 3, 3))), r"label has shape \(2, 3, 3\), expected one"),
        ),
    )


def test_named_slices_are_annotated_in_all_their_voxels() -> None:
    mask = np.asarray(SparseAnnotationMask(slices={2: [1, -1], 0: [3]})(VOLUME))[0]
    expected = np.zeros(VOLUME.shape[1:])
    expected[:, :, 1] = expected[:, :, 10] = expected[3] = 1
    np.testing.assert_array_equal(mask, expected)


def test_axes_may_be_strings_as_in_json() -> None:
    np.testing.assert_array_equal(
        SparseAnnotationMask(slices={"1": [2]})(VOLUME), SparseAnnotationMask(slices={1: [2]})(VOLUME)
    )


def test_with_both_a_voxel_must_be_labelled_on_an_annotated_slice() -> None:
    mask = SparseAnnotationMask(255, slices={0: [0]})(LABEL)
    np.testing.assert_array_equal(mask, [[[1, 1, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]]])


@pytest.mark.parametrize("count", [(2, 0, 3), (0, 1, 0), 4])
def test_as_many_slices_are_drawn_as_asked_for(count: int | tuple[int, ...]) -> None:
    transform = RandSparseAnnotationMask(count).set_random_state(0)
    wanted = (0, 0, count) if isinstance(count, int) else count
    for _ in range(5):
        mask = np.asarray(transform(VOLUME))[0]
        whole = tuple(int(mask.all(axis=tuple(a for a in range(3) if a != axis)).sum()) for axis in range(3))
        assert whole == wanted
        outside = np.ix_(*[~mask.all(axis=tuple(a for a in range(3) if a != axis)) for axis in range(3)])
        assert not mask[outside].any()


def test_slices_with_foreground_are_preferred() -> None:
    label = np.zeros((1, 5, 6, 20), np.uint8)
    label[0, 2, 3, [4, 9, 15]] = 1
    transform = RandSparseAnnotationMask(2).set_random_state(0)
    drawn = {int(k) for _ in range(40) for k in np.flatnonzero(np.asarray(transform(label))[0].any(axis=(0, 1)))}
    assert drawn == {4, 9, 15}
    assert np.asarray(RandSparseAnnotationMask(5)(label))[0, 0, 0].sum() == 3  # only three hold anything
    anywhere = RandSparseAnnotationMask(2, nonempty=False).set_random_state(0)
    drawn = {int(k) for _ in range(60) for k in np.flatnonzero(np.asarray(anywhere(label))[0].any(axis=(0, 1)))}
    assert len(drawn) > 15


def test_an_empty_label_still_has_annotated_slices() -> None:
    assert np.asarray(RandSparseAnnotationMask(3)(np.zeros((1, 4, 5, 6))))[0, 0, 0].sum() == 3


def test_all_keys_of_a_sample_share_their_slices() -> None:
    transform = RandSparseAnnotationMaskd(["a", "b"], 2).set_random_state(0)
    result = transform({"a": VOLUME, "b": np.zeros_like(VOLUME)})
    np.testing.assert_array_equal(result["a_annotated"], result["b_annotated"])
