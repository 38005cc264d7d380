"""``medseg segment``: one CT case in, a folder with mask, measurements, preview and report out; or many."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from medseg.apps.stage_lines import StageLines
from medseg.inference.bundle import Bundle
from medseg.inference.bundle_archive import open_bundle
from medseg.inference.bundle_runner import equivalent_command, find_weights, overrides_for
from medseg.inference.case import Case, CaseSource, check_path, read_case
from medseg.inference.device import choose_device
from medseg.inference.errors import ConfigurationError, IntegrityError
from medseg.inference.input_rules import InputRules
from medseg.inference.memory import available_memory, plan_memory
from medseg.inference.monitor import Monitor
from medseg.inference.outputs.dicom_results import check_output_types, dicom_source
from medseg.inference.outputs.folder import RESULT_FILES, check_target, previous_of, staged_folder
from medseg.inference.outputs.json_summary import json_summary
from medseg.inference.outputs.run_log import RunLog
from medseg.inference.outputs.write import write_result
from medseg.inference.segment_case import segment
from medseg.inference.stages import Stages
from medseg.io.bounded.archive import is_archive, unpacked
from medseg.io.bounded.atomic import json_text
from medseg.io.bounded.errors import DataError
from medseg.io.bounded.messages import sum_up
from medseg.io.ct.policy_options import policy_of, policy_words
from medseg.io.ct.statement_options import assumptions_of, rescale_of
from medseg.io.volumes.finite import AIR_HU, check_fill_value

if TYPE_CHECKING:
    from medseg.inference.result import Result
    from medseg.io.ct.policy import GeometryPolicy

__all__ = ["SegmentPlan", "input_rules", "main", "policy_from", "segment_into", "statements_from"]


class SegmentPlan(NamedTuple):
    """The checked arguments of a command line."""

    target: Path
    bundle: Bundle
    weights: Path
    device: str


def main(args: argparse.Namespace) -> int:
    """Run the command.

    Args:
        args: ``input``, ``output``, ``output_type``, ``series``, ``bundle``, ``weights``, ``device``, ``overwrite``,
            ``quiet``, ``json``, ``no_report``, ``dry_run``, ``max_memory``, ``precision``, ``probability_map``,
            ``on_nonfinite``, ``fill_value``, ``cropped``, ``strict``, those of `medseg.io.ct.policy_options` and
            `medseg.io.ct.statement_options`, and ``fit_message``, which makes the options in a message those of this
            command.

    Returns:
        0; every failure is raised (`medseg.apps.failures` makes a line and an exit code of it).
    """
    target = Path(args.output)
    _check_case_options(args)
    if args.json and args.dry_run:
        raise ConfigurationError("--json prints results, and --dry-run makes none; leave one of them out")
    check_target(target, args.overwrite)
    with open_bundle(args.bundle) as bundle:
        check_path(Path(args.input))
        with _unpacked_input(args) as ready:
            _refuse_folder_of_images(Path(ready.input))
            return _run(ready, target, bundle)


def _run(args: argparse.Namespace, target: Path, bundle: Bundle) -> int:
    rules = input_rules(args)
    lines = StageLines(total=6 if args.output_type else 5, quiet=args.quiet)
    with RunLog(exclusive=True) as log:
        device = choose_device(args.device, "--device")
        plan = SegmentPlan(target, bundle, find_weights(bundle, args.weights), device)
        if args.dry_run:
            case = read_case(args.input, args.series, policy=policy_from(args), rules=rules, **statements_from(args))
            dicom_source(case, check_output_types(args.output_type))
            _print_plan(plan, case, args)
            return 0
        try:
            result = segment_into(plan, args.input, args, rules, lines, log)
        finally:
            if args.overwrite and not target.exists() and previous_of(target).is_dir():
                lines.say(f"the earlier result is kept in {previous_of(target)}")
    if args.json:
        print(json_text(json_summary(args.output)))
    elif not args.quiet:
        print("\n".join([*result.summary(), f"results in {target}"]))
    return 0


def input_rules(args: argparse.Namespace) -> InputRules:
    """What the options say about voxel values."""
    if args.fill_value is not None and args.on_nonfinite != "fill":
        raise ConfigurationError(
            "--fill-value is of use only with --on-nonfinite fill; add that option or leave it out"
        )
    try:
        fill_value = check_fill_value(AIR_HU if args.fill_value is None else args.fill_value, "--fill-value")
    except ValueError as error:
        raise ConfigurationError(str(error)) from error
    return InputRules(args.on_nonfinite, fill_value, args.cropped, args.strict)


@contextmanager
def _unpacked_input(args: argparse.Namespace) -> Iterator[argparse.Namespace]:
    """The options with a temporary folder in place of an archive; messages call it as they call the archive."""
    if not is_archive(args.input) or Path(args.input).is_dir():
        yield args
        return
    with ExitStack() as stack:
        try:
            folder = stack.enter_context(unpacked(args.input))
        except DataError as error:
            raise IntegrityError(str(error)) from error
        if args.hidden_names is not None:
            args.hidden_names.replace_input("CASE", folder)
        yield argparse.Namespace(**{**vars(args), "input": str(folder)})


def _check_case_options(args: argparse.Namespace) -> None:
    """Refuse options that are for many cases only."""
    given = {"--num-parts": args.num_parts != 1, "--part-id": args.part_id != 0, "--retry-failed": args.retry_failed}
    for option in (name for name, is_given in given.items() if is_given):
        raise ConfigurationError(f"{option} is for a folder of cases; add --cases or leave it out")


def _refuse_folder_of_images(path: Path) -> None:
    """A folder is one DICOM series unless ``--cases`` says that it holds cases."""
    if not path.is_dir():
        return
    from medseg.inference.cohort.folder_of_cases import image_files

    images = image_files(path)
    if images:
        raise ConfigurationError(
            f"{path}: holds {len(images)} image file(s), the first {images[0].name}; add --cases to segment every case "
            "of the folder, or give one file"
        )


def segment_into(
    plan: SegmentPlan,
    case: CaseSource,
    args: argparse.Namespace,
    rules: InputRules,
    lines: StageLines,
    log: RunLog,
    before_publishing: Callable[[Path], object] = lambda folder: None,
) -> Result:
    """Segment and publish. An earlier result is moved away first, so that it is never mistaken for the new one.

    Args:
        plan: the target folder, bundle, weights and device.
        case: what is segmented.
        args: as for `main`.
        rules: from `input_rules`.
        lines: get the stages and warnings.
        log: of this case.
        before_publishing: called with the folder that holds all files of the result, just before it gets its name.
    """
    with staged_folder(plan.target, args.overwrite) as folder:
        # Scratch files lie on the disk that the user chose for the results.
        monitor = Monitor(Stages(lines), log, progress=lines.interactive, scratch_dir=folder)
        result = segment(
            case,
            plan.bundle,
            plan.weights,
            device=plan.device,
            series_uid=args.series,
            policy=policy_from(args),
            **statements_from(args),
            output_types=args.output_type,
            **rules._asdict(),
            max_memory=_bytes(args.max_memory),
            precision=args.precision,
            probability_map=args.probability_map,
            monitor=monitor,
        )
        warnings = write_result(result, folder, result.run.output_types, monitor, not args.no_report)
        for line in sum_up(warnings, str(plan.target / "medseg.log")):
            lines.say(f"warning: {args.fit_message(line)}")
        before_publishing(folder)
    return result


def _bytes(gib: float | None) -> int | None:
    """The option ``--max-memory`` in bytes."""
    if gib is None:
        return None
    if not 0 < gib < math.inf:
        raise ConfigurationError(f"--max-memory is {gib:g}; expected a number of GiB above 0")
    return int(gib * 2**30)


def policy_from(args: argparse.Namespace) -> GeometryPolicy | None:
    """How an irregular series is repaired; None where no option says so."""
    try:
        return policy_of(args) if policy_words(args) else None
    except DataError as error:
        raise ConfigurationError(str(error)) from None


def statements_from(args: argparse.Namespace) -> dict[str, Any]:
    """What the options state where headers leave it open, as arguments of `segment`."""
    try:
        return {"assume": assumptions_of(args), "assume_rescale": rescale_of(args)}
    except DataError as error:
        raise ConfigurationError(str(error)) from None


def _print_plan(plan: SegmentPlan, case: Case, args: argparse.Namespace) -> None:
    """The plan of a dry run, on standard output."""
    facts, available = case.facts(), available_memory()
    free = "" if available is None else f", {available / 2**30:.1f} GiB free"
    memory = plan_memory(plan.bundle, case, args.probability_map)
    needed = f"about {memory.peak / 2**30:.2f} GiB at the peak (stage: {memory.largest})"
    spacing = " x ".join(f"{s:g}" for s in facts["spacing_mm"])
    shape = " x ".join(str(n) for n in facts["shape"])
    image = Path("CASE.nii.gz") if case.file is None else case.file
    values = overrides_for(plan.bundle, image, plan.target, plan.weights, plan.device)
    if case.file is None:
        values["input_files"] = ["CASE.nii.gz"]
    state = "replaced (--overwrite)" if args.overwrite and plan.target.exists() else "new"
    lines = [
        f"case:     {case.kind}, {shape} voxels, {spacing} mm, {facts['orientation']}, {facts['dtype']}",
        f"bundle:   {plan.bundle.name} {plan.bundle.version}, classes {', '.join(plan.bundle.labels.values())}",
        f"weights:  {plan.bundle.shown(str(plan.weights))}",
        f"device:   {plan.device}",
        f"memory:   {needed}{free}",
        f"output:   {plan.target} ({state}): {', '.join(RESULT_FILES)}",
        f"same as:  {equivalent_command(plan.bundle, values)}",
        *(f"warning:  {args.fit_message(line)}" for line in case.warnings),
        "dry run: nothing was written",
    ]
    print("\n".join(lines))
