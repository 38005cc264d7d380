from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset

from medseg.geometry import Affine, Grid, flip_lps_ras
from medseg.io.bounded.errors import DataError
from medseg.io.results.rtstruct_masks import structure_masks
from medseg.io.results.rtstruct_read import read_rtstruct, read_structures
from medseg.io.results.rtstruct_write import write_rtstruct
from medseg.io.results.structure_set import StructureSet
from tests.io._clinical import Example, changed, make_example

NAMES = ["BODY", "Areola", "Borders", "Breast", "Heart", "Lt Lung", "Nodes", "Scar", "Tumor Bed", "Tumor Bed Block"]
COUNTS = [141, 0, 2, 48, 33, 165, 4, 6, 18, 24]


@pytest.fixture
def clinical(real_data: Callable[[str], Path]) -> StructureSet:
    return read_structures(real_data("rtstruct_dicompyler") / "rtss.dcm")


def plan_grid(header: Dataset) -> Grid:
    """The grid of the planning CT, of which one slice is at hand: 98 slices of 3 mm, the last at that slice."""
    affine = np.eye(4)
    affine[0, 0] = affine[1, 1] = float(header.PixelSpacing[0])
    affine[2, 2] = 3.0
    affine[:3, 3] = np.array(header.ImagePositionPatient, float) - (0, 0, 97 * 3.0)
    return Grid(flip_lps_ras(affine), (512, 512, 98))


def polygon_area_ml(structures: StructureSet, index: int) -> float:
    """Volume by the shoelace formula, contours within others counted as holes if they turn up so (by size)."""
    total = 0.0
    for contour in structures.rois[index].contours:
        x, y = contour.points_lps[:, :2].T
        total += 0.5 * abs(float(np.sum(x * np.roll(y, -1) - np.roll(x, -1) * y)))
    return total * 3.0 / 1000


def test_all_structures_of_a_clinical_plan_are_listed(clinical: StructureSet) -> None:
    assert [roi.info.name for roi in clinical.rois] == NAMES
    assert [len(roi.contours) for roi in clinical.rois] == COUNTS
    assert clinical.rois[0].info.color_rgb == (154, 155, 100)
    assert clinical.rois[0].info.kind[:2] == ("C44.9", "ICD-O-2")
    assert {roi.info.algorithm_type for roi in clinical.rois} == {"MANUAL"}
    assert len(clinical.source["sop_instance_uids"]) == 98


def test_masks_of_a_clinical_plan_have_the_volumes_of_its_polygons(
    clinical: StructureSet, real_data: Callable[[str], Path]
) -> None:
    header = pydicom.dcmread(real_data("rtstruct_dicompyler") / "ct.0.dcm")
    masks = structure_masks(clinical, plan_grid(header))
    for index, name in enumerate(NAMES):
        if name not in ("BODY", "Lt Lung"):  # these have contours within contours
            # A pixel is counted by its centre: the error is a part of the outline's own pixels.
            assert masks.volume_ml(index) == pytest.approx(polygon_area_ml(clinical, index), rel=0.03, abs=0.02)
    assert not masks.mask(NAMES.index("Areola")).any()
    assert [line.split(":")[0] for line in masks.warnings] == ["'BODY'", "'Areola'", "'Lt Lung'"]
    assert masks.warnings[1] == "'Areola': it has no contours; its mask is empty"


def test_contours_within_contours_are_holes_or_not_as_asked(
    clinical: StructureSet, real_data: Callable[[str], Path]
) -> None:
    grid = plan_grid(pydicom.dcmread(real_data("rtstruct_dicompyler") / "ct.0.dcm"))
    lung = StructureSet((clinical.rois[5],), clinical.source, clinical.path)
    xor, union = (structure_masks(lung, grid, combine) for combine in ("xor", "union"))  # type: ignore[arg-type]
    difference = int(union.mask(0).sum()) - int(xor.mask(0).sum())
    assert f"overlap in {difference} voxels" in xor.warnings[0]
    assert difference == 2793
    assert xor.volume_ml(0) < polygon_area_ml(lung, 0) < union.volume_ml(0) * 1.03


def test_contours_beyond_the_slices_at_hand_are_refused(
    clinical: StructureSet, real_data: Callable[[str], Path]
) -> None:
    header = pydicom.dcmread(real_data("rtstruct_dicompyler") / "ct.0.dcm")
    whole = plan_grid(header)
    one = Grid(whole.affine.copy(), (512, 512, 1))
    with pytest.raises(DataError, match=r"beyond the 1 slices of the grid; give the whole series"):
        structure_masks(clinical, one)


