"""Where the frames of a SEG lie: all together, or segment by segment if one of them lies elsewhere."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from medseg.geometry import Grid
from medseg.geometry.regrid import Reordering, find_reordering
from medseg.io.bounded.errors import DataError
from medseg.io.results.frames import (
    FrameStack,
    frame_count,
    frame_geometry,
    functional_group,
    place_frames,
    stack_frames,
)

if TYPE_CHECKING:
    from pydicom import Dataset

__all__ = ["FrameGroup", "frames_by_segment", "place_segments"]


class FrameGroup(NamedTuple):
    """Frames that were placed together.

    Attributes:
        frames: their indices in the file, from 0.
        stack: their planes, in the order of ``frames``.
        back: how the target grid's own axes come out of the stack's; None if they are the same.
    """

    frames: tuple[int, ...]
    stack: FrameStack
    back: Reordering | None

    def planes(self) -> dict[int, int]:
        """Slice index of every frame, by the frame's index in the file."""
        return {frame: int(k) for frame, k in zip(self.frames, self.stack.planes, strict=True)}


def frames_by_segment(data: Dataset, where: Path) -> dict[int, tuple[int, ...]]:
    """Indices of the frames of every segment number that a frame refers to."""
    found: dict[int, list[int]] = {}
    for frame in range(frame_count(data, where)):
        group = functional_group(data, frame, "SegmentIdentificationSequence")
        number = int(group.get("ReferencedSegmentNumber", 0) or 0) if group is not None else 0
        found.setdefault(number, []).append(frame)
    return {number: tuple(frames) for number, frames in found.items()}


def place_segments(
    data: Dataset, frames: Mapping[int, Sequence[int]], onto: Grid | None, where: Path, allow_partial: bool
) -> tuple[list[FrameGroup], dict[int, str]]:
    """Place the frames of segments on their own grid, or on a given one.

    Args:
        data: the file.
        frames: indices of the frames of every segment that is wanted.
        onto: grid in RAS mm, axes in any order; None for the smallest regular grid through the frames.
        where: the file, for errors.
        allow_partial: go on without segments whose frames cannot be placed.

    Returns:
        The frames in groups that were placed together (one, unless a segment lies elsewhere), and the reason for every
        segment that cannot be placed.

    Raises:
        DataError: as `frame_geometry`, `stack_frames` and `place_frames`; with ``allow_partial`` only if no segment can
            be placed, or if they lie on different grids and none is given.
    """
    together = sorted(frame for own in frames.values() for frame in own)
    try:
        return [_placed(data, together, onto, where)], {}
    except DataError as error:
        if not allow_partial:
            raise
        first = error
    groups: list[FrameGroup] = []
    faults: dict[int, str] = {}
    for number, own in frames.items():
        try:
            groups += [_placed(data, own, onto, where)] if own else []
        except DataError as error:
            faults[number] = str(error).removeprefix(f"{where}: ")
    if not groups:
        raise first
    if onto is None:
        groups = [_common_grid(data, sorted(frame for group in groups for frame in group.frames), where)]
    return groups, faults


def _common_grid(data: Dataset, frames: Sequence[int], where: Path) -> FrameGroup:
    try:
        return _placed(data, frames, None, where)
    except DataError as error:
        raise DataError(
            f"{error}; the segments lie on different grids: choose those of one grid with --only NAME or --skip NAME, "
            "or give the grid"
        ) from None


def _placed(data: Dataset, frames: Sequence[int], onto: Grid | None, where: Path) -> FrameGroup:
    geometry = frame_geometry(data, where, frames)
    if onto is None:
        return FrameGroup(tuple(frames), stack_frames(geometry, where), None)
    normal = np.cross(geometry.orientation[:3], geometry.orientation[3:])
    own = geometry.plane_affine_ras(geometry.positions_lps[0], normal)
    turned = find_reordering(onto.affine, onto.shape, own, onto.shape)
    affine = turned.affine(onto.affine, onto.shape)
    shape = tuple(onto.shape[axis] for axis in turned.axes)
    stack = place_frames(geometry, affine, shape, where)
    return FrameGroup(tuple(frames), stack, None if turned.is_identity else turned.inverse())
