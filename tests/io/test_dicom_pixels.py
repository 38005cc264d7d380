from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from medseg.io.dicom_pixels import SliceDecoder, decode_slice
from medseg.io.dicom_scan import SliceHeader, scan_folder
from medseg.io.errors import DataError
from tests.io.dicom_files import make_slice, positions
from tests.io.enhanced_files import write_enhanced


def _header(folder: Path, stored: np.ndarray, slope: str, intercept: str) -> SliceHeader:
    data = make_slice(stored, (0, 0, 0), RescaleSlope=slope, RescaleIntercept=intercept)
    data.save_as(folder / "a", enforce_file_format=True)
    return scan_folder(folder).series[0].headers[0]


@pytest.mark.parametrize("dtype", [np.int16, np.uint16])
@pytest.mark.parametrize(
    ("slope", "intercept"), [("1", "-1024"), ("-1", "0"), ("3", "17"), ("0.5", "-1000"), ("1.25", "0.3"), ("0", "5")]
)
def test_rescaling_equals_the_formula_in_double_precision(
    tmp_path: Path, dtype: type[np.integer], slope: str, intercept: str
) -> None:
    low = -8000 if dtype is np.int16 else 0
    stored = np.random.default_rng(0).integers(low, 10000, (9, 7)).astype(dtype)
    found = decode_slice(_header(tmp_path, stored, slope, intercept))
    exact = stored.astype(np.float64) * float(slope) + float(intercept)
    assert np.array_equal(found.hu, np.rint(exact).T)
    assert found.rounding == pytest.approx(np.abs(exact - np.rint(exact)).max())


@pytest.mark.parametrize(("slope", "intercept"), [("16000", "0"), ("-16000", "500000000"), ("1e9", "0"), ("1", "1e11")])
def test_values_beyond_sixteen_bits_are_refused_and_never_wrap_around(
    tmp_path: Path, slope: str, intercept: str
) -> None:
    stored = np.full((4, 4), 65535, np.uint16)
    with pytest.raises(DataError, match=r"expected -32768 to 32767") as caught:
        decode_slice(_header(tmp_path, stored, slope, intercept))
    assert f"{65535 * float(slope) + float(intercept):g}" in str(caught.value)


def test_a_decoder_gives_frames_in_any_order(tmp_path: Path) -> None:
    write_enhanced(tmp_path / "a.dcm", positions(4))
    headers = scan_folder(tmp_path).series[0].headers
    decoder = SliceDecoder()
    for k in (2, 0, 3, 3, 1):
        assert np.array_equal(decoder.decode(headers[k]).hu, decode_slice(headers[k]).hu)
