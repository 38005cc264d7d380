from __future__ import annotations

import numpy as np
import pytest

from medseg.io.ct.codestream import check_codestream, codestream_size


def _encoded(name: str, shape: tuple[int, int]) -> bytes:
    from pydicom.encaps import generate_frames
    from pydicom.uid import UID

    from tests.io._dicom_files import make_slice

    pytest.importorskip("jpeg_ls" if name.endswith(".80") else "openjpeg")
    data = make_slice(np.arange(shape[0] * shape[1], dtype=np.int16).reshape(shape), (0, 0, 0))
    data.compress(UID(name))
    return next(generate_frames(data.PixelData, number_of_frames=1))


@pytest.mark.parametrize("syntax", ["1.2.840.10008.1.2.4.80", "1.2.840.10008.1.2.4.90"], ids=["JPEG-LS", "JPEG 2000"])
@pytest.mark.parametrize("shape", [(70, 300), (64, 33)])
def test_the_size_is_that_of_the_encoded_image(syntax: str, shape: tuple[int, int]) -> None:
    assert codestream_size(_encoded(syntax, shape)) == (*shape, 1)


def test_a_baseline_jpeg_by_pillow(tmp_path) -> None:
    image = pytest.importorskip("PIL.Image")
    image.fromarray(np.zeros((7, 12), np.uint8)).save(tmp_path / "a.jpg")
    assert codestream_size((tmp_path / "a.jpg").read_bytes()) == (7, 12, 1)
    image.fromarray(np.zeros((7, 12, 3), np.uint8)).save(tmp_path / "a.jpg", progressive=True)
    assert codestream_size((tmp_path / "a.jpg").read_bytes()) == (7, 12, 3)


def test_a_jpeg_2000_in_its_file_format_by_pillow(tmp_path) -> None:
    image = pytest.importorskip("PIL.Image")
    image.fromarray(np.zeros((70, 12), np.uint8)).save(tmp_path / "a.jp2")
    assert codestream_size((tmp_path / "a.jp2").read_bytes()) == (70, 12, 1)


def test_other_streams_have_no_size_to_check() -> None:
    assert codestream_size(b"\x01\0\0\0" + bytes(60)) is None
    check_codestream(b"", 5, 6)


@pytest.mark.parametrize(
    "stream",
    [
        b"\xff\xd8",
        b"\xff\xd8\xff\xff\xff\xff",
        b"\xff\xd8\xff\xfe\0\0",
        b"\xff\xd8\xff\xc0\0\x08",
        b"\xff\x4f\xff\x51\0",
    ],
)
def test_streams_that_end_early_are_refused(stream: bytes) -> None:
    with pytest.raises(ValueError, match=r"no frame header|ends within"):
        codestream_size(stream)


def test_any_bytes_end_in_a_size_or_an_error() -> None:
    rng = np.random.default_rng(0)
    starts = (b"\xff\xd8", b"\xff\x4f\xff\x51", b"\xff\xd8\xff\xe0")
    refusals = 0
    for n in range(300):
        try:
            found = codestream_size(starts[n % 3] + rng.integers(0, 256, 50).astype(np.uint8).tobytes())
        except ValueError as error:
            refusals += 1
            assert str(error)
            assert "\n" not in str(error)
        else:
            assert found is None or all(isinstance(value, int) and value >= 0 for value in found)
    assert refusals > 0


def test_another_size_is_named_with_the_headers() -> None:
    frame = _encoded("1.2.840.10008.1.2.4.90", (48, 39))
    check_codestream(frame, 48, 39)
    with pytest.raises(ValueError, match=r"is 48 x 39 with 1 component\(s\), but the header says 39 x 48 with 1"):
        check_codestream(frame, 39, 48)
