"""Simulated readings of a chest phantom in the XML form of the LIDC-IDRI data set."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import numpy as np

from medseg.datasets.phantom.ct_writer import WrittenSeries
from medseg.datasets.phantom.model import Phantom, ReaderMask
from medseg.datasets.phantom.outline import Outline, outlines_of
from medseg.datasets.phantom.readers import READERS
from medseg.geometry import apply_affine, direction_of
from medseg.io.bounded.atomic import write_text
from medseg.io.results.identity import uid_of

__all__ = ["check_axial", "write_lidc_xml"]

_RADIOLOGISTS = (100000001, 100000002, 100000003, 100000004)


def check_axial(phantom: Phantom) -> None:
    """Raise ValueError unless the slices are axial: LIDC outlines are told apart by their z position alone."""
    normal = direction_of(phantom.affine_ras)[:, 2]
    if abs(normal[2]) < 1.0 - 1e-8:
        raise ValueError(f"slices run along {np.round(normal, 4).tolist()} (RAS), but LIDC outlines need axial slices")


def write_lidc_xml(path: str | Path, phantom: Phantom, series: WrittenSeries) -> Path:
    """Write the four simulated readings of a chest phantom.

    Every reader has one reading session. Nodules carry the nine characteristics and one closed outline for each region
    and slice (x = column = array axis i, y = row = axis j), through the first pixels outside the nodule; holes are
    outlines with inclusion FALSE. Nodules under 3 mm and non-nodules are single points; those outside the grid are
    left out, as no reader can see them.

    Args:
        path: target file.
        phantom: a chest in axial slices.
        series: the written CT series of this phantom.

    Raises:
        ValueError: if slices are not axial, or an outline leaves the image.
    """
    check_axial(phantom)
    root = ElementTree.Element(
        "LidcReadMessage",
        {
            "uid": uid_of(series.series_uid, "lidc"),
            "xmlns": "http://www.nih.gov",
            "xmlns:xsi": "http://www.w3.org/2001/XMLSchema-instance",
            "xsi:schemaLocation": "http://www.nih.gov http://troll.rad.med.umich.edu/lidc/LidcReadMessage.xsd",
        },
    )
    _add_header(root, series)
    for reader in range(READERS):
        session = ElementTree.SubElement(root, "readingSession")
        _add(session, "annotationVersion", "3.12")
        _add(session, "servicingRadiologistID", _RADIOLOGISTS[reader])
        _add_nodules(session, phantom, series, reader)
        _add_points(session, phantom, series, reader)
    ElementTree.indent(root)
    text = ElementTree.tostring(root, encoding="unicode")
    return write_text(path, f'<?xml version="1.0" encoding="UTF-8"?>\n{text}\n')


def _add(parent: ElementTree.Element, name: str, value: object) -> None:
    ElementTree.SubElement(parent, name).text = str(value)


def _add_header(root: ElementTree.Element, series: WrittenSeries) -> None:
    header = ElementTree.SubElement(root, "ResponseHeader")
    for name, value in (
        ("Version", "1.8.1"),
        ("MessageId", 1),
        ("DateRequest", "2000-01-01"),
        ("TimeRequest", "00:00:00"),
        ("RequestingSite", "synthetic"),
        ("ServicingSite", "synthetic"),
        ("TaskDescription", "Second unblinded read"),
        ("CtImageFile", "synthetic"),
        ("SeriesInstanceUid", series.series_uid),
        ("DateService", "2000-01-01"),
        ("TimeService", "00:00:00"),
        ("ResponseDescription", "1 - Reading complete"),
        ("StudyInstanceUID", series.study_uid),
    ):
        _add(header, name, value)


def _add_nodules(session: ElementTree.Element, phantom: Phantom, series: WrittenSeries, reader: int) -> None:
    marks = [mark for lesion in phantom.lesions for mark in lesion.readers if mark.reader == reader]
    for number, mark in enumerate(marks, start=1):
        nodule = ElementTree.SubElement(session, "unblindedReadNodule")
        _add(nodule, "noduleID", f"Nodule {number:03d}")
        characteristics = ElementTree.SubElement(nodule, "characteristics")
        for name, value in mark.ratings.items():
            _add(characteristics, name, value)
        _add_outlines(nodule, phantom, series, mark)


def _add_outlines(nodule: ElementTree.Element, phantom: Phantom, series: WrittenSeries, mark: ReaderMask) -> None:
    start = np.array([mark.box[0].start, mark.box[1].start])
    for index in range(mark.mask.shape[2]):
        k = mark.box[2].start + index
        for outline in outlines_of(mark.mask[:, :, index]):
            points = outline.points + start
            if points.min() < 0 or np.any(points.max(axis=0) >= phantom.image.shape[:2]):
                raise ValueError(
                    f"a nodule touches the image border on slice {k}, its outline leaves the image; use a larger grid"
                )
            _add_roi(nodule, phantom, series, k, Outline(points, outline.inclusion))


def _add_roi(nodule: ElementTree.Element, phantom: Phantom, series: WrittenSeries, k: int, outline: Outline) -> None:
    roi = ElementTree.SubElement(nodule, "roi")
    _add(roi, "imageZposition", _z_text(phantom, k))
    _add(roi, "imageSOP_UID", series.sop_uids[k])
    _add(roi, "inclusion", "TRUE" if outline.inclusion else "FALSE")
    for x, y in outline.points:
        _add_point(ElementTree.SubElement(roi, "edgeMap"), int(x), int(y))


def _add_point(parent: ElementTree.Element, x: int, y: int) -> None:
    _add(parent, "xCoord", x)
    _add(parent, "yCoord", y)


def _add_points(session: ElementTree.Element, phantom: Phantom, series: WrittenSeries, reader: int) -> None:
    to_voxel = np.linalg.inv(phantom.affine_ras)
    seen = [point for point in phantom.points if reader in point.readers]
    for number, point in enumerate(sorted(seen, key=lambda p: p.kind, reverse=True), start=1):
        voxel = np.rint(apply_affine(to_voxel, point.centre_ras_mm)).astype(int)
        if np.any(voxel < 0) or np.any(voxel >= phantom.image.shape):
            continue
        x, y, k = (int(value) for value in voxel)
        if point.kind == "small-nodule":
            nodule = ElementTree.SubElement(session, "unblindedReadNodule")
            _add(nodule, "noduleID", f"Small nodule {number:03d}")
            _add_roi(nodule, phantom, series, k, Outline(np.array([[x, y]]), True))
            continue
        other = ElementTree.SubElement(session, "nonNodule")
        _add(other, "nonNoduleID", f"Non-nodule {number:03d}")
        _add(other, "imageZposition", _z_text(phantom, k))
        _add(other, "imageSOP_UID", series.sop_uids[k])
        _add_point(ElementTree.SubElement(other, "locus"), x, y)


def _z_text(phantom: Phantom, k: int) -> str:
    return f"{float(phantom.affine_ras[2] @ [0.0, 0.0, k, 1.0]):.6f}"
