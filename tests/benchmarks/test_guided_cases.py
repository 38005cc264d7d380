"""Cases of the study of guided networks: lesions in livers, and what is known of them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from benchmarks._guided.cases import BENIGN, LIVER, SPACING_MM, TUMOUR, TUMOURS, phantom_cases
from benchmarks._guided.guidance import JITTER, STEADY, every_slice, guide_map, middle_slices
from benchmarks._guided.lesions import APART_HU, GAP_MM, draw_contrast, paint
from benchmarks._guided.painted import painted_cases, real_shapes
from medseg.transforms.texture import RegionHistogram

STEP = np.array(SPACING_MM)


class Ball:
    """A sphere."""

    def __init__(self, radius: float) -> None:
        self.reach_mm = radius

    def signed(self, points: NDArray[np.float32]) -> NDArray[np.float32]:
        return np.linalg.norm(points, axis=0).astype(np.float32) - np.float32(self.reach_mm)


def _liver(shape: tuple[int, int, int] = (40, 40, 20)) -> NDArray[np.bool_]:
    liver = np.zeros(shape, bool)
    liver[2:-2, 2:-2, 1:-1] = True
    return liver


def test_contrasts_are_dark_bright_or_faint_and_never_none() -> None:
    rng = np.random.default_rng(0)
    values = np.array([draw_contrast(rng) for _ in range(2000)])
    assert np.abs(values).min() >= 10
    assert values.min() >= -55 and values.max() <= 50
    assert np.mean(values < -18) == pytest.approx(0.5, abs=0.05)
    assert np.mean(values > 18) == pytest.approx(0.35, abs=0.05)


@pytest.mark.parametrize("seed", range(4))
def test_tumours_share_a_contrast_that_benign_lesions_keep_away_from(seed: int) -> None:
    painted = paint(np.random.default_rng(seed), _liver(), STEP, [Ball(12), Ball(10)], [Ball(12), Ball(11)])
    tumour, benign = painted.offset_hu[painted.tumour], painted.offset_hu[painted.benign]
    # The rim of a small tumour halves the offset over a good part of its volume: the inner half of the voxels decides.
    assert np.median(tumour) == pytest.approx(painted.contrast_hu, abs=max(8.0, 0.3 * abs(painted.contrast_hu)))
    assert abs(np.median(benign) - painted.contrast_hu) > APART_HU / 2
    assert not (painted.tumour & painted.benign).any()


def test_lesions_lie_in_the_liver_clear_of_its_surface_and_of_each_other() -> None:
    liver = _liver()
    painted = paint(np.random.default_rng(1), liver, STEP, [Ball(12), Ball(9)], [Ball(9)])
    lesions = painted.tumour | painted.benign
    assert not (lesions & ~liver).any()
    for axis, step in enumerate(STEP):
        places = np.nonzero(lesions.any(tuple(a for a in range(3) if a != axis)))[0]
        inner = np.nonzero(liver.any(tuple(a for a in range(3) if a != axis)))[0]
        assert min(places[0] - inner[0], inner[-1] - places[-1]) * step >= GAP_MM - step
    apart = np.argwhere(painted.tumour)[:, None] - np.argwhere(painted.benign)
    assert np.linalg.norm(apart * STEP, axis=-1).min() >= GAP_MM - np.linalg.norm(STEP)


def test_a_liver_without_room_is_an_error_and_a_benign_lesion_without_room_is_left_out() -> None:
    with pytest.raises(ValueError, match="no room for a tumour of 200 mm"):
        paint(np.random.default_rng(0), _liver(), STEP, [Ball(100)], [])
    painted = paint(np.random.default_rng(0), _liver(), STEP, [Ball(10)], [Ball(100)])
    assert painted.tumour.any() and not painted.benign.any()


@pytest.fixture(scope="module")
def phantoms() -> list:
    return phantom_cases(3, 2)


def test_a_phantom_has_one_anatomy_and_lesions_of_its_own_for_every_draw(phantoms: list) -> None:
    first, second = phantoms
    assert np.array_equal(first.label > 0, second.label > 0)
    assert not np.array_equal(first.label == TUMOUR, second.label == TUMOUR)
    assert first.contrast_hu != second.contrast_hu
    assert len({case.name for case in phantoms}) == 2
    inner = first.image[first.label == TUMOUR].mean() - np.median(first.image[first.label == LIVER])
    assert np.sign(inner) == np.sign(first.contrast_hu)
    assert TUMOURS[0] >= 1 and BENIGN[0] >= 1


def test_middle_slice_guidance_reads_no_other_slice_of_a_tumour() -> None:
    rng = np.random.default_rng(2)
    image = rng.normal(60, 10, (24, 24, 12)).astype(np.int16)
    organ, tumour = np.ones(image.shape, bool), np.zeros(image.shape, bool)
    tumour[4:9, 4:9, 3:8] = True
    other = image.copy()
    others = [k for k in range(3, 8) if k != 5]
    other[4:9, 4:9, others] += 40
    first, second = middle_slices(image, organ, tumour), middle_slices(other, organ, tumour)
    assert torch.equal(first.appearance[:, 1], second.appearance[:, 1])
    assert torch.equal(first.texture, second.texture)
    true = every_slice(other, organ, tumour)
    assert not torch.equal(true.appearance[3, 1], first.appearance[3, 1])
    assert torch.allclose(every_slice(image, organ, tumour).appearance[5], first.appearance[5])


def test_pooled_histograms_are_those_of_the_pooled_pixels_in_the_tumours_ranges_alone() -> None:
    rng = np.random.default_rng(4)
    image = rng.normal(60, 30, (32, 24, 14)).astype(np.int16)
    organ, tumour = np.ones(image.shape, bool), np.zeros(image.shape, bool)
    tumour[2:6, 2:6, 1:6], tumour[20:29, 10:16, 4:11] = True, True  # middle slices 3 and 7, ranges 1..5 and 4..10
    found = middle_slices(image, organ, tumour)
    pooled = np.concatenate([image[2:6, 2:6, 3].ravel(), image[20:29, 10:16, 7].ravel()]).astype(np.float32)
    whole = RegionHistogram(50, (-100.0, 250.0), soft=True)(pooled[None, None], np.ones((1, 1, pooled.size), bool))
    assert torch.allclose(found.appearance[4, 1], torch.as_tensor(whole)[0], atol=1e-6)
    there = found.appearance[:, 1, 0].sum(-1) > 0
    assert there.nonzero()[:, 0].tolist() == list(range(1, 11))
    assert torch.equal(found.texture[:, -1] > 0, there)
    assert torch.allclose(found.appearance[:, 0].sum(-1), torch.ones(14, 1))


def test_a_guide_map_peaks_in_the_tumour_and_a_careless_user_is_off() -> None:
    tumour = np.zeros((32, 32, 10), bool)
    tumour[10:19, 12:17, 3:6] = True
    steady = guide_map(tumour, STEADY, 0)
    assert np.unravel_index(steady.argmax(), steady.shape) == (14, 14, 4)
    assert steady[tumour].min() > 0.05 and steady[..., 8:].max() < 0.01
    assert np.array_equal(steady, guide_map(tumour, STEADY, 1))
    assert not np.array_equal(guide_map(tumour, JITTER, 0), guide_map(tumour, JITTER, 1))


def test_shapes_of_real_tumours_keep_their_volume(real_data: Callable[[str], Path]) -> None:
    folder = real_data("liver_hcc_medrad")
    shapes = real_shapes(folder)
    assert len(shapes) == 5
    for path, shape in zip(sorted(folder.glob("Patient*/nodule*.nii.gz")), shapes, strict=True):
        image = nib.load(path)
        volume_ml = (np.asarray(image.dataobj) > 0).sum() * np.prod(image.header.get_zooms()) / 1000
        assert (shape <= 0).sum() / 1000 == pytest.approx(volume_ml, rel=0.08)


def test_painted_cases_change_the_real_ct_at_lesions_alone(real_data: Callable[[str], Path]) -> None:
    data = real_data("liver_hcc_medrad").parent
    first, second = painted_cases(data, 2)
    # Whatever both leave alone is the CT: what they differ in lies in or near the liver.
    changed = first.image != second.image
    assert 0 < changed.mean() < 0.02
    liver = first.label > 0
    assert (changed & liver).sum() == changed.sum()
    assert (first.label == TUMOUR).sum() > 10
    assert np.array_equal(liver, second.label > 0)
