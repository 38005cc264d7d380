"""Decode one CT slice: from DICOM pixel data to Hounsfield units."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from medseg.io.bounded.dicom_stream import HEADER_BYTES, open_dicom
from medseg.io.bounded.errors import DataError, UnreadableFileError, os_reason
from medseg.io.ct.codestream import check_codestream
from medseg.io.ct.header import SliceHeader
from medseg.io.privacy.names import shown, shown_reason, shown_term, shown_uid

__all__ = [
    "AIR_HU",
    "MAX_SIDE",
    "PADDING_RULE",
    "DecodedSlice",
    "SliceDecoder",
    "check_pixel_format",
    "cut_off",
    "decoder_name",
    "is_burned_in",
    "padding_range",
    "syntax_uid",
]

AIR_HU = -1024
"""Hounsfield value given to padding voxels that would lie below it."""

PADDING_RULE = (
    f"voxels holding PixelPaddingValue are raised to {AIR_HU} HU where they would lie below; "
    "every other voxel keeps its rescaled value"
)

_BITS = (8, 16, 32)
_OTHER_PIXELS = ("FloatPixelData", "DoubleFloatPixelData")
MAX_SIDE = 8192
"""Largest number of rows or columns: a limit for headers that declare far more than a CT slice has."""

# Syntaxes that are younger than pydicom's own list of names (PS3.6 A).
_NEW_SYNTAXES = {
    "1.2.840.10008.1.2.4.110": "JPEG XL Lossless",
    "1.2.840.10008.1.2.4.111": "JPEG XL JPEG Recompression",
    "1.2.840.10008.1.2.4.112": "JPEG XL",
    "1.2.840.10008.1.2.8.1": "Deflated Image Frame Compression",
}
_IMPLICIT = "1.2.840.10008.1.2"
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


def check_pixel_format(header: SliceHeader, allow_burned_in: bool = False) -> None:
    """Refuse what is not one greyscale CT slice.

    Args:
        header: of the slice.
        allow_burned_in: accept a slice whose header says that text is drawn in its pixels.

    Raises:
        DataError: for frames without a position, colour, MONOCHROME1, burned-in text, a missing rescale, a slope of 0,
            or a number of bits that is not supported.
    """
    where = header.path
    if header.frame_fault:
        raise DataError(header.frame_fault)
    samples = header.integer("SamplesPerPixel", 1)
    photometric = str(header.get("PhotometricInterpretation", ""))
    if samples != 1 or photometric != "MONOCHROME2":
        raise DataError(
            f"{where}: PhotometricInterpretation {shown_term(photometric) or 'absent'} with {samples} sample(s) a "
            "pixel, expected MONOCHROME2 with 1; this is not a CT slice in Hounsfield units"
        )
    if is_burned_in(header) and not allow_burned_in:
        raise DataError(
            f"{where}: BurnedInAnnotation is YES, so names may be drawn in the pixels; leave this image out, or "
            "look at it and add --allow-burned-in"
        )
    for keyword in ("RescaleSlope", "RescaleIntercept"):
        if header.get(keyword) is None:
            raise DataError(
                f"{where}: {keyword} is absent, so the values are not known to be Hounsfield units; if slope and "
                "intercept are known, state them with --assume-rescale SLOPE INTERCEPT"
            )
        header.numbers(keyword, 1)
    if header.numbers("RescaleSlope", 1)[0] == 0:
        intercept = header.numbers("RescaleIntercept", 1)[0]
        raise DataError(
            f"{where}: RescaleSlope is 0, so every voxel would be {intercept:g}; expected another slope, such as 1; "
            "export the series again"
        )
    bits = header.integer("BitsAllocated", 16)
    if bits not in _BITS:
        raise DataError(
            f"{where}: BitsAllocated is {bits}, which is not supported; expected {', '.join(map(str, _BITS))}"
        )
    rows, columns = (int(header.numbers(keyword, 1)[0]) for keyword in ("Rows", "Columns"))
    if not (0 < rows <= MAX_SIDE and 0 < columns <= MAX_SIDE):
        raise DataError(
            f"{where}: {rows} rows x {columns} columns, expected 1 to {MAX_SIDE} of each; is this a CT slice?"
        )


def is_burned_in(header: SliceHeader) -> bool:
    """True if the header says that text is drawn in the pixels."""
    return header.text("BurnedInAnnotation").strip().upper() == "YES"


def decoder_name(transfer_syntax: str, where: object = "DICOM file") -> str:
    """Which decoder reads a transfer syntax, e.g. ``"pydicom 3.0.2 (pylibjpeg)"``.

    Raises:
        UnreadableFileError: naming the syntax and the packages to install if no decoder is present.
    """
    import pydicom
    from pydicom.pixels import get_decoder

    uid = syntax_uid(transfer_syntax)
    try:
        if not uid.is_transfer_syntax:
            raise NotImplementedError
        decoder = get_decoder(uid)
        available, plugins = decoder.is_available, decoder.available_plugins
    except NotImplementedError:
        raise UnreadableFileError(
            f"{where}: transfer syntax {_syntax_name(uid)} is not supported: neither pydicom {pydicom.__version__} nor "
            "a plug-in decodes it; ask for the file in another one, such as Explicit VR Little Endian"
        ) from None
    if not available:
        package = next((name for keys, name in _PACKAGES if any(key in uid.name for key in keys)), "pylibjpeg")
        raise UnreadableFileError(
            f"{where}: no decoder for transfer syntax {uid.name} ({uid}); install one: pip install {package}"
        )
    return f"pydicom {pydicom.__version__}" + (f" ({', '.join(plugins)})" if plugins else "")


def _syntax_name(uid: Any) -> str:
    name = _NEW_SYNTAXES.get(uid, uid.name)
    return shown_uid(uid) if name == uid else f"{name} ({uid})"


def syntax_uid(transfer_syntax: str) -> Any:
    """A transfer syntax as pydicom's UID, without its warning, which quotes text that is not a UID."""
    from pydicom.config import IGNORE
    from pydicom.uid import UID

    return UID(transfer_syntax, IGNORE)


