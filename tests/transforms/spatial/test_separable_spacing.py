"""SeparableSpacing against MONAI's Spacing: the same grids and values, forth and back."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from monai.data import MetaTensor, set_track_meta
from monai.transforms import Compose, Invertd, Orientationd, Spacing, Spacingd

from medseg.geometry import make_affine
from medseg.transforms import HUWindow, HUWindowd, SeparableSpacing, SeparableSpacingd
from medseg.transforms.spatial import _axis_resample
from tests.transforms._menu import assert_own_line

SPACING, ORIGIN = (0.8, 0.9, 2.5), (-20.0, 31.5, 7.0)


def turned(affine: np.ndarray, angle: float = 0.3) -> np.ndarray:
    turn = np.eye(4)
    turn[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    return turn @ affine


def sheared() -> np.ndarray:
    affine = make_affine(SPACING, ORIGIN, "RAS")
    affine[0, 2] = 0.3
    return affine


AFFINES: dict[str, np.ndarray] = {
    **{codes: make_affine(SPACING, ORIGIN, codes) for codes in ("RAS", "LPS", "LAS", "PSR", "IAL")},
    "oblique": turned(make_affine(SPACING, ORIGIN, "RAS")),
    # A rounded affine: MONAI then anchors the new grid at its centre instead of at a corner.
    "oblique, rounded": turned(make_affine(SPACING, ORIGIN, "LPS")).astype(np.float32).astype(np.float64),
    "sheared": sheared(),
}
# Whole and half steps of the new grid in the extent of the old one, and an axis that keeps its spacing.
TARGETS: dict[str, Any] = {
    "coarse": 3.0,
    "fine": (0.5, 0.6, 1.0),
    "mixed": (1.6, 0.9, 1.25),
    "kept axis": (2.0, 0, 2.5),
}


def ct(affine: np.ndarray, shape: tuple[int, ...] = (17, 21, 12)) -> MetaTensor:
    values = np.random.default_rng(0).normal(0, 300, (1, *shape)).astype(np.float32)
    return MetaTensor(torch.from_numpy(values), affine=torch.from_numpy(affine))


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("grid", AFFINES)
def test_grid_and_values_are_those_of_monai(grid: str, target: str) -> None:
    image = ct(AFFINES[grid])
    ours, theirs = SeparableSpacing(TARGETS[target])(image), Spacing(TARGETS[target])(image)
    assert ours.shape == theirs.shape
    torch.testing.assert_close(ours.affine, theirs.affine, atol=1e-9, rtol=0)
    torch.testing.assert_close(ours.as_tensor(), theirs.as_tensor(), atol=2e-3, rtol=0)  # of a range of 2000 HU


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("grid", AFFINES)
def test_the_way_back_is_that_of_monai(grid: str, target: str) -> None:
    def back(first: type, spacing: Any) -> tuple[MetaTensor, torch.Tensor]:
        steps = Compose([Orientationd("image", axcodes="RAS", labels=None), spacing])
        prepared = steps({"image": ct(AFFINES[grid])})["image"]
        scores = torch.rand(2, *prepared.shape[1:], generator=torch.Generator().manual_seed(1))
        pred = MetaTensor(scores).copy_meta_from(prepared)
        undo = Invertd("pred", steps, "image", nearest_interp=False, to_tensor=True)
        return undo({"image": prepared, "pred": pred})["pred"], scores

    ours, _ = back(MetaTensor, SeparableSpacingd("image", TARGETS[target]))
    theirs, _ = back(MetaTensor, Spacingd("image", TARGETS[target]))
    assert ours.shape == theirs.shape == (2, 17, 21, 12)
    torch.testing.assert_close(ours.as_tensor(), theirs.as_tensor(), atol=1e-6, rtol=0)
    torch.testing.assert_close(ours.affine, theirs.affine, atol=1e-9, rtol=0)


@pytest.mark.parametrize("grid", ["LPS", "sheared"])
def test_a_window_before_is_a_window_followed_by_the_resampling(grid: str) -> None:
    image = ct(AFFINES[grid]).to(torch.int16)
    apart = Compose([HUWindowd("image", "abdomen"), SeparableSpacingd("image", 2.0)])({"image": image})["image"]
    fused = SeparableSpacing(2.0, before=HUWindow("abdomen"))(image)
    assert torch.equal(fused.as_tensor(), apart.as_tensor())


def test_two_dimensions_and_several_channels() -> None:
    affine = torch.diag(torch.tensor([0.7, 1.1, 1.0, 1.0], dtype=torch.float64))
    image = MetaTensor(torch.rand(3, 19, 14), affine=affine)
    ours, theirs = SeparableSpacing((1.0, 0.5))(image), Spacing((1.0, 0.5))(image)
    assert ours.shape == theirs.shape
    torch.testing.assert_close(ours.as_tensor(), theirs.as_tensor(), atol=1e-6, rtol=0)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int16, torch.int32, torch.float16, torch.bfloat16, torch.float64])
def test_every_type_gives_the_values_of_float32(dtype: torch.dtype) -> None:
    image = MetaTensor((ct(np.eye(4)).as_tensor() / 10).round().abs(), affine=torch.eye(4))
    expected = SeparableSpacing(1.7)(image)
    result = SeparableSpacing(1.7)(image.to(dtype))
    assert result.dtype == torch.float32
    assert torch.equal(result, expected)


LAYOUTS: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "last axis first in memory": lambda x: x.permute(0, 3, 2, 1).contiguous().permute(0, 3, 2, 1),
    "gaps": lambda x: x.repeat_interleave(2, -1)[..., ::2],
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_in_memory_gives_the_same_bits(layout: str) -> None:
    image = ct(AFFINES["LPS"])
    other = MetaTensor(LAYOUTS[layout](image.as_tensor())).copy_meta_from(image)
    assert not other.is_contiguous()
    assert torch.equal(SeparableSpacing(1.3)(other), SeparableSpacing(1.3)(image))


@pytest.mark.parametrize("size", [1, 100, 1000, 10**9])
def test_the_thickness_of_the_slabs_changes_no_bit(monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    image = ct(AFFINES["oblique"])
    expected = SeparableSpacing((1.1, 2.0, 0.7))(image)
    monkeypatch.setattr(_axis_resample, "_SLAB_VALUES", size)
    assert torch.equal(SeparableSpacing((1.1, 2.0, 0.7))(image), expected)


def test_labels_take_their_nearest_voxel() -> None:
    # No new voxel lies in the middle of two old ones: there, rounding decides in MONAI.
    label = MetaTensor(torch.randint(0, 3, (1, 17, 21, 12)).float(), affine=torch.from_numpy(AFFINES["LPS"]))
    ours, theirs = SeparableSpacing(1.37, mode="nearest")(label), Spacing(1.37, mode="nearest")(label)
    assert torch.equal(ours.as_tensor(), theirs.as_tensor())


def test_a_grid_that_has_the_spacing_already_is_kept_bit_for_bit() -> None:
    image = ct(AFFINES["oblique, rounded"])
    spacing = SeparableSpacing((0.8, 0.9004, 2.5))  # within MONAI's tolerance of 0.001 mm
    same = spacing(image)
    assert torch.equal(same.as_tensor(), image.as_tensor())
    assert torch.equal(same.affine, image.affine)
    assert torch.equal(spacing.inverse(same).as_tensor(), image.as_tensor())


def test_a_single_voxel_is_a_grid() -> None:
    image = ct(np.diag([2.0, 2.0, 2.0, 1.0]), (1, 1, 1))
    assert SeparableSpacing(1.0)(image).flatten().tolist() == image.flatten().tolist()


def test_one_voxel_that_is_not_finite_reaches_its_neighbours_on_the_new_grid_alone() -> None:
    image = ct(np.eye(4), (20, 20, 20))
    clean = SeparableSpacing(1.5)(image).as_tensor()
    image[0, 9, 9, 9] = torch.nan
    found = SeparableSpacing(1.5)(image).as_tensor()
    touched = torch.zeros_like(clean, dtype=torch.bool)
    touched[0, 5:8, 5:8, 5:8] = True  # new voxels less than one old voxel from index 9
    assert found[touched].isnan().any()
    assert torch.equal(found[~touched], clean[~touched])


def test_without_tracking_the_result_is_a_plain_tensor() -> None:
    image = ct(np.eye(4))
    expected = SeparableSpacing(2.0)(image).as_tensor()
    set_track_meta(False)
    try:
        found = SeparableSpacing(2.0)(image)
    finally:
        set_track_meta(True)
    assert type(found) is torch.Tensor
    assert torch.equal(found, expected)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: SeparableSpacing(2.0, mode="cubic"), "mode is 'cubic'; expected one of bilinear, nearest"),
        (lambda: SeparableSpacing((1.0, np.nan, 1.0)), "pixdim is .*nan.*; expected finite numbers, in mm"),
        (
            lambda: SeparableSpacing(2.0)(torch.zeros(1, 4, 4, 4)),
            "is a Tensor without an affine; expected a MetaTensor",
        ),
        (lambda: SeparableSpacing(2.0)(MetaTensor(torch.zeros(4, 4))), r"shape \[4, 4\]; expected \[C, x, y\]"),
        (lambda: SeparableSpacing(2.0)(MetaTensor(torch.zeros(1, 4, 0, 4))), r"\[1, 4, 0, 4\], which is empty"),
    ],
)
def test_what_cannot_be_resampled_is_refused_in_one_line(call: Callable[[], Any], message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        call()
    assert_own_line(caught.value)
