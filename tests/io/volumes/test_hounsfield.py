"""The verdict on Hounsfield units: no doubt on a real CT, phantom or stated crop; elsewhere a doubt with its cause."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from medseg.datasets.phantom import Phantom, abdomen_phantom, chest_phantom
from medseg.io.ct.policy import GeometryPolicy
from medseg.io.ct.series import read_series
from medseg.io.volumes import hounsfield
from medseg.io.volumes.hounsfield import hu_verdict
from medseg.io.volumes.nifti import read_nifti

READ: dict[str, Callable[[Path], NDArray]] = {
    "abdomen_totalseg/example_ct.nii.gz": lambda path: read_nifti(path).array,
    "abdomen_totalseg/example_ct_sm.nii.gz": lambda path: read_nifti(path).array,
    "abdomen_totalseg/example_ct_dicom": lambda path: read_series(path).array,
    "lidc/LIDC-IDRI-0001": lambda path: read_series(path, allow_partial=True).array,
    "dicom_tilt_ge": lambda path: read_series(path, policy=GeometryPolicy("shear", "resample")).array,
    "dicom_seg_dcmqi/ct-3slice": lambda path: read_series(path).array,
}
ABDOMEN = "abdomen_totalseg/example_ct_sm.nii.gz"


@cache
def read(name: str, path: Path) -> NDArray:
    return READ[name](path)


@cache
def abdomen() -> NDArray[np.float64]:
    image = abdomen_phantom(1).image.astype(np.float64)
    image.flags.writeable = False
    return image


@cache
def chest() -> NDArray[np.float64]:
    image = chest_phantom(1, spacing_mm=(3, 3, 3)).image.astype(np.float64)
    image.flags.writeable = False
    return image


def crop() -> NDArray[np.float64]:
    """Inside the body of the abdomen: no voxel of air."""
    inside = abdomen()[30:55, 40:60, 30:50]
    assert inside.min() > -500
    return inside


def scaled(image: NDArray[np.float64], low: float, high: float) -> NDArray[np.float64]:
    return low + (high - low) * (image - image.min()) / (image.max() - image.min())


# What may happen to a CT on its way, and the words of the cause. The first three are those that were reported.
WRONG: dict[str, tuple[Callable[[NDArray[np.float64]], NDArray], str]] = {
    "scaled to 0..1": (lambda image: scaled(image, 0, 1), "scaled to 0..1"),
    "constant -1000": (lambda image: np.full_like(image, -1000), "every voxel is -1000; .* the image is empty"),
    "+1024, stored unsigned": (
        lambda image: (image + 1024).clip(0).astype(np.uint16),
        "intercept of -1024 was not applied: add -1024",
    ),
    "+1024": (lambda image: image + 1024, "intercept of -1024 was not applied"),
    "+1000": (lambda image: image + 1000, "intercept of -1024 was not applied"),
    "-1024 twice": (lambda image: image - 1024, "intercept of -1024 was applied twice: add 1024"),
    "constant 0": (np.zeros_like, "every voxel is 0; .* the image is empty"),
    "scaled to -1..1": (lambda image: scaled(image, -1, 1), "scaled to -1..1"),
    "8 bit": (lambda image: scaled(image, 0, 255).astype(np.uint8), "8-bit grey values"),
    "8 bit of a window": (lambda image: scaled(image.clip(-160, 240), 0, 255).astype(np.uint8), "8-bit grey values"),
    "mean 0, deviation 1": (lambda image: (image - image.mean()) / image.std(), "normalised to mean 0"),
    "inverted sign": (lambda image: -image, "sign is inverted: multiply every voxel by -1"),
    "negative values wrapped": (
        lambda image: image.astype(np.int16).astype(np.uint16),
        "stored as unsigned 16-bit: subtract 65536",
    ),
    "grey values 0 to 4095": (
        lambda image: np.random.default_rng(0).integers(0, 4096, image.shape),
        "values run from 0 to 4095, 0 % of the voxels are air .* of another kind",
    ),
    "cut off to a window": (lambda image: image.clip(-160, 240), "it may be cut off"),
    "ten times too large": (lambda image: image * 10, "another unit"),
    "air with noise": (lambda image: np.random.default_rng(0).normal(-1000, 10, image.shape), "shows air alone"),
    "one voxel of 1e30": (lambda image: np.where(image == image.max(), 1e30, image), "values run from .* to 1e\\+30"),
}


@pytest.mark.parametrize("name", READ)
def test_no_doubt_is_raised_on_a_real_ct(name: str, real_data: Callable[[str], Path]) -> None:
    array = read(name, real_data(name))
    for cropped in (False, True):
        assert hu_verdict(array, cropped).doubt() == ""


@pytest.mark.parametrize("name", READ)
def test_real_scans_keep_a_margin_to_every_limit(name: str, real_data: Callable[[str], Path]) -> None:
    """The column "real scans" of the module's table."""
    found = hu_verdict(read(name, real_data(name)))
    assert found.highest - found.lowest > 100 * hounsfield.LEAST_SPAN
    assert found.air > 0.3 > 100 * hounsfield.LEAST_AIR
    assert found.tissue > 0.23 > 40 * hounsfield.LEAST_TISSUE
    assert found.dense < 0.018 < hounsfield.MOST_DENSE / 5
    assert found.below < 1e-4 < hounsfield.MOST_BELOW / 100


