"""Masks made on a repaired series go back to the original slices; the oracle searches every voxel in the patient."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pydicom
import pytest
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from medseg.geometry import apply_affine, flip_lps_ras
from medseg.io.bounded.errors import DataError, SeriesChoiceError
from medseg.io.ct.policy import GeometryPolicy
from medseg.io.ct.series import CtSeries, read_series
from medseg.io.results.frames import frame_geometry
from medseg.io.results.repaired import repaired_grid
from medseg.io.results.rtstruct_write import write_rtstruct
from medseg.io.results.seg_read import read_seg
from medseg.io.results.seg_write import write_seg
from medseg.io.results.source import SourceSeries, UnevenSourceError, read_source, source_of
from tests.io._dicom_conformance import violations
from tests.io._dicom_phantom import SPACING, plane_points, tilted, write_phantom

REPAIRS = {
    "tilt": ([2.0 * k for k in range(12)], 15.0, GeometryPolicy(tilt="shear")),
    "steep": ([3.0 * k for k in range(8)], -30.0, GeometryPolicy(tilt="shear")),
    "gap": ([0.0, 2.0, 4.0, 8.0, 10.0, 12.0, 14.0, 18.0, 20.0, 22.0], 0.0, GeometryPolicy(gap="resample")),
    "variable": ([0.0, 2.0, 4.0, 6.0, 8.0, 11.0, 14.0, 17.0, 20.0], 0.0, GeometryPolicy(variable="resample")),
    "both": ([*range(0, 12, 2), 12.0, 15.5, 19.0, 22.5], 12.0, GeometryPolicy("shear", "resample")),
    "split": ([0.0, 2.0, 4.0, 20.0, 22.0, 24.0, 26.0, 28.0], 0.0, GeometryPolicy(gap="split", part=2)),
}


def _ball(series: CtSeries) -> NDArray[np.uint8]:
    return (series.array > 700).astype(np.uint8)


def _case(folder: Path, name: str) -> tuple[CtSeries, SourceSeries]:
    z, degrees, policy = REPAIRS[name]
    write_phantom(folder, [30.0 - z[-1] / 2 + height for height in z], degrees, FrameOfReferenceUID="1.2.9")
    return read_series(folder, policy=policy), read_source(folder, policy=policy)


@pytest.mark.parametrize("name", REPAIRS)
def test_the_source_expects_masks_on_the_grid_that_the_reader_makes(tmp_path: Path, name: str) -> None:
    series, source = _case(tmp_path, name)
    assert source.shape == series.array.shape
    np.testing.assert_allclose(source.affine_ras, series.affine_ras, atol=1e-9)
    assert source.repairs == series.repairs
    again = source_of(series)
    assert again.references == source.references
    np.testing.assert_array_equal(again.affine_ras, source.affine_ras)


@pytest.mark.parametrize("name", REPAIRS)
def test_every_pixel_gets_the_nearest_voxel_and_the_residual_is_the_farthest(tmp_path: Path, name: str) -> None:
    series, source = _case(tmp_path, name)
    mask = _ball(series)
    assert source.repaired is not None
    found = source.repaired.on_slices(mask)
    centres = apply_affine(series.affine_ras, np.argwhere(np.ones(mask.shape, bool)))
    tree = cKDTree(centres)
    farthest = 0.0
    for s, position in enumerate(source.geometry.positions_lps):
        points = flip_lps_ras(plane_points(position, tuple(source.geometry.orientation), source.geometry.shape[::-1]))
        distance, index = tree.query(points.reshape(-1, 3))
        nearest = mask.ravel()[index].reshape(points.shape[:2]).T
        # Where two voxels are equally near either is right: compared where the second one is clearly farther.
        second, _ = tree.query(points.reshape(-1, 3), k=2)
        clear = (second[:, 1] - second[:, 0] > 1e-3).reshape(points.shape[:2]).T
        assert np.array_equal(found[:, :, s][clear], nearest[clear])
        if nearest.any():
            farthest = max(farthest, float(distance.max()))
    residual = source.repaired.residual(mask, "pixels")
    assert residual.largest_mm == pytest.approx(farthest, abs=1e-6)
    assert residual.slices == int(found.any(axis=(0, 1)).sum())
    assert residual.outside == 0


@pytest.mark.parametrize("kind", ["binary", "labelmap"])
@pytest.mark.parametrize("name", REPAIRS)
def test_a_segmentation_lies_on_the_original_frames(tmp_path: Path, name: str, kind: str) -> None:
    series, source = _case(tmp_path / "ct", name)
    write_seg(tmp_path / "s.dcm", _ball(series), series.affine_ras, source, {1: "liver"}, kind=kind)  # type: ignore[arg-type]
    data = pydicom.dcmread(tmp_path / "s.dcm")
    geometry = frame_geometry(data, "s.dcm")
    places = {tuple(position) for position in source.geometry.positions_lps.round(6).tolist()}
    assert {tuple(position) for position in geometry.positions_lps.round(6).tolist()} <= places
    assert geometry.orientation == pytest.approx(np.array(source.geometry.orientation))
    stored = int((data.pixel_array > 0).sum())
    assert source.repaired is not None
    assert stored == int(source.repaired.on_slices(_ball(series)).sum())
    if name in ("gap", "variable"):
        assert "SpacingBetweenSlices" not in data.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0]


def test_a_segmentation_of_a_straightened_tilt_reads_back_on_the_tilted_series(tmp_path: Path) -> None:
    series, source = _case(tmp_path / "ct", "tilt")
    write_seg(tmp_path / "s.dcm", _ball(series), series.affine_ras, source, {1: "liver"})
    masks = read_seg(tmp_path / "s.dcm", read_source(tmp_path / "ct"))
    centre = flip_lps_ras(apply_affine(masks.affine_ras, np.argwhere(masks.mask(0)))).mean(axis=0)
    before = flip_lps_ras(apply_affine(series.affine_ras, np.argwhere(_ball(series)))).mean(axis=0)
    assert centre == pytest.approx(before, abs=0.25)
    assert masks.volume_ml(0) == pytest.approx(int(_ball(series).sum()) * _voxel_ml(series), rel=0.02)


def _voxel_ml(series: CtSeries) -> float:
    return float(abs(np.linalg.det(series.affine_ras[:3, :3]))) / 1000


@pytest.mark.parametrize("name", ["tilt", "steep", "gap", "both"])
def test_contours_keep_their_place_in_the_plane_and_lie_on_original_slices(tmp_path: Path, name: str) -> None:
    series, source = _case(tmp_path / "ct", name)
    mask = _ball(series)
    write_rtstruct(tmp_path / "r.dcm", mask, series.affine_ras, source, {1: "liver"})
    data = pydicom.dcmread(tmp_path / "r.dcm")
    places = {r.instance_uid: p for r, p in zip(source.references, source.geometry.positions_lps, strict=True)}
    normal = np.cross(source.geometry.orientation[:3], source.geometry.orientation[3:])
    farthest = 0.0
    contours = data.ROIContourSequence[0].ContourSequence
    for contour in contours:
        points = np.array(contour.ContourData, float).reshape(-1, 3)
        position = places[contour.ContourImageSequence[0].ReferencedSOPInstanceUID]
        assert (points - position) @ normal == pytest.approx(0, abs=2e-4)
        voxel = apply_affine(np.linalg.inv(series.affine_ras), flip_lps_ras(points))
        assert voxel[:, :2] % 1 == pytest.approx(0.5, abs=2e-3), "borders of the repaired grid's pixels"
        height = float(np.abs(voxel[:, 2] - np.rint(voxel[:, 2])).max()) * float(
            abs(series.affine_ras[:3, 2] @ [0, 0, 1])
        )
        farthest = max(farthest, height / abs(normal[2]) if name == "both" else height)
    assert source.repaired is not None
    residual = source.repaired.residual(mask, "contours")
    assert residual.largest_mm == pytest.approx(farthest, abs=0.01)
    assert residual.slices == len(contours)
    if name in ("tilt", "steep"):
        assert residual.largest_mm < 1e-6


@pytest.mark.parametrize("kind", ["seg", "rtstruct"])
def test_what_is_written_conforms(tmp_path: Path, kind: str) -> None:
    series, source = _case(tmp_path / "ct", "both")
    write = write_seg if kind == "seg" else write_rtstruct
    write(tmp_path / "o.dcm", _ball(series), series.affine_ras, source, {1: "liver"})
    assert violations(pydicom.dcmread(tmp_path / "o.dcm")) == []


def test_several_masks_go_back_one_by_one(tmp_path: Path) -> None:
    series, source = _case(tmp_path / "ct", "tilt")
    stacked = np.stack([_ball(series), (series.array > 900).astype(np.uint8)])
    assert source.repaired is not None
    found = source.repaired.on_slices(stacked)
    assert np.array_equal(found[1], source.repaired.on_slices(stacked[1]))
    write_seg(tmp_path / "s.dcm", stacked, series.affine_ras, source, {1: "liver", 2: "liver tumour"})
    masks = read_seg(tmp_path / "s.dcm", read_source(tmp_path / "ct"))
    assert np.array_equal(masks.mask(1), found[1])


def test_labels_that_no_original_pixel_can_hold_are_counted(tmp_path: Path) -> None:
    series, source = _case(tmp_path, "both")
    assert source.repaired is not None
    residual = source.repaired.residual(np.ones(series.array.shape, np.uint8), "pixels")
    columns, rows = source.geometry.shape
    used = np.unique(source.repaired.planes)
    assert residual.outside >= (series.array.shape[0] * series.array.shape[1] - columns * rows) * len(used)
    assert residual.between == series.array.shape[2] - len(used)
    assert f"{residual.outside} label voxel(s) outside" in residual.describe()


def test_a_mask_on_the_unrepaired_grid_is_refused_beside_a_repair(tmp_path: Path) -> None:
    _, source = _case(tmp_path / "ct", "tilt")
    raw = read_source(tmp_path / "ct")
    with pytest.raises(DataError, match="another grid than the repaired series"):
        write_seg(tmp_path / "s.dcm", np.ones(raw.shape, np.uint8), raw.affine_ras, source)


def test_a_policy_that_finds_nothing_to_repair_changes_nothing(tmp_path: Path) -> None:
    write_phantom(tmp_path, [0.0, 2.0, 4.0], FrameOfReferenceUID="1.2.9")
    source = read_source(tmp_path, policy=GeometryPolicy("shear", "resample"))
    assert source.repaired is None
    assert np.array_equal(source.affine_ras, read_source(tmp_path).affine_ras)


def test_an_uneven_series_without_a_policy_is_refused_and_a_split_one_needs_its_part(tmp_path: Path) -> None:
    write_phantom(tmp_path, [0.0, 2.0, 4.0, 20.0, 22.0, 24.0], FrameOfReferenceUID="1.2.9")
    with pytest.raises(UnevenSourceError, match="only for a complete, even series"):
        read_source(tmp_path)
    with pytest.raises(SeriesChoiceError, match="choose it with --part N"):
        read_source(tmp_path, policy=GeometryPolicy(gap="split"))


def test_copies_are_left_out_of_the_references(tmp_path: Path) -> None:
    paths = write_phantom(tmp_path, [0.0, 2.0, 4.0, 6.0], FrameOfReferenceUID="1.2.9")
    data = pydicom.dcmread(paths[1])
    data.SOPInstanceUID, data.InstanceNumber = "1.2.3.99", 99
    data.save_as(tmp_path / "copy.dcm")
    source = read_source(tmp_path, policy=GeometryPolicy(duplicate="keep-lowest"))
    assert [reference.instance_uid for reference in source.references] == ["1.2.3.1", "1.2.3.2", "1.2.3.3", "1.2.3.4"]


def test_slices_of_any_orientation_find_their_place() -> None:
    """Closed form: a grid moved by whole pixels and a known fraction against each slice."""
    orientation = np.array(tilted(25.0))
    row, column = orientation[:3] * SPACING[1], orientation[3:] * SPACING[0]
    normal = np.cross(orientation[:3], orientation[3:])
    affine = np.eye(4)
    affine[:3, :3] = (np.stack([row, column, 2.0 * normal], axis=1).T * [-1, -1, 1]).T
    places = np.array([2.0 * k * normal + (3.25 * k) * row + (1.5 + k) * column + 0.3 * normal for k in range(4)])
    grid = repaired_grid(affine, (20, 12, 4), places, (5, 4))
    assert grid.planes.tolist() == [0, 1, 2, 3]
    assert grid.corners == pytest.approx(np.array([[3.25 * k, 1.5 + k] for k in range(4)]))
    assert grid.off_mm == pytest.approx([0.3] * 4)


@pytest.mark.parametrize("name", ["tilt", "steep", "gap", "split"])
def test_a_box_of_original_slices_lands_where_the_reader_puts_these_slices(tmp_path: Path, name: str) -> None:
    """What goes onto the grid comes back whole wherever a slice of the grid is one original slice."""
    series, source = _case(tmp_path, name)
    assert source.repaired is not None
    columns, rows = source.repaired.size
    box = np.random.default_rng(0).integers(1, 9, (7, 6, len(source.references) - 2)).astype(np.uint8)
    start = (columns - 9, rows - 8, 1)
    moved, place = source.repaired.from_slices(box, start)
    whole = np.zeros(series.array.shape, np.uint8)
    whole[tuple(slice(a, a + n) for a, n in zip(place, moved.shape, strict=True))] = moved
    back = source.repaired.on_slices(whole)
    shown = [k for k in range(1, len(source.references) - 1) if abs(source.repaired.off_mm[k]) < 0.01]
    assert len(shown) == len(source.references) - 2
    for k in shown:
        assert np.array_equal(back[start[0] : start[0] + 7, start[1] : start[1] + 6, k], box[:, :, k - 1])
        assert back[:, :, k].sum() == box[:, :, k - 1].sum()


@pytest.mark.parametrize("name", ["variable", "both"])
def test_each_slice_of_an_even_grid_shows_the_original_slice_nearest_to_it(tmp_path: Path, name: str) -> None:
    _, source = _case(tmp_path, name)
    assert source.repaired is not None
    count = len(source.references)
    box = np.broadcast_to(np.arange(count, dtype=np.uint8), (1, 1, count))
    moved, (_, _, first) = source.repaired.from_slices(box, (0, 0, 0))
    assert (first, moved.shape[2]) == (0, source.shape[2])
    for k in range(source.shape[2]):
        distance = np.abs(source.repaired.heights - k)
        assert distance[int(moved[:, :, k].max())] == distance.min()


def test_a_box_between_the_slices_of_a_coarser_grid_has_no_slices(tmp_path: Path) -> None:
    _, source = _case(tmp_path, "gap")
    assert source.repaired is not None
    moved, _ = source.repaired.from_slices(np.ones((2, 2, 0), np.uint8), (0, 0, 3))
    assert moved.shape[2] == 0
