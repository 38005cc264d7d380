"""Gabor: responses equal to scikit-image's filter, waves in closed form, masks and millimetres."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from skimage.filters import gabor

from medseg.transforms import Gabor, Gabord
from tests.transforms._menu import AFFINE, MenuCase, TransformMenu, as_metatensor

IMAGE = np.random.default_rng(0).normal(0, 100, (1, 9, 12)).astype(np.float32)


def peer(image: np.ndarray, frequency: float, degrees: float, bandwidth: float = 1) -> np.ndarray:
    """Real and imaginary part by scikit-image."""
    return np.stack(gabor(image.astype(np.float64), frequency, np.radians(degrees), bandwidth, mode="nearest"))


class TestGabor(TransformMenu):
    case = MenuCase(
        array=lambda: Gabor([0.2], [30.0], outputs=("real", "magnitude")),
        dictionary=lambda: Gabord("image", [0.2], [30.0], outputs=("real", "magnitude")),
        data={"image": IMAGE},
        expected=np.stack([peer(IMAGE[0], 0.2, 30)[0], np.hypot(*peer(IMAGE[0], 0.2, 30))]),
        output="image_gabor",
        atol=1e-3,
        errors=(
            (lambda: Gabor([]), r"frequencies is \(\), expected at least one number above 0"),
            (lambda: Gabor([0.1, 0]), r"frequencies is \(0.1, 0\), expected at least one number above 0"),
            (lambda: Gabor(orientations=0), "orientations is 0, expected at least 1"),
            (lambda: Gabor(orientations=[]), r"orientations is \[\], expected a number of them, or angles in degrees"),
            (lambda: Gabor(unit="cm"), "unit is 'cm', expected 'voxel' or 'mm'"),
            (lambda: Gabor(outputs=["phase"]), r"outputs is \['phase'\], expected a list of magnitude, real, imag"),
            (lambda: Gabor(bandwidth=0), "bandwidth is 0, expected a number of octaves above 0"),
            (lambda: Gabor([0.6])(IMAGE), "frequency is 0.6 cycles/voxel, expected at most 0.5: half a cycle a voxel"),
            (lambda: Gabor(unit="mm")(IMAGE), "image is a ndarray without spacing, expected a MetaTensor"),
            (lambda: Gabor(unit="mm")(as_metatensor(IMAGE)), "voxels have sides of 2 and 3 mm in the slice, expected"),
            (lambda: Gabor()(IMAGE[None]), "slice_axis is None but the image has three spatial axes"),
            (lambda: Gabor()(IMAGE, IMAGE), "mask holds values other than 0 and 1"),
            (lambda: Gabord("image", postfix=""), "postfix is '', expected a text"),
        ),
    )


@pytest.mark.parametrize("frequency", [0.08, 0.25, 0.5])
@pytest.mark.parametrize("bandwidth", [0.7, 1.5])
def test_every_voxel_equals_scikit_image(frequency: float, bandwidth: float) -> None:
    image, angles = np.random.default_rng(1).normal(0, 1, (2, 21, 26)), (0, 37, 90, 135)
    maps = Gabor([frequency], angles, outputs=("real", "imag"), bandwidth=bandwidth)(image)
    wanted = [peer(channel, frequency, angle, bandwidth) for channel in image for angle in angles]
    np.testing.assert_allclose(maps, np.concatenate(wanted), atol=1e-12)


@pytest.mark.parametrize("angle", [0, 45, 90, 135])
def test_a_wave_answers_in_the_channel_of_its_frequency_and_direction(angle: int) -> None:
    row, column = np.mgrid[:80, :80]
    theta = np.radians(angle)
    image = 10 * np.cos(2 * np.pi * 0.2 * (column * np.cos(theta) + row * np.sin(theta)))[None]
    make = Gabor((0.1, 0.2, 0.4))
    middle = np.asarray(make(image))[:, 30:50, 30:50]
    best = make.channel_names.index(f"magnitude 0.2 cycles/voxel {angle} deg")
    # Half of a real wave is its positive frequency; the Gaussian is cut at 2.1 (diagonals) to 3 sigmas an axis.
    np.testing.assert_allclose(middle[best], 5, rtol=0.05)
    assert np.delete(middle, best, axis=0).max() < 1.5


def test_channels_run_from_image_over_frequency_and_direction_to_output() -> None:
    make = Gabor((0.2, 0.4), 2, outputs=("imag", "magnitude"))
    assert make.channel_names[:3] == (
        "imag 0.2 cycles/voxel 0 deg",
        "magnitude 0.2 cycles/voxel 0 deg",
        "imag 0.2 cycles/voxel 90 deg",
    )
    assert make.channel_names[4] == "imag 0.4 cycles/voxel 0 deg"
    maps = make(np.concatenate([IMAGE, 2 * IMAGE]))
    assert len(maps) == 2 * len(make.channel_names)
    np.testing.assert_allclose(maps[8:], 2 * maps[:8], rtol=1e-5, atol=1e-3)
    np.testing.assert_allclose(maps[6], peer(IMAGE[0], 0.4, 90)[1], atol=1e-3)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_volume_is_a_stack_of_slices(axis: int) -> None:
    image, mask = np.random.default_rng(2).normal(size=(2, 6, 7, 8)), np.ones((1, 6, 7, 8))
    mask[0, :3, :3, :3] = 0
    maps = np.asarray(Gabor([0.3], 3, slice_axis=axis)(image, mask))
    for n in range(image.shape[1 + axis]):
        flat = Gabor([0.3], 3)(image.take(n, 1 + axis), mask.take(n, 1 + axis))
        np.testing.assert_allclose(maps.take(n, 1 + axis), flat, atol=1e-12)


def test_a_mask_hides_what_lies_outside_and_makes_no_edge() -> None:
    image, mask = np.random.default_rng(3).normal(40, 5, (1, 24, 24)), np.zeros((1, 24, 24))
    mask[0, 6:15, 8:20] = 1
    make = Gabor([0.1, 0.3])
    maps = make(image, mask)
    np.testing.assert_array_equal(make(np.where(mask, image, np.nan), mask), maps)
    assert np.asarray(maps)[:, mask[0] == 0].max() == 0
    flat = np.where(mask, 40.0, -1000)
    whole = np.asarray(make(np.full((1, 24, 24), 40.0)))
    np.testing.assert_allclose(make(flat, mask), whole * mask, atol=1e-12)
    assert np.asarray(make(flat)).max() > 100 * whole.max(), "without the mask its border is the strongest edge"
    np.testing.assert_array_equal(make(image, 0 * mask), 0 * np.asarray(maps))


def test_frequencies_per_millimetre_follow_the_spacing_in_the_slice() -> None:
    affine = torch.diag(torch.tensor([-0.8, 0.8, 5, 1], dtype=torch.float64))
    volume = MetaTensor(torch.randn(1, 12, 12, 3, dtype=torch.float64), affine=affine)
    found = Gabor([0.25], unit="mm", slice_axis=2)(volume)
    torch.testing.assert_close(found.as_tensor(), Gabor([0.2], slice_axis=2)(volume).as_tensor())
    with pytest.raises(ValueError, match=r"frequency is 0\.7 cycles/mm, expected at most 0\.625"):
        Gabor([0.7], unit="mm", slice_axis=2)(volume)
    with pytest.raises(ValueError, match=r"sides of 0\.8 and 5 mm in the slice"):
        Gabor([0.25], unit="mm", slice_axis=0)(volume)
    assert found.affine.equal(affine) and not found.affine.equal(AFFINE)


def test_gradients_are_exact_and_finite_where_there_is_no_wave() -> None:
    image = torch.randn(1, 5, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).requires_grad_()
    mask = torch.ones(1, 5, 6)
    mask[0, 2:4, 1] = 0
    make = Gabor([0.4], 2, outputs=("magnitude", "imag"))
    assert torch.autograd.gradcheck(lambda t: make(t, mask).as_tensor(), (image,))
    empty = torch.zeros(1, 6, 6, requires_grad=True)
    make(empty).sum().backward()
    assert bool(empty.grad.isfinite().all())
