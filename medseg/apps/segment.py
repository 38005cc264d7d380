"""``medseg segment``: one CT case in, a folder with mask, measurements, preview and report out."""

from __future__ import annotations

import argparse
import contextlib
import json
import logging
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medseg.geometry import corner_displacement_mm, spacing_of
from medseg.inference.bundle import Bundle, read_bundle
from medseg.inference.bundle_runner import equivalent_command, find_weights, overrides_for, run_bundle
from medseg.inference.case import Case, read_case
from medseg.inference.errors import CommandError, ConfigurationError, ResourceError
from medseg.inference.memory import available_memory, estimate_bytes
from medseg.inference.outputs.dicom_results import read_case_source, write_dicom_results
from medseg.inference.outputs.folder import (
    DICOM_FILES,
    RESULT_FILES,
    check_target,
    describe_outputs,
    previous_of,
    staged_folder,
)
from medseg.inference.outputs.run_log import RunLog
from medseg.inference.outputs.run_report import RUN_SCHEMA_VERSION, installed_versions, peak_memory
from medseg.inference.stages import Stages
from medseg.inference.statistics import class_statistics
from medseg.io.bounded.atomic import write_json, write_text
from medseg.io.bounded.checksum import sha256_of

__all__ = ["main"]

_SEED = 0
_TOLERANCE_MM = 1e-2
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Plan:
    """What a checked command line comes down to."""

    target: Path
    bundle: Bundle
    weights: Path
    device: str
    started_at: str


def main(args: argparse.Namespace) -> int:
    """Run the command.

    Args:
        args: ``input``, ``output``, ``output_type``, ``series``, ``bundle``, ``weights``, ``device``, ``overwrite``,
            ``quiet``, ``dry_run``.

    Returns:
        0; every failure is raised (see ``medseg.inference.errors``).
    """
    target = Path(args.output)
    check_target(target, args.overwrite)
    bundle = read_bundle(args.bundle)
    if not Path(args.input).exists():
        raise ConfigurationError(f"{args.input}: no such file or folder; expected a NIfTI file or a DICOM folder")
    stages = Stages(total=6 if args.output_type else 5, quiet=args.quiet)
    with RunLog() as log:
        log.hide([Path(args.input).absolute(), args.input, Path(args.input).name])
        device = _device(args.device)
        started = datetime.now(timezone.utc).isoformat(timespec="seconds")
        plan = _Plan(target, bundle, find_weights(bundle, args.weights), device, started)
        if args.dry_run:
            read_case_source(args.input, args.series, args.output_type)
            _print_plan(plan, read_case(args.input, args.series), args.overwrite)
            return 0
        try:
            with staged_folder(target, args.overwrite) as folder:
                statistics = _segment(plan, args, folder, stages, log)
        finally:
            if args.overwrite and not target.exists() and previous_of(target).is_dir():
                stages.say(f"the earlier result is kept in {previous_of(target)}")
    _print_result(statistics, target, args.quiet)
    return 0


def _device(requested: str | None) -> str:
    import torch

    if requested is None:
        return "cuda:0" if torch.cuda.is_available() else "cpu"
    if requested.startswith("cuda"):
        number = int(requested.partition(":")[2] or 0)
        if number >= torch.cuda.device_count():
            raise ConfigurationError(
                f"--device {requested}: torch {torch.__version__} sees {torch.cuda.device_count()} CUDA devices; "
                "use --device cpu or see `medseg doctor`"
            )
        return f"cuda:{number}"
    return requested


