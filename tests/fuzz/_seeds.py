"""Valid synthetic inputs of each target, from which the corpus starts: ``python -m tests.fuzz._seeds`` writes them."""

from __future__ import annotations

import gzip
import io
import zlib
from typing import Any

import nibabel as nib
import numpy as np
from pydicom import dcmwrite
from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian, ImplicitVRLittleEndian

from tests.datasets.lidc._messages import message, nodule, non_nodule, roi, square
from tests.fuzz._targets import CORPUS
from tests.io._dicom_files import make_slice, positions, stored_pixels
from tests.io._enhanced_files import make_enhanced
from tests.io._image_files import meta_header, nrrd_header

__all__ = ["all_seeds", "write_seeds"]

_SHAPE = (3, 4, 2)


def all_seeds() -> dict[str, dict[str, bytes]]:
    """Inputs by target and name."""
    return {
        "nifti": _nifti(),
        "metaimage": _metaimage(),
        "nrrd": _nrrd(),
        "lidc_xml": _lidc_xml(),
        "series": _series(),
        "enhanced": _enhanced(),
    }


def write_seeds() -> None:
    """Write all inputs below ``tests/corpus``; what was found by fuzzing and lies there too is left alone."""
    for target, inputs in all_seeds().items():
        (CORPUS / target).mkdir(parents=True, exist_ok=True)
        for name, content in inputs.items():
            (CORPUS / target / name).write_bytes(content)


def _nifti() -> dict[str, bytes]:
    def image(kind: Any = nib.Nifti1Image, dtype: Any = np.int16, endian: str = "<", **fields: Any) -> bytes:
        header = kind.header_class(endianness=endian)
        header.set_data_dtype(dtype)
        made = kind(np.arange(24).reshape(_SHAPE).astype(dtype), np.diag([1.5, 2, 2.5, 1]), header)
        made.header.set_xyzt_units("mm")
        for name, value in fields.items():
            made.header[name] = value
        return bytes(made.to_bytes())

    both = image(sform_code=1, qform_code=1)
    scaled = bytearray(both)
    scaled[112:120] = np.array([0.5, -1024], "<f4").tobytes()
    return {
        "sform": image(sform_code=1, qform_code=0),
        "qform": image(sform_code=0, qform_code=1),
        "both": both,
        "both.gz": gzip.compress(both, mtime=0),
        "scaled": bytes(scaled),
        "big-endian": image(endian=">", sform_code=1),
        "nifti2": image(nib.Nifti2Image, np.float32, sform_code=1),
        "singleton": both[:40] + np.array([4, 3, 4, 2, 1], "<i2").tobytes() + both[50:],
    }


def _metaimage() -> dict[str, bytes]:
    raw = np.arange(24, dtype="<i2").tobytes()
    size = {"DimSize": "3 4 2"}
    packed = zlib.compress(raw)
    return {
        "local": meta_header(**size).encode() + raw,
        "detached": meta_header(ElementDataFile="a.raw").encode(),
        "compressed": meta_header(**size, CompressedData="True", CompressedDataSize=str(len(packed))).encode() + packed,
        "all-fields": meta_header(
            **size,
            CenterOfRotation="0 0 0",
            AnatomicalOrientation="RAI",
            ElementNumberOfChannels="1",
            HeaderSize="0",
            Comment="words = more",
            ElementType="MET_UCHAR",
        ).encode()
        + raw[:24],
        "oblique": meta_header(**size, TransformMatrix="0.8 0.6 0 -0.6 0.8 0 0 0 -1", Offset="-3 2.5e1 .5").encode()
        + raw,
    }


def _nrrd() -> dict[str, bytes]:
    raw = np.arange(24, dtype="<i2").tobytes()
    segments = (
        "Segment0_ID:=S1\nSegment0_Name:=liver\nSegment0_LabelValue:=1\nSegment0_Layer:=0\n"
        "Segment0_Extent:=0 2 0 3 0 1\nSegment0_Color:=1 0.5 0\nSegment0_Tags:=a:b|c:d|\n"
        "Segment1_Name:=tumour\nSegment1_LabelValue:=2\nSegment1_Layer:=1\n"
    )
    layered = nrrd_header(
        type="uchar",
        dimension="4",
        sizes="2 3 4 2",
        kinds="list domain domain domain",
        space_directions="none (1,0,0) (0,1,0) (0,0,1)",
    )
    return {
        "raw": nrrd_header(sizes="3 4 2").encode() + raw,
        "gzip": nrrd_header(sizes="3 4 2", encoding="gzip").encode() + gzip.compress(raw, mtime=0),
        "lps": nrrd_header(sizes="3 4 2", space="left-posterior-superior", space_units='"mm" "mm" "mm"').encode() + raw,
        "layers": (layered[:-1] + segments + "\n").encode() + bytes([0, 1, 2] * 16),
        "detached": nrrd_header(sizes="3 4 2", data_file="a.raw", byte_skip="2").encode(),
    }


def _lidc_xml() -> dict[str, bytes]:
    marks = nodule("A", roi(-10.5, square(20, 30, 1)) + roi(-8, square(20, 30, 1), "FALSE")) + non_nodule("N", 1, 2, 3)
    point = nodule("tiny", roi(4, [(7, 9)]), scores=None)
    return {
        "nodules": message("1.2", marks).encode(),
        "two-readers": message("1.2", point, point).encode(),
        "x-ray": message("1.2", root="IdriReadMessage").encode(),
        "utf-16": message("1.2", point).replace("UTF-8", "UTF-16").encode("utf-16"),
    }


def _series() -> dict[str, bytes]:
    def part10(**tags: Any) -> Any:
        data = make_slice(stored_pixels(2), positions(5)[2], instance=2, SOPInstanceUID="1.2.5", **tags)
        data.file_meta.MediaStorageSOPInstanceUID = "1.2.5"
        return data

    found = {"explicit": _stored(part10()), "other-series": _stored(part10(SeriesInstanceUID="1.2.4", Modality="MR"))}
    for name, syntax in (("implicit", ImplicitVRLittleEndian), ("deflated", DeflatedExplicitVRLittleEndian)):
        data = part10()
        data.file_meta.TransferSyntaxUID = syntax
        found[name] = _stored(data, implicit_vr=syntax == ImplicitVRLittleEndian, little_endian=True)
    data = part10()
    data.file_meta.TransferSyntaxUID = ExplicitVRBigEndian
    data.PixelData = data.PixelData[::-1]  # only the bytes of a word matter here
    found["big-endian"] = _stored(data, implicit_vr=False, little_endian=False, force_encoding=True)
    found["bare"] = found["implicit"][found["implicit"].index(b"\x08\x00\x16\x00") :]
    return found


def _enhanced() -> dict[str, bytes]:
    found = {}
    for name, shared in (("shared", True), ("per-frame", False)):
        data = make_enhanced(positions(3), shared=shared)
        data.SOPInstanceUID = data.file_meta.MediaStorageSOPInstanceUID = "1.2.5"
        found[name] = _stored(data)
    return found


def _stored(data: Any, **options: Any) -> bytes:
    buffer = io.BytesIO()
    dcmwrite(buffer, data, **options)
    return buffer.getvalue()


if __name__ == "__main__":
    write_seeds()
