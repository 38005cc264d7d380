"""Masks land on the voxels of their scan, whatever the order, direction and tilt of its axes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from nibabel.orientations import axcodes2ornt, io_orientation, ornt_transform

from medseg.geometry import make_affine
from tests.bundles.conftest import TrainedBundle, ball_scan
from tests.io.volumes.test_nifti import geometry_bytes


def tilted(affine: np.ndarray, degrees: float) -> np.ndarray:
    turn, angle = np.eye(4), np.deg2rad(degrees)
    turn[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    return turn @ affine


def save(path: Path, affine: np.ndarray, sform: int, qform: int) -> Path:
    image = nib.Nifti1Image(ball_scan()[0], affine)
    image.set_sform(affine if sform else None, code=sform)
    image.set_qform(affine if qform else None, code=qform)
    nib.save(image, path)
    return path


@pytest.mark.parametrize("codes", [(2, 1), (0, 1), (1, 0)], ids=["codes 2 and 1", "qform only", "sform only"])
def test_the_mask_has_the_scan_s_geometry_bit_for_bit(
    trained: TrainedBundle, infer: Callable[..., Any], tmp_path: Path, codes: tuple[int, int]
) -> None:
    s = trained.spacing_mm
    scan = save(tmp_path / "odd.nii.gz", tilted(make_affine((s * 0.8, s * 1.3, s), (-31, 12, 55), "PSR"), 9), *codes)
    run = infer(input_files=[str(scan)], output_dir=tmp_path / "out")
    assert run.check_properties() == []
    mask, image = nib.load(tmp_path / "out" / "odd_seg.nii.gz"), nib.load(scan)
    assert geometry_bytes(tmp_path / "out" / "odd_seg.nii.gz") == geometry_bytes(scan)
    assert mask.shape == image.shape
    np.testing.assert_array_equal(mask.affine, image.affine)
    assert set(np.unique(np.asanyarray(mask.dataobj))) <= {0, 1}


def test_permuted_and_flipped_axes_give_the_same_mask_in_the_patient(
    trained: TrainedBundle, infer: Callable[..., Any], tmp_path: Path
) -> None:
    plain = save(tmp_path / "plain.nii.gz", make_affine((trained.spacing_mm,) * 3, (5, -8, 30), "RAS"), 1, 1)
    image = nib.load(plain)
    turned = tmp_path / "turned.nii.gz"
    nib.save(image.as_reoriented(ornt_transform(io_orientation(image.affine), axcodes2ornt("IRP"))), turned)
    infer(input_files=[str(plain), str(turned)], output_dir=tmp_path / "out")
    masks = [nib.load(tmp_path / "out" / f"{name}_seg.nii.gz") for name in ("plain", "turned")]
    assert nib.aff2axcodes(masks[1].affine) == ("I", "R", "P")
    first, second = (np.asanyarray(nib.as_closest_canonical(mask).dataobj) for mask in masks)
    assert 0 < first.mean() < 1
    np.testing.assert_array_equal(first, second)


def test_a_real_ct_gets_a_mask_on_its_own_grid(
    infer: Callable[..., Any], tmp_path: Path, real_data: Callable[[str], Path]
) -> None:
    scan = real_data("abdomen_totalseg/example_ct_sm.nii.gz")
    infer(input_files=[str(scan)], output_dir=tmp_path, pixdim=[3.0, 3.0, 3.0], roi_size=[64, 64, 32])
    mask, image = nib.load(tmp_path / "example_ct_sm_seg.nii.gz"), nib.load(scan)
    assert geometry_bytes(tmp_path / "example_ct_sm_seg.nii.gz") == geometry_bytes(scan)
    assert mask.shape == image.shape
    np.testing.assert_array_equal(mask.affine, image.affine)