def _segment(plan: _Plan, args: argparse.Namespace, folder: Path, stages: Stages, log: RunLog) -> dict[str, Any]:
    """Fill ``folder`` with all results and return the statistics."""
    from medseg.inference.outputs.preview import write_preview
    from medseg.io.volumes.nifti import write_nifti_like

    labels = plan.bundle.labels
    with stages.stage("read case"):
        case = read_case(args.input, args.series)
        log.hide([case.source, case.name] if len(case.name) > 2 else [case.source])
        source = read_case_source(args.input, args.series, args.output_type)
    _refuse_without_memory(plan, case)
    warnings = list(case.warnings)
    with _scratch_folder(folder) as scratch:
        image = case.as_nifti(scratch)
        log.hide([folder.absolute()], "OUTPUT")
        with stages.stage("run bundle", f"{plan.bundle.name} on {plan.device}"):
            mask = _run(plan, case, image, scratch, stages.interactive)
        with stages.stage("measure"):
            write_nifti_like(folder / "seg.nii.gz", mask, image)
            statistics = {"schema_version": 1, **class_statistics(mask, case.array, case.affine_ras, labels)}
            write_json(folder / "statistics.json", statistics)
    if source is not None:
        with stages.stage("write DICOM"):
            write_dicom_results(folder, args.output_type, mask, case.affine_ras, source, plan.bundle)
    warnings += _findings(statistics)
    with stages.stage("draw preview"):
        write_preview(folder / "preview.png", case.array, mask, case.affine_ras, labels, case.name)
    with stages.stage("write report"):
        report = _report(plan, case, [log.hidden(line) for line in warnings])
    for line in warnings:
        _log.warning("%s", line)
        stages.say(f"warning: {line}")
    write_text(folder / "medseg.log", log.text())
    report["stage_seconds"] = stages.seconds
    names = [name for name in RESULT_FILES if name != "run.json"] + [DICOM_FILES[kind] for kind in args.output_type]
    report["outputs"] = describe_outputs(folder, tuple(names))
    write_json(folder / "run.json", report)
    return statistics


@contextlib.contextmanager
def _scratch_folder(folder: Path) -> Iterator[Path]:
    """A folder for intermediate files on the same disk as the results, gone before they are published."""
    with tempfile.TemporaryDirectory(prefix="scratch-", dir=folder) as name:
        yield Path(name)


def _run(plan: _Plan, case: Case, image: Path, scratch: Path, progress: bool) -> NDArray[np.uint8]:
    """Run the bundle and return its mask, checked against the case's grid and the bundle's classes."""
    import torch

    from medseg.io.volumes.nifti import read_nifti

    torch.manual_seed(_SEED)
    _log.info("equivalent command: %s", _public_command(plan))
    written = run_bundle(
        plan.bundle, overrides_for(plan.bundle, image, scratch / "bundle", plan.weights, plan.device, progress)
    )
    mask, affine, _ = read_nifti(written)
    if mask.shape != case.array.shape:
        raise CommandError(
            f"{plan.bundle.config}: the mask has shape {mask.shape}, the image {case.array.shape}; "
            "the bundle must invert its spatial transforms"
        )
    shift = corner_displacement_mm(affine, case.affine_ras, mask.shape)
    if shift > _TOLERANCE_MM:
        raise CommandError(f"{plan.bundle.config}: the mask lies {shift:.3f} mm off the image's grid")
    values = np.unique(mask)
    unnamed = [float(value) for value in values if value not in plan.bundle.labels]
    if unnamed:
        raise CommandError(
            f"{plan.bundle.config}: the mask holds the value {unnamed[0]:g}, but metadata.json names only "
            f"{sorted(plan.bundle.labels)}"
        )
    return mask.astype(np.uint8)


def _public_command(plan: _Plan) -> str:
    """The MONAI command with placeholders for image and output, which may carry names of patients."""
    values = overrides_for(plan.bundle, Path("/CASE.nii.gz"), Path("/OUTPUT"), plan.weights, plan.device)
    values.update(input_files=["CASE.nii.gz"], output_dir="OUTPUT")
    return equivalent_command(plan.bundle, values)


def _refuse_without_memory(plan: _Plan, case: Case) -> None:
    """Stop before the system has to kill the process: the estimate leaves out the network, so it is a lower bound."""
    needed, available = _memory_needed(plan, case), available_memory()
    if available is not None and needed > available:
        raise ResourceError(
            f"the volumes alone need about {needed / 2**30:.1f} GiB, but {available / 2**30:.1f} GiB are free; "
            "close other programs, crop the image or use a larger machine"
        )


