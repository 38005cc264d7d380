"""Convert a whole cohort in parallel, resumable: ``python -m data_prep.cohort convert|lidc IN OUT``."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from data_prep._options.command_line import OneLineParser, UsageError, output_path, run_command, shows_names
from data_prep._options.pseudonyms import add_pseudonym_options, read_key
from medseg.io.bounded.atomic import json_text
from medseg.io.ct.policy_options import add_policy_options, policy_words

if TYPE_CHECKING:
    from data_prep._cohort.case_index import Inputs
    from data_prep._cohort.plan import Plan
    from data_prep._cohort.stop import StopSignal
    from medseg.io.cohort.cases import Case

__all__ = ["main"]

EXIT_CODES = (
    "exit codes: 0 all cases passed, 1 run-time failure, 2 wrong usage, 3 no case found, 4 some cases failed (see "
    "OUT/failed.csv), 75 interrupted: run the same command again to go on"
)

_FURTHER = {"skipped": "left as they are", "not_run": "not run"}
_OWN_OPTIONS = (
    *("--series", "--dicom", "--xml", "--out", "--overwrite", "--json", "--help", "-h"),
    *("--pseudonym-key", "--link", "--show-names"),
)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code."""
    words = list(sys.argv[1:] if argv is None else argv)
    cut = words.index("--") if "--" in words else len(words)
    args = _parser().parse_args(words[:cut])
    options = [*policy_words(args), *words[cut + 1 :]]
    codes: list[int] = []
    return run_command(lambda: codes.append(_cohort(args, options)), args) or codes[0]


def _parser() -> argparse.ArgumentParser:
    parser = OneLineParser(
        prog="python -m data_prep.cohort",
        description="Convert every CT series under IN, each into OUT/cases/NAME (NAME is its SeriesInstanceUID), in "
        "processes that are watched: a case that fails, hangs or kills its process is named with the cause, and the "
        "others go on. Run the same command again after any end, and only what is missing is done. OUT also gets "
        "manifest.jsonl (one line a case), summary.json and failed.csv.",
        epilog="Options for irregular series, and those after --, are given to the command of every case, e.g. "
        "-- --allow-partial. " + EXIT_CODES,
    )
    parser.add_argument("command", choices=("convert", "lidc"), help="what to do with each case: data_prep.COMMAND")
    parser.add_argument("input", metavar="IN", type=Path, help="folder with DICOM files, in any layout")
    parser.add_argument("output", metavar="OUT", type=output_path, help="folder for the results; not inside IN")
    parser.add_argument("--xml", type=Path, metavar="DIR", help="lidc: folder with the XML files (default: IN)")
    _add_running(parser)
    _add_resuming(parser)
    add_pseudonym_options(parser)
    add_policy_options(parser, part=False)
    return parser


