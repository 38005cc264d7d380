"""Send a mask back to DICOM: ``python -m data_prep.to_dicom --mask M.nii.gz --series DIR --out F.dcm --type seg``."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from data_prep._options.command_line import EXIT_CODES, OneLineParser, UsageError, output_path, run_command
from data_prep._options.image_warnings import print_image_warnings
from data_prep._options.messages import print_warnings
from data_prep._options.repair_policy import policy_from
from medseg.io.bounded.atomic import json_text
from medseg.io.ct.policy_options import add_policy_options, policy_words
from medseg.io.ct.statement_options import add_assumption_options, assumptions_of

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from medseg.io.ct.policy import GeometryPolicy
    from medseg.io.results.identity import ObjectIdentity
    from medseg.io.results.repaired import Residual
    from medseg.io.results.segment_info import SegmentInfo
    from medseg.io.results.source import SourceSeries
    from medseg.io.volumes.assumptions import ImageAssumptions

__all__ = ["main"]

_KINDS: dict[str, Literal["pixels", "contours"]] = {"seg": "pixels", "rtstruct": "contours"}
_HINT = (
    "if the mask was made on a repaired series, add --repaired with the ct.json written beside it, or the options by "
    "which it was repaired, such as --on-tilt shear or --on-gap resample"
)
_PRIVACY = (
    "The result repeats name, ID, birth date and sex of the patient and the data of the study from the series, because "
    "an archive files it beside the images by them; no other command writes them. "
)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code."""
    args = _parser().parse_args(argv)
    return run_command(lambda: _write(args), args)


def _parser() -> argparse.ArgumentParser:
    parser = OneLineParser(
        renamed={"--series UID": "--series-uid UID"},
        prog="python -m data_prep.to_dicom",
        description="Write a mask as DICOM SEG or RTSTRUCT that refers to the slices of its series. The mask must "
        "cover the voxels of the series; flipped or permuted axes are put right by its affine, nothing is resampled. "
        "A mask made on a repaired series is taken back to the original slices if --repaired, or the options by which "
        "it was repaired, say how; the distance that is left over is printed in mm. " + _PRIVACY,
        epilog=EXIT_CODES,
    )
    parser.add_argument(
        "--mask",
        required=True,
        nargs="+",
        type=Path,
        metavar="IMAGE",
        help="one label map, or several masks of 0 and 1 that may overlap (segment 1 is the first file)",
    )
    parser.add_argument("--series", required=True, type=Path, metavar="DIR", help="folder of the CT series")
    parser.add_argument("--series-uid", metavar="UID", help="SeriesInstanceUID, where DIR holds several CT series")
    parser.add_argument("--out", required=True, type=output_path, metavar="FILE", help="DICOM file to write")
    parser.add_argument("--type", required=True, choices=("seg", "rtstruct"), help="kind of DICOM object")
    parser.add_argument(
        "--labels",
        type=Path,
        metavar="JSON",
        help='names by label value, {"1": "liver", "2": {"name": ..., "kind": [code, scheme, meaning], ...}}; a '
        "dataset.json will do. Without it segments are named after the file or the value",
    )
    parser.add_argument("--labelmap", action="store_true", help="seg: one frame of label values a slice (newer class)")
    parser.add_argument(
        "--holes",
        choices=("keyhole", "separate"),
        default="keyhole",
        help="rtstruct: join holes to the outer border by a channel of no width, or write them as XOR contours",
    )
    parser.add_argument(
        "--algorithm",
        choices=("manual", "semiautomatic", "automatic"),
        help="who drew the segments (default: what --labels says, otherwise automatic)",
    )
    parser.add_argument("--algorithm-name", metavar="TEXT", help="name of the network or program (default: medseg)")
    parser.add_argument(
        "--series-description", default="medseg segmentation", metavar="TEXT", help="default: %(default)s"
    )
    parser.add_argument("--uid-seed", metavar="TEXT", help="make UIDs from this text and the contents, not at random")
    parser.add_argument("--uid-prefix", metavar="ROOT", help="root of random UIDs, ending in a dot (default: 2.25.)")
    parser.add_argument("--written-at", metavar="TIME", help="creation time in the file, e.g. 2026-01-31T12:00:00")
    parser.add_argument("--overwrite", action="store_true", help="replace FILE")
    parser.add_argument("--json", action="store_true", help="print the segments as JSON")
    add_assumption_options(parser)
    parser.add_argument(
        "--repaired",
        type=Path,
        metavar="JSON",
        help="the ct.json beside the image that the mask was made on, or the run.json beside the mask of medseg "
        "segment: take the mask back through the repair that it records",
    )
    add_policy_options(parser)
    return parser


