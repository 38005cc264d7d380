"""``medseg segment --cases``: every case of a folder, with one network in memory; resumable, in parts."""

from __future__ import annotations

import argparse
import contextlib
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from medseg.apps.case_tables import case_row, write_tables
from medseg.apps.failures import explain
from medseg.apps.segment import SegmentPlan, input_rules, policy_from, segment_into, statements_from
from medseg.apps.stage_lines import StageLines
from medseg.inference.bundle_archive import open_bundle
from medseg.inference.bundle_runner import find_weights
from medseg.inference.case import check_path
from medseg.inference.cohort.folder_of_cases import FolderCase, find_cases, source_of_case
from medseg.inference.cohort.keep_loaded import keep_loaded
from medseg.inference.device import choose_device
from medseg.inference.errors import ConfigurationError
from medseg.inference.outputs.run_log import RunLog
from medseg.io.bounded.checksum import sha256_of
from medseg.io.cohort.cases import part_of
from medseg.io.cohort.locks import PartBusyError, one_at_a_time, part_lock
from medseg.io.cohort.manifest import Manifest, manifest_name, read_manifests
from medseg.io.cohort.peak_memory import reset_peak_memory
from medseg.io.cohort.tree import digest_of
from medseg.io.privacy.names import HiddenNames
from medseg.io.privacy.terminal import shows_names

if TYPE_CHECKING:
    from medseg.inference.input_rules import InputRules

__all__ = ["main"]

_OWN = ".segment"
_FINISHED = "done"


def main(args: argparse.Namespace) -> int:
    """Run the command for a folder of cases.

    Args:
        args: as for `medseg.apps.segment.main`; ``num_parts``, ``part_id`` and ``retry_failed`` count here.

    Returns:
        0, or 4 if a case of this part failed.
    """
    _check_usage(args)
    with open_bundle(args.bundle) as bundle:
        device = choose_device(args.device, "--device")
        plan = SegmentPlan(Path(args.output), bundle, find_weights(bundle, args.weights), device)
        rules = input_rules(args)
        settings = _settings(args, plan, rules)
        cases = find_cases(args.input, keep_names=shows_names(args))
        part = part_of(cases, args.part_id, args.num_parts)
        if args.dry_run:
            for case in part:
                print(f"{case.name}  {len(case.files)} file(s)  {case.error or ''}".rstrip())
            print(f"{len(part)} of {len(cases)} cases in part {args.part_id} of {args.num_parts}; nothing was written")
            return 0
        return _run(args, plan, rules, settings, cases, part)


def _check_usage(args: argparse.Namespace) -> None:
    source, target = Path(args.input), Path(args.output)
    check_path(source)
    if not source.is_dir():
        raise ConfigurationError(f"{source}: is a file; --cases expects a folder of cases, leave it out for one case")
    if args.series is not None:
        raise ConfigurationError("--series chooses one series of one case; leave it out, or leave --cases out")
    if args.json:
        raise ConfigurationError("--json prints one result; leave it out, the numbers of --cases are in summary.csv")
    if not 0 <= args.part_id < args.num_parts:
        raise ConfigurationError(
            f"--part-id is {args.part_id} with --num-parts {args.num_parts}, expected 0 to {args.num_parts - 1}"
        )
    inner, outer = target.resolve(), source.resolve()
    if inner.is_relative_to(outer) or outer.is_relative_to(inner):
        raise ConfigurationError(f"{target} and {source} lie within each other; choose a result folder beside it")
    if target.exists() and not target.is_dir():
        raise ConfigurationError(f"{target}: is a file, expected a folder for the results")
    if target.is_dir() and not (target / _OWN).is_dir() and any(target.iterdir()):
        raise ConfigurationError(
            f"{target}: is not empty and holds no earlier run with --cases; choose an empty or new folder"
        )


def _settings(args: argparse.Namespace, plan: SegmentPlan, rules: InputRules) -> dict[str, str]:
    """Digests of what decides a result beside the case: the results of one folder agree in all of them."""
    import medseg

    files = [sorted(args.output_type), args.probability_map, args.no_report]
    options = [rules, policy_from(args), statements_from(args), files, args.precision]
    return {
        "bundle": digest_of([plan.bundle.name, plan.bundle.version, plan.bundle.config_sha256]),
        "weights": sha256_of(plan.weights),
        "options": digest_of([repr(option) for option in options]),
        "version of medseg": medseg.__version__,
    }


def _run(
    args: argparse.Namespace,
    plan: SegmentPlan,
    rules: InputRules,
    settings: dict[str, str],
    cases: Sequence[FolderCase],
    part: Sequence[FolderCase],
) -> int:
    out = plan.target
    (out / _OWN).mkdir(parents=True, exist_ok=True)
    with _held(args, out):
        known = read_manifests(out).records
        _refuse_other_settings(args, out, settings, known, part)
        waiting = [case for case in part if not _is_done(out, case, settings, known.get(case.name))]
        again = [case for case in waiting if args.retry_failed or not _failed_before(case, settings, known)]
        _say_what_is_known(args, len(part) - len(waiting), len(waiting) - len(again))
        try:
            with Manifest(out / manifest_name(args.part_id, args.num_parts)) as manifest, keep_loaded():
                work = _Work(args, plan, rules, settings, manifest, len(again))
                for case in again:
                    work.case(case)
        except KeyboardInterrupt as stop:
            raise type(stop)("stopped; finished cases are kept, run the same command again to go on") from None
        finally:
            with one_at_a_time(out / _OWN / "summary.lock"):
                records = write_tables(out, [case.name for case in cases], plan.bundle.labels)
    failed = [case for case in part if records.get(case.name, {}).get("status") != _FINISHED]
    if not args.quiet:
        _print_summary(out, cases, records, len(part) - len(waiting))
    return 4 if failed else 0


