"""A checking reader for the loading transforms of MONAI: the same arrays and meta data, and refusals in one line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from monai.transforms import LoadImage

from medseg.io import CheckedNiftiReader
from medseg.io.bounded.one_line import refusal_of

RANDOM = np.random.default_rng(0)
AFFINE = np.array([[-0.7, 0.1, 0, 30], [0.1, 0.7, 0.05, -20], [0, -0.05, 2.5, 5], [0, 0, 0, 1.0]])


def save(path: Path, dtype: type = np.int16, affine: np.ndarray = AFFINE, **header: object) -> Path:
    image = nib.Nifti1Image(RANDOM.integers(0, 100, (6, 7, 5)).astype(dtype), affine)
    for name, value in header.items():
        image.header[name] = value
    nib.save(image, path)
    return path


def load(path: Path, reader: object, dtype: object = None) -> MetaTensor:
    loaded: MetaTensor = LoadImage(reader=reader, dtype=dtype, ensure_channel_first=True)(path)
    return loaded


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.int32, np.float32])
@pytest.mark.parametrize("name", ["ct.nii", "ct.nii.gz"])
def test_arrays_and_meta_data_are_those_of_monais_reader(tmp_path: Path, dtype: type, name: str) -> None:
    path = save(tmp_path / name, dtype, descrip=b"a text", toffset=2.0)
    ours, theirs = load(path, CheckedNiftiReader()), load(path, "NibabelReader")
    assert ours.dtype == theirs.dtype
    assert torch.equal(ours.as_tensor(), theirs.as_tensor())
    assert torch.equal(ours.affine, theirs.affine)
    assert ours.meta.keys() == theirs.meta.keys()
    for key, value in theirs.meta.items():
        np.testing.assert_array_equal(np.asarray(ours.meta[key]), np.asarray(value), err_msg=str(key))


def test_big_endian_and_nifti_2_are_read(tmp_path: Path) -> None:
    data = RANDOM.integers(0, 100, (4, 5, 6)).astype(np.int16)
    nib.save(
        nib.Nifti1Image(data, AFFINE, header=nib.Nifti1Header(endianness=">"), dtype=np.int16), tmp_path / "big.nii"
    )
    nib.save(nib.Nifti2Image(data, AFFINE), tmp_path / "two.nii.gz")
    for name in ("big.nii", "two.nii.gz"):
        # MONAI's own reader makes no tensor of big-endian numbers unless another type is asked for.
        ours, theirs = load(tmp_path / name, CheckedNiftiReader()), load(tmp_path / name, "NibabelReader", np.float32)
        assert ours.dtype == torch.int16
        assert torch.equal(ours.as_tensor().float(), theirs.as_tensor())
        assert torch.equal(ours.affine, theirs.affine)


def test_voxels_that_the_header_scales_are_scaled(tmp_path: Path) -> None:
    data = RANDOM.normal(0, 100, (4, 5, 6))
    image = nib.Nifti1Image(data, AFFINE)
    image.set_data_dtype(np.int16)  # nibabel chooses slope and intercept
    nib.save(image, tmp_path / "scaled.nii.gz")
    ours, theirs = (load(tmp_path / "scaled.nii.gz", reader) for reader in (CheckedNiftiReader(), "NibabelReader"))
    assert (ours.dtype, theirs.dtype) == (torch.float32, torch.float64)
    assert torch.equal(ours.as_tensor(), theirs.as_tensor().float())


def test_several_files_are_channels(tmp_path: Path) -> None:
    paths = [save(tmp_path / f"{number}.nii.gz") for number in range(2)]
    ours, theirs = (LoadImage(reader=reader, dtype=None)(paths) for reader in (CheckedNiftiReader(), "NibabelReader"))
    assert torch.equal(ours.as_tensor(), theirs.as_tensor())


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-30])


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-12] ^= 0x10
    path.write_bytes(bytes(content))


@pytest.mark.parametrize(
    ("damage", "words"),
    [(cut, "may be cut off"), (flip, "damaged|cut off"), (lambda path: path.write_bytes(b""), "not a readable NIfTI")],
)
def test_damage_is_one_line_with_the_file(tmp_path: Path, damage: Callable[[Path], object], words: str) -> None:
    path = save(tmp_path / "ct.nii.gz")
    damage(path)
    with pytest.raises(Exception, match=words) as caught:
        load(path, CheckedNiftiReader())
    assert (refusal_of(caught.value) or "").startswith(f"{path}: ")
    assert "\n" not in (refusal_of(caught.value) or "")
