"""One label map from several label files of one scan: values by a map, conflicts by a named rule, islands listed."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage

from medseg.geometry import check_whole_labels

__all__ = ["ConflictRule", "Island", "LabelLayer", "MergedLabel", "merge_labels", "parse_value_map"]

ConflictRule = Literal["refuse", "first", "last", "highest"]
"""Which value a voxel gets that several layers claim with different values: none, that of the earlier layer, of the
later layer, or the highest."""

_PAIR = re.compile(r"(\d{1,5}):(\d{1,5})")
_HIGHEST = 65535


class LabelLayer(NamedTuple):
    """One label map that is to be merged.

    Attributes:
        name: for messages.
        array: whole numbers, 0 is background.
        values: new value of every value above 0; a number is the new value of all of them. A value that becomes 0 is
            left out.

    >>> LabelLayer("tumour", np.array([0, 1]), values=2).name
    'tumour'
    """

    name: str
    array: NDArray[Any]
    values: int | Mapping[int, int]


class Island(NamedTuple):
    """A connected part of the merged label (26 neighbours).

    Attributes:
        number: from 1, the largest first.
        value: its label.
        voxels: number of them.
        centre_voxel: centre of mass in the array.
        layers: names of the layers that drew it.

    >>> merged = merge_labels([LabelLayer("a", np.array([[1, 0, 1, 1]]), 2)])
    >>> [(island.value, island.voxels, island.layers) for island in merged.islands]
    [(2, 2, ('a',)), (2, 1, ('a',))]
    """

    number: int
    value: int
    voxels: int
    centre_voxel: tuple[float, ...]
    layers: tuple[str, ...]


class MergedLabel(NamedTuple):
    """The outcome of `merge_labels`.

    Attributes:
        array: the label map, uint8 if its values fit, else uint16.
        islands: every connected part of every value.
        instances: number of the island of every voxel, int32; 0 is background.
        conflicts: voxels that the rule decided, by the pair of names: who gave the value, and who did not.
        repeated: voxels that several layers claim with one value.

    >>> merge_labels([LabelLayer("a", np.array([0, 1]), 2)]).array.tolist()
    [0, 2]
    """

    array: NDArray[Any]
    islands: tuple[Island, ...]
    instances: NDArray[np.int32]
    conflicts: dict[tuple[str, str], int]
    repeated: int


def parse_value_map(text: str) -> int | dict[int, int]:
    """The values of a layer as they are written: ``2`` for all above 0, or ``1:2,3:0`` for single ones.

    Raises:
        ValueError: for other texts.

    >>> parse_value_map("2"), parse_value_map("1:2,3:0")
    (2, {1: 2, 3: 0})
    """
    if re.fullmatch(r"\d{1,5}", text) and int(text) <= _HIGHEST:
        return int(text)
    pairs = [_PAIR.fullmatch(part) for part in text.split(",")]
    found = {int(pair[1]): int(pair[2]) for pair in pairs if pair is not None}
    if None in pairs or len(found) < len(pairs) or 0 in found or max(found.values()) > _HIGHEST:
        raise ValueError(
            f"{text!r} is no map of values, expected one value such as 2, or OLD:NEW pairs such as 1:2,3:0"
        )
    return found


def merge_labels(layers: Sequence[LabelLayer], rule: ConflictRule = "refuse") -> MergedLabel:
    """Merge label maps on one grid into one.

    A voxel that two layers claim with the same value is no conflict. Which layer is earlier is their order here.

    Args:
        layers: at least one, all of one shape.
        rule: see `ConflictRule`.

    Raises:
        ValueError: for layers of other shapes, values that are not whole or that a map does not name, no layer, another
            rule, or a conflict with the rule "refuse".

    >>> liver, tumour = np.array([1, 1, 1, 0]), np.array([0, 1, 0, 0])
    >>> merge_labels([LabelLayer("liver", liver, 1), LabelLayer("tumour", tumour, 2)], "last").array.tolist()
    [1, 2, 1, 0]
    """
    if rule not in get_args(ConflictRule):
        raise ValueError(f"rule is {rule!r}, expected one of {', '.join(get_args(ConflictRule))}")
    if not layers:
        raise ValueError("there is no layer, expected at least one")
    mapped = [_mapped(layer) for layer in layers]
    for layer, array in zip(layers, mapped, strict=True):
        if array.shape != mapped[0].shape:
            raise ValueError(f"{layer.name} has shape {array.shape}, {layers[0].name} {mapped[0].shape}; expected one")
    merged, owner = mapped[0].copy(), (mapped[0] > 0).astype(np.int32)
    conflicts: dict[tuple[str, str], int] = {}
    repeated = 0
    for number in range(1, len(layers)):
        new = mapped[number]
        both = (merged > 0) & (new > 0)
        differ = both & (merged != new)
        repeated += int(np.count_nonzero(both)) - int(np.count_nonzero(differ))
        wins = differ & {"first": np.False_, "last": np.True_, "highest": new > merged}.get(rule, np.False_)
        for before in np.unique(owner[differ]):
            with_before = differ & (owner == before)
            names = layers[before - 1].name, layers[number].name
            if rule == "refuse":
                raise ValueError(_conflict(names, with_before, merged, new))
            won = int(np.count_nonzero(with_before & wins))
            for pair, count in (((names[1], names[0]), won), (names, int(with_before.sum()) - won)):
                if count:
                    conflicts[pair] = conflicts.get(pair, 0) + count
        take = wins | ((merged == 0) & (new > 0))
        merged[take], owner[take] = new[take], number + 1
    return _listed(merged, layers, mapped, conflicts, repeated)


def _mapped(layer: LabelLayer) -> NDArray[np.uint16]:
    check_whole_labels(layer.array, layer.name)
    lowest, highest = layer.array.min(initial=0), layer.array.max(initial=0)
    if lowest < 0 or highest > _HIGHEST:
        raise ValueError(
            f"{layer.name} holds the value {lowest if lowest < 0 else highest:g}, expected 0 to {_HIGHEST}"
        )
    labels = layer.array.astype(np.uint16)
    if isinstance(layer.values, int):
        return np.where(labels > 0, np.uint16(layer.values), np.uint16(0))
    table = np.zeros(_HIGHEST + 1, np.uint16)
    for old, new in layer.values.items():
        table[old] = new
    unknown = [int(value) for value in np.unique(labels) if value and int(value) not in layer.values]
    if unknown:
        raise ValueError(
            f"{layer.name} holds the value {unknown[0]}, which its map does not name; add {unknown[0]}:NEW, or "
            f"{unknown[0]}:0 to leave it out"
        )
    return table[labels]


def _conflict(names: tuple[str, str], where: NDArray[np.bool_], old: ArrayLike, new: ArrayLike) -> str:
    index = tuple(int(i) for i in np.argwhere(where)[0])
    values = int(np.asarray(old)[index]), int(np.asarray(new)[index])
    return (
        f"{names[0]} and {names[1]} claim {int(where.sum())} voxel(s) with different values (first at {list(index)}: "
        f"{values[0]} and {values[1]}), expected one; name a rule: first, last or highest"
    )


def _listed(
    merged: NDArray[np.uint16],
    layers: Sequence[LabelLayer],
    mapped: Sequence[NDArray[np.uint16]],
    conflicts: dict[tuple[str, str], int],
    repeated: int,
) -> MergedLabel:
    """The merged map with its islands."""
    parts, count = np.zeros(merged.shape, np.int32), 0
    for value in np.unique(merged[merged > 0]):
        own, number = ndimage.label(merged == value, np.ones((3,) * merged.ndim))
        parts += np.where(own > 0, own + count, 0).astype(np.int32)
        count += number
    sizes = np.bincount(parts.ravel(), minlength=count + 1)
    order = sorted(range(1, count + 1), key=lambda number: -int(sizes[number]))
    rank = np.zeros(count + 1, np.int32)
    rank[order] = np.arange(1, count + 1)
    instances = rank[parts]
    boxes = ndimage.find_objects(instances)
    islands = []
    for number, box in enumerate(boxes, 1):
        mine = instances[box] == number
        value = int(merged[box][mine][0])
        centre = tuple(float(mean + part.start) for mean, part in zip(np.argwhere(mine).mean(axis=0), box, strict=True))
        drew = [layer.name for layer, array in zip(layers, mapped, strict=True) if (array[box][mine] == value).any()]
        islands.append(Island(number, value, int(mine.sum()), centre, tuple(drew)))
    small = merged.astype(np.uint8) if merged.max(initial=0) <= 255 else merged
    return MergedLabel(small, tuple(islands), instances, conflicts, repeated)
