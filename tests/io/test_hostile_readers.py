"""Every public reader and writer with legal and unusual contents: the right values, or the package's own line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
import torch

import medseg.io
from medseg.io import (
    list_series,
    load_weights,
    read_image,
    read_nifti,
    read_rtstruct,
    read_seg,
    read_series,
    read_source,
    save_weights,
    write_image,
    write_rtstruct,
    write_seg,
)
from tests._hostile import refused, result_or_refusal
from tests.io._clinical import Example, make_example
from tests.io._dicom_files import make_slice, positions, write_series

TYPES = {"SegmentInfo", "SegmentMasks", "SeriesListing", "SourceSeries", "CtSeries", "DataError", "GeometryPolicy"}
# Its own file walks the reader for MONAI, which passes everything on to `read_nifti`.
TYPES |= {"Image", "NiftiVolume", "CheckedNiftiReader"}
# Where each public function is walked; read_image and write_image also in tests/io/volumes/test_hostile_arrays.py.
WALKED: dict[Callable[..., Any], str] = {
    list_series: "series",
    read_series: "series",
    read_source: "series",
    read_seg: "results",
    read_rtstruct: "results",
    write_seg: "masks",
    write_rtstruct: "masks",
    load_weights: "weights",
    save_weights: "weights",
    read_image: "volumes",
    read_nifti: "volumes",
    write_image: "volumes",
}


def test_every_public_function_has_its_walk() -> None:
    assert {function.__name__ for function in WALKED} == set(medseg.io.__all__) - TYPES


# Series: pixels as they are stored, and further tags.
PIXELS: dict[str, tuple[np.ndarray, dict[str, Any]]] = {
    "constant": (np.zeros((6, 5), np.int16), {}),
    "lowest and highest of 16 bits": (np.array([[-32768, 32767]], np.int16), {"RescaleIntercept": 0}),
    "beyond 16 bits after the rescale": (np.array([[0, 65535]], np.uint16), {"RescaleIntercept": 0}),
    "1 pixel": (np.array([[1000]], np.int16), {}),
    "1 row": (np.arange(5, dtype=np.int16)[None], {}),
    "8 bits": (np.arange(30, dtype=np.uint8).reshape(6, 5), {"BitsAllocated": 8, "BitsStored": 8, "HighBit": 7}),
    "32 bits": (np.arange(30, dtype=np.int32).reshape(6, 5), {"BitsAllocated": 32, "BitsStored": 32, "HighBit": 31}),
    "a small slope": (np.arange(30, dtype=np.int16).reshape(6, 5), {"RescaleSlope": "1e-9"}),
    "a negative slope": (np.arange(30, dtype=np.int16).reshape(6, 5), {"RescaleSlope": "-1", "RescaleIntercept": 0}),
    "a huge slope": (np.arange(30, dtype=np.int16).reshape(6, 5), {"RescaleSlope": "1e11"}),
}


@pytest.mark.parametrize("count", [1, 2, 3])
@pytest.mark.parametrize("kind", PIXELS)
def test_series_give_the_formula_of_the_standard_or_a_refusal(tmp_path: Path, kind: str, count: int) -> None:
    pixels, tags = PIXELS[kind]
    for k, place in enumerate(positions(count)):
        make_slice(pixels, place, instance=k + 1, **tags).save_as(tmp_path / f"{k}", enforce_file_format=True)
    slope, intercept = float(tags.get("RescaleSlope", 1)), float(tags.get("RescaleIntercept", -1024))
    exact = pixels.astype(np.float64) * slope + intercept
    assert len(list_series(tmp_path).series) == 1
    found = result_or_refusal(lambda: read_series(tmp_path))
    if isinstance(found, Exception):
        assert count == 1 or min(pixels.shape) < 2 or np.abs(exact).max() > 32767
    else:
        np.testing.assert_array_equal(found.array, np.repeat(np.rint(exact).T[..., None], count, axis=2))
    source = result_or_refusal(lambda: read_source(tmp_path))
    assert isinstance(source, Exception) or source.shape == (*pixels.shape[::-1], count)


HEADERS: dict[str, dict[str, Any]] = {
    "spacing 0": {"PixelSpacing": [0, 0.7]},
    "negative spacing": {"PixelSpacing": [-0.7, 0.7]},
    "spacing of a kilometre": {"PixelSpacing": [1e6, 1e6]},
    "no orientation": {"ImageOrientationPatient": [0, 0, 0, 0, 0, 0]},
    "axes that are one": {"ImageOrientationPatient": [1, 0, 0, 1, 0, 0]},
    "position far away": {"ImagePositionPatient": [1e9, 0, 0]},
    "no rows": {"Rows": 0},
    "more rows than pixels": {"Rows": 600},
    "three samples": {"SamplesPerPixel": 3, "PhotometricInterpretation": "RGB"},
    "inverted grey": {"PhotometricInterpretation": "MONOCHROME1"},
    "a palette": {"PhotometricInterpretation": "PALETTE COLOR"},
}


@pytest.mark.parametrize("kind", HEADERS)
def test_series_with_a_header_that_is_no_ct_are_refused_in_one_line(tmp_path: Path, kind: str) -> None:
    write_series(tmp_path, positions(3), **HEADERS[kind])
    refused(lambda: read_series(tmp_path))


# Masks: what users give, and whether it can be stored.
def float_labels(labels: np.ndarray) -> np.ndarray:
    return labels.astype(np.float32)


MASKS: dict[str, tuple[Callable[[np.ndarray], Any], bool]] = {
    "float labels": (float_labels, True),
    "float16": (lambda m: m.astype(np.float16), True),
    "bfloat16": (lambda m: torch.from_numpy(m).bfloat16(), True),
    "a tensor with a gradient": (lambda m: torch.from_numpy(m).float().requires_grad_(), True),
    "longdouble": (lambda m: m.astype(np.longdouble), True),
    "big-endian": (lambda m: m.astype(">i2"), True),
    "negative strides": (lambda m: m[::-1].copy()[::-1], True),
    "gaps": (lambda m: np.repeat(m, 2, axis=2)[..., ::2], True),
    "read-only": (lambda m: np.broadcast_to(m, m.shape), True),
    "lists": (lambda m: m.tolist(), True),
    "one label alone": (lambda m: m == 1, True),
    "fractions": (lambda m: m + 0.01, False),
    "NaN": (lambda m: np.where(m == 1, np.nan, m), False),
    "infinite": (lambda m: np.where(m == 1, np.inf, m), False),
    "negative": (lambda m: m.astype(int) - 1, False),
    "too large": (lambda m: m.astype(int) * 40000, False),
    "complex": (lambda m: m.astype(complex), False),
    "text": (lambda m: m.astype(str), False),
    "empty": (lambda m: m[:0], False),
    "two axes": (lambda m: m[..., 0], False),
    "another grid": (lambda m: m[1:], False),
}


@pytest.fixture(scope="module")
def example(tmp_path_factory: pytest.TempPathFactory) -> Example:
    return make_example(tmp_path_factory.mktemp("masks") / "ct")


@pytest.mark.parametrize("kind", MASKS)
@pytest.mark.parametrize("result", ["seg", "rtstruct"])
def test_masks_come_back_as_they_were_or_are_refused(tmp_path: Path, example: Example, result: str, kind: str) -> None:
    make, taken = MASKS[kind]
    mask, path = make(example.labels), tmp_path / "result.dcm"
    write = write_seg if result == "seg" else write_rtstruct

    def there_and_back() -> np.ndarray:
        write(path, mask, example.affine_ras, example.source)
        masks = read_seg(path, example.source) if result == "seg" else read_rtstruct(path, example.source)
        return masks.label_map()

    if taken:
        plain = mask.detach().float().numpy() if isinstance(mask, torch.Tensor) else np.asarray(mask)
        assert np.array_equal(there_and_back(), plain)
    else:
        refused(there_and_back)
        assert not path.exists()


# Results: files that another program wrote, legal but unusual.
def without_contours(data: pydicom.Dataset) -> None:
    for item in data.ROIContourSequence:
        del item.ContourSequence


def first_contour(points: list[str]) -> Callable[[pydicom.Dataset], None]:
    def change(data: pydicom.Dataset) -> None:
        contour = data.ROIContourSequence[0].ContourSequence[0]
        contour.ContourData = points
        contour.NumberOfContourPoints = len(points) // 3

    return change


STRUCTURES: dict[str, Callable[[pydicom.Dataset], None]] = {
    "no contours": without_contours,
    "one point": first_contour(["0", "0", "40"]),
    "two points": first_contour(["0", "0", "40", "1", "1", "40"]),
    "no points": first_contour([]),
    "points far away": first_contour(["1e8", "0", "40", "1e8", "1", "40", "1e8", "1", "41"]),
    "coordinates that are no triples": first_contour(["0", "0", "40", "1"]),
    "no structures": lambda data: (setattr(data, "StructureSetROISequence", []), None)[1],
    "no name": lambda data: (setattr(data.StructureSetROISequence[0], "ROIName", ""), None)[1],
}


@pytest.mark.parametrize("kind", STRUCTURES)
def test_structures_of_other_programs_are_read_or_refused(tmp_path: Path, example: Example, kind: str) -> None:
    path = tmp_path / "r.dcm"
    write_rtstruct(path, example.labels, example.affine_ras, example.source, {1: "liver", 2: "lung"})
    data = pydicom.dcmread(path)
    STRUCTURES[kind](data)
    data.save_as(path)
    found = result_or_refusal(lambda: read_rtstruct(path, example.source))
    if not isinstance(found, Exception):
        present = set(np.unique(found.label_map()).tolist())
        assert present <= {0, 1, 2}
        if kind == "no contours":
            assert present == {0}
            assert any("contour" in line for line in found.warnings)


SEGMENTS: dict[str, Callable[[pydicom.Dataset], None]] = {
    "no frames": lambda data: (setattr(data, "NumberOfFrames", 0), None)[1],
    "more frames than pixels": lambda data: (setattr(data, "NumberOfFrames", 99), None)[1],
    "no segments": lambda data: (setattr(data, "SegmentSequence", []), None)[1],
    "no frame groups": lambda data: (delattr(data, "PerFrameFunctionalGroupsSequence"), None)[1],
    "a fractional kind that is unknown": lambda data: (setattr(data, "SegmentationType", "OTHER"), None)[1],
    "rows of another size": lambda data: (setattr(data, "Rows", data.Rows + 1), None)[1],
}


@pytest.mark.parametrize("kind", SEGMENTS)
def test_segmentations_that_do_not_hold_what_they_declare_are_refused(
    tmp_path: Path, example: Example, kind: str
) -> None:
    path = tmp_path / "s.dcm"
    write_seg(path, example.labels, example.affine_ras, example.source, {1: "liver", 2: "lung"})
    data = pydicom.dcmread(path)
    SEGMENTS[kind](data)
    data.save_as(path)
    refused(lambda: read_seg(path).label_map())


# Weights.
STATES: dict[str, tuple[Callable[[torch.Tensor], Any], bool]] = {
    "bfloat16": (lambda w: w.bfloat16(), True),
    "float16": (lambda w: w.half(), True),
    "float64": (lambda w: w.double(), True),
    "gaps": (lambda w: w.repeat_interleave(2, -1)[:, ::2], True),
    "transposed memory": (lambda w: w.T.contiguous().T, True),
    "NaN": (lambda w: torch.full_like(w, torch.nan), False),
    "infinite": (lambda w: torch.full_like(w, -torch.inf), False),
    "one value NaN": (lambda w: w.clone().index_fill_(0, torch.tensor([0]), torch.nan), False),
    "complex": (lambda w: w.to(torch.complex64), False),
    "empty": (lambda w: w[:0], False),
    "a number": (lambda w: 1.0, False),
    "text": (lambda w: "weights", False),
}


@pytest.mark.parametrize("kind", STATES)
def test_weights_of_every_type_are_loaded_or_refused(tmp_path: Path, kind: str) -> None:
    make, taken = STATES[kind]
    weight = (torch.arange(6.0).reshape(2, 3) - 2) / 4
    torch.save({"weight": make(weight), "bias": torch.zeros(2)}, tmp_path / "w.pt")
    network = torch.nn.Linear(3, 2)
    before = network.weight.detach().clone()
    if taken:
        load_weights(network, tmp_path / "w.pt")
        assert torch.equal(network.weight, weight)
    else:
        refused(lambda: load_weights(network, tmp_path / "w.pt"))
        assert torch.equal(network.weight, before)


@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
def test_weights_that_are_not_finite_are_not_saved(tmp_path: Path, value: float) -> None:
    network = torch.nn.Linear(3, 2)
    with torch.no_grad():
        network.weight[1, 2] = value
    assert "weight" in refused(lambda: save_weights(network, tmp_path / "w.pt"))
    assert list(tmp_path.iterdir()) == []


# Volumes: read_nifti sees what read_image sees.
@pytest.mark.parametrize("value", [np.nan, np.inf, 1e30, -32768])
def test_nifti_and_image_readers_give_the_stored_values(tmp_path: Path, value: float) -> None:
    array = np.zeros((3, 4, 5), np.float32)
    array[1, 2, 3] = value
    path = write_image(tmp_path / "x.nii.gz", array, np.eye(4))
    np.testing.assert_array_equal(read_nifti(path).array, array)
    np.testing.assert_array_equal(read_image(path).array, array)