def _write(args: argparse.Namespace) -> None:
    if args.out.is_dir() or (args.out.exists() and not args.overwrite):
        raise UsageError(f"{args.out} exists already; choose another --out or add --overwrite")
    if args.type == "rtstruct" and args.labelmap:
        raise UsageError("--labelmap belongs to --type seg")
    absent = [path for path in args.mask if not path.is_file()]
    if absent:
        raise UsageError(f"{absent[0]}: no such file; --mask must name image files")
    identity = _identity(args)
    source = _read_source(args)
    mask, names = _read_masks(args.mask, source, assumptions_of(args))
    segments = _described(args, mask, names)
    infos = _write_object(args, mask, source, segments, identity)
    residual = None if source.repaired is None else source.repaired.residual(mask, _KINDS[args.type])
    _report(args, infos, _absent(mask, infos), residual)


def _read_source(args: argparse.Namespace) -> SourceSeries:
    """The series, and if the mask was made on a repaired one, the grid of that."""
    from medseg.io.bounded.errors import DataError
    from medseg.io.results.source import UnevenSourceError, read_source

    words = policy_words(args)
    if args.repaired is None:
        try:
            return read_source(args.series, args.series_uid, policy_from(args) if words else None)
        except UnevenSourceError as error:
            raise UnevenSourceError(f"{error}; {_HINT}") from None
    if words:
        raise UsageError(f"--repaired and {words[0]} both say how the series was repaired; give one of them")
    policy, repairs = _recorded(args.repaired)
    source = read_source(args.series, args.series_uid, policy)
    if list(source.repairs) != repairs:
        raise DataError(
            f"{args.repaired}: the repair recorded there is not the one that this series needs "
            f"({_rules(repairs)} and {_rules(source.repairs)}); give the record of this very series"
        )
    return source


def _recorded(path: Path) -> tuple[GeometryPolicy | None, list[dict[str, Any]]]:
    """The policy and the repairs of a sidecar; None where nothing was repaired."""
    from medseg.io.bounded.errors import DataError
    from medseg.io.ct.policy import GeometryPolicy

    try:
        facts = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        kind = type(error).__name__
        raise DataError(f"{path}: cannot be read as JSON ({kind}); expected a ct.json or run.json") from None
    if isinstance(facts, dict) and isinstance(facts.get("input"), dict):  # run.json of medseg segment
        facts = {"repairs": [], "repair_policy": None, **facts["input"]}
    if not isinstance(facts, dict) or not isinstance(facts.get("repairs"), list) or "repair_policy" not in facts:
        raise DataError(f"{path}: no record of a repair; expected the ct.json or run.json that was written beside it")
    if not facts["repairs"]:
        return None, []
    return GeometryPolicy.from_record(path, facts["repair_policy"]), facts["repairs"]


def _rules(repairs: Sequence[Mapping[str, Any]]) -> str:
    return " + ".join(f"{item['rule']} {item['mm']} mm" for item in repairs) or "none"


def _identity(args: argparse.Namespace) -> ObjectIdentity:
    from medseg.io.results.identity import ObjectIdentity

    try:
        when = None if args.written_at is None else datetime.fromisoformat(args.written_at)
    except ValueError:
        raise UsageError(f"--written-at {args.written_at}: expected a time such as 2026-01-31T12:00:00") from None
    if args.uid_seed is not None and args.uid_prefix is not None:
        raise UsageError("--uid-seed and --uid-prefix exclude each other")
    return ObjectIdentity(args.uid_seed, args.uid_prefix, when, args.series_description)


