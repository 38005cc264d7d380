"""One CT slice: DICOM pixel data to Hounsfield units."""

from __future__ import annotations

import warnings
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from medseg.io.dicom_scan import SliceHeader
from medseg.io.errors import DataError, UnreadableFileError

__all__ = [
    "AIR_HU",
    "MAX_SIDE",
    "PADDING_RULE",
    "DecodedSlice",
    "check_pixel_format",
    "decode_slice",
    "decoder_name",
    "padding_range",
]

AIR_HU = -1024
"""Hounsfield value given to padding voxels that would lie below it."""

PADDING_RULE = (
    f"voxels holding PixelPaddingValue are raised to {AIR_HU} HU where they would lie below; "
    "every other voxel keeps its rescaled value"
)

MAX_SIDE = 8192
"""Most rows or columns accepted: a guard against headers that declare far more than a CT slice."""

_PACKAGES = (
    (("JPEG 2000", "JPEG2000"), "pylibjpeg pylibjpeg-openjpeg"),
    (("JPEG",), "pylibjpeg pylibjpeg-libjpeg"),
    (("RLE",), "pylibjpeg pylibjpeg-rle"),
)


class DecodedSlice(NamedTuple):
    """One slice in Hounsfield units.

    Attributes:
        hu: int16, shape ``[column, row]``.
        padding_raised: number of padding voxels set to -1024 HU.
        padding_kept: number of padding voxels whose value is above -1024 HU and was left alone.
        rounding: largest change in HU by rounding to whole numbers.
    """

    hu: NDArray[np.int16]
    padding_raised: int
    padding_kept: int
    rounding: float


def check_pixel_format(header: SliceHeader) -> None:
    """Refuse what is not one greyscale CT slice.

    Raises:
        DataError: for multi-frame, colour, MONOCHROME1, burned-in text, or a missing rescale.
    """
    where = header.path
    frames = int(header.get("NumberOfFrames", 1))
    if frames > 1 or header.get("SOPClassUID") == "1.2.840.10008.5.1.4.1.1.2.1":
        raise DataError(
            f"{where}: multi-frame image ({frames} frames), expected one slice a file; export single frames"
        )
    samples = int(header.get("SamplesPerPixel", 1))
    photometric = str(header.get("PhotometricInterpretation", ""))
    if samples != 1 or photometric != "MONOCHROME2":
        raise DataError(
            f"{where}: PhotometricInterpretation {photometric or 'absent'} with {samples} sample(s) a pixel, "
            "expected MONOCHROME2 with 1; this is no CT slice in Hounsfield units"
        )
    if str(header.get("BurnedInAnnotation", "NO")).upper() == "YES":
        raise DataError(
            f"{where}: BurnedInAnnotation is YES, so names may be drawn in the pixels; leave this image out"
        )
    header.numbers("RescaleSlope", 1)
    header.numbers("RescaleIntercept", 1)
    rows, columns = (int(header.numbers(keyword, 1)[0]) for keyword in ("Rows", "Columns"))
    if not (0 < rows <= MAX_SIDE and 0 < columns <= MAX_SIDE):
        raise DataError(
            f"{where}: {rows} rows x {columns} columns, expected 1 to {MAX_SIDE} of each; is this a CT slice?"
        )


def decoder_name(transfer_syntax: str, where: object = "DICOM file") -> str:
    """Which decoder reads a transfer syntax, e.g. ``"pydicom 3.0.2 (pylibjpeg)"``.

    Raises:
        UnreadableFileError: naming the syntax and the packages to install if no decoder is present.
    """
    import pydicom
    from pydicom.pixels import get_decoder
    from pydicom.uid import UID

    uid = UID(transfer_syntax)
    try:
        decoder = get_decoder(uid)
        available, plugins = decoder.is_available, decoder.available_plugins
    except NotImplementedError:
        raise UnreadableFileError(
            f"{where}: transfer syntax {uid.name} ({uid}) is not supported for CT slices"
        ) from None
    if not available:
        package = next((name for keys, name in _PACKAGES if any(key in uid.name for key in keys)), "pylibjpeg")
        raise UnreadableFileError(
            f"{where}: no decoder for transfer syntax {uid.name} ({uid}); install one: pip install {package}"
        )
    return f"pydicom {pydicom.__version__}" + (f" ({', '.join(plugins)})" if plugins else "")