def _add_running(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("running")
    group.add_argument("--workers", type=int, metavar="N", help="cases at a time (default: one for every core)")
    group.add_argument("--timeout", type=float, default=3600.0, metavar="S", help="seconds for one case (default 3600)")
    group.add_argument(
        "--memory-limit", type=float, metavar="GB", help="address space of one worker in GB (default: no limit)"
    )
    group.add_argument("--num-parts", type=int, default=1, metavar="P", help="divide the cohort into P parts")
    group.add_argument("--part-id", type=int, default=0, metavar="I", help="the part to do, 0 to P-1")
    group.add_argument(
        "--executor", choices=("pool", "dask"), default="pool", help="processes of this machine, or a Dask cluster"
    )
    group.add_argument(
        "--scheduler", metavar="ADDRESS", help="for --executor dask: its address, or local (the default)"
    )
    group.add_argument("--dry-run", action="store_true", help="list the cases of the part and do nothing")
    group.add_argument("--json", action="store_true", help="print the summary (or the list of cases) as JSON")


def _add_resuming(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("resuming")
    group.add_argument(
        "--skip-existing", action="store_true", help="leave every OUT/cases/NAME that exists as it is, unchecked"
    )
    group.add_argument(
        "--overwrite",
        action="store_true",
        help="replace cases that were made of other input, with other options or by another version",
    )
    group.add_argument("--retry-failed", action="store_true", help="try cases again that failed before")
    group.add_argument(
        "--verify",
        action="store_true",
        help="compare the SHA-256 of finished cases too; by default their presence and sizes are compared",
    )
    group.add_argument(
        "--index",
        type=output_path,
        metavar="FILE",
        help="keep the list of cases in FILE, so that headers are read once for all parts; it names the input files",
    )


def _cohort(args: argparse.Namespace, options: Sequence[str]) -> int:
    _check_usage(args, options)
    from data_prep._cohort.stop import RunInterruptedError, StopSignal

    with StopSignal().watching() as stop:
        try:
            inputs, cases, part = _find(args, options, stop)
            if args.dry_run:
                _print_cases(args, inputs, part)
                return 0
            return _run(args, options, inputs, cases, part, stop)
        except RunInterruptedError as signal:
            print(f"interrupted by {signal}; run the same command again to go on", file=sys.stderr)
            return 75


def _check_usage(args: argparse.Namespace, options: Sequence[str]) -> None:
    for folder in filter(None, (args.input, args.xml)):
        if folder.is_file():
            raise UsageError(f"{folder}: is a file, expected a folder; unpack an archive first, for all workers")
        if not folder.is_dir():
            raise UsageError(f"{folder}: no such folder")
        inner, outer = args.output.resolve(), folder.resolve()
        if inner.is_relative_to(outer) or outer.is_relative_to(inner):
            raise UsageError(f"OUT {args.output} and {folder} lie within each other; choose an OUT beside it")
    if args.xml is not None and args.command != "lidc":
        raise UsageError(f"--xml is for lidc only, the command is {args.command}")
    if args.scheduler is not None and args.executor != "dask":
        raise UsageError("--scheduler is for --executor dask only")
    numbers = {"--workers": args.workers, "--timeout": args.timeout, "--memory-limit": args.memory_limit}
    for name, value in numbers.items():
        if value is not None and not 0 < value < float("inf"):
            raise UsageError(f"{name} is {value:g}, expected a number above 0")
    if not 0 <= args.part_id < args.num_parts:
        raise UsageError(
            f"--part-id is {args.part_id} with --num-parts {args.num_parts}, expected 0 to {args.num_parts - 1}"
        )
    _check_options(args.command, options)


def _check_options(command: str, options: Sequence[str]) -> None:
    """Stop at once for an option with a mistake, instead of failing in every case."""
    from importlib import import_module

    from data_prep._cohort.case_job import COMMANDS, command_words

    for option in options:
        if option.partition("=")[0] in _OWN_OPTIONS:
            raise UsageError(f"{option} cannot be given after --; it is set for every case")
    parser: argparse.ArgumentParser = import_module(COMMANDS[command])._parser()
    parser.parse_args(command_words(command, "IN", "OUT", None, None, options))


def _find(args: argparse.Namespace, options: Sequence[str], stop: StopSignal) -> tuple[Inputs, list[str], list[Case]]:
    from data_prep._cohort.case_index import find_inputs
    from medseg.io.bounded.errors import DataError
    from medseg.io.cohort.cases import case_name, part_of

    wants_xml = args.command == "lidc" and not {"database", "--annotations=database"} & set(options)
    xml_root = (args.xml or args.input) if wants_xml else None
    key = read_key(args, [args.output])
    name_of = case_name if key is None else lambda series: case_name(key.series(series))
    inputs = find_inputs(args.input, xml_root, args.index, check=stop.check, name_of=name_of)
    cohort = inputs.cohort
    if not cohort.cases:
        found = [f"{count} series of modality {kind}" for kind, count in cohort.not_ct.items()]
        found += [f"{cohort.localizers} localizers"] if cohort.localizers else []
        found += [f"{cohort.other_files} other files"]
        raise DataError(f"{args.input}: no CT series in this folder (found {', '.join(found)})")
    return inputs, [case.name for case in cohort.cases], part_of(cohort.cases, args.part_id, args.num_parts)


def _print_cases(args: argparse.Namespace, inputs: Inputs, part: Sequence[Case]) -> None:
    sizes = inputs.stats["dicom"]
    rows: list[dict[str, Any]] = [
        {
            "case": case.name,
            "files": len(case.files),
            "annotation_files": len(case.xml),
            "bytes": sum(sizes[name][0] for name in case.files),
            "error": case.error,
        }
        for case in part
    ]
    if args.json:
        print(json_text(rows))
        return
    for row in rows:
        print(f"{row['case']}  {row['files']} files, {row['bytes'] / 1e6:.1f} MB  {row['error'] or ''}".rstrip())
    print(f"{len(part)} of {len(inputs.cohort.cases)} cases in part {args.part_id} of {args.num_parts}")


def _run(
    args: argparse.Namespace,
    options: Sequence[str],
    inputs: Inputs,
    cases: Sequence[str],
    part: Sequence[Case],
    stop: StopSignal,
) -> int:
    from data_prep._cohort.case_job import recipe_of
    from data_prep._cohort.plan import Rules, plan_part
    from data_prep._cohort.reports import write_reports
    from data_prep._cohort.run import workplace
    from data_prep._cohort.stop import RunInterruptedError
    from medseg.io.cohort.locks import one_at_a_time
    from medseg.io.cohort.manifest import read_manifests

    key = read_key(args, [args.output])
    secrets = {"--pseudonym-key": args.pseudonym_key, "--link": args.link}
    recipe = recipe_of(args.command, options, None if key is None else key.key_id)
    rules = Rules(args.skip_existing, args.overwrite, args.retry_failed, args.verify)
    interrupted: RunInterruptedError | None = None
    with workplace(args.output, args.part_id, args.num_parts) as staging:
        known = read_manifests(args.output).records
        plan = plan_part(part, inputs, recipe, known, rules, args.output.resolve() / "cases", staging, secrets)
        try:
            _work(args, plan, inputs, stop)
        except RunInterruptedError as signal:
            interrupted = signal
        with one_at_a_time(args.output / ".cohort" / "summary.lock"):
            summary = write_reports(args.output, cases, _facts(recipe, inputs))
    _print_summary(args, summary, plan)
    if interrupted is not None:
        raise interrupted
    records = read_manifests(args.output).records
    return 4 if any(records[case.name]["status"] not in ("done", "skipped") for case in part) else 0


def _work(args: argparse.Namespace, plan: Plan, inputs: Inputs, stop: StopSignal) -> None:
    from data_prep._cohort.executors import Limits, make_executor
    from data_prep._cohort.progress import Progress
    from data_prep._cohort.run import run_jobs
    from medseg.io.cohort.manifest import Manifest, manifest_name

    limit = None if args.memory_limit is None else int(args.memory_limit * 1e9)
    workers = args.workers or len(os.sched_getaffinity(0))
    with (
        Manifest(args.output / manifest_name(args.part_id, args.num_parts)) as manifest,
        Progress(len(plan.jobs) + len(plan.records)) as progress,
    ):
        executor = make_executor(args.executor, Limits(workers, args.timeout, limit), args.scheduler)
        try:
            run_jobs(plan, executor, manifest, stop, progress.case, _hide(args, inputs), shows_names(args))
        finally:
            executor.cancel()


def _hide(args: argparse.Namespace, inputs: Inputs) -> Callable[[str], str]:
    """How messages lose the names of input files: those are counted over the whole IN, sorted by path."""
    from medseg.io.privacy.names import HiddenNames

    roots, files = {"IN": inputs.roots["dicom"]}, {"IN": list(inputs.stats["dicom"])}
    if inputs.roots["xml"] != inputs.roots["dicom"]:
        roots["XML"], files["XML"] = inputs.roots["xml"], list(inputs.stats["xml"])
    names = HiddenNames({"OUT": args.output, **roots}, {"OUT": (), **files})
    key = read_key(args, [args.output])
    return names.hide if key is None else lambda text: key.hide_uids(names.hide(text))


def _facts(recipe: dict[str, Any], inputs: Inputs) -> dict[str, Any]:
    cohort = inputs.cohort
    return {
        **recipe,
        "left_out": {
            "series_of_other_modalities": cohort.not_ct,
            "localizer_series": cohort.localizers,
            "other_files": cohort.other_files,
            "other_xml_files": cohort.other_reads,
            "annotated_series_that_are_absent": cohort.absent_series,
        },
    }


def _print_summary(args: argparse.Namespace, summary: dict[str, Any], plan: Plan) -> None:
    if args.json:
        print(json_text(summary))
        return
    if plan.failed_before:
        print(f"{plan.failed_before} case(s) failed before and were not tried again; add --retry-failed")
    earlier = f" ({plan.finished} by earlier runs)" if plan.finished else ""
    counts = [f"{summary['done']} done{earlier}", f"{summary['failed']} failed"]
    counts += [f"{summary[key]} {words}" for key, words in _FURTHER.items() if summary[key]]
    print(f"{args.output}: {summary['cases']} cases: {', '.join(counts)}; tree sha256 {summary['tree_sha256']}")
    if summary["failed"]:
        print(f"the causes are in {args.output / 'failed.csv'}")


if __name__ == "__main__":
    sys.exit(main())
