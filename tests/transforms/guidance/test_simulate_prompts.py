"""SimulatePrompts: prompts that a user might give."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from scipy.ndimage import distance_transform_edt
from scipy.ndimage import label as connected

from medseg.geometry import world_to_voxel
from medseg.transforms import GuideMap, Prompts, SimulatePrompts, SimulatePromptsd, read_prompts
from medseg.transforms.guidance._simulate import robust_moments
from tests.transforms._menu import AFFINE, MenuCase, RandomMenu

Y, X = np.indices((64, 60))
ELLIPSE = ((Y - 30) / 14) ** 2 + ((X - 28) / 9) ** 2 <= 1
VOLUME = np.zeros((1, 40, 44, 20), np.uint8)
VOLUME[0, 5:20, 6:22, 3:9] = 2
VOLUME[0, 28:31, 30:32, 12:15] = 2
VOLUME[0, 30:, :4, :] = 1


class TestSimulatePrompts(RandomMenu):
    case = MenuCase(
        array=lambda: SimulatePrompts("boxes", target=2),
        dictionary=lambda: SimulatePromptsd("label", "boxes", target=2),
        data={"label": VOLUME},
        expected=None,
        key="label",
        output="label_prompts",
        errors=(
            (lambda: SimulatePrompts("lasso"), "kind is 'lasso', expected one of ellipse_mid_slice, clicks_dins"),
            (lambda: SimulatePrompts("boxes", "world"), "frame is 'world', expected 'voxel', 'RAS'"),
            (lambda: SimulatePrompts("boxes", slice_axis=3), "slice_axis is 3, expected a spatial axis from -3 to 2"),
            (lambda: SimulatePrompts("boxes", options={"size": 2}), "options has 'size', expected of margin for kind"),
            (
                lambda: SimulatePrompts("clicks_dins", options={"most": 0}),
                "options has most = 0, expected a number from 1",
            ),
            (
                lambda: SimulatePrompts("boxes")(VOLUME[0]),
                r"label has shape \(40, 44, 20\), expected one channel|\(1, ",
            ),
            (lambda: SimulatePrompts("boxes")(VOLUME[[0, 0]]), r"label has shape \(2, 40, 44, 20\), expected one"),
            (lambda: SimulatePrompts("boxes")(VOLUME, VOLUME[:, :3]), r"pred has shape \(1, 3, 44, 20\), expected"),
            (lambda: SimulatePrompts("boxes", "LPS")(VOLUME), "without an affine, expected a MetaTensor"),
            (lambda: SimulatePromptsd("label", "boxes", postfix=""), "postfix is ''"),
        ),
    )


def simulate(kind: Any, label: np.ndarray, pred: np.ndarray | None = None, seed: int = 0, **options: float) -> Prompts:
    target = 2 if label.max() == 2 else None
    transform = SimulatePrompts(kind, target=target, options=options).set_random_state(seed)
    return read_prompts(transform(label, pred), label.ndim - 1)


@pytest.mark.parametrize("axes", [(5.5, 6.5), (14.0, 9.0), (20.3, 7.6)])
def test_the_robust_sigma_of_an_ellipse_is_0_5989_of_its_axes(axes: tuple[float, float]) -> None:
    y, x = np.indices((64, 64)) - np.array([32, 35])[:, None, None]  # with empty rows and columns on every side
    centre, sigma = robust_moments((y / axes[0]) ** 2 + (x / axes[1]) ** 2 <= 1)
    np.testing.assert_allclose(centre, [32, 35], atol=1e-9)
    assert (np.abs(sigma - 0.5989 * np.array(axes)) <= 0.03 * np.array(axes)).all()


def test_without_jitter_the_ellipse_has_the_moments_of_the_middle_slice() -> None:
    found = simulate("ellipse_mid_slice", VOLUME, centre_jitter=0, sigma_jitter=1)
    assert found.kind.tolist() == [1, 1]
    np.testing.assert_allclose(found.centre[0], [12, 13.5, 5], atol=1e-5)
    np.testing.assert_allclose(
        found.extent[0], [1.4826 * 15 / 4, 1.4826 * 4, 2.0], rtol=1e-6
    )  # 0.5149 * 3 is raised to 2
    np.testing.assert_allclose(found.extent[1], 2.0)
    flat = simulate("ellipse_mid_slice", ELLIPSE[None].astype(np.uint8), centre_jitter=0, sigma_jitter=1)
    np.testing.assert_allclose(flat.extent[0], [0.5989 * 14, 0.5989 * 9], rtol=0.05)


def test_jitter_stays_within_its_bounds_and_reaches_them() -> None:
    exact = simulate("ellipse_mid_slice", VOLUME, centre_jitter=0, sigma_jitter=1, min_sigma=0.1)
    runs = [simulate("ellipse_mid_slice", VOLUME, seed=s, min_sigma=0.1) for s in range(100)]
    shift = np.stack([(r.centre[0] - exact.centre[0]) / exact.extent[0] for r in runs])
    scale = np.stack([r.extent[0] / exact.extent[0] for r in runs])
    assert 0.18 < np.abs(shift).max() <= 0.2 + 1e-6
    assert 1 / 1.4 - 1e-6 <= scale.min() < 0.75
    assert 1.35 < scale.max() <= 1.4 + 1e-6


def test_dins_clicks_keep_their_margins_and_distances() -> None:
    big = np.zeros((1, 90, 90, 3), np.uint8)
    big[0, 20:60, 25:70, :2] = 1
    inside, counts = distance_transform_edt(big[0, :, :, 0]), set()
    outside = distance_transform_edt(1 - big[0, :, :, 0])
    for seed in range(60):
        found = simulate("clicks_dins", big, seed=seed)
        at = found.centre.astype(int)
        fg, bg = at[found.kind == 1], at[found.kind == 0]
        assert 1 <= len(fg) <= 10 and len(bg) <= 10
        counts.add((len(fg), len(bg)))
        assert (inside[fg[:, 0], fg[:, 1]] > 3).all() and (fg[:, 2] < 2).all()
        reach = outside[bg[:, 0], bg[:, 1]]
        assert ((reach > 3) & (reach <= 43)).all() and (bg[:, 2] < 2).all()
        for z in range(2):
            flat = fg[fg[:, 2] == z]
            gaps = np.linalg.norm(flat[:, None] - flat[None], axis=-1)
            assert (gaps[~np.eye(len(flat), dtype=bool)] >= 10).all()
    assert {c for c, _ in counts} == set(range(1, 11))
    assert {c for _, c in counts} == set(range(11))


def test_a_small_object_is_clicked_at_its_centre() -> None:
    tiny = np.zeros((1, 30, 30), np.uint8)
    tiny[0, 10:13, 14:19] = 1
    for seed in range(5):
        found = simulate("clicks_dins", tiny, seed=seed)
        np.testing.assert_array_equal(found.centre[found.kind == 1], [[11, 16]])


@pytest.mark.parametrize(("side", "clicks"), [(5, 0), (6, 1), (10, 1), (11, 2), (20, 4), (21, 5)])
def test_deepigeos_clicks_follow_the_size_of_the_error(side: int, clicks: int) -> None:
    truth = np.zeros((1, 50, 50), np.uint8)
    truth[0, 3 : 3 + side, 4 : 4 + side] = 1
    found = simulate("clicks_deepigeos", truth)
    assert found.kind.tolist() == [1] * clicks  # ceil(N / 100), none below 30 voxels
    assert truth[0][tuple(found.centre.astype(int).T)].all()
    found = simulate("clicks_deepigeos", np.zeros_like(truth), pred=truth)
    assert found.kind.tolist() == [0] * clicks
    assert simulate("clicks_deepigeos", truth, pred=truth).kind.size == 0


def test_in_three_dimensions_the_three_worst_slices_are_clicked() -> None:
    truth, pred = np.zeros((1, 30, 32, 34), np.uint8), np.zeros((1, 30, 32, 34), np.uint8)
    truth[0, 5:15, 6:17, 7:19] = 1
    truth[0, 9, 6:20, 7:19] = truth[0, 5:15, 10, 7:25] = truth[0, 3:15, 6:17, 12] = 1
    found = simulate("clicks_deepigeos", truth, pred)
    at = found.centre.astype(int)
    sums = [truth[0].sum(axis=tuple(a for a in range(3) if a != axis)) for axis in range(3)]
    assert [int(s.argmax()) for s in sums] == [9, 10, 12]
    assert ((at == [9, 10, 12]).any(axis=1)).all()
    assert len(at) == sum(math.ceil(s.max() / 100) for s in sums)
    assert truth[0][tuple(at.T)].all()


def test_boxes_hold_their_objects_with_a_margin_inside_the_image() -> None:
    tight = simulate("boxes", VOLUME, margin=0)
    np.testing.assert_allclose(tight.centre, [[12, 13.5, 5.5], [29, 30.5, 13]])
    np.testing.assert_allclose(tight.extent, [[7.5, 8, 3], [1.5, 1, 1.5]])
    for seed in range(30):
        loose = simulate("boxes", VOLUME, seed=seed)
        low, high = loose.centre - loose.extent, loose.centre + loose.extent
        gap = np.concatenate([tight.centre - tight.extent - low, high - tight.centre - tight.extent])
        assert gap.min() >= -1e-5 and gap.max() <= 10 + 1e-5
        assert (low >= -0.5).all() and (high <= np.array([40, 44, 20]) - 0.5).all()
    drawn = np.asarray(GuideMap("box", channels=["fg"])(VOLUME, tight.table()))
    np.testing.assert_array_equal(drawn[0], VOLUME[0] == 2)


def test_scribbles_run_within_the_object_and_beside_it() -> None:
    for seed in range(10):
        found = simulate("scribbles", VOLUME, seed=seed)
        at = found.centre.astype(int)
        fg, bg = at[found.kind == 1], at[found.kind == 0]
        target = VOLUME[0] == 2
        assert target[tuple(fg.T)].all() and not target[tuple(bg.T)].any()
        assert set(fg[:, 2]) == set(bg[:, 2]) == {5, 13}  # the middle slices
        away = distance_transform_edt(~target, sampling=(1, 1, 1e6))[tuple(bg.T)]
        assert (np.abs(away - 3) <= 0.5).all()
        for points in (fg, bg):
            for z in (5, 13):
                own = points[points[:, 2] == z]
                assert np.linalg.norm(own[:, None] - own[None], axis=-1).max() <= 20
    mask = np.zeros((64, 60), int)
    stroke = simulate("scribbles", ELLIPSE[None].astype(np.uint8))
    mask[tuple(stroke.centre[stroke.kind == 1].astype(int).T)] = 1
    assert connected(mask, np.ones((3, 3)))[1] == 1


KINDS = ["ellipse_mid_slice", "clicks_dins", "boxes", "scribbles", "clicks_deepigeos"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shape", [(1, 20, 22), (1, 20, 22, 8)])
def test_a_label_without_a_target_gives_no_prompt(kind: str, shape: tuple[int, ...]) -> None:
    table = SimulatePrompts(kind)(np.zeros(shape, np.uint8))
    assert tuple(table.shape) == (0, 2 * len(shape) - 1)


@pytest.mark.parametrize("kind", KINDS)
def test_one_seed_gives_one_user(kind: str) -> None:
    first, again, other = (np.asarray(SimulatePrompts(kind).set_random_state(s)(VOLUME)) for s in (3, 3, 4))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


@pytest.mark.parametrize("frame", ["RAS", "LPS"])
@pytest.mark.parametrize("kind", ["ellipse_mid_slice", "boxes"])
def test_world_prompts_are_the_voxel_prompts_in_mm(kind: str, frame: str) -> None:
    label = MetaTensor(torch.from_numpy(VOLUME), affine=AFFINE)  # voxel axes are -x, z, -y with 2, 3, 5 mm
    voxel = read_prompts(SimulatePrompts(kind).set_random_state(1)(label), 3)
    world = read_prompts(SimulatePrompts(kind, frame).set_random_state(1)(label), 3)
    np.testing.assert_allclose(world_to_voxel(world.centre, AFFINE.numpy(), frame), voxel.centre, atol=1e-4)
    np.testing.assert_allclose(world.extent, voxel.extent[:, [0, 2, 1]] * [2, 5, 3], rtol=1e-5)


def test_the_prediction_of_a_sample_is_taken_by_its_key() -> None:
    transform = SimulatePromptsd("label", "clicks_deepigeos", target=2, pred_key="pred")
    assert transform({"label": VOLUME, "pred": VOLUME})["label_prompts"].shape == (0, 7)
    with pytest.raises(KeyError, match="no item 'pred' with the prediction"):
        transform({"label": VOLUME})


def test_one_voxel_wide_objects_have_moments_too() -> None:
    line = np.zeros((9, 9), bool)
    line[4, 2:8] = True
    centre, sigma = robust_moments(line)
    np.testing.assert_allclose(centre, [4, 4.5])
    np.testing.assert_allclose(sigma, [1.4826 * 0.25, 1.4826 * 1.5])