def padding_range(header: SliceHeader) -> tuple[int, int] | None:
    """Stored values that mark padding as (low, high), or None.

    A value written with the wrong sign (63536 in a signed 16-bit image is -2000) is read as the image's own type.
    """
    value = header.get("PixelPaddingValue")
    if value is None:
        return None
    limit = header.get("PixelPaddingRangeLimit", value)
    bits = int(header.get("BitsAllocated", 16))
    signed = int(header.get("PixelRepresentation", 0)) == 1
    ends = sorted(_as_stored(int(end), bits, signed) for end in (value, limit))
    return ends[0], ends[1]


def _as_stored(value: int, bits: int, signed: bool) -> int:
    value &= (1 << bits) - 1
    return value - (1 << bits) if signed and value >= 1 << (bits - 1) else value


def decode_slice(header: SliceHeader) -> DecodedSlice:
    """Decode one slice and rescale it with its own slope and intercept.

    Raises:
        UnreadableFileError: if the pixel data are cut off or cannot be decoded.
        DataError: if the values do not fit 16 bits.
    """
    stored = _stored_pixels(header)
    slope, intercept = header.numbers("RescaleSlope", 1)[0], header.numbers("RescaleIntercept", 1)[0]
    exact = stored.astype(np.float64) * slope + intercept
    whole = np.rint(exact)
    low, high = float(whole.min()), float(whole.max())
    raised = kept = 0
    ends = padding_range(header)
    if ends is not None:
        padding = (stored >= ends[0]) & (stored <= ends[1])
        below = padding & (whole < AIR_HU)
        raised, kept = int(below.sum()), int((padding & (whole > AIR_HU)).sum())
        whole[below] = AIR_HU
        low, high = float(whole.min()), float(whole.max())
    if low < -32768 or high > 32767:
        raise DataError(
            f"{header.path}: Hounsfield values run from {low:g} to {high:g}, expected -32768 to 32767; "
            "check RescaleSlope, RescaleIntercept and PixelRepresentation"
        )
    return DecodedSlice(whole.astype(np.int16).T, raised, kept, float(np.abs(exact - np.rint(exact)).max()))


def _stored_pixels(header: SliceHeader) -> NDArray[Any]:
    import pydicom

    path = header.path
    decoder_name(header.transfer_syntax, path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            data = pydicom.dcmread(path, force=True)
            problem = _missing_bytes(data, header)
            if problem is None:
                if not getattr(data.file_meta, "TransferSyntaxUID", None):
                    data.file_meta.TransferSyntaxUID = pydicom.uid.UID(header.transfer_syntax)
                return np.asarray(data.pixel_array)
    except Exception as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise UnreadableFileError(f"{path}: pixel data cannot be decoded ({reason}); fetch the file again") from error
    raise UnreadableFileError(f"{path}: {problem}; the file is cut off, fetch it again")


def _missing_bytes(data: Any, header: SliceHeader) -> str | None:
    size = header.path.stat().st_size
    if "PixelData" not in data:
        return f"pixel data are absent or incomplete (file of {size} bytes)"
    if _is_compressed(header.transfer_syntax):
        return None
    bits = int(header.numbers("BitsAllocated", 1)[0])
    expected = int(header.numbers("Rows", 1)[0] * header.numbers("Columns", 1)[0]) * bits // 8
    found = len(data.PixelData)
    return f"{found} bytes of pixel data, expected {expected}" if found < expected else None


def _is_compressed(transfer_syntax: str) -> bool:
    """True if the transfer syntax stores pixel data as encapsulated fragments."""
    from pydicom.uid import UID

    uid = UID(transfer_syntax)
    return uid.is_transfer_syntax and uid.is_encapsulated
