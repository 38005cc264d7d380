"""The mask of a segmentation as DICOM objects: DICOM SEG and RTSTRUCT."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from numpy.typing import NDArray

from medseg.inference.errors import ConfigurationError, IntegrityError
from medseg.inference.outputs.folder import DICOM_FILES

if TYPE_CHECKING:
    from medseg.geometry import Affine
    from medseg.inference.bundle import Bundle
    from medseg.inference.case import Case
    from medseg.io.results.segment_info import SegmentInfo
    from medseg.io.results.source import SourceSeries

__all__ = ["check_output_types", "dicom_source", "residual_lines", "write_dicom_results"]

_RESIDUALS: dict[str, Literal["pixels", "contours"]] = {"dicom_seg": "pixels", "rtstruct": "contours"}


def check_output_types(output_types: str | Sequence[str]) -> tuple[str, ...]:
    """The DICOM results asked for, each once.

    Args:
        output_types: one or several keys of `medseg.inference.outputs.folder.DICOM_FILES`.

    Raises:
        ConfigurationError: for another name, or if highdicom is missing.

    >>> check_output_types("rtstruct")
    ('rtstruct',)
    """
    from importlib.util import find_spec

    kinds = (output_types,) if isinstance(output_types, str) else tuple(dict.fromkeys(output_types))
    for kind in kinds:
        if kind not in DICOM_FILES:
            raise ConfigurationError(f"output_types: {kind!r} is unknown, expected {' or '.join(DICOM_FILES)}")
    if "dicom_seg" in kinds and find_spec("highdicom") is None:
        raise ConfigurationError("output type dicom_seg needs highdicom: pip install 'medseg[seg]'")
    return kinds


def dicom_source(case: Case, kinds: Sequence[str]) -> SourceSeries | None:
    """The series that DICOM results of a case would refer to; None if no such results are asked for.

    Args:
        case: the case; the headers of its slices are read, but the folder is not scanned again.
        kinds: what `check_output_types` returned.

    Raises:
        ConfigurationError: if the case is not a DICOM series.
        IntegrityError: if results cannot refer to the series, in the reader's words.
    """
    from medseg.io.results.source import source_of

    if not kinds:
        return None
    if case.series is None:
        given = "an array" if case.kind == "array" else "a file"
        raise ConfigurationError(
            f"output type {kinds[0]} needs a folder with a DICOM series as the case, not {given}; "
            "leave output_types (--output-type) out, or give that folder"
        )
    try:
        return source_of(case.series)
    except ValueError as error:
        raise IntegrityError(str(error)) from error


def write_dicom_results(
    folder: Path, kinds: Sequence[str], mask: NDArray[Any], affine_ras: Affine, source: SourceSeries, bundle: Bundle
) -> None:
    """Write ``seg.dcm`` and ``rtstruct.dcm``; they contain the patient's name if the series does.

    Args:
        folder: where the results go.
        kinds: which of them, by the keys of `medseg.inference.outputs.folder.DICOM_FILES`.
        mask: label map ``[i, j, k]``.
        affine_ras: 4 x 4, voxel to RAS mm.
        source: what `dicom_source` returned.
        bundle: names the classes and the algorithm.

    Raises:
        IntegrityError: if the mask does not lie on the series.
    """
    from medseg.io.results.rtstruct_write import write_rtstruct
    from medseg.io.results.seg_write import write_seg

    segments = _segments(bundle.labels, f"{bundle.name} {bundle.version}"[:64])
    try:
        if "dicom_seg" in kinds:
            write_seg(folder / DICOM_FILES["dicom_seg"], mask, affine_ras, source, segments)
        if "rtstruct" in kinds:
            write_rtstruct(folder / DICOM_FILES["rtstruct"], mask, affine_ras, source, segments)
    except ValueError as error:
        raise IntegrityError(str(error)) from error


def residual_lines(
    kinds: Sequence[str], mask: NDArray[Any], affine_ras: Affine, source: SourceSeries | None
) -> list[str]:
    """What is left over when a mask of a repaired series is taken back to its original slices, one line a result in mm.

    Args:
        kinds: which results, by the keys of `medseg.inference.outputs.folder.DICOM_FILES`.
        mask: label map ``[i, j, k]``.
        affine_ras: 4 x 4, voxel to RAS mm.
        source: what `dicom_source` returned.
    """
    from medseg.io.results.source import place_on_source

    if source is None or source.repaired is None or not kinds:
        return []
    placed = place_on_source(mask, affine_ras, source)
    return [f"{DICOM_FILES[kind]}: {source.repaired.residual(placed, _RESIDUALS[kind]).describe()}" for kind in kinds]


def _segments(labels: Mapping[int, str], algorithm: str) -> dict[int, SegmentInfo]:
    from medseg.io.results.segment_info import preset

    return {value: replace(preset(name), algorithm_name=algorithm) for value, name in labels.items() if value != 0}
