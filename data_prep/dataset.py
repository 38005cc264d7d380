"""Make a training folder from image and label pairs: ``python -m data_prep.dataset --pair IMAGE LABEL --out DIR``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from data_prep._options.assumptions import rescale_from
from data_prep._options.command_line import (
    EXIT_CODES,
    OneLineParser,
    UsageError,
    input_names,
    new_folder,
    output_path,
    run_command,
)
from data_prep._options.item_choice import SOME_REFUSED_TEXT, add_choice_options, choice_from, print_refused
from data_prep._options.messages import print_warnings
from medseg.io.ct.statement_options import add_assumption_options, add_rescale_option, assumptions_of

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from medseg.io.volumes.assumptions import ImageAssumptions
    from medseg.io.volumes.nifti import NiftiVolume

__all__ = ["main"]


@dataclass(frozen=True)
class _Case:
    """One pair: its name in the output, its two sources, and the lists it belongs to."""

    name: str
    image: Path
    label: Path
    lists: tuple[str, ...]


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code."""
    args = _parser().parse_args(argv)
    return run_command(lambda: _make(args), args)


def _parser() -> argparse.ArgumentParser:
    parser = OneLineParser(
        prog="python -m data_prep.dataset",
        description="Make DIR/images, DIR/labels and DIR/dataset.json from pairs. An image is a NIfTI file or a folder "
        "with one DICOM CT series; a label is a NIfTI file on the same physical grid (one whose axes are flipped or "
        "permuted is re-ordered by the affines and the change is recorded). A pair that cannot be used is refused with "
        "the reason; the others are written.",
        epilog=EXIT_CODES + SOME_REFUSED_TEXT,
    )
    pair: dict[str, Any] = {"nargs": 2, "metavar": ("IMAGE", "LABEL"), "type": Path, "action": "append"}
    parser.add_argument("--pair", required=True, help="one training pair; may be repeated", **pair)
    parser.add_argument("--validation-pair", default=[], help="one validation pair; may be repeated", **pair)
    parser.add_argument(
        "--map", nargs="+", default=[], metavar="OLD=NEW", help="new label values; values not named become 0"
    )
    parser.add_argument("--names", nargs="+", default=[], metavar="VALUE=NAME", help="names of the new label values")
    parser.add_argument(
        "--on-nonfinite",
        choices=("refuse", "fill"),
        default="refuse",
        help="voxels of an image that are NaN or infinite: refuse the image, or fill them (default: refuse); a label "
        "with such voxels is always refused",
    )
    parser.add_argument(
        "--fill-value", type=float, metavar="HU", help="what --on-nonfinite fill puts there (default: -1024, air)"
    )
    parser.add_argument("--out", required=True, type=output_path, metavar="DIR", help="folder to make")
    parser.add_argument("--overwrite", action="store_true", help="replace an earlier output of this command")
    add_choice_options(parser, "cases", "by the name of the image file without its ending, as the output has it")
    add_assumption_options(parser)
    add_rescale_option(parser)
    return parser


def _make(args: argparse.Namespace) -> int:
    mapping = _read_map(args.map)
    names = _read_names(args.names)
    _fill_value(args)  # refused before any case is read
    cases = _name_cases(args.pair, args.validation_pair)
    choice = choice_from(args)
    choice.check("--pair and --validation-pair", "case", [(case.name,) for case in cases])
    wanted = [case for case in cases if choice.wants(case.name)]
    from medseg.io.bounded.atomic import write_json

    with new_folder(args.out, args.overwrite, marker="dataset.json") as folder:
        made, refused = _write_cases(wanted, mapping, folder, args)
        records = [record for _, record, _ in made]
        values = {value for _, _, found in made for value in found}
        _warn_unused(mapping, {value for record in records for value in record["label_source_values"]})
        unknown = sorted(set(names) - values - set((mapping or {}).values()) - {0})
        if unknown:
            raise UsageError(f"--names gives a name to {unknown[0]}, but the labels hold only {sorted(values)}")
        content = _dataset_json(args.out.name, [case for case, _, _ in made], records, mapping, names, values)
        content["provenance"]["refused"] = input_names(args).hide_in(refused)
        content["provenance"]["left_out"] = [case.name for case in cases if case not in wanted]
        write_json(folder / "dataset.json", content)
    code = print_refused(refused, args.out / "dataset.json")
    print_warnings((f"{r['name']}: {line}" for r in records for line in r["warnings"]), args.out / "dataset.json")
    for record in records:
        note = f" ({record['label_reordered']})" if record["label_reordered"] else ""
        print(f"{record['name']}: label voxels {record['label_voxels']}{note}")
    return code


