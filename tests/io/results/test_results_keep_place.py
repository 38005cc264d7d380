"""Masks keep their place in the patient on the way to DICOM and back, whatever the order of their axes."""

from __future__ import annotations

from collections.abc import Callable
from itertools import permutations, product
from pathlib import Path

import numpy as np
import pydicom
import pytest

from medseg.geometry import Grid, flip_lps_ras, make_affine
from medseg.io.bounded.errors import DataError
from medseg.io.results.rtstruct_read import read_rtstruct
from medseg.io.results.rtstruct_write import write_rtstruct
from medseg.io.results.seg_read import read_seg
from medseg.io.results.seg_write import write_seg
from medseg.io.results.source import read_source
from medseg.io.volumes.image import read_image
from tests.io._clinical import (
    SPACING,
    TILTS,
    centroid_ras,
    frame_centroid_lps,
    make_example,
    series_affine,
    store_otherwise,
)
from tests.io._dicom_files import positions, write_series

ORDERS = [(axes, flips) for axes in permutations(range(3)) for flips in product((False, True), repeat=3)]


def polygon_centroid_lps(path: Path, roi: int) -> np.ndarray:
    """Centroid in mm of the area within a structure's contours, slices of equal thickness, by the shoelace formula."""
    (item,) = (entry for entry in pydicom.dcmread(path).ROIContourSequence if entry.ReferencedROINumber == roi)
    total, moment = 0.0, np.zeros(3)
    for contour in item.ContourSequence:
        points = np.array(contour.ContourData, float).reshape(-1, 3)
        origin = points[0]
        # Triangles from the first point: signed areas along the contour's own normal.
        a, b = points[1:-1] - origin, points[2:] - origin
        normal = np.cross(a, b)
        reference = normal[np.linalg.norm(normal, axis=1).argmax()]
        reference = reference / np.linalg.norm(reference)
        areas = normal @ reference / 2
        sign = np.sign(areas.sum())
        total += sign * areas.sum()
        moment += sign * (areas[:, None] * (origin + (a + b) / 3)).sum(axis=0)
    return moment / total


@pytest.mark.trap("4.3-15")
@pytest.mark.trap("4.3-20")
@pytest.mark.parametrize("tilt", TILTS)
@pytest.mark.parametrize("signs", list(product((False, True), repeat=3)), ids=lambda s: "".join("+-"[f] for f in s))
def test_centroids_in_mm_survive_all_axis_orders(tmp_path: Path, signs: tuple[bool, ...], tilt: str) -> None:
    for number, axes in enumerate(permutations(range(3))):
        example = make_example(tmp_path / str(number), series_affine(axes, signs, tilt))
        # The mask arrives in an order of its own: a different one for every series.
        mask, affine = store_otherwise(
            example.labels, example.affine_ras, *ORDERS[(7 * (number + 6 * int(np.packbits(signs)[0] >> 5)) + 5) % 48]
        )
        expected = {value: centroid_ras(example.labels == value, example.affine_ras) for value in (1, 2)}
        seg, rt = tmp_path / f"{number}.seg.dcm", tmp_path / f"{number}.rt.dcm"
        write_seg(seg, mask, affine, example.source)
        write_rtstruct(rt, mask, affine, example.source)
        alone, placed = read_seg(seg), read_seg(seg, example.source)
        structures = read_rtstruct(rt, example.source)
        for index, value in enumerate((1, 2)):
            assert flip_lps_ras(frame_centroid_lps(seg, value)) == pytest.approx(expected[value], abs=1e-4)
            assert flip_lps_ras(polygon_centroid_lps(rt, value)) == pytest.approx(expected[value], abs=1e-3)
            for masks in (alone, placed, structures):
                found = centroid_ras(masks.mask(index).astype(bool), masks.affine_ras)
                assert found == pytest.approx(expected[value], abs=1e-4)
        assert np.array_equal(placed.label_map(), structures.label_map())
        assert (placed.label_map() == 1).sum() == (example.labels == 1).sum()


@pytest.mark.parametrize("order", range(0, 48, 5))
def test_a_mask_comes_back_in_its_own_order_voxel_by_voxel(tmp_path: Path, order: int) -> None:
    example = make_example(tmp_path / "ct", series_affine((1, 2, 0), (True, False, False), "oblique"))
    mask, affine = store_otherwise(example.labels, example.affine_ras, *ORDERS[order])
    grid = Grid(affine, (mask.shape[0], mask.shape[1], mask.shape[2]))
    write_seg(tmp_path / "seg.dcm", mask, affine, example.source)
    write_rtstruct(tmp_path / "rt.dcm", mask, affine, example.source)
    assert np.array_equal(read_seg(tmp_path / "seg.dcm", grid).label_map(), mask)
    assert np.array_equal(read_rtstruct(tmp_path / "rt.dcm", grid).label_map(), mask)


