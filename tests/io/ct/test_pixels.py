from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from pydicom.dataset import FileDataset

from medseg.io.bounded.errors import DataError
from medseg.io.ct.pixels import SliceDecoder
from medseg.io.ct.scan import SliceHeader, list_series
from medseg.io.ct.series import read_series
from tests.io._dicom_files import make_slice, positions, write_series
from tests.io._enhanced_files import write_enhanced


def _header(folder: Path, stored: np.ndarray, slope: str, intercept: str) -> SliceHeader:
    data = make_slice(stored, (0, 0, 0), RescaleSlope=slope, RescaleIntercept=intercept)
    data.save_as(folder / "a", enforce_file_format=True)
    return list_series(folder).series[0].headers[0]


@pytest.mark.parametrize("dtype", [np.int16, np.uint16])
@pytest.mark.parametrize(
    ("slope", "intercept"), [("1", "-1024"), ("-1", "0"), ("3", "17"), ("0.5", "-1000"), ("1.25", "0.3")]
)
def test_rescaling_equals_the_formula_in_double_precision(
    tmp_path: Path, dtype: type[np.integer], slope: str, intercept: str
) -> None:
    low = -8000 if dtype is np.int16 else 0
    stored = np.random.default_rng(0).integers(low, 10000, (9, 7)).astype(dtype)
    found = SliceDecoder().decode(_header(tmp_path, stored, slope, intercept))
    exact = stored.astype(np.float64) * float(slope) + float(intercept)
    assert np.array_equal(found.hu, np.rint(exact).T)
    assert found.rounding == pytest.approx(np.abs(exact - np.rint(exact)).max())


@pytest.mark.parametrize(("slope", "intercept"), [("16000", "0"), ("-16000", "500000000"), ("1e9", "0"), ("1", "1e11")])
def test_values_beyond_sixteen_bits_are_refused_and_never_wrap_around(
    tmp_path: Path, slope: str, intercept: str
) -> None:
    stored = np.full((4, 4), 65535, np.uint16)
    with pytest.raises(DataError, match=r"expected -32768 to 32767") as caught:
        SliceDecoder().decode(_header(tmp_path, stored, slope, intercept))
    assert f"{65535 * float(slope) + float(intercept):g}" in str(caught.value)


@pytest.mark.parametrize("signed", [False, True], ids=["unsigned", "signed"])
def test_bits_above_the_stored_ones_are_no_part_of_the_value(tmp_path: Path, signed: bool) -> None:
    sitk = pytest.importorskip("SimpleITK")
    stored = np.array([[1, 2047, 2048, 4095], [5, 6, 0x7007, 0x1005]], np.uint16)
    for k in range(2):
        data = make_slice(stored, (0, 0, k), BitsStored=12, HighBit=11, PixelRepresentation=int(signed))
        data.save_as(tmp_path / str(k), enforce_file_format=True)
    found = SliceDecoder().decode(list_series(tmp_path).series[0].headers[0]).hu
    image = sitk.ReadImage(str(tmp_path / "0"))
    assert np.array_equal(found, sitk.GetArrayFromImage(image)[0].T)
    assert found[3, 0] == (-1 if signed else 4095) - 1024


def test_padding_beyond_the_stored_bits_is_found_and_reported(tmp_path: Path) -> None:
    stored = np.full((4, 4), 1000, np.uint16)
    stored[0] = 63536
    data = make_slice(stored, (0, 0, 0), BitsStored=12, HighBit=11)
    data.add_new("PixelPaddingValue", "US", 63536)
    data.save_as(tmp_path / "a", enforce_file_format=True)
    found = SliceDecoder().decode(list_series(tmp_path).series[0].headers[0])
    assert (found.padding_raised, found.padding_kept) == (0, 4)


def test_slices_compressed_with_loss_are_mentioned(tmp_path: Path) -> None:
    write_series(tmp_path, positions(3), change=lambda k, d: setattr(d, "LossyImageCompression", "01" if k else "00"))
    assert any(line.startswith("2 of 3 slices were compressed with loss") for line in read_series(tmp_path).warnings)


def test_a_decoder_gives_frames_in_any_order(tmp_path: Path) -> None:
    write_enhanced(tmp_path / "a.dcm", positions(4))
    headers = list_series(tmp_path).series[0].headers
    decoder = SliceDecoder()
    for k in (2, 0, 3, 3, 1):
        assert np.array_equal(decoder.decode(headers[k]).hu, SliceDecoder().decode(headers[k]).hu)


def test_a_slope_of_0_is_refused_since_every_voxel_would_be_the_intercept(tmp_path: Path) -> None:
    write_series(tmp_path, positions(3), RescaleSlope=0)
    with pytest.raises(DataError, match=r"RescaleSlope is 0, so every voxel would be -1024; expected another slope"):
        read_series(tmp_path)


@pytest.mark.parametrize("value", ["NaN", "inf", "1e400", "abc", ""])
@pytest.mark.parametrize("keyword", ["RescaleSlope", "RescaleIntercept"])
def test_a_rescale_that_is_no_number_is_refused_by_name(tmp_path: Path, keyword: str, value: str) -> None:
    paths = write_series(tmp_path, positions(3), **{keyword: 7777})
    for path in paths:
        path.write_bytes(path.read_bytes().replace(b"7777.0", value.ljust(6).encode()))
    with pytest.raises(DataError, match=keyword) as caught:
        read_series(tmp_path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("keyword", "dtype"), [("FloatPixelData", np.float32), ("DoubleFloatPixelData", np.float64)])
def test_pixels_in_an_element_that_is_not_supported_are_not_called_damaged(
    tmp_path: Path, keyword: str, dtype: type
) -> None:
    def store(k: int, data: FileDataset) -> None:
        setattr(data, keyword, np.zeros((data.Rows, data.Columns), dtype).tobytes())
        del data.PixelData
        data.BitsAllocated = 8 * np.dtype(dtype).itemsize

    write_series(tmp_path, positions(3), change=store)
    with pytest.raises(DataError) as caught:
        read_series(tmp_path)
    if keyword == "FloatPixelData":
        assert "its pixels are in the element FloatPixelData, which is not supported" in str(caught.value)
    assert "not supported" in str(caught.value)
    assert "cut off" not in str(caught.value)


@pytest.mark.parametrize("bits", [1, 12, 64])
def test_a_number_of_bits_that_is_not_supported_is_named(tmp_path: Path, bits: int) -> None:
    write_series(tmp_path, positions(3), BitsAllocated=bits)
    with pytest.raises(DataError, match=rf"BitsAllocated is {bits}, which is not supported; expected 8, 16, 32"):
        read_series(tmp_path)
