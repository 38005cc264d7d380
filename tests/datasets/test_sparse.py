"""Sparse labels keep what is on the chosen slices, mark all else, and train a network on nothing else."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from medseg.datasets.sparse import array_axes, choose_slices, sparsify
from medseg.geometry import make_affine
from medseg.losses import SparseAnnotationCrossEntropyLoss
from medseg.transforms import SparseAnnotationMask

SHAPE = (11, 12, 13)


@pytest.fixture
def label() -> np.ndarray:
    array = np.zeros(SHAPE, np.uint8)
    array[2:10, 3:9, 4:12] = 1
    array[5, 5, 5:8] = 2
    return array


def test_a_voxel_stays_labelled_if_it_lies_on_any_kept_slice(label: np.ndarray) -> None:
    sparse = sparsify(label, {0: [5], 2: [6, 4]})
    for i, j, k in np.ndindex(*SHAPE):
        expected = label[i, j, k] if i == 5 or k in (4, 6) else 255
        assert sparse.array[i, j, k] == expected
    assert sparse.slices == {0: [5], 2: [4, 6]}
    assert sparse.labelled_share == pytest.approx(1 - (10 / 11) * (11 / 13))
    assert sparse.array.dtype == np.uint8


@given(st.integers(1, 40), st.integers(1, 40), st.integers(0, 5))
def test_even_slices_are_the_middles_of_equal_parts(length: int, count: int, start: int) -> None:
    label = np.zeros((length + start, 2, 2), np.uint8)
    label[start:] = 1
    if count > length:
        with pytest.raises(ValueError, match=f"{count} slices were asked for along array axis 0"):
            choose_slices(label, 0, count)
        return
    found = choose_slices(label, 0, count)
    assert len(set(found)) == count
    for part, index in enumerate(found):
        assert abs(index + 0.5 - start - (part + 0.5) * length / count) <= 0.5


def test_slices_come_from_the_foreground_or_from_the_whole_volume(label: np.ndarray) -> None:
    assert choose_slices(label, 0, 1) == [6]
    assert choose_slices(label, 0, 8) == list(range(2, 10))
    assert choose_slices(label, 0, 11, "volume") == list(range(11))
    with pytest.raises(ValueError, match="where the foreground holds 8; ask for 1 to 8, or take slices from the whole"):
        choose_slices(label, 0, 9)
    assert choose_slices(np.zeros_like(label), 0, 11) == list(range(11))


def test_a_seed_decides_the_draw_and_each_axis_has_its_own(label: np.ndarray) -> None:
    drawn = [choose_slices(label, 0, 3, "foreground", seed) for seed in range(30)]
    assert drawn[7] == choose_slices(label, 0, 3, "foreground", 7)
    assert len({tuple(item) for item in drawn}) > 15
    assert {index for item in drawn for index in item} == set(range(2, 10))
    assert all(len(set(item)) == 3 and item == sorted(item) for item in drawn)
    cube = np.ones((20, 20, 20), np.uint8)
    assert choose_slices(cube, 0, 5, seed=1) != choose_slices(cube, 1, 5, seed=1)


@pytest.mark.parametrize(
    ("orientation", "axes", "expected"),
    [("RAS", "xyz", {"x": 0, "y": 1, "z": 2}), ("SLP", "xz", {"x": 1, "z": 0}), ("PIR", "y", {"y": 0})],
)
def test_axes_are_the_patient_s(orientation: str, axes: str, expected: dict[str, int]) -> None:
    assert array_axes(axes, make_affine((1, 2, 3), direction=orientation)) == expected


@pytest.mark.parametrize("axes", ["", "xx", "xw", "ijk"])
def test_other_axes_are_refused(axes: str) -> None:
    with pytest.raises(ValueError, match="different letters of 'xyz'"):
        array_axes(axes, np.eye(4))


def test_the_unlabelled_value_must_not_be_a_label_and_slices_must_exist(label: np.ndarray) -> None:
    with pytest.raises(
        ValueError, match=r"the unlabelled value is 2, expected 0 to 255 and none of the labels \[0, 1, 2\]"
    ):
        sparsify(label, {0: [5]}, unlabelled=2)
    with pytest.raises(ValueError, match="slice 11 of axis 0 does not exist"):
        sparsify(label, {0: [11]})
    with pytest.raises(ValueError, match="expected whole numbers from 0 to 255"):
        sparsify(label + 0.5, {0: [5]})
    with pytest.raises(ValueError, match="within is 'label'"):
        choose_slices(label, 0, 1, "label")  # type: ignore[arg-type]


def test_the_loss_of_sparse_annotation_ignores_exactly_the_unlabelled_voxels(label: np.ndarray) -> None:
    sparse = sparsify(label, {0: [5], 1: [6], 2: [6]})
    target = torch.from_numpy(sparse.array.astype(np.int64))[None, None]
    logits = torch.randn(1, 3, *SHAPE, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    logits.requires_grad_()
    loss = SparseAnnotationCrossEntropyLoss()(logits, target)
    dense = torch.nn.functional.cross_entropy(logits, torch.from_numpy(label.astype(np.int64))[None], reduction="none")
    kept = torch.from_numpy(sparse.array != 255)[None]
    assert loss.item() == pytest.approx(dense[kept].mean().item(), abs=1e-12)
    (gradient,) = torch.autograd.grad(loss, logits)
    assert torch.equal(gradient.abs().sum(dim=1) > 0, kept)
    mask = SparseAnnotationMask(unlabelled=255)(torch.from_numpy(sparse.array)[None])
    assert torch.equal(torch.as_tensor(mask).bool(), kept)