@contextlib.contextmanager
def _held(args: argparse.Namespace, out: Path) -> Iterator[None]:
    """Hold the part against other runs."""
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(part_lock(out / _OWN, args.part_id, args.num_parts))
        except PartBusyError as error:
            raise ConfigurationError(str(error)) from None
        yield


def _refuse_other_settings(
    args: argparse.Namespace,
    out: Path,
    settings: dict[str, str],
    known: dict[str, dict[str, Any]],
    part: Sequence[FolderCase],
) -> None:
    """One folder never mixes results of different settings without a word."""
    if args.overwrite:
        return
    for case in part:
        record, folder = known.get(case.name), out / "cases" / case.name
        if not folder.exists():
            continue
        if record is None:
            raise ConfigurationError(f"{folder}: was made by no earlier run; add --overwrite, or choose another folder")
        other = [key for key, value in settings.items() if record["settings"].get(key) != value]
        if other or record["input"] != case.fingerprint:
            what = f"with other settings ({', '.join(other)})" if other else "of another input file"
            raise ConfigurationError(f"{folder}: was made {what}; add --overwrite, or choose another folder")


def _is_done(out: Path, case: FolderCase, settings: dict[str, str], record: dict[str, Any] | None) -> bool:
    """Whether the result that a record tells of is in its place; a run may have been killed before or after that."""
    if record is None or record["settings"] != settings or record["input"] != case.fingerprint:
        return False
    report = out / "cases" / case.name / "run.json"
    return "run_sha256" in record and report.is_file() and sha256_of(report) == record["run_sha256"]


def _failed_before(case: FolderCase, settings: dict[str, str], known: dict[str, dict[str, Any]]) -> bool:
    """Whether a case would most likely fail again; where memory or disk ran out (code 5) nobody can tell."""
    record = known.get(case.name)
    if record is None or record["status"] != "failed" or record["code"] == 5:
        return False
    return bool(record["settings"] == settings and record["input"] == case.fingerprint)


def _say_what_is_known(args: argparse.Namespace, done: int, failed: int) -> None:
    lines = [f"{done} case(s) are done already with these settings and are left as they are"] if done else []
    if failed:
        lines.append(f"{failed} case(s) failed before and are not tried again; add --retry-failed")
    for line in [] if args.quiet else lines:
        print(line, file=sys.stderr, flush=True)


class _Work:
    """Segments case after case and records how each one ended."""

    def __init__(
        self,
        args: argparse.Namespace,
        plan: SegmentPlan,
        rules: InputRules,
        settings: dict[str, str],
        manifest: Manifest,
        total: int,
    ) -> None:
        self._args, self._plan, self._rules, self._settings = args, plan, rules, settings
        self._manifest, self._total, self._count = manifest, total, 0
        self._names = HiddenNames({"CASE": args.input})  # files never hold names, the terminal's own filter may

    def case(self, case: FolderCase) -> None:
        """Segment one case. A failure is recorded and printed; only an interruption and a full disk pass."""
        self._count += 1
        facts = {"case": case.name, "settings": self._settings, "input": case.fingerprint}
        start = time.perf_counter()
        if case.error is not None:
            self._failed(facts, case.error, 3)
            return
        reset_peak_memory()
        try:
            row = self._segment(case, facts, start)
        except Exception as error:
            if self._args.traceback:
                import traceback

                traceback.print_exc()
            self._failed(facts, *explain(error))
            return
        words = f", {row['warnings']} warning(s)" if row["warnings"] else ""
        self._say(case.name, f"done in {row['seconds']:.1f} s, {row['peak_memory_mb']:.0f} MB{words}")

    def _segment(self, case: FolderCase, facts: dict[str, Any], start: float) -> dict[str, Any]:
        target = self._plan.target / "cases" / case.name
        row: dict[str, Any] = {}

        def note(folder: Path) -> None:
            # Written before the result gets its name: after a kill in between, the next run knows what the folder is.
            row.update(case_row(folder, time.perf_counter() - start))
            run = sha256_of(folder / "run.json")
            self._manifest.append({**facts, "status": "publishing", "run_sha256": run, "row": row})

        with RunLog(exclusive=True) as log:
            segment_into(
                self._plan._replace(target=target),
                source_of_case(case),
                self._args,
                self._rules,
                StageLines(total=0, quiet=True),
                log,
                note,
            )
        run = sha256_of(target / "run.json")
        self._manifest.append({**facts, "status": _FINISHED, "run_sha256": run, "row": row})
        return row

    def _failed(self, facts: dict[str, Any], line: str, code: int) -> None:
        line = self._args.fit_message(line)
        self._manifest.append({**facts, "status": "failed", "code": code, "error": self._names.hide(line)})
        self._say(facts["case"], f"FAILED ({code}): {line}", always=True)

    def _say(self, name: str, words: str, always: bool = False) -> None:
        if always or not self._args.quiet:
            print(f"[{self._count}/{self._total}] {name}: {words}", file=sys.stderr, flush=True)


def _print_summary(out: Path, cases: Sequence[FolderCase], records: dict[str, dict[str, Any]], earlier: int) -> None:
    states = [records[case.name]["status"] for case in cases if case.name in records]
    done, failed = states.count(_FINISHED), states.count("failed")
    before = f" ({earlier} by earlier runs)" if earlier else ""
    rest = len(cases) - len(states)
    print(f"{out}: {len(cases)} cases: {done} done{before}, {failed} failed" + (f", {rest} not run" if rest else ""))
    print(f"measurements are in {out / 'summary.csv'}")
    if failed:
        print(f"the causes are in {out / 'failed.csv'}")
