"""Segmentations in NRRD keep names, labels and overlaps; what contradicts itself is one line."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from medseg.io.bounded.errors import DataError
from medseg.io.results.seg_nrrd import read_seg_nrrd, write_seg_nrrd
from medseg.io.volumes.image import read_image
from medseg.io.volumes.nrrd import write_nrrd
from tests.io._image_files import SHAPE, nrrd_header, oblique_affine


def boxes(*bounds: tuple[int, int]) -> np.ndarray:
    """Masks that fill slabs of the first axis."""
    masks = np.zeros((len(bounds), *SHAPE), bool)
    for mask, (first, last) in zip(masks, bounds, strict=True):
        mask[first:last, 1:4, 2:6] = True
    return masks


def write_by_hand(path: Path, layers: np.ndarray, pairs: dict[str, str], list_axis: int = 0) -> Path:
    """A segmentation with the given key-value pairs; ``layers`` is [layer, i, j, k]."""
    texts = {"sizes": [str(n) for n in SHAPE], "kinds": ["domain"] * 3}
    texts["space directions"] = ["(1,0,0)", "(0,1,0)", "(0,0,1)"]
    for key, item in (("sizes", str(len(layers))), ("kinds", "list"), ("space directions", "none")):
        texts[key].insert(list_axis, item)
    header = nrrd_header(
        dimension="4", type="uchar", encoding="gzip", **{key: " ".join(items) for key, items in texts.items()}
    )
    lines = "".join(f"{key}:={value}\n" for key, value in pairs.items())
    data = np.moveaxis(layers, 0, list_axis).astype(np.uint8).tobytes(order="F")
    path.write_bytes((header[:-1] + lines + "\n").encode() + gzip.compress(data))
    return path


def test_masks_that_do_not_overlap_become_one_label_map(tmp_path: Path) -> None:
    masks = boxes((0, 2), (3, 5))
    path = write_seg_nrrd(tmp_path / "a.seg.nrrd", masks, ["liver", "tumour 1"], oblique_affine())
    found = read_seg_nrrd(path)
    assert [(s.name, s.label_value, s.layer) for s in found.segments] == [("liver", 1, 0), ("tumour 1", 2, 0)]
    assert found.segments[1].extent == (3, 4, 1, 3, 2, 5)
    for segment, mask in zip(found.segments, masks, strict=True):
        np.testing.assert_array_equal(found.mask(segment), mask)
    np.testing.assert_allclose(found.affine_ras, oblique_affine(), rtol=0, atol=1e-14)
    np.testing.assert_array_equal(read_image(path).array, masks[0] + 2 * masks[1])
    assert found.warnings == ()


def test_masks_that_overlap_go_to_layers(tmp_path: Path) -> None:
    masks = boxes((0, 4), (1, 2), (4, 5), (1, 5))
    path = write_seg_nrrd(tmp_path / "a.seg.nrrd", masks, ["a", "b", "c", "d"], oblique_affine(), "RAS")
    found = read_seg_nrrd(path)
    assert [(s.label_value, s.layer) for s in found.segments] == [(1, 0), (2, 1), (3, 0), (4, 2)]
    for segment, mask in zip(found.segments, masks, strict=True):
        np.testing.assert_array_equal(found.mask(segment), mask)
    np.testing.assert_allclose(found.affine_ras, oblique_affine(), rtol=0, atol=1e-14)
    with pytest.raises(DataError, match="3 layers, expected one volume"):
        read_image(path)


def test_layers_are_what_simpleitk_calls_components(tmp_path: Path) -> None:
    sitk = pytest.importorskip("SimpleITK")
    masks = boxes((0, 4), (1, 2))
    image = sitk.ReadImage(str(write_seg_nrrd(tmp_path / "a.seg.nrrd", masks, ["a", "b"], oblique_affine())))
    array = sitk.GetArrayViewFromImage(image)
    np.testing.assert_array_equal(array[..., 0].T, masks[0])
    np.testing.assert_array_equal(array[..., 1].T, 2 * masks[1])
    point = image.TransformIndexToPhysicalPoint((1, 2, 3))
    np.testing.assert_allclose(np.diag([-1, -1, 1]) @ (oblique_affine() @ [1, 2, 3, 1])[:3], point, atol=1e-9)


@pytest.mark.parametrize("list_axis", [0, 3])
def test_tags_colours_and_extents_are_kept(tmp_path: Path, list_axis: int) -> None:
    layers = np.stack([boxes((0, 2))[0] * 7, boxes((1, 3))[0] * 9])
    path = write_by_hand(
        tmp_path / "a.seg.nrrd",
        layers,
        {
            "Segment0_ID": "Segment_1",
            "Segment0_Name": "Läsion",
            "Segment0_LabelValue": "7",
            "Segment0_Layer": "0",
            "Segment0_Extent": "0 1 1 3 2 5",
            "Segment0_Color": "0.5 0.25 1",
            "Segment0_Tags": "TerminologyEntry:Segmentation category~SCT^1^Tissue|Segmentation.Status:completed|",
            "Segment1_ID": "Segment_2",
            "Segment1_LabelValue": "9",
            "Segment1_Layer": "1",
            "Segmentation_MasterRepresentation": "Binary labelmap",
        },
        list_axis,
    )
    first, second = read_seg_nrrd(path).segments
    assert (first.id, first.name, first.label_value, first.layer) == ("Segment_1", "Läsion", 7, 0)
    assert (first.extent, first.colour) == ((0, 1, 1, 3, 2, 5), (0.5, 0.25, 1.0))
    assert first.tags["Segmentation.Status"] == "completed"
    assert first.tags["TerminologyEntry"] == "Segmentation category~SCT^1^Tissue"
    assert (second.name, second.extent, second.tags) == ("Segment_2", (), {})
    found = read_seg_nrrd(path)
    np.testing.assert_array_equal(found.mask(second), boxes((1, 3))[0])


def test_old_files_hold_one_segment_a_layer(tmp_path: Path) -> None:
    masks = boxes((0, 4), (1, 2))
    found = read_seg_nrrd(write_by_hand(tmp_path / "a.seg.nrrd", masks, {"Segment0_Name": "a", "Segment1_Name": "b"}))
    assert [(s.name, s.label_value, s.layer) for s in found.segments] == [("a", 1, 0), ("b", 1, 1)]
    np.testing.assert_array_equal(found.mask(found.segments[1]), masks[1])


def test_labels_that_no_segment_names_are_said(tmp_path: Path) -> None:
    layers = np.stack([boxes((0, 2))[0] * 7, boxes((1, 3))[0] * 9])
    pairs = {"Segment0_Name": "a", "Segment0_LabelValue": "7", "Segment0_Layer": "0"}
    found = read_seg_nrrd(write_by_hand(tmp_path / "a.seg.nrrd", layers, pairs))
    assert found.warnings == ("layer 1 holds labels that no segment names: 9",)


@pytest.mark.parametrize(
    ("pairs", "words"),
    [
        ({}, "entries found: none"),
        ({"Segment1_Name": "b"}, "found: numbers 1; expected 0, 1, 2"),
        ({"Segment0_LabelValue": "1", "Segment0_Layer": "2"}, r"Segment0_Layer is 2, but the image has 2 layer\(s\)"),
        ({"Segment0_LabelValue": "0"}, "Segment0_LabelValue is 0, expected 1 to"),
        ({"Segment0_LabelValue": "one"}, "Segment0_LabelValue holds 'one', expected a whole number"),
        ({"Segment0_Name": "a", "Segment0_Extent": "1 2"}, "Segment0_Extent holds 2 values, expected 6"),
        ({"Segment0_Name": "a", "Segment0_Color": "1 2 nan"}, "Segment0_Color holds 'nan'"),
        ({f"Segment{n}_LabelValue": "3" for n in (0, 1)}, "both have label 3 in layer 0"),
        ({f"Segment{n}_Name": "a" for n in (0, 1, 2)}, "Segment2_Layer is 2, but the image has 2"),
    ],
)
def test_segments_that_contradict_the_image_are_one_line(tmp_path: Path, pairs: dict[str, str], words: str) -> None:
    with pytest.raises(DataError, match=words) as caught:
        read_seg_nrrd(write_by_hand(tmp_path / "a.seg.nrrd", boxes((0, 1), (2, 3)), pairs))
    assert "\n" not in str(caught.value)


def test_voxels_that_are_no_labels_are_refused(tmp_path: Path) -> None:
    path = write_nrrd(tmp_path / "a.seg.nrrd", np.zeros(SHAPE, np.float32), np.eye(4))
    with pytest.raises(DataError, match="voxels have type float32, expected whole numbers"):
        read_seg_nrrd(path)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"path": "a.nrrd"}, r"ends in \.seg\.nrrd"),
        ({"masks": boxes((0, 1)).astype(np.uint8)}, "masks have type uint8"),
        ({"masks": boxes((0, 1))[0]}, "expected bool .segment, i, j, k."),
        ({"names": ["a", "b"]}, "2 names for 1 masks"),
        ({"names": ["a\nSegment1_Name:=b"]}, "expected one printable line"),
        ({"names": [""]}, "expected one printable line"),
        ({"tags": [{"a|b": "c"}]}, "without '|'"),
    ],
)
def test_what_the_format_cannot_hold_is_not_written(tmp_path: Path, change: dict[str, Any], words: str) -> None:
    given: dict[str, Any] = {"path": "a.seg.nrrd", "masks": boxes((0, 1)), "names": ["a"], "tags": None, **change}
    given["path"] = tmp_path / given["path"]
    with pytest.raises(ValueError, match=words):
        write_seg_nrrd(affine_ras=np.eye(4), **given)
    assert not list(tmp_path.iterdir())


def test_tags_are_written_and_read_back(tmp_path: Path) -> None:
    tags = [{"TerminologyEntry": "SCT^10200004^Liver"}, {}]
    masks = boxes((0, 1), (2, 3))
    path = write_seg_nrrd(tmp_path / "a.seg.nrrd", masks, ["a", "b"], np.eye(4), tags=tags)
    assert [segment.tags for segment in read_seg_nrrd(path).segments] == tags


def test_a_segment_without_a_voxel_is_named(tmp_path: Path) -> None:
    masks = boxes((0, 1), (2, 3))
    masks[1] = False
    found = read_seg_nrrd(write_seg_nrrd(tmp_path / "a.seg.nrrd", masks, ["liver", "lung"], np.eye(4)))
    assert found.warnings == ("'lung': no voxel has its label; its mask is empty",)