def _write_cases(
    cases: Sequence[_Case], mapping: dict[int, int] | None, folder: Path, args: argparse.Namespace
) -> tuple[list[tuple[_Case, dict[str, Any], set[int]]], list[dict[str, str]]]:
    """Write all cases that can be used; those that cannot are returned with the reason.

    Raises:
        DataError: if none can be used, or none of the training list.
    """
    from medseg.io.bounded.errors import DataError

    made, refused = [], []
    for case in cases:
        try:
            record, found = _write_case(case, mapping, folder, args)
        except DataError as error:
            for name in (f"images/{case.name}.nii.gz", f"images/{case.name}.json", f"labels/{case.name}.nii.gz"):
                (folder / name).unlink(missing_ok=True)
            refused.append({"name": case.name, "reason": " ".join(str(error).split())})
        else:
            made.append((case, record, found))
    if refused and not any("training" in case.lists for case, _, _ in made):
        more = f" (and {len(refused) - 1} more cases)" if len(refused) > 1 else ""
        raise DataError(f"{refused[0]['reason']}{more}")
    return made, refused


def _read_map(items: Sequence[str]) -> dict[int, int] | None:
    if not items:
        return None
    mapping: dict[int, int] = {}
    for item in items:
        old, _, new = item.partition("=")
        if not (old.strip().isdigit() and new.strip().isdigit()) or int(new) > 255:
            raise UsageError(f"--map {item!r} is not OLD=NEW with whole numbers, NEW at most 255, e.g. 5=1")
        if mapping.setdefault(int(old), int(new)) != int(new):
            raise UsageError(f"--map gives {old} two new values")
    return mapping


def _read_names(items: Sequence[str]) -> dict[int, str]:
    names: dict[int, str] = {}
    for item in items:
        value, _, name = item.partition("=")
        if not value.strip().isdigit() or not name.strip():
            raise UsageError(f"--names {item!r} is not VALUE=NAME, e.g. 1=liver")
        if names.setdefault(int(value), name.strip()) != name.strip():
            raise UsageError(f"--names gives {value} two names")
    return names


def _fill_value(args: argparse.Namespace) -> float:
    """The HU that fill voxels which are not finite, where that is asked for."""
    from medseg.io.volumes.finite import AIR_HU, check_fill_value

    if args.on_nonfinite != "fill" and args.fill_value is not None:
        raise UsageError("--fill-value is of use only with --on-nonfinite fill; add that option or leave it out")
    try:
        return check_fill_value(AIR_HU if args.fill_value is None else args.fill_value, "--fill-value")
    except ValueError as error:
        raise UsageError(str(error)) from error


def _name_cases(training: list[list[Path]], validation: list[list[Path]]) -> list[_Case]:
    lists: dict[tuple[Path, Path], list[str]] = {}
    for kind, pairs in (("training", training), ("validation", validation)):
        for image, label in pairs:
            for path in (image, label):
                if not path.exists():
                    raise UsageError(f"{path}: no such file or folder")
            members = lists.setdefault((image.resolve(), label.resolve()), [])
            if kind in members:
                raise UsageError(f"{image} is given twice for {kind}")
            members.append(kind)
    images = [image for image, _ in lists]
    stems = [_stem(image) for image in images]
    names = [
        stem if stems.count(stem) == 1 else f"{image.parent.name}_{stem}"
        for image, stem in zip(images, stems, strict=True)
    ]
    from medseg.io.privacy.names import is_plain_name

    # A name that could be a patient's does not get out; the place on the command line tells which case is meant.
    names = [name if is_plain_name(name) else f"case_{number:04d}" for number, name in enumerate(names, 1)]
    twice = [name for name in names if names.count(name) > 1]
    if twice:
        raise UsageError(f"two cases would be named {twice[0]}; rename one of the files or its folder")
    return [
        _Case(name, image, label, tuple(kinds))
        for name, ((image, label), kinds) in zip(names, lists.items(), strict=True)
    ]


def _stem(path: Path) -> str:
    for suffix in (".nii.gz", ".nii"):
        if path.name.lower().endswith(suffix):
            return path.name[: -len(suffix)]
    return path.name


def _write_case(
    case: _Case, mapping: dict[int, int] | None, folder: Path, args: argparse.Namespace
) -> tuple[dict[str, Any], set[int]]:
    import numpy as np

    from data_prep.convert import write_series
    from medseg.io.ct.series import read_series
    from medseg.io.volumes.finite import settle_nonfinite
    from medseg.io.volumes.nifti import write_nifti

    assume, fill_value = assumptions_of(args), _fill_value(args)
    image_path, filled = folder / "images" / f"{case.name}.nii.gz", None
    if case.image.is_dir():
        series = read_series(case.image, assume_rescale=rescale_from(args))
        shape, affine, warnings = series.array.shape, series.affine_ras, list(series.warnings)
        write_series(series, image_path)
    else:
        image = _readable(case.image, assume)
        shape, affine, warnings = image.array.shape, image.affine_ras, list(image.warnings)
        array, filled = settle_nonfinite(
            image.array, case.image, args.on_nonfinite, fill_value, remedy="--on-nonfinite fill"
        )
        warnings += [f"{filled.describe()}; they were set to {fill_value:g} HU"] if filled else []
        write_nifti(image_path, array, affine)
    source = _readable(case.label, assume)
    settle_nonfinite(source.array, case.label)
    warnings += [f"label: {line}" for line in source.warnings]
    label, reordered = _label_on_grid(case, source, shape, affine)
    values = _remap(label, mapping, case.label)
    write_nifti(folder / "labels" / f"{case.name}.nii.gz", values, affine)
    counts = {int(v): int(n) for v, n in zip(*np.unique(values, return_counts=True), strict=True)}
    if set(counts) == {0}:
        warnings.append("its label is empty" + (", no value that --map names occurs" if mapping else ""))
    record = {
        "name": case.name,
        "image_source": _shown_name(case.image),
        "label_source": _shown_name(case.label),
        "label_source_values": np.unique(label).astype(int).tolist(),
        "label_reordered": reordered,
        "label_voxels": {str(value): count for value, count in counts.items() if value},
        "warnings": warnings,
        **({} if filled is None else {"image_nonfinite": filled.record(fill_value)}),
    }
    return record, set(counts)


