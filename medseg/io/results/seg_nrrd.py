"""Segmentations in NRRD (.seg.nrrd, as 3D Slicer keeps them): named segments in one label map or in overlapping layers.

A segment is the set of voxels that hold its LabelValue in its Layer. The key-value pairs ``Segment{N}_...`` of the
header give both. Files of older versions give neither: then layer N is segment N, with the value 1.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from medseg.geometry import Affine
from medseg.io.bounded.errors import DataError, shorten
from medseg.io.bounded.limits import ReadLimits, check_geometry
from medseg.io.bounded.text_header import numbers, whole_numbers
from medseg.io.volumes.assumptions import NO_ASSUMPTIONS, ImageAssumptions
from medseg.io.volumes.nrrd import NrrdSpace, geometry_lines, read_layers, write_attached
from medseg.io.volumes.nrrd_header import NrrdHeader, read_nrrd_header

__all__ = ["NrrdSegment", "SegNrrd", "read_seg_nrrd", "write_seg_nrrd"]

_MAX_SEGMENTS = 4096
_KEY = re.compile(r"Segment(0|[1-9]\d{0,3})_([A-Za-z]\w{0,40})")
_LARGEST_LABEL = 65535


class NrrdSegment(NamedTuple):
    """One segment.

    Attributes:
        id: its identifier in the file.
        name: its name.
        label_value: value of its voxels.
        layer: layer in which they lie.
        extent: first and last voxel along i, j, k as the file states it, not checked; () if it does not state it.
        colour: red, green, blue from 0 to 1, () if the file gives none.
        tags: further entries such as the terminology, as text.
    """

    id: str
    name: str
    label_value: int
    layer: int
    extent: tuple[int, ...]
    colour: tuple[float, ...]
    tags: dict[str, str]


class SegNrrd(NamedTuple):
    """A segmentation in memory.

    Attributes:
        layers: stored labels ``[layer, i, j, k]``.
        affine_ras: 4 x 4, voxel to RAS mm.
        segments: in the order of their numbers in the file.
        header: the checked header.
        warnings: unusual findings that are no reason to refuse the file, one line each.
    """

    layers: NDArray[Any]
    affine_ras: Affine
    segments: tuple[NrrdSegment, ...]
    header: NrrdHeader
    warnings: tuple[str, ...]

    def mask(self, segment: NrrdSegment) -> NDArray[np.bool_]:
        """The voxels ``[i, j, k]`` of a segment."""
        return np.asarray(self.layers[segment.layer] == segment.label_value)


def read_seg_nrrd(
    path: str | Path, limits: ReadLimits | None = None, assume: ImageAssumptions = NO_ASSUMPTIONS
) -> SegNrrd:
    """Read a segmentation with the names of its segments.

    Args:
        path: a ``.seg.nrrd`` of three axes, or of four with the list of layers.
        limits: the budget, by default :meth:`ReadLimits.from_environment`.
        assume: what the user states where the header names no space.

    Raises:
        DataError: as :func:`medseg.io.volumes.nrrd_header.read_nrrd_header`; for voxels that are not whole numbers;
            for a file without segments, or with segments that share label and layer or name a layer that is not there.
    """
    header = read_nrrd_header(path, limits, assume)
    if header.dtype.kind not in "iu":
        raise DataError(f"{path}: voxels have type {header.dtype.name}, expected whole numbers (labels)")
    segments = _segments(path, header)
    layers = read_layers(header)
    present = [_labels_of(labels) for labels in layers]
    warnings = [*header.warnings, *_label_notes(present, segments)]
    return SegNrrd(layers, header.affine_ras, segments, header, tuple(warnings))


def write_seg_nrrd(
    path: str | Path,
    masks: ArrayLike,
    names: Sequence[str],
    affine_ras: ArrayLike,
    space: NrrdSpace = "LPS",
    tags: Sequence[Mapping[str, str]] | None = None,
) -> Path:
    """Write named masks as a segmentation, atomically; masks that overlap go to different layers.

    Without overlaps the file is a plain 3-D label map with labels 1, 2, ... in the order of the masks, which
    readers that do not know segments open too.

    Args:
        path: target, ``.seg.nrrd``.
        masks: boolean ``[segment, i, j, k]``.
        names: a name for each, one line of text.
        affine_ras: 4 x 4, voxel to RAS mm.
        space: world frame in which the file states the geometry.
        tags: for each segment, further entries of ``Segment{N}_Tags``.

    Raises:
        ValueError: for another suffix, masks that are not boolean or not 4-D, another number of names, or text with
            line breaks or separators.
    """
    path = Path(path)
    if not path.name.lower().endswith(".seg.nrrd"):
        raise ValueError(f"{path}: expected a name that ends in .seg.nrrd")
    stack = np.asarray(masks)
    if stack.ndim != 4 or stack.dtype != np.bool_:
        raise ValueError(f"masks have type {stack.dtype} and shape {stack.shape}, expected bool [segment, i, j, k]")
    if not 1 <= len(stack) <= _MAX_SEGMENTS or len(names) != len(stack) or len(tags or names) != len(names):
        raise ValueError(f"{len(names)} names for {len(stack)} masks, expected one each and 1 to {_MAX_SEGMENTS} masks")
    layers, places = _layers(stack)
    lines = geometry_lines(
        check_geometry(path, affine_ras), stack.shape[1:], space, len(layers) if len(layers) > 1 else None
    )
    for n, (name, mask, (layer, value)) in enumerate(zip(names, stack, places, strict=True)):
        entries = {
            "ID": f"Segment_{n + 1}",
            "Name": _text(name),
            "LabelValue": str(value),
            "Layer": str(layer),
            "Extent": " ".join(str(v) for v in _extent(mask)),
            "Tags": "".join(f"{_text(key)}:{_text(item)}|" for key, item in (tags[n] if tags else {}).items()),
        }
        lines += [f"Segment{n}_{key}:={value}" for key, value in entries.items()]
    return write_attached(path, layers if len(layers) > 1 else layers[0], lines, compress=True)


def _segments(path: str | Path, header: NrrdHeader) -> tuple[NrrdSegment, ...]:
    found: dict[int, dict[str, str]] = {}
    for key, value in header.key_values.items():
        matched = _KEY.fullmatch(key)
        if matched:
            found.setdefault(int(matched[1]), {})[matched[2]] = value
    if not found or sorted(found) != list(range(len(found))) or len(found) > _MAX_SEGMENTS:
        numbers_found = f"numbers {shorten(sorted(found))}" if found else "none"
        raise DataError(f"{path}: Segment{{N}}_ entries found: {numbers_found}; expected 0, 1, 2 ... without gaps")
    segments = tuple(_segment(path, n, found[n], header) for n in range(len(found)))
    places: dict[tuple[int, int], str] = {}
    for segment in segments:
        place = segment.layer, segment.label_value
        if place in places:
            raise DataError(
                f"{path}: segments {places[place][:60]!r} and {segment.name[:60]!r} both have label "
                f"{segment.label_value} in layer {segment.layer}; their voxels cannot be told apart"
            )
        places[place] = segment.name
    return segments


def _segment(path: str | Path, n: int, entries: Mapping[str, str], header: NrrdHeader) -> NrrdSegment:
    old_style = "LabelValue" not in entries and "Layer" not in entries
    texts = {"LabelValue": "1", "Layer": str(n if old_style else 0), **entries}
    (value,) = whole_numbers(path, f"Segment{n}_LabelValue", texts["LabelValue"], 1)
    (layer,) = whole_numbers(path, f"Segment{n}_Layer", texts["Layer"], 1)
    if not 0 <= layer < header.layers:
        raise DataError(f"{path}: Segment{n}_Layer is {layer}, but the image has {header.layers} layer(s), from 0")
    if not 1 <= value <= _LARGEST_LABEL:
        raise DataError(f"{path}: Segment{n}_LabelValue is {value}, expected 1 to {_LARGEST_LABEL}")
    pairs = (item.partition(":") for item in entries.get("Tags", "").split("|") if item)
    return NrrdSegment(
        id=entries.get("ID", f"Segment_{n}"),
        name=entries.get("Name", entries.get("ID", f"Segment_{n}")),
        label_value=value,
        layer=layer,
        extent=whole_numbers(path, f"Segment{n}_Extent", entries["Extent"], 6) if "Extent" in entries else (),
        colour=numbers(path, f"Segment{n}_Color", entries["Color"], 3) if "Color" in entries else (),
        tags={key: text for key, _, text in pairs},
    )


def _labels_of(layer: NDArray[Any]) -> set[int]:
    found: set[int] = set()
    for k in range(layer.shape[-1]):  # slice by slice: sorting a whole volume would copy it
        found.update(np.unique(layer[..., k]).tolist())
    return found


def _label_notes(present: Sequence[set[int]], segments: Sequence[NrrdSegment]) -> list[str]:
    """Labels without a segment and segments without a voxel, one line each."""
    notes = []
    for layer, found in enumerate(present):
        named = {0} | {segment.label_value for segment in segments if segment.layer == layer}
        if rest := sorted(found - named):
            notes.append(f"layer {layer} holds labels that no segment names: {shorten(rest)}")
    empty = [segment for segment in segments if segment.label_value not in present[segment.layer]]
    return notes + [f"{segment.name[:64]!r}: no voxel has its label; its mask is empty" for segment in empty]


def _layers(masks: NDArray[np.bool_]) -> tuple[NDArray[Any], list[tuple[int, int]]]:
    """Label maps and, for each mask, the layer and the label: every mask goes to the first layer that is free there."""
    dtype = np.uint8 if len(masks) < 256 else np.uint16
    layers: list[NDArray[Any]] = []
    places = []
    for value, mask in enumerate(masks, start=1):
        layer = next((n for n, labels in enumerate(layers) if not labels[mask].any()), len(layers))
        if layer == len(layers):
            layers.append(np.zeros(mask.shape, dtype))
        layers[layer][mask] = value
        places.append((layer, value))
    return np.stack(layers), places


def _extent(mask: NDArray[np.bool_]) -> tuple[int, ...]:
    """First and last index along each axis; (0, -1) for an empty mask."""
    bounds: list[int] = []
    for axis in range(3):
        hit = np.flatnonzero(mask.any(axis=tuple(a for a in range(3) if a != axis)))
        bounds += [int(hit[0]), int(hit[-1])] if hit.size else [0, -1]
    return tuple(bounds)


def _text(text: str) -> str:
    if not text or not text.isprintable() or "|" in text or len(text) > 1000:
        raise ValueError(f"name or tag {text[:60]!r}: expected one printable line without '|'")
    return text