@pytest.mark.parametrize(("seed", "noise_hu"), [(0, 0), (2, 20)])
@pytest.mark.parametrize("make", [abdomen_phantom, chest_phantom])
def test_no_doubt_is_raised_on_a_phantom(make: Callable[..., Phantom], seed: int, noise_hu: float) -> None:
    image = make(seed, spacing_mm=(4, 4, 4), noise_hu=noise_hu, supersample=1).image
    assert hu_verdict(image).doubt() == ""


def test_a_crop_without_air_is_doubted_unless_it_is_stated_to_be_one() -> None:
    assert hu_verdict(crop(), cropped=True).doubt() == ""
    assert hu_verdict(crop()).doubt("--cropped").endswith("or state that it is a crop inside the body (--cropped)")


def test_real_crops_without_air_pass_where_they_are_stated(real_data: Callable[[str], Path]) -> None:
    abdomen_crop = read(ABDOMEN, real_data(ABDOMEN))[40:70, 40:60, 5:25]
    assert not hu_verdict(abdomen_crop).plausible and hu_verdict(abdomen_crop, cropped=True).plausible
    with np.load(real_data("lidc_cubes/lidc_cubes_51.npz")) as cubes:
        for stored in cubes["image"]:
            assert hu_verdict(stored / 65535 * 1600 - 1200, cropped=True).doubt() == ""


@pytest.mark.parametrize("kind", WRONG)
@pytest.mark.parametrize("make", [abdomen, chest])
def test_what_cannot_be_hounsfield_units_is_doubted_with_its_cause(
    make: Callable[[], NDArray[np.float64]], kind: str
) -> None:
    change, words = WRONG[kind]
    line = hu_verdict(change(make())).doubt("--cropped")
    assert "expected air near -1000 and soft tissue near 40 HU; " in line
    assert re.search(words, line), line
    assert "\n" not in line and len(line) < 330


@pytest.mark.parametrize("kind", WRONG)
@pytest.mark.parametrize("name", READ)
def test_the_same_holds_for_real_scans(kind: str, name: str, real_data: Callable[[str], Path]) -> None:
    step = (slice(None, None, 3), slice(None, None, 3), slice(None))
    change, _ = WRONG[kind]
    assert not hu_verdict(change(read(name, real_data(name))[step].astype(np.float64))).plausible


@pytest.mark.parametrize(
    "kind", ["scaled to 0..1", "constant -1000", "+1024, stored unsigned", "-1024 twice", "mean 0, deviation 1"]
)
def test_a_stated_crop_is_still_doubted_where_its_values_can_be_no_tissue(kind: str) -> None:
    change, words = WRONG[kind]
    line = hu_verdict(change(crop()), cropped=True).doubt("--cropped")
    assert re.search(words, line), line
    assert "--cropped" not in line


def test_what_a_scanner_writes_outside_its_circle_raises_no_doubt() -> None:
    for padding in (-1500, -2048, -3024, -32768):
        image = chest().copy()
        image[:20], image[-20:] = padding, -2000
        assert hu_verdict(image).doubt() == ""


@pytest.mark.parametrize("dtype", ["i2", ">i2", "i4", "f4", "f8", ">f4"])
def test_the_verdict_does_not_depend_on_type_and_layout(dtype: str) -> None:
    expected = hu_verdict(abdomen())
    array = abdomen().astype(dtype)
    assert hu_verdict(array) == expected
    assert hu_verdict(array[::-1].transpose(2, 0, 1)) == expected


def test_voxels_that_are_not_finite_are_left_out() -> None:
    image = abdomen().copy()
    image[0, 0, :2] = np.nan, np.inf
    found = hu_verdict(image)
    assert found.plausible and (found.lowest, found.highest) == (abdomen().min(), abdomen().max())
    assert hu_verdict(np.full((2, 2, 2), np.nan)).doubt() == "no voxel holds a finite value; mend the file"


def test_a_large_image_is_judged_by_a_part_of_its_voxels(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = hu_verdict(abdomen())
    monkeypatch.setattr(hounsfield, "_SAMPLE", 20_000)
    part = hu_verdict(abdomen())
    assert (part.lowest, part.highest) == (whole.lowest, whole.highest)
    assert (part.air, part.tissue) == pytest.approx((whole.air, whole.tissue), abs=0.02)
    assert part.air != whole.air


def test_the_record_is_plain_json() -> None:
    found = hu_verdict(np.full((3, 3, 3), 7)).record()
    assert (
        found["plausible"] is False and found["stated_crop"] is False and found["doubt"].startswith("every voxel is 7")
    )
    assert {type(value) for value in found.values()} <= {bool, float, str}
    assert hu_verdict(abdomen()).record()["doubt"] is None
