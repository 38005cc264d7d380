"""Headers that declare more than the file holds or the budget allows are refused before memory is asked for."""

from __future__ import annotations

import gzip
import struct
import zlib
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from medseg.geometry import make_affine
from medseg.io.bounded.errors import DataError, UnreadableFileError
from medseg.io.bounded.limits import BUDGET_VARIABLE, ReadLimits, check_geometry
from medseg.io.volumes.image import read_image, write_image
from tests.io._address_limit import run_limited
from tests.io._image_files import meta_header, nrrd_header, oblique_affine, voxels

_MIB = 1024**2


def nifti_header(shape: tuple[int, int, int], dtype: type = np.float32) -> bytes:
    """352 bytes: a header that declares the shape, without voxels."""
    header = nib.Nifti1Header()
    header.set_data_shape(shape)
    header.set_data_dtype(dtype)
    header.set_sform(np.eye(4), code=1)
    header.set_xyzt_units("mm")
    header["vox_offset"] = 352
    return header.binaryblock + b"\0\0\0\0"


def stored_deflate(size: int) -> bytes:
    """A few hundred KiB of gzip that inflate to ``size`` zeros."""
    packer = zlib.compressobj(6, wbits=31)
    piece = bytes(_MIB)
    return b"".join(packer.compress(piece) for _ in range(size // len(piece))) + packer.flush()


def bombs(folder: Path) -> dict[str, Path]:
    """Small files that ask for gigabytes."""
    nifti, small = nifti_header((2048, 2048, 2048)), nifti_header((4, 4, 4))
    meta = {"DimSize": "2048 2048 1024", "ElementType": "MET_INT"}
    nrrd = {"sizes": "2048 2048 2048", "type": "float"}
    contents = {
        "352-bytes.nii": nifti,
        "63-bytes.nii.gz": gzip.compress(nifti, mtime=0),
        "huge.nii": nifti_header((32767, 32767, 32767)),
        "100-bytes.mhd": meta_header(**meta, ElementDataFile="a.raw").encode(),
        "a.raw": b"",
        "local.mha": meta_header(**meta).encode(),
        "deflated.mha": meta_header(**meta, CompressedData="True").encode() + zlib.compress(bytes(99)),
        "raw.nrrd": nrrd_header(**nrrd).encode(),
        "deflated.nrrd": nrrd_header(**nrrd, encoding="gzip").encode() + gzip.compress(bytes(99)),
        "stuffed.nii.gz": gzip.compress(small) + stored_deflate(192 * _MIB),
        "stuffed.mha": meta_header(CompressedData="True").encode() + zlib.compress(bytes(8 * _MIB)),
        "extension.nii.gz": gzip.compress(small[:108] + struct.pack("<f", 2**31) + small[112:]),
    }
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    return {name: folder / name for name in contents if name != "a.raw"}


def test_small_files_that_declare_gigabytes_are_refused_within_little_memory(tmp_path: Path) -> None:
    files = bombs(tmp_path)
    assert files["352-bytes.nii"].stat().st_size == 352
    assert files["63-bytes.nii.gz"].stat().st_size < 100
    code = """
from medseg.io.bounded.errors import DataError
for path in sys.argv[1:]:
    try:
        medseg.io.volumes.image.read_image(path)
    except DataError as error:
        print(str(error))
"""
    done = run_limited(code, [str(path) for path in files.values()], extra_mib=128)
    assert done.returncode == 0, done.stderr[-2000:]
    lines = done.stdout.splitlines()
    assert len(lines) == len(files)
    for line, path in zip(lines, files.values(), strict=True):
        assert path.name in line or "a.raw" in line
        assert any(words in line for words in ("declares", "holds more bytes than", "vox_offset")), line


def test_the_limit_of_the_test_would_catch_a_reader_that_allocates() -> None:
    done = run_limited("numpy.ones(2**26, numpy.uint8); print('fits'); numpy.ones(2**28, numpy.uint8)", extra_mib=128)
    assert done.stdout == "fits\n"
    assert "MemoryError" in done.stderr


def test_a_compressed_file_that_memory_cannot_hold_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "a.nii.gz"
    path.write_bytes(gzip.compress(nifti_header((512, 512, 512), np.uint8)) + stored_deflate(128 * _MIB))
    code = """
from medseg.io.bounded.errors import DataError
try:
    medseg.io.volumes.image.read_image(sys.argv[1])
except DataError as error:
    print(str(error))
"""
    done = run_limited(code, [str(path)], extra_mib=96)
    assert done.returncode == 0, done.stderr[-2000:]
    assert "a.nii.gz: Unable to allocate 128. MiB" in done.stdout
    assert "use a machine with more memory" in done.stdout


def test_the_default_budget_lets_a_micro_ct_pass_and_names_how_to_raise_it() -> None:
    limits = ReadLimits()
    shape = (1504, 1504, 1500)
    assert limits.check_shape("a.nii", shape, 2) == 6_786_048_000
    limits.check_size("a.nii", shape, 2, stored=6_786_048_000, compressed=False)
    with pytest.raises(DataError, match=f"= 32 GiB, expected at most 16 GiB .* set {BUDGET_VARIABLE} to read it"):
        limits.check_size("a.nii", (2048, 2048, 2048), 4, stored=2**35, compressed=False)
    with pytest.raises(DataError, match="expected at most 16 GiB and 8589934592 voxels"):
        limits.check_size("a.nii", (3000, 3000, 1000), 1, stored=2**30, compressed=True)
    with pytest.raises(DataError, match="expected at most 32768 along an axis"):
        limits.check_shape("a.nii", (32769, 1, 1), 1)
    with pytest.raises(DataError, match="declares 4 x 0 x 4 voxels, expected at least 1"):
        limits.check_shape("a.nii", (4, 0, 4), 1)


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz", "a.mha", "a.nrrd"])
def test_the_budget_comes_from_the_argument_or_the_environment(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_image(tmp_path / name, voxels(), oblique_affine())
    with pytest.raises(DataError, match=r"declares 5 x 6 x 7 voxels of 2 byte\(s\)"):
        read_image(path, ReadLimits(max_bytes=419))
    assert read_image(path, ReadLimits(max_bytes=420)).array.size == 210
    monkeypatch.setenv(BUDGET_VARIABLE, "1e-7")
    with pytest.raises(DataError, match=f"set {BUDGET_VARIABLE}"):
        read_image(path)
    monkeypatch.setenv(BUDGET_VARIABLE, "1e-5")
    assert read_image(path).array.size == 210


@pytest.mark.parametrize("text", ["much", "-1", "0", "nan", "inf"])
def test_a_budget_that_is_no_number_is_named(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv(BUDGET_VARIABLE, text)
    with pytest.raises(DataError, match=f"{BUDGET_VARIABLE} is '{text}', expected a number of GiB such as 32"):
        ReadLimits.from_environment()


def test_limits_of_nothing_are_refused() -> None:
    with pytest.raises(ValueError, match="max_side is 0, expected more than 0"):
        ReadLimits(max_side=0)


def test_a_ratio_may_be_set_below_what_deflate_can_give(tmp_path: Path) -> None:
    path = write_image(tmp_path / "empty-mask.nii.gz", np.zeros((64, 64, 64), np.uint8), np.eye(4))
    assert not read_image(path).array.any()
    with pytest.raises(UnreadableFileError, match="which is more than 50 to 1"):
        read_image(path, ReadLimits(max_ratio=50))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({(0, 0): np.nan}, "holds values that are not finite numbers"),
        ({(1, 3): np.inf}, "holds values that are not finite numbers"),
        ({(3, 0): 1.0}, "last row of the affine is"),
        ({(0, 0): 0.0}, "has a spacing of 0 x 1 x 1 mm"),
        ({(0, 0): 1001.0}, "has a spacing of 1001 x 1 x 1 mm, expected 0.001 to 1000"),
        ({(0, 1): 1.0, (1, 1): 0.0}, "not invertible: its axes lie in a plane"),
        ({(2, 3): 2e6}, "puts the first voxel 2e.06 mm from the origin"),
    ],
)
def test_affines_that_are_no_grid_of_a_scan_are_refused(change: dict[tuple[int, int], float], words: str) -> None:
    affine = np.eye(4)
    for place, value in change.items():
        affine[place] = value
    with pytest.raises(DataError, match=words):
        check_geometry("a.nii", affine)


def test_affines_of_scans_pass_unchanged() -> None:
    for affine in (np.eye(4), oblique_affine(), make_affine((0.1, 0.1, 8.0), (-500, 300, -1700), "LPS")):
        np.testing.assert_array_equal(check_geometry("a.nii", affine), affine)
