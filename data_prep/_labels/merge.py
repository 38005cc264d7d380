"""Merge the label files of one case, write the label map and its record."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from data_prep._labels.sources import LayerFile

if TYPE_CHECKING:
    from medseg.datasets.label_merge import ConflictRule, MergedLabel
    from medseg.geometry import Affine
    from medseg.io.privacy.names import HiddenNames
    from medseg.io.volumes.assumptions import ImageAssumptions
    from medseg.io.volumes.image import Image

__all__ = ["RECORD_SCHEMA_VERSION", "merge_case", "write_case"]

RECORD_SCHEMA_VERSION = 1
_MAX_ISLANDS = 1000


def merge_case(
    files: Sequence[LayerFile],
    image: Path | None,
    rule: ConflictRule,
    names: HiddenNames,
    assume: ImageAssumptions,
) -> tuple[MergedLabel, Affine, dict[str, Any]]:
    """Merge label files of one case.

    Args:
        files: with their values, the earlier first.
        image: whose grid they lie on; None takes the first file's.
        rule: which value a voxel gets that several files claim.
        names: what is said for names that could name a patient.
        assume: what the user states where headers leave the geometry open.

    Returns:
        The label map, its affine, and the record without names of files that could name a patient.

    Raises:
        DataError: if a file cannot be read or lies on another grid, or its values cannot be merged.
    """
    from medseg.datasets.label_merge import LabelLayer, merge_labels
    from medseg.geometry import voxel_volume_ml
    from medseg.io.bounded.checksum import sha256_of
    from medseg.io.bounded.errors import DataError
    from medseg.io.volumes.image import read_image, read_image_info

    grid = read_image_info(files[0].path if image is None else image, assume=assume)
    layers, sources, warnings = [], [], []
    for file in files:
        source = read_image(file.path, assume=assume)
        array, order = _on_grid(source, grid.shape, grid.affine_ras, image or files[0].path)
        layers.append(LabelLayer(str(file.path), array, file.values))
        label = names.label(file.path)
        sources.append({"file": label, "sha256": sha256_of(file.path), "rule": file.rule, "reordered": order})
        warnings += [f"{label}: {line}" for line in source.info.warnings]
    try:
        merged = merge_labels(layers, rule)
    except ValueError as error:
        raise DataError(str(error).replace("name a rule:", "choose --on-conflict")) from None
    label_of = {str(file.path): source["file"] for file, source in zip(files, sources, strict=True)}
    for entry in sources:
        entry["islands"] = [i.number for i in merged.islands if entry["file"] in [label_of[n] for n in i.layers]]
    ml = voxel_volume_ml(grid.affine_ras)
    record = {
        "schema_version": RECORD_SCHEMA_VERSION,
        "sources": sources,
        "on_conflict": rule,
        "conflicts": [
            {"kept": label_of[kept], "lost": label_of[lost], "voxels": count}
            for (kept, lost), count in merged.conflicts.items()
        ],
        "claimed_twice_with_one_value": merged.repeated,
        "voxels": _counts(merged),
        "islands": [
            {
                "number": island.number,
                "value": island.value,
                "voxels": island.voxels,
                "volume_ml": round(island.voxels * ml, 6),
                "centre_voxel": [round(c, 2) for c in island.centre_voxel],
                "sources": [label_of[name] for name in island.layers],
            }
            for island in merged.islands[:_MAX_ISLANDS]
        ],
        "islands_not_listed": max(0, len(merged.islands) - _MAX_ISLANDS),
        "warnings": warnings + _island_warnings(sources, merged),
    }
    return merged, grid.affine_ras, record


def write_case(out: Path, instances: Path | None, merged: MergedLabel, affine: Affine, record: dict[str, Any]) -> Path:
    """Write label map, map of islands and record; returns the record's path."""
    from medseg.io.bounded.atomic import write_json
    from medseg.io.volumes.nifti import write_nifti

    write_nifti(out, merged.array, affine)
    if instances is not None:
        write_nifti(instances, merged.instances, affine)
    name = out.name.removesuffix(".gz").removesuffix(".nii")
    return write_json(out.with_name(f"{name}.json"), record)


def _on_grid(source: Image, shape: tuple[int, ...], affine: Affine, reference: Path) -> tuple[Any, bool]:
    """The label in the order of the grid's voxels, and whether it had to be put into it."""
    from medseg.geometry import compare_grids
    from medseg.io.bounded.errors import DataError

    found = compare_grids(source.affine_ras, source.array.shape, affine, shape)
    if found.kind == "same":
        return source.array, False
    if found.kind == "reordered":
        return found.reordering.apply(source.array), True
    raise DataError(
        f"{source.info.path}: lies on another grid than {reference} ({found.describe()}), expected the same; correct "
        "the file, or check the pair with data_prep.check --fix"
    )


def _counts(merged: MergedLabel) -> dict[str, int]:
    import numpy as np

    values, counts = np.unique(merged.array, return_counts=True)
    return {str(value): int(count) for value, count in zip(values, counts, strict=True)}


def _island_warnings(sources: Sequence[dict[str, Any]], merged: MergedLabel) -> list[str]:
    """A file that drew several islands may hold stray voxels."""
    sizes = {island.number: island.voxels for island in merged.islands}
    lines = []
    for entry in sources:
        numbers = entry["islands"]
        if len(numbers) > 1:
            rest = [f"{n} ({sizes[n]} voxel{'s' * (sizes[n] > 1)})" for n in numbers[1:6]]
            more = f" and {len(numbers) - 6} more" if len(numbers) > 6 else ""
            lines.append(f"{entry['file']}: beside its largest part it lies in island {', '.join(rest)}{more}")
        elif not numbers:
            lines.append(f"{entry['file']}: no voxel of it is left")
    return lines