def test_a_series_whose_rows_run_upwards_is_not_mirrored(tmp_path: Path) -> None:
    # Column cosine negated: (1, 0, 0), (0, -1, 0), as some scanners write patients who lie on their front.
    example = make_example(tmp_path / "ct", make_affine(SPACING, (40.0, -20.0, 7.0), "LAS"))
    header = example.source.headers[0]
    assert [float(value) for value in header.ImageOrientationPatient] == [1, 0, 0, 0, -1, 0]
    write_seg(tmp_path / "seg.dcm", example.labels, example.affine_ras, example.source)
    top = pydicom.dcmread(tmp_path / "seg.dcm")
    orientation = top.SharedFunctionalGroupsSequence[0].PlaneOrientationSequence[0].ImageOrientationPatient
    assert [float(value) for value in orientation] == [1, 0, 0, 0, -1, 0]
    expected = centroid_ras(example.labels == 2, example.affine_ras)
    assert flip_lps_ras(frame_centroid_lps(tmp_path / "seg.dcm", 2)) == pytest.approx(expected, abs=1e-6)


def real_series(folder: Path, target: Path) -> Path:
    """Copies of real slices whose UIDs had been cleared, with new ones."""
    target.mkdir()
    for number, path in enumerate(sorted(folder.iterdir())):
        data = pydicom.dcmread(path)
        data.StudyInstanceUID, data.SeriesInstanceUID, data.FrameOfReferenceUID = "1.2.3", "1.2.3.4", "1.2.3.5"
        data.SOPInstanceUID = data.file_meta.MediaStorageSOPInstanceUID = f"1.2.3.4.{number}"
        data.save_as(target / path.name)
    return target


def test_a_real_label_map_whose_rows_run_the_other_way_loses_no_voxel(
    real_data: Callable[[str], Path], tmp_path: Path
) -> None:
    folder = real_data("abdomen_totalseg")
    with pytest.raises(DataError, match="no StudyInstanceUID"):
        read_source(folder / "example_ct_dicom")
    source = read_source(real_series(folder / "example_ct_dicom", tmp_path / "ct"))
    image = read_image(folder / "example_seg_dicom.nii.gz")
    labels = np.where(np.isin(image.array, (1, 5, 7)), image.array, 0)
    names = {1: "spleen", 5: "liver", 7: "pancreas"}
    write_seg(tmp_path / "seg.dcm", labels, image.affine_ras, source, names, kind="labelmap")
    write_rtstruct(tmp_path / "rt.dcm", labels, image.affine_ras, source, names)
    grid = Grid(image.affine_ras, (512, 512, 20))
    for masks in (read_seg(tmp_path / "seg.dcm", grid), read_rtstruct(tmp_path / "rt.dcm", grid)):
        assert np.array_equal(masks.label_map(), labels)
    assert np.array_equal(read_seg(tmp_path / "seg.dcm", source).label_map(), labels[:, ::-1])


@pytest.mark.parametrize("name", ["heart_seg", "liver_spine_seg", "liver_spine_gapped_seg", "spine_seg_label5"])
def test_masks_of_a_real_series_come_back_voxel_by_voxel(
    real_data: Callable[[str], Path], tmp_path: Path, name: str
) -> None:
    folder = real_data("dicom_seg_dcmqi")
    source, image = read_source(folder / "ct-3slice"), read_image(folder / f"{name}.nrrd")
    names = {int(value): f"organ {value}" for value in np.unique(image.array) if value > 0}
    written = write_seg(tmp_path / "seg.dcm", image.array, image.affine_ras, source, names)
    write_rtstruct(tmp_path / "rt.dcm", image.array, image.affine_ras, source, names)
    seg, structures = read_seg(tmp_path / "seg.dcm", source), read_rtstruct(tmp_path / "rt.dcm", source)
    for index, value in enumerate(written):
        assert np.array_equal(seg.mask(index), image.array == value)
        assert np.array_equal(structures.mask(index), image.array == value)


@pytest.mark.trap("4.3-14")
def test_results_on_a_tilted_gantry_lie_on_its_slices(tmp_path: Path) -> None:
    tilted = [(x, y + 0.67 * k, z) for k, (x, y, z) in enumerate(positions(4))]
    write_series(tmp_path / "ct", tilted, FrameOfReferenceUID="1.2.9")
    source = read_source(tmp_path / "ct")
    labels = np.zeros(source.shape, dtype=np.uint8)
    labels[1:4, 2:5, 1:4] = 1
    write_seg(tmp_path / "seg.dcm", labels, source.affine_ras, source)
    write_rtstruct(tmp_path / "rt.dcm", labels, source.affine_ras, source)
    for masks in (read_seg(tmp_path / "seg.dcm"), read_seg(tmp_path / "seg.dcm", source)):
        assert centroid_ras(masks.mask(0), masks.affine_ras) == pytest.approx(
            centroid_ras(labels == 1, source.affine_ras), abs=1e-4
        )
    assert np.array_equal(read_rtstruct(tmp_path / "rt.dcm", source).label_map(), labels)