@pytest.fixture
def written(tmp_path: Path) -> tuple[Path, Example]:
    example = make_example(tmp_path / "ct")
    write_rtstruct(tmp_path / "r.dcm", example.labels, example.affine_ras, example.source, {1: "liver", 2: "lung"})
    return tmp_path / "r.dcm", example


def first_contour(data: Dataset) -> Dataset:
    return data.ROIContourSequence[0].ContourSequence[0]


def shift_off_slice(data: Dataset) -> None:
    values = np.array(first_contour(data).ContourData, float).reshape(-1, 3)
    first_contour(data).ContourData = (values + np.array([0, 0, 0.5])).ravel().round(4).tolist()


def tilt(data: Dataset) -> None:
    values = np.array(first_contour(data).ContourData, float).reshape(-1, 3)
    values[:, 2] += np.linspace(0, 3, len(values))
    first_contour(data).ContourData = values.ravel().round(4).tolist()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (shift_off_slice, r"0\.500 mm off the nearest slice \(spacing 2\.500 mm, at most 0\.250 mm"),
        (tilt, "off the nearest slice"),
        (lambda data: setattr(first_contour(data), "ContourData", [1.0, 2.0]), "triples"),
        (lambda data: setattr(first_contour(data), "NumberOfContourPoints", 3), "NumberOfContourPoints is 3"),
        (lambda data: setattr(data.StructureSetROISequence[1], "ROINumber", 1), "two structures have the number 1"),
        (lambda data: setattr(data.ROIContourSequence[1], "ReferencedROINumber", 9), "contours of structure 9"),
    ],
)
def test_contradictions_are_refused_in_one_line(
    written: tuple[Path, Example], change: Callable[[Dataset], None], words: str
) -> None:
    path = changed(written[0], change)
    with pytest.raises(DataError, match=words) as caught:
        read_rtstruct(path, written[1].source)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_another_frame_of_reference_is_refused(written: tuple[Path, Example]) -> None:
    def move(data: Dataset) -> None:
        for item in data.StructureSetROISequence:
            item.ReferencedFrameOfReferenceUID = "1.2.3"

    with pytest.raises(DataError, match=r"frame of reference 1\.2\.3"):
        read_rtstruct(changed(written[0], move), written[1].source)


def test_points_and_open_contours_make_no_mask_and_are_named(written: tuple[Path, Example]) -> None:
    def open_first(data: Dataset) -> None:
        first_contour(data).ContourGeometricType = "OPEN_PLANAR"

    masks = read_rtstruct(changed(written[0], open_first), written[1].source)
    assert "1 contours of type OPEN_PLANAR enclose no area" in masks.warnings[0]
    assert masks.segments[0].box.shape[2] == 1


def test_slices_skipped_between_contours_are_named(tmp_path: Path) -> None:
    labels = np.zeros((9, 7, 5), np.uint8)
    labels[2:5, 2:5, [0, 2, 4]] = 1
    example = make_example(tmp_path / "ct", labels=labels)
    write_rtstruct(tmp_path / "r.dcm", labels, example.affine_ras, example.source, {1: "liver"})
    masks = read_rtstruct(tmp_path / "r.dcm", example.source)
    assert masks.warnings == ("'liver': no contour on slices 1, 3 between others; they were left empty",)


def test_contours_that_reach_beyond_the_image_are_cut_off_and_named(written: tuple[Path, Example]) -> None:
    def widen(data: Dataset) -> None:
        contour = first_contour(data)
        values = np.array(contour.ContourData, float).reshape(-1, 3)
        centre = values.mean(axis=0)
        contour.ContourData = (centre + 9 * (values - centre)).ravel().round(4).tolist()

    masks = read_rtstruct(changed(written[0], widen), written[1].source)
    assert "1 contours reach beyond the image" in masks.warnings[0]


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_contours_are_found_along_whichever_axis_of_the_grid(written: tuple[Path, Example], axis: int) -> None:
    path, example = written
    order = {0: (2, 0, 1), 1: (0, 2, 1), 2: (0, 1, 2)}[axis]
    affine: Affine = example.affine_ras[:, [*order, 3]]
    i, j, k = (example.labels.shape[a] for a in order)
    assert np.array_equal(read_rtstruct(path, Grid(affine, (i, j, k))).label_map(), example.labels.transpose(order))


def test_other_objects_and_rules_are_refused(real_data: Callable[[str], Path], written: tuple[Path, Example]) -> None:
    with pytest.raises(DataError, match="expected an RT Structure Set"):
        read_structures(real_data("rtstruct_dicompyler") / "ct.0.dcm")
    with pytest.raises(DataError, match="xor, union"):
        read_rtstruct(written[0], written[1].source, "both")  # type: ignore[arg-type]
