"""Segment one CT from Python. The command ``medseg segment`` uses this function, too."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from contextlib import ExitStack
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from medseg.inference.bundle import Bundle
from medseg.inference.bundle_archive import open_bundle
from medseg.inference.bundle_runner import find_weights, public_command, run_bundle
from medseg.inference.case import Case, CaseSource, read_case
from medseg.inference.device import choose_device, describe_device
from medseg.inference.errors import ConfigurationError, ResourceError
from medseg.inference.input_rules import InputRules
from medseg.inference.memory import MemoryPlan, available_memory, plan_memory
from medseg.inference.monitor import Monitor
from medseg.inference.outputs.dicom_results import check_output_types, dicom_source
from medseg.inference.outputs.run_report import RUN_SCHEMA_VERSION, installed_versions
from medseg.inference.result import Result, RunRecord
from medseg.inference.statistics import class_statistics
from medseg.io.bounded.checksum import sha256_of
from medseg.io.privacy.names import HiddenNames
from medseg.io.volumes.assumptions import NO_ASSUMPTIONS, ImageAssumptions
from medseg.io.volumes.finite import AIR_HU

if TYPE_CHECKING:
    import torch

    from medseg.inference.bundle_parts import ProbabilityListener
    from medseg.io.ct.policy import GeometryPolicy
    from medseg.io.ct.rescale import Rescale

__all__ = ["STATISTICS_SCHEMA_VERSION", "segment"]

STATISTICS_SCHEMA_VERSION = 2

PRECISIONS = ("float32", "bfloat16")

_SEED = 0
_log = logging.getLogger(__name__)


def segment(
    case: CaseSource,
    bundle: str | Path | Bundle,
    weights: str | Path | None = None,
    *,
    device: str | torch.device | None = None,
    series_uid: str | None = None,
    affine_ras: ArrayLike | None = None,
    policy: GeometryPolicy | None = None,
    assume: ImageAssumptions = NO_ASSUMPTIONS,
    assume_rescale: Rescale | None = None,
    output_types: str | Sequence[str] = (),
    on_nonfinite: str = "refuse",
    fill_value: float = AIR_HU,
    cropped: bool = False,
    strict: bool = False,
    max_memory: int | None = None,
    precision: str = "float32",
    probability_map: bool = False,
    monitor: Monitor | None = None,
) -> Result:
    """Segment one CT with a bundle. Nothing is printed, and nothing stays on the disk before `Result.save`.

    A bundle's configuration is code: run only bundles that you trust. One call runs at a time in a process, since
    what the bundle prints and logs is collected for the result's log.

    Args:
        case: an image file: NIfTI (``.nii``, ``.nii.gz``), MetaImage (``.mha``, ``.mhd``) or NRRD (``.nrrd``,
            ``.nhdr``); a folder with a CT series in DICOM; what `medseg.io.ct.scan.list_series` found, or one of its
            ``series``; or an array or tensor in Hounsfield units, ``[x, y, z]`` or ``[1, x, y, z]``.
        bundle: a MONAI bundle's folder, with ``configs/inference.json`` and ``configs/metadata.json``, or an archive of
            one (.zip, .tar.gz ...), which is unpacked into a temporary folder during the call.
        weights: checkpoint instead of the bundle's own.
        device: ``cpu``, ``cuda`` or ``cuda:N``; None takes the first CUDA device, or the CPU where there is none.
        series_uid: SeriesInstanceUID, if a folder or listing holds several CT series.
        affine_ras: 4 x 4, voxel to RAS mm: required for an array, refused for everything that brings its own affine.
        policy: how the slices of an irregular DICOM series are repaired (`medseg.io.ct.policy.GeometryPolicy`); None
            refuses such a series. The mask lies on the repaired grid; DICOM results go back to the original slices.
        assume: what you state where the header of an image file leaves its geometry open; the result says so.
        assume_rescale: slope and intercept of the slices of a DICOM series that have none, if you state them; the
            result says so.
        output_types: ``"dicom_seg"``, ``"rtstruct"`` or both, if they are to be saved: whether results can refer to the
            series is then checked before the network runs.
        on_nonfinite: what is done with voxels that are NaN or infinite: ``"refuse"`` raises an error; ``"fill"``
            replaces them, and the result says so.
        fill_value: the HU that fill them.
        cropped: the image is a crop inside the body: missing air raises no doubt about its unit.
        strict: refuse an image that can hardly be a CT in Hounsfield units (`medseg.io.volumes.hounsfield` has the
            rules). Otherwise the doubt is a warning of the result.
        max_memory: bytes of main memory that the process may take at its peak, by the estimate of
            `medseg.inference.memory.plan_memory`; None: what is free.
        precision: ``"float32"``, or ``"bfloat16"`` for the network alone: faster where the processor has it, with small
            changes along the borders of the mask. ``run.json`` records it.
        probability_map: keep the probabilities of the foreground classes, for `Result.probability` and
            ``probability.nii.gz``; for bundles that make their mask with `medseg.transforms.MaskOnSourceGridd`.
        monitor: stages, log, progress bar and scratch folder; None: no stage is reported and no progress bar is shown.

    Returns:
        The mask on the grid of the case, with measurements and warnings.

    Raises:
        ConfigurationError: for an argument that is wrong or does not belong to this kind of case, or a bundle that
            cannot be read or has no weights.
        IntegrityError: for data that cannot be read or have no usable geometry, for voxels that are not finite, and
            with ``strict`` for values that can hardly be Hounsfield units.
        ResourceError: if the run is estimated to need more memory than is free or than ``max_memory``.
        InferenceError: if the bundle writes no mask, or one that does not belong to the case.

    >>> from medseg.inference import segment
    >>> result = segment("scan.nii.gz", "bundles/lits_liver_segmentation", "model.pt")
    >>> result.mask.shape == read_case("scan.nii.gz").array.shape
    True
    >>> result.statistics["classes"][0]["name"]
    'liver'
    >>> result.save("results/case_1")
    PosixPath('results/case_1')
    """
    started = datetime.now(timezone.utc).isoformat(timespec="seconds")
    monitor = Monitor() if monitor is None else monitor
    kinds = check_output_types(output_types)
    if precision not in PRECISIONS:
        raise ConfigurationError(f"precision is {precision!r}; expected one of {', '.join(PRECISIONS)}")
    rules = InputRules(on_nonfinite, fill_value, cropped, strict).checked()
    with ExitStack() as stack:
        stack.enter_context(monitor.log)
        bundle = bundle if isinstance(bundle, Bundle) else stack.enter_context(open_bundle(bundle))
        if bundle.archive is not None:
            monitor.log.hide([bundle.root.absolute()], "BUNDLE")
        place = choose_device(device)
        checkpoint = find_weights(bundle, weights)
        with monitor.stages.stage("read case"):
            _hide_path(monitor, case)
            read = read_case(
                case,
                series_uid,
                affine_ras=affine_ras,
                policy=policy,
                rules=rules,
                assume=assume,
                assume_rescale=assume_rescale,
            )
            _hide(monitor, read)
            source = dicom_source(read, kinds)
        plan = plan_memory(bundle, read, probability_map)
        _log.info("estimated peak memory: %.2f GiB, in the stage %s", plan.peak / 2**30, plan.largest)
        _refuse_without_memory(plan, max_memory)
        kept: list[NDArray[np.uint8]] = []
        with monitor.scratch_folder() as scratch:
            monitor.log.hide([scratch.absolute()], "OUTPUT/scratch")
            with monitor.stages.stage("run bundle", f"{bundle.name} on {place}"):
                keep = kept.append if probability_map else None
                mask = _run(bundle, read, checkpoint, place, scratch, monitor.progress, precision, keep)
        with monitor.stages.stage("measure"):
            measured = class_statistics(mask, read.array, read.affine_ras, bundle.labels)
            statistics = {"schema_version": STATISTICS_SCHEMA_VERSION, **measured}
        facts = _facts(bundle, checkpoint, place, started, read)
        facts.update(estimated_peak_bytes=plan.peak, precision=precision)
    record = RunRecord(read, bundle, _header_of(read), facts, monitor, kinds, source)
    warnings = (*read.warnings, *_findings(statistics))
    affine = np.array(read.affine_ras, dtype=np.float64)
    probability = kept[0] if kept else None
    return Result(mask, affine, dict(bundle.labels), statistics, warnings, record, probability)


def _hide_path(monitor: Monitor, case: CaseSource) -> None:
    """Hide a path and its last part in the log, before anything is read."""
    if isinstance(case, str | os.PathLike):
        path = Path(case)
        monitor.log.hide([path.absolute(), os.fspath(case), path.name])


def _hide(monitor: Monitor, case: Case) -> None:
    if case.source is not None:
        monitor.log.hide([case.source.absolute(), case.source])
        monitor.log.hide_names(HiddenNames({"CASE": case.source}))
    if len(case.name) > 2:
        monitor.log.hide([case.name])


def _run(
    bundle: Bundle,
    case: Case,
    weights: Path,
    device: str,
    scratch: Path,
    progress: bool,
    precision: str,
    on_probability: ProbabilityListener | None,
) -> NDArray[np.uint8]:
    """Run the bundle with a fixed seed; the caller's random state is restored."""
    import torch

    _log.info("equivalent command: %s", public_command(bundle, weights, device))
    uses_cuda = device.startswith("cuda") or torch.cuda.is_initialized()
    with torch.random.fork_rng(devices=range(torch.cuda.device_count()) if uses_cuda else []):
        torch.manual_seed(_SEED)
        return run_bundle(bundle, case, weights, device, scratch, progress, precision, on_probability)


