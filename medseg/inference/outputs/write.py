"""All files of one segmentation, written into a folder."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from medseg.inference.outputs.dicom_results import residual_lines, write_dicom_results
from medseg.inference.outputs.folder import DICOM_FILES, PROBABILITY_FILE, RESULT_FILES, describe_outputs
from medseg.inference.outputs.run_report import peak_memory
from medseg.io.bounded.atomic import write_json, write_text

if TYPE_CHECKING:
    from medseg.inference.monitor import Monitor
    from medseg.inference.result import Result

__all__ = ["write_result"]

_log = logging.getLogger(__name__)


def write_result(
    result: Result, folder: Path, kinds: tuple[str, ...], monitor: Monitor, html: bool = True
) -> tuple[str, ...]:
    """Write mask, statistics, preview, reports and log, and the DICOM results asked for.

    Args:
        result: what `medseg.inference.segment` returned; its record names the source series if ``kinds`` is not empty.
        folder: an existing, empty folder, such as `medseg.inference.outputs.folder.staged_folder` gives.
        kinds: DICOM results, as `medseg.inference.outputs.dicom_results.check_output_types` returned them.
        monitor: gets the stages and the log of the writing, after those of the run.
        html: whether ``report.html`` is written.

    Returns:
        The warnings of the result, and what became of the mask where it was taken back to the slices of a repaired
        series; one line each.

    Raises:
        IntegrityError: if the mask does not lie on the source series.
    """
    from medseg.inference.outputs.html import segmentation_report
    from medseg.inference.outputs.preview import write_preview
    from medseg.io.volumes.nifti import write_nifti_like
    from medseg.transforms.output.probability_on_source_grid import PROBABILITY_SCALE

    run, stages, log = result.run, monitor.stages, monitor.log
    case = run.case
    log.hide([folder.absolute()], "OUTPUT")
    warnings = (*result.warnings, *residual_lines(kinds, result.mask, case.affine_ras, run.source))
    with log:
        if kinds:
            with stages.stage("write DICOM"):
                assert run.source is not None
                write_dicom_results(folder, kinds, result.mask, case.affine_ras, run.source, run.bundle)
        with stages.stage("draw preview"):
            path = folder / "preview.png"
            # Without the case's name, which may be a patient's: only DICOM results repeat the patient.
            write_preview(path, case.array, result.mask, case.affine_ras, result.labels)
        with stages.stage("write report"):
            write_nifti_like(folder / "seg.nii.gz", result.mask, run.header)
            if result.probability is not None:
                maps = result.probability
                stored = maps[0] if len(maps) == 1 else np.moveaxis(maps, 0, -1)
                write_nifti_like(folder / PROBABILITY_FILE, stored, run.header, slope=1 / PROBABILITY_SCALE)
            write_json(folder / "statistics.json", result.statistics)
            report = {**run.facts, "warnings": [log.hidden(line) for line in warnings], **peak_memory()}
            if html:
                write_text(
                    folder / "report.html", segmentation_report(result, {**report, "stage_seconds": stages.seconds})
                )
        for line in warnings:
            _log.warning("%s", line)
    write_text(folder / "medseg.log", log.text())
    report["stage_seconds"] = stages.seconds
    left_out = {"run.json"} if html else {"run.json", "report.html"}
    names = [name for name in RESULT_FILES if name not in left_out] + [DICOM_FILES[kind] for kind in kinds]
    names += [] if result.probability is None else [PROBABILITY_FILE]
    report["outputs"] = describe_outputs(folder, tuple(names))
    write_json(folder / "run.json", report)
    return warnings