def _memory_needed(plan: _Plan, case: Case) -> int:
    config = json.loads(plan.bundle.config.read_text(encoding="utf-8"))
    pixdim = config.get("pixdim")
    fixed = isinstance(pixdim, list) and len(pixdim) == 3 and all(isinstance(p, int | float) and p > 0 for p in pixdim)
    spacing = [float(s) for s in spacing_of(case.affine_ras)]
    array = case.array
    return estimate_bytes(array.shape, array.itemsize, spacing, len(plan.bundle.labels), pixdim if fixed else None)


def _findings(statistics: dict[str, Any]) -> list[str]:
    """What a reader of the results should know before trusting a number."""
    lines = []
    for entry in statistics["classes"]:
        if entry["n_voxels"] == 0:
            lines.append(f"no voxel was labelled {entry['name']}")
        elif entry["touches_border"]:
            faces = ", ".join(entry["border_faces"])
            lines.append(f"{entry['name']} reaches the image border ({faces}): its volume may be cut off")
    return lines


def _report(plan: _Plan, case: Case, warnings: list[str]) -> dict[str, Any]:
    return {
        "schema_version": RUN_SCHEMA_VERSION,
        "command": "medseg segment",
        "equivalent_command": _public_command(plan),
        "started_at": plan.started_at,
        "versions": installed_versions(),
        "bundle": {"name": plan.bundle.name, "version": plan.bundle.version},
        "config_sha256": plan.bundle.config_sha256,
        "weights_sha256": sha256_of(plan.weights),
        "labels": {str(number): name for number, name in plan.bundle.labels.items()},
        "device": _device_facts(plan.device),
        "seed": _SEED,
        "input": case.facts(),
        "warnings": warnings,
        **peak_memory(),
    }


def _device_facts(device: str) -> dict[str, str]:
    import torch

    name = torch.cuda.get_device_name(device) if device.startswith("cuda") else f"{torch.get_num_threads()} CPU threads"
    return {"device": device, "name": name}


def _print_plan(plan: _Plan, case: Case, overwrite: bool) -> None:
    """The plan of a dry run, on standard output."""
    facts, available = case.facts(), available_memory()
    free = "" if available is None else f", {available / 2**30:.1f} GiB free"
    spacing = " x ".join(f"{s:g}" for s in facts["spacing_mm"])
    shape = " x ".join(str(n) for n in facts["shape"])
    values = overrides_for(plan.bundle, case.source, plan.target, plan.weights, plan.device)
    if case.kind == "dicom":
        values["input_files"] = ["CASE.nii.gz"]
    state = "replaced (--overwrite)" if overwrite and plan.target.exists() else "new"
    lines = [
        f"case:     {case.kind}, {shape} voxels, {spacing} mm, {facts['orientation']}, {facts['dtype']}",
        f"bundle:   {plan.bundle.name} {plan.bundle.version}, classes {', '.join(plan.bundle.labels.values())}",
        f"weights:  {plan.weights}",
        f"device:   {plan.device}",
        f"memory:   about {_memory_needed(plan, case) / 2**30:.2f} GiB for volumes, the network comes on top{free}",
        f"output:   {plan.target} ({state}): {', '.join(RESULT_FILES)}",
        f"same as:  {equivalent_command(plan.bundle, values)}",
        *(f"warning:  {line}" for line in case.warnings),
        "dry run: nothing was written",
    ]
    print("\n".join(lines))


def _print_result(statistics: dict[str, Any], target: Path, quiet: bool) -> None:
    if quiet:
        return
    for entry in statistics["classes"]:
        print(f"{entry['name']}: {entry['volume_ml']:.2f} ml, {entry['n_components']} component(s)")
    print(f"results in {target}")