def _header_of(case: Case) -> Any:
    """The header that the mask's file gets: the one of the case's NIfTI file, else a plain one of its grid."""
    if case.header is not None:
        return case.header
    from medseg.io.volumes.nifti import plain_header

    return plain_header(case.array.shape, case.affine_ras)


def _refuse_without_memory(plan: MemoryPlan, max_memory: int | None) -> None:
    """Stop before the system has to kill the process, or before the user's own limit is passed."""
    if max_memory is not None and plan.peak > max_memory:
        raise ResourceError(
            f"the run needs about {plan.peak / 2**30:.2f} GiB, more than the limit of {max_memory / 2**30:.2f} GiB "
            "(--max-memory, max_memory); raise the limit or crop the image"
        )
    available = available_memory()
    if available is not None and plan.peak - plan.base > available:
        raise ResourceError(
            f"the run needs about {(plan.peak - plan.base) / 2**30:.1f} GiB more, but {available / 2**30:.1f} GiB are "
            "free; close other programs, crop the image or use a larger machine"
        )


def _findings(statistics: dict[str, Any]) -> list[str]:
    """What a user should know before trusting a number."""
    lines = []
    for entry in statistics["classes"]:
        if entry["n_voxels"] == 0:
            lines.append(f"no voxel was labelled {entry['name']}")
        elif entry["touches_border"]:
            faces = ", ".join(entry["border_faces"])
            lines.append(f"{entry['name']} reaches the image border ({faces}): its volume may be cut off")
    return lines


def _facts(bundle: Bundle, weights: Path, device: str, started_at: str, case: Case) -> dict[str, Any]:
    """The part of ``run.json`` that is known when the network has run; free of names and paths of the case."""
    return {
        "schema_version": RUN_SCHEMA_VERSION,
        "command": "medseg segment",
        "equivalent_command": public_command(bundle, weights, device),
        "started_at": started_at,
        "versions": installed_versions(),
        "bundle": {"name": bundle.name, "version": bundle.version},
        "config_sha256": bundle.config_sha256,
        "weights_sha256": sha256_of(weights),
        "labels": {str(number): name for number, name in bundle.labels.items()},
        "device": describe_device(device),
        "seed": _SEED,
        "input": case.facts(),
    }