def padding_range(header: SliceHeader) -> tuple[int, int] | None:
    """Stored values that mark padding as (low, high), or None.

    A value written with the wrong sign (63536 in a signed 16-bit image is -2000) is read as the image's own type.
    """
    value = header.get("PixelPaddingValue")
    if value is None:
        return None
    limit = header.get("PixelPaddingRangeLimit", value)
    bits = header.integer("BitsStored", header.integer("BitsAllocated", 16))  # decoding clears the bits above
    if not 0 < bits <= 32:
        raise DataError(f"{header.path}: BitsStored is {bits}, expected 1 to 32")
    signed = header.integer("PixelRepresentation", 0) == 1
    try:
        ends = sorted(_as_stored(int(end), bits, signed) for end in (value, limit))
    except (TypeError, ValueError):
        raise DataError(f"{header.path}: PixelPaddingValue is {shown(value)}, expected one whole number") from None
    return ends[0], ends[1]


def _as_stored(value: int, bits: int, signed: bool) -> int:
    value &= (1 << bits) - 1
    return value - (1 << bits) if signed and value >= 1 << (bits - 1) else value


class SliceDecoder:
    """Decodes slices one after the other and keeps the file read last, so that a multi-frame file is read once."""

    def __init__(self) -> None:
        self._path: Path | None = None
        self._data: Any = None
        self._frames: list[bytes] = []
        self._syntaxes: set[str] = set()

    def decode(self, header: SliceHeader) -> DecodedSlice:
        """Decode one slice and rescale it with its own slope and intercept.

        Raises:
            UnreadableFileError: if the pixel data are cut off or cannot be decoded.
            DataError: if the pixels are stored in an element that is not supported, or the values do not fit 16 bits.
        """
        return _hounsfield(header, self._stored(header))

    def _stored(self, header: SliceHeader) -> NDArray[Any]:
        path = header.path
        if header.transfer_syntax not in self._syntaxes:
            decoder_name(header.transfer_syntax, path)
            self._syntaxes.add(header.transfer_syntax)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                if self._path != path:
                    self._path, self._data, self._frames = None, None, []
                    self._data = _read_data(header)
                    self._path = path
                    _refuse_other_pixels(path, self._data)
                problem = _missing_bytes(self._data, header)
                if problem is None:
                    return self._frame(header)
        except Exception as error:
            if type(error) is DataError:  # what is not supported is not damaged
                raise
            if isinstance(error, OSError) and error.errno:
                raise UnreadableFileError(f"{path}: {os_reason(error, advice=True)}") from error
            raise UnreadableFileError(
                f"{path}: pixel data cannot be decoded ({shown_reason(error)}); fetch the file again"
            ) from error
        raise UnreadableFileError(f"{path}: {problem}; the file is cut off, fetch it again")

    def _frame(self, header: SliceHeader) -> NDArray[Any]:
        from pydicom.encaps import encapsulate
        from pydicom.pixels import get_decoder

        data, index = self._data, max(header.frame - 1, 0)
        rows, columns = (int(header.numbers(keyword, 1)[0]) for keyword in ("Rows", "Columns"))
        if _is_compressed(header.transfer_syntax):
            if not self._frames:
                self._frames = _compressed_frames(data, header.integer("NumberOfFrames", 1))
            check_codestream(self._frames[index], rows, columns)
            # One frame at a time: pydicom would search the whole stream anew for each of them.
            data.PixelData, data.NumberOfFrames, index = encapsulate([self._frames[index]]), 1, 0
            for keyword in ("ExtendedOffsetTable", "ExtendedOffsetTableLengths"):
                data.pop(keyword, None)
        array, _ = get_decoder(data.file_meta.TransferSyntaxUID).as_array(data, index=index)
        if array.shape != (rows, columns):
            raise ValueError(f"decoded to {array.shape}, expected {rows} rows x {columns} columns")
        return np.asarray(array)


