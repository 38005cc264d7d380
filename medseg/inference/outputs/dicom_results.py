"""The mask of ``medseg segment`` as DICOM objects beside the other results."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from medseg.inference.errors import ConfigurationError, IntegrityError
from medseg.inference.outputs.folder import DICOM_FILES

if TYPE_CHECKING:
    from medseg.geometry import Affine
    from medseg.inference.bundle import Bundle
    from medseg.io.results.segment_info import SegmentInfo
    from medseg.io.results.source import SourceSeries

__all__ = ["read_case_source", "write_dicom_results"]


def read_case_source(case: str | Path, series_uid: str | None, kinds: Sequence[str]) -> SourceSeries | None:
    """The series that DICOM results would belong to, read before anything is computed; None if none are asked for.

    Args:
        case: the input of the command.
        series_uid: SeriesInstanceUID, where a folder holds several CT series.
        kinds: keys of `medseg.inference.outputs.folder.DICOM_FILES`.

    Raises:
        ConfigurationError: if the case is no DICOM folder, or highdicom is missing.
        IntegrityError: if results cannot refer to the series, in the reader's words.
    """
    from importlib.util import find_spec

    from medseg.io.results.source import read_source

    if not kinds:
        return None
    if not Path(case).is_dir():
        raise ConfigurationError(f"--output-type {kinds[0]} needs a folder with a DICOM series as CASE, not a file")
    if "dicom_seg" in kinds and find_spec("highdicom") is None:
        raise ConfigurationError("--output-type dicom_seg needs highdicom: pip install 'medseg[seg]'")
    try:
        return read_source(case, series_uid)
    except ValueError as error:
        raise IntegrityError(str(error)) from error


def write_dicom_results(
    folder: Path, kinds: Sequence[str], mask: NDArray[Any], affine_ras: Affine, source: SourceSeries, bundle: Bundle
) -> None:
    """Write ``seg.dcm`` and ``rtstruct.dcm``; they name the patient wherever the series does.

    Args:
        folder: where the results go.
        kinds: which of them, by the keys of `medseg.inference.outputs.folder.DICOM_FILES`.
        mask: label map ``[i, j, k]``.
        affine_ras: 4 x 4, voxel to RAS mm.
        source: what `read_case_source` returned.
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


def _segments(labels: Mapping[int, str], algorithm: str) -> dict[int, SegmentInfo]:
    from medseg.io.results.segment_info import preset

    return {value: replace(preset(name), algorithm_name=algorithm) for value, name in labels.items() if value != 0}