def _read_masks(
    paths: Sequence[Path], source: SourceSeries, assume: ImageAssumptions
) -> tuple[NDArray[Any], dict[int, str] | None]:
    """The mask in the series' order, and names from the files' names where there are several."""
    import numpy as np

    from medseg.io.bounded.errors import DataError
    from medseg.io.results.source import place_on_source
    from medseg.io.volumes.image import image_suffix, read_image

    placed = []
    for path in paths:
        volume = read_image(path, assume=assume)
        print_image_warnings(path, volume.info.warnings)
        try:
            placed.append(place_on_source(volume.array, volume.affine_ras, source))
        except DataError as error:
            hint = "" if source.repaired is not None else f"; {_HINT}"
            raise DataError(f"{path}: {error}{hint}") from None
    if len(placed) == 1:
        return placed[0], None
    for path, array in zip(paths, placed, strict=True):
        if not np.isin(array, (0, 1)).all():
            raise DataError(f"{path}: values from {array.min():g} to {array.max():g}; of several masks each is 0 or 1")
    return np.stack(placed), {
        number: path.name[: -len(image_suffix(path))] for number, path in enumerate(paths, start=1)
    }


def _described(
    args: argparse.Namespace, mask: NDArray[np.generic], names: Mapping[int, str] | None
) -> dict[int, SegmentInfo] | None:
    import numpy as np

    from medseg.io.results.segment_info import preset, read_segment_names

    if args.labels is not None:
        found = read_segment_names(args.labels)
    elif names is not None:
        found = {number: preset(name) for number, name in names.items()}
    elif args.algorithm is None and args.algorithm_name is None:
        return None
    else:
        found = {int(value): preset(f"segment {int(value)}") for value in np.unique(mask) if value > 0}
    changes: dict[str, Any] = {}
    if args.algorithm is not None:
        changes["algorithm_type"] = args.algorithm.upper()
    if args.algorithm_name is not None:
        changes["algorithm_name"] = args.algorithm_name
    return {value: replace(info, **changes) for value, info in found.items()}


def _write_object(
    args: argparse.Namespace,
    mask: NDArray[Any],
    source: SourceSeries,
    segments: Mapping[int, SegmentInfo] | None,
    identity: ObjectIdentity,
) -> dict[int, SegmentInfo]:
    if args.type == "rtstruct":
        from medseg.io.results.rtstruct_write import write_rtstruct

        return write_rtstruct(args.out, mask, source.affine_ras, source, segments, holes=args.holes, identity=identity)
    from medseg.io.results.seg_write import SegKind, write_seg

    kind: SegKind = "labelmap" if args.labelmap else "binary"
    return write_seg(args.out, mask, source.affine_ras, source, segments, kind=kind, identity=identity)


def _absent(mask: NDArray[np.generic], infos: Mapping[int, SegmentInfo]) -> list[int]:
    """Label values that are named and occur in no voxel."""
    import numpy as np

    if mask.ndim == 4:
        return [value for value in infos if not mask[value - 1].any()]
    present = set(np.unique(mask).tolist())
    return [value for value in infos if value not in present]


def _report(
    args: argparse.Namespace, infos: Mapping[int, SegmentInfo], absent: Sequence[int], residual: Residual | None
) -> None:
    warnings = [f"{infos[value].name!r} (label {value}) occurs in no voxel; its segment is empty" for value in absent]
    warnings += [
        f"{info.name!r} (label {value}) has no codes; it is written as 'Tissue'"
        for value, info in infos.items()
        if info.is_uncoded and args.type == "seg"
    ]
    print_warnings(warnings, "what --json prints")
    if args.json:
        rows = [{"label": value, "number": info.number, **info.as_json()} for value, info in infos.items()]
        facts: dict[str, Any] = {"file": str(args.out), "type": args.type, "segments": rows, "warnings": warnings}
        if residual is not None:
            facts["residual"] = residual._asdict()
        print(json_text(facts))
        return
    shown = ", ".join(f"{info.number} = {info.name} (label {value})" for value, info in infos.items())
    print(f"{args.out}: {args.type.upper()} with {len(infos)} segment(s): {shown}")
    if residual is not None:
        print(residual.describe())


if __name__ == "__main__":
    sys.exit(main())