def _shown_name(path: Path) -> str:
    from medseg.io.privacy.names import is_plain_name

    return path.name if is_plain_name(path.name) else "(hidden)"


def _readable(path: Path, assume: ImageAssumptions) -> NiftiVolume:
    from medseg.io.bounded.errors import DataError
    from medseg.io.volumes.nifti import read_nifti

    try:
        return read_nifti(path, assume=assume)
    except DataError:
        raise
    except ValueError as error:
        raise DataError(str(error)) from error


def _label_on_grid(
    case: _Case, label: NiftiVolume, shape: tuple[int, ...], affine: NDArray[np.float64]
) -> tuple[NDArray[Any], str | None]:
    from medseg.geometry import compare_grids
    from medseg.geometry.regrid import SAME_GRID_MM
    from medseg.io.bounded.errors import DataError
    from medseg.io.volumes.mending import grid_fix

    found = compare_grids(label.affine_ras, label.array.shape, affine, shape)
    if found.kind in ("header_flipped", "misregistered"):
        fix = grid_fix(found, label.affine_ras, label.array.shape, affine)
        shapes = "" if label.array.shape == tuple(shape) else f" (label {label.array.shape}, image {tuple(shape)})"
        raise DataError(
            f"{case.label} is {found.kind} with respect to {case.image}: {found.describe()}{shapes}, expected the same "
            f"grid to {SAME_GRID_MM} mm; {fix}"
        )
    order = found.reordering
    return order.apply(label.array), None if found.kind == "same" else order.describe()


def _warn_unused(mapping: dict[int, int] | None, seen: set[int]) -> None:
    for old in sorted(set(mapping or {}) - seen - {0}):
        print(f"warning: --map names {old}, which occurs in no label; found {sorted(seen)}", file=sys.stderr)


def _remap(label: NDArray[Any], mapping: dict[int, int] | None, path: Path) -> NDArray[np.uint8]:
    import numpy as np

    from medseg.io.bounded.errors import DataError
    from medseg.io.volumes.mending import value_fix

    found = np.unique(label)
    if not np.all(np.isfinite(found)) or np.any(found != np.rint(found)) or found.min() < 0:
        odd = found[~np.isfinite(found) | (found < 0) | (found != np.rint(found))][:3].tolist()
        raise DataError(f"{path}: label values must be whole numbers from 0, found {odd}; {value_fix(found)}")
    if mapping is None:
        if found.max() > 255:
            raise DataError(f"{path}: label values run to {int(found.max())}, expected at most 255; use --map OLD=NEW")
        return label.astype(np.uint8)
    result = np.zeros(label.shape, np.uint8)
    for old, new in mapping.items():
        result[label == old] = new
    return result


def _dataset_json(
    name: str,
    cases: list[_Case],
    records: list[dict[str, Any]],
    mapping: dict[int, int] | None,
    names: dict[int, str],
    values: set[int],
) -> dict[str, Any]:
    known = sorted(values | set(names) | {0})
    default = {value: "background" if value == 0 else f"label_{value}" for value in known}
    rows = {
        kind: [
            {"image": f"images/{case.name}.nii.gz", "label": f"labels/{case.name}.nii.gz"}
            for case in cases
            if kind in case.lists
        ]
        for kind in ("training", "validation")
    }
    shared = [case.name for case in cases if len(case.lists) == 2]
    leak = f" {len(shared)} case(s) are in both lists, so validation figures do not generalise." if shared else ""
    return {
        "name": name,
        "description": f"{len(cases)} image and label pair(s) on common grids.{leak}",
        "modality": {"0": "CT"},
        "labels": {str(value): names.get(value, default[value]) for value in known},
        "numTraining": len(rows["training"]),
        "numTest": 0,
        "training": rows["training"],
        "validation": rows["validation"],
        "test": [],
        "provenance": {
            "label_map": "kept" if mapping is None else {str(old): new for old, new in mapping.items()},
            "cases": records,
        },
    }


if __name__ == "__main__":
    sys.exit(main())
