"""What there is to do for the cases of one part, after what earlier runs did."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from data_prep._cohort.case_index import Inputs
from data_prep._cohort.case_job import missing_outputs, read_case_file, run_case
from data_prep._cohort.worker import Job
from medseg.io.cohort.cases import Case
from medseg.io.cohort.tree import digest_of

__all__ = ["Plan", "Rules", "plan_part"]


@dataclass(frozen=True)
class Rules:
    """What to do with cases that an earlier run has handled.

    Attributes:
        skip_existing: leave every output folder that exists as it is, whatever it was made of.
        overwrite: replace an output that was made of other input or by another recipe.
        retry_failed: try cases again that failed with this very input and recipe.
        verify: read finished outputs and compare their SHA-256; without it, presence and sizes are compared.
    """

    skip_existing: bool = False
    overwrite: bool = False
    retry_failed: bool = False
    verify: bool = False


@dataclass(frozen=True)
class Plan:
    """What is to be done in this run.

    Attributes:
        jobs: a job for every case that is not finished, in order.
        records: manifest records of cases that need no job.
        facts: entries of every case's record that do not depend on its outcome, by the case's name.
        finished: number of cases that earlier runs finished.
        failed_before: number of cases that failed in an earlier run and are not tried again.
        skipped: number of cases whose output exists and is left alone by ``skip_existing``.
    """

    jobs: list[Job]
    records: list[dict[str, Any]]
    facts: dict[str, dict[str, Any]]
    finished: int
    failed_before: int
    skipped: int


def plan_part(
    cases: Sequence[Case],
    inputs: Inputs,
    recipe: dict[str, Any],
    known: dict[str, dict[str, Any]],
    rules: Rules,
    folder: Path,
    staging: Path,
    secrets: Mapping[str, Path | None] = MappingProxyType({}),
) -> Plan:
    """Decide for every case whether there is work to do.

    A case is finished if its last record says so for the same recipe and for files of the same name, size and time of
    change, and its output is there. If only the times differ, the worker reads the input and decides by contents.

    Args:
        cases: the cases of the part.
        inputs: where their files are.
        recipe: from `data_prep._cohort.case_job.recipe_of`.
        known: last manifest record of every case.
        rules: what to do with cases met before.
        folder: holds the output folders of the cases.
        staging: folder for work in progress.
        secrets: options of the case's command whose files are outside input and output and in no record.
    """
    jobs: list[Job] = []
    records: list[dict[str, Any]] = []
    facts = {case.name: {"stats": inputs.stats_of(case), "recipe": digest_of(recipe)} for case in cases}
    words = [word for option, path in secrets.items() if path is not None for word in (option, str(path.resolve()))]
    counts = {"done": 0, "failed": 0, "skipped": 0}
    for case in cases:
        own, record, target = facts[case.name], known.get(case.name), folder / case.name
        if record is not None and {key: record.get(key) for key in own} != own:
            record = None
        state = _state(record, target, rules)
        if state == "run" and case.error is not None:
            records.append({"case": case.name, "status": "failed", "error": case.error, **own})
        elif state == "run":
            jobs.append(_job(case, inputs, recipe, target, staging, rules.overwrite, words))
        else:
            counts[state] += 1
            if state == "skipped" and (record is None or record["status"] != "skipped"):
                records.append({"case": case.name, "status": "skipped", **own})
    return Plan(jobs, records, facts, counts["done"], counts["failed"], counts["skipped"])


def _state(record: dict[str, Any] | None, target: Path, rules: Rules) -> str:
    """``done``, ``failed``, ``skipped`` or ``run``; the record is None unless it is of this input and recipe."""
    if record is not None and record["status"] == "done":
        published = read_case_file(target)
        same = published is not None and published["key"] == record["key"]
        if same and not missing_outputs(target, published or {}, deep=rules.verify):
            return "done"
    if rules.skip_existing and target.exists():
        return "skipped"
    if record is not None and record["status"] not in ("done", "skipped") and not rules.retry_failed:
        return "failed"
    return "run"


def _job(
    case: Case,
    inputs: Inputs,
    recipe: dict[str, Any],
    target: Path,
    staging: Path,
    overwrite: bool,
    secrets: Sequence[str],
) -> Job:
    arguments = {
        "recipe": recipe,
        "sources": inputs.roots,
        "dicom": list(case.files),
        "xml": list(case.xml),
        "series": case.series if case.choose else None,
        "staging": str(staging),
        "target": str(target),
        "overwrite": overwrite,
        "secrets": list(secrets),
    }
    return Job(case.name, run_case, arguments)