def _hounsfield(header: SliceHeader, stored: NDArray[Any]) -> DecodedSlice:
    slope, intercept = header.numbers("RescaleSlope", 1)[0], header.numbers("RescaleIntercept", 1)[0]
    whole, rounding = _rescaled(stored, slope, intercept)
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
    return DecodedSlice(whole.astype(np.int16).T, raised, kept, rounding)


def _rescaled(stored: NDArray[Any], slope: float, intercept: float) -> tuple[NDArray[Any], float]:
    """Whole Hounsfield units and the largest change by rounding; in integers where they are exact."""
    small = stored.dtype.itemsize <= 2 and abs(slope) < 2**14 and abs(intercept) < 2**29
    if small and slope == int(slope) and intercept == int(intercept):
        return stored.astype(np.int32) * np.int32(slope) + np.int32(intercept), 0.0
    exact = stored.astype(np.float64) * slope + intercept
    whole = np.rint(exact)
    return whole, float(np.abs(exact - whole).max())


def _read_data(header: SliceHeader) -> Any:
    import pydicom

    with open_dicom(header.path, HEADER_BYTES + _declared_bytes(header)) as opened:
        data = pydicom.dcmread(opened.stream, force=True)
    if not getattr(data.file_meta, "TransferSyntaxUID", None):
        data.file_meta.TransferSyntaxUID = pydicom.uid.UID(header.transfer_syntax)
    return data


def _compressed_frames(data: Any, count: int) -> list[bytes]:
    from pydicom.encaps import generate_frames

    tables = (data.get("ExtendedOffsetTable"), data.get("ExtendedOffsetTableLengths"))
    frames = generate_frames(data.PixelData, number_of_frames=count, extended_offsets=tables if all(tables) else None)
    found = list(frames)
    if len(found) < count:
        raise ValueError(f"{len(found)} compressed frames, expected {count}")
    return found


def cut_off(header: SliceHeader) -> str | None:
    """Why a file must end before its last pixel, by its size alone; None if it is long enough or that is unknown.

    Args:
        header: of a slice whose format `check_pixel_format` has passed.
    """
    if header.data_bytes < 0 or _is_compressed(header.transfer_syntax):
        return None
    expected = _declared_bytes(header)
    found = max(0, header.data_bytes - (8 if header.transfer_syntax == _IMPLICIT else 12))  # less tag and length
    return f"{found} bytes of pixel data, expected {expected}; the file is cut off" if found < expected else None


def _declared_bytes(header: SliceHeader) -> int:
    bits = header.integer("BitsAllocated", 16)
    frames = header.integer("NumberOfFrames", 1) if header.frame else 1
    return int(header.numbers("Rows", 1)[0] * header.numbers("Columns", 1)[0]) * frames * max(bits, 1) // 8


def _refuse_other_pixels(path: Path, data: Any) -> None:
    """Pixels that are there, but not in PixelData, are not supported; the file is not damaged."""
    found = next((keyword for keyword in _OTHER_PIXELS if keyword in data), None)
    if found is not None and "PixelData" not in data:
        raise DataError(
            f"{path}: its pixels are in the element {found}, which is not supported; expected PixelData: export the "
            "series as a CT image with whole numbers"
        )


def _missing_bytes(data: Any, header: SliceHeader) -> str | None:
    size = header.path.stat().st_size
    if "PixelData" not in data:
        return f"pixel data are absent or incomplete (file of {size} bytes)"
    if _is_compressed(header.transfer_syntax):
        return None
    expected, found = _declared_bytes(header), len(data.PixelData)
    return f"{found} bytes of pixel data, expected {expected}" if found < expected else None


def _is_compressed(transfer_syntax: str) -> bool:
    """True if the transfer syntax stores pixel data as encapsulated fragments."""
    uid = syntax_uid(transfer_syntax)
    return uid.is_transfer_syntax and uid.is_encapsulated
