"""What is fuzzed: each target takes bytes for a file and ends in a value or in one line, whatever the bytes are."""

from __future__ import annotations

import functools
import io
import warnings
from collections.abc import Callable
from pathlib import Path

from medseg.datasets.lidc.xml import read_xml
from medseg.io.ct.scan import list_series
from medseg.io.ct.series import read_series
from medseg.io.results.seg_nrrd import read_seg_nrrd
from medseg.io.volumes.metaimage import read_metaimage
from medseg.io.volumes.nifti import read_nifti
from medseg.io.volumes.nrrd import read_nrrd
from tests.io._dicom_files import make_slice, positions, stored_pixels

__all__ = ["CORPUS", "TARGETS", "outcome"]

CORPUS = Path(__file__).resolve().parents[1] / "corpus"
"""Saved inputs, a folder for each target."""

_LONGEST_LINE = 4000


def outcome(name: str, data: bytes, folder: Path) -> str:
    """Run a target on bytes: ``"read"``, or ``"refused"`` if it ended in one line.

    Args:
        name: a key of ``TARGETS``.
        data: contents of the file.
        folder: an empty folder to write into; it is emptied again.

    Raises:
        AssertionError: if the refusal is longer than one line.
        Exception: whatever the reader raises that is no ValueError.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            TARGETS[name](data, folder)
    except ValueError as error:
        text = str(error)
        assert text and "\n" not in text and len(text) < _LONGEST_LINE, f"no single line: {text[:500]!r}"
        return "refused"
    finally:
        for path in folder.iterdir():
            path.unlink()
    return "read"


def _nifti(data: bytes, folder: Path) -> None:
    path = folder / ("a.nii.gz" if data[:2] == b"\x1f\x8b" else "a.nii")
    path.write_bytes(data)
    volume = read_nifti(path)
    assert volume.array.shape and volume.affine_ras.shape == (4, 4)
    assert all("\n" not in line for line in volume.warnings)


def _metaimage(data: bytes, folder: Path) -> None:
    (folder / "a.raw").write_bytes(bytes(420))
    (folder / "a.mhd").write_bytes(data)
    volume = read_metaimage(folder / "a.mhd")
    assert volume.array.ndim == 3 and all("\n" not in line for line in volume.warnings)


def _nrrd(data: bytes, folder: Path) -> None:
    path = folder / "a.seg.nrrd"
    path.write_bytes(data)
    try:
        found = read_seg_nrrd(path)
    except ValueError:
        read_nrrd(path)
        return
    for segment in found.segments:
        assert found.mask(segment).shape == found.layers.shape[1:]


def _lidc_xml(data: bytes, folder: Path) -> None:
    (folder / "a.xml").write_bytes(data)
    reading = read_xml(folder / "a.xml")
    assert reading.readers >= 0


def _series(data: bytes, folder: Path) -> None:
    """The bytes are the middle one of five slices: a volume without it would have a gap."""
    for k in (0, 1, 3, 4):
        (folder / f"{k}").write_bytes(_neighbour(k))
    (folder / "2").write_bytes(data)
    listing = list_series(folder)
    files = sum(len(entry.headers) for entry in listing.series)
    assert files + listing.other_objects + listing.ignored + len(listing.unreadable) == 5
    series = read_series(folder)
    assert series.array.shape[2] == 5, f"{series.array.shape[2]} of 5 slices were taken for a whole series"


def _enhanced(data: bytes, folder: Path) -> None:
    """The bytes are a whole multi-frame series."""
    (folder / "a").write_bytes(data)
    list_series(folder)
    series = read_series(folder)
    assert series.array.ndim == 3 and series.array.size <= len(data)


@functools.cache
def _neighbour(k: int) -> bytes:
    buffer = io.BytesIO()
    make_slice(stored_pixels(k), positions(5)[k], instance=k).save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


TARGETS: dict[str, Callable[[bytes, Path], None]] = {
    "nifti": _nifti,
    "metaimage": _metaimage,
    "nrrd": _nrrd,
    "lidc_xml": _lidc_xml,
    "series": _series,
    "enhanced": _enhanced,
}
"""The targets by name."""
